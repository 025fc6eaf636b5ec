//! Any bytes as a manifest of either format.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    drop(lb_userspace::source::fuzz_check(input));
});
