//! See `fuzz::custom`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::custom(data));
