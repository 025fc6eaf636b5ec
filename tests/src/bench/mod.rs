//! What weir costs: nanoseconds per packet as the kernel measures them, transfers and connections through namespaces
//! beside plain routing, calls on sockets, and memory.
//!
//! For a packet, `BPF_PROG_TEST_RUN` runs a wrapper that restores the packet, gives it the address and port of the next
//! flow, and calls `weir_xdp`; the same wrapper around a program that does nothing is taken off. The time is the whole
//! program's: flow table, counters, translation with checksums, `bpf_fib_lookup`, redirection. No packet is sent.

mod case;
mod measure;
mod memory;
mod only;
mod report;
mod sockets;
mod through;

pub use case::{Case, Kind, Services, cases, service_cases};
pub use measure::{ROUNDS, Result, measure};
pub use memory::memory;
pub use only::Only;
pub use report::{Report, Section};
pub use sockets::{Calls, JOB, Place, Ratio, SocketCase, SocketFigure, measure_sockets, run_job};
pub use through::{Figure, Plan, Through, Way};
