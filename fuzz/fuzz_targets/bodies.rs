#![no_main]

libfuzzer_sys::fuzz_target!(
    init: batchwright_fuzz::write_seeds(),
    |data: &[u8]| batchwright_fuzz::ask(data)
);
