//! Keys, values and names of weir's BPF maps.
//!
//! Everything here is a public interface: `bpftool map dump` shows these fields by these names. Addresses and
//! ports are byte arrays in network order, so that a dump, a packet and a map entry show the same bytes; every
//! other number is in the byte order of the machine.
#![no_std]
#![deny(unsafe_code)]

mod address;
mod backend;
pub mod bench;
mod flow;
mod frontend;
pub mod maps;
mod outcome;
#[cfg(feature = "user")]
mod pod;
mod service;
mod settings;

pub use address::Address;
pub use backend::{Backend, BackendState};
pub use flow::{Flow, FlowFlags, FlowKey, FlowState};
pub use frontend::{Frontend, FrontendKey, Run, SLOTS_PER_LINE, SlotLine};
pub use outcome::Outcome;
pub use service::{NAME_BYTES, ServiceInfo, Text};
pub use settings::Settings;

/// IP protocol numbers that weir balances, as the IP header carries them (IANA protocol numbers).
pub mod protocol {
    /// Transmission Control Protocol, RFC 9293.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol, RFC 768.
    pub const UDP: u8 = 17;
}
