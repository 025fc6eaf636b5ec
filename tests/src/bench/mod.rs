//! Nanoseconds per packet, as the kernel measures them.
//!
//! `BPF_PROG_TEST_RUN` runs a wrapper that restores the packet, gives it the address and port of the next flow, and
//! calls `weir_xdp`; the same wrapper around a program that does nothing is taken off. The time is the whole
//! program's: flow table, counters, translation with checksums, `bpf_fib_lookup`, redirection. No packet is sent.

mod case;
mod measure;
mod report;

pub use case::{Case, Kind, cases};
pub use measure::{ROUNDS, Result, measure};
pub use report::{json, line, title};
