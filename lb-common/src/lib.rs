//! Keys, values and names of weir's BPF maps.
//!
//! Everything here is a public interface: `bpftool map dump` shows these fields by these names. Addresses and
//! ports are byte arrays in network order, so that a dump, a packet and a map entry show the same bytes; every
//! other number is in the byte order of the machine.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

mod address;
mod affinity;
mod backend;
pub mod bench;
mod device;
mod event;
mod filter;
mod flow;
mod fragment;
mod frontend;
pub mod maps;
mod outcome;
#[cfg(feature = "user")]
mod pod;
mod service;
mod settings;
mod socket;
mod source;
mod stats;
mod sweep;
mod words;

pub use address::Address;
pub use affinity::{Affinity, AffinityKey};
pub use backend::{Backend, BackendFlags, BackendState};
pub use device::{Device, DeviceFlags};
pub use event::{Event, Hook, Trace, TraceFlags, Tuple};
pub use filter::{FILTER_WORDS, FilterBit};
pub use flow::{Flow, FlowFlags, FlowKey, FlowState};
pub use fragment::{Fragment, FragmentKey};
pub use frontend::{Frontend, FrontendFlags, FrontendKey, Run, SLOTS_PER_LINE, SlotLine};
pub use outcome::Outcome;
pub use service::{NAME_BYTES, ServiceInfo, Text};
pub use settings::{Settings, SettingsFlags};
pub use socket::{Destination, ExcludedCgroup, PodAffinityKey, Socket, SocketFlow, SocketFlowKey};
pub use source::{CLUSTER_SOURCES, SOURCE_SERVICE_BITS, SourceKey};
pub use stats::ServiceStats;
pub use sweep::{SWEEP_RECORDS_MAX, SweepHeader, SweepTable};

/// IP protocol numbers, as the IP header carries them (IANA protocol numbers).
pub mod protocol {
    /// Transmission Control Protocol, RFC 9293.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol, RFC 768.
    pub const UDP: u8 = 17;
    /// Stream Control Transmission Protocol, RFC 9260.
    pub const SCTP: u8 = 132;
    /// Internet Control Message Protocol, RFC 792.
    pub const ICMP: u8 = 1;
    /// The same for IPv6, RFC 4443.
    pub const ICMPV6: u8 = 58;
}
