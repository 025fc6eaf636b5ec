//! Any frames through the packet engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    lb_ebpf::memory::invariants::check_frames(input);
});
