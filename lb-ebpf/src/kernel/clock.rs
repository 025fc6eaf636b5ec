//! Edge file: the kernel's clocks.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};

/// Timer interrupts for one tick, as a power of two: 64 ms to 640 ms at the usual 1000 to 100 interrupts a second.
const JIFFIES_LOG2: u32 = 6;

/// Seconds since boot by the coarse clock, which reads a variable instead of a register of the CPU.
#[inline(always)]
pub(crate) fn now_s() -> u32 {
    // SAFETY: the helper takes nothing and always answers.
    (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
}

/// Moves several times a second. The kernel puts the reading in place of the call of this helper.
#[inline(always)]
pub(crate) fn tick() -> u32 {
    // SAFETY: as above.
    (unsafe { bpf_jiffies64() } >> JIFFIES_LOG2) as u32
}
