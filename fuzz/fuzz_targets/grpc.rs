#![no_main]

libfuzzer_sys::fuzz_target!(
    init: batchwright_fuzz::write_seeds(batchwright_fuzz::grpc::seeds),
    |data: &[u8]| batchwright_fuzz::grpc::ask(data)
);
