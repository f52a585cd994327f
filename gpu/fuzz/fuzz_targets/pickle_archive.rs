#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inducer_gpu_fuzz::pickle_archive(data));
