#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inducer_datasets_fuzz::table_arrow(data));
