#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inducer_reference_fuzz::reference_adapter(data));
