//! Figures of a service port.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of `SERVICE_STATS`, one for each CPU; the index is the service id. The counts start when the id is given out,
/// and belong to whichever service port has the id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ServiceStats {
    /// Packets from clients to backends.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
    /// Packets from backends to clients.
    pub reply_packets: u64,
    /// Their bytes, from the IP header on.
    pub reply_bytes: u64,
    /// Flows that began.
    pub new_flows: u64,
}

const _: () = assert!(size_of::<ServiceStats>() == 40);
