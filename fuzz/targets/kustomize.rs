//! See `fuzz::kustomize`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::kustomize(data));
