#![no_main]

libfuzzer_sys::fuzz_target!(
    init: batchwright_fuzz::write_seeds(batchwright_fuzz::bodies::seeds),
    |data: &[u8]| batchwright_fuzz::bodies::ask(data)
);
