#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| batchwright_fuzz::ask(data));
