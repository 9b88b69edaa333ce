#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| custody_fuzz_targets::run("log_entry", data));
