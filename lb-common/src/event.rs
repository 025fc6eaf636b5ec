//! What `weir trace` shows: packets with the reason by which they left.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A record of `EVENTS`: one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Event {
    /// When, nanoseconds since boot (`CLOCK_MONOTONIC`).
    pub time_ns: u64,
    /// Device that the packet came in by; at egress the one that it leaves by.
    pub ifindex: u32,
    /// Device that it was sent out of; zero where none was chosen.
    pub out_ifindex: u32,
    /// Key of `SERVICES`; zero where none is known.
    pub service: u32,
    /// Length from the Ethernet header on, bytes.
    pub length: u32,
    /// Processor that it was handled by.
    pub cpu: u32,
    /// Number of the [`crate::Outcome`].
    pub outcome: u16,
    /// See [`Hook`].
    pub hook: u8,
    /// 0 passed up, 1 dropped, 2 sent back out of the same device, 3 sent out of another, 4 sent by way of the
    /// kernel's neighbour table.
    pub action: u8,
    /// The packet as it came.
    pub before: Tuple,
    /// The packet as it left: the same, unless it was translated.
    pub after: Tuple,
}

/// Addresses, ports and protocol of a packet of either family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct Tuple {
    /// Source address; an IPv4 address is in the first four bytes.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Source port, network byte order; zero where there is none.
    pub source_port: [u8; 2],
    /// Destination port, network byte order; zero where there is none.
    pub destination_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6; zero for what is no IP packet, or is cut short.
    pub ip_version: u8,
    /// TCP flags; zero for other protocols.
    pub tcp_flags: u8,
    /// Always zero.
    pub pad: u8,
}

/// Where a program runs, as [`Event::hook`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook;

impl Hook {
    /// XDP on a device of the node.
    pub const XDP: u8 = 1;
    /// tc ingress of a device of the node.
    pub const TC_INGRESS: u8 = 2;
    /// tc ingress of the node's end of a workload's device.
    pub const TC_WORKLOAD: u8 = 3;
    /// tc egress of a device of the node, or towards a workload.
    pub const TC_EGRESS: u8 = 4;
    /// connect(2) on a socket.
    pub const CONNECT: u8 = 5;
    /// sendto(2) or sendmsg(2) on a UDP socket, with an address.
    pub const SEND: u8 = 6;
    /// bind(2) on a socket.
    pub const BIND: u8 = 7;
}

/// The one value of `TRACE`: which packets are to be reported. Written by `weir trace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Trace {
    /// Second since boot until which packets are reported; zero when nobody looks. A reader that died is forgotten.
    pub until_s: u32,
    /// Only packets of this service id; zero for all.
    pub service: u32,
    /// See [`TraceFlags`].
    pub flags: u32,
    /// Most packets in a second and CPU; further ones are not reported.
    pub per_second_max: u32,
}

/// Bits of [`Trace::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceFlags;

impl TraceFlags {
    /// Only packets that were dropped, or answered with an error.
    pub const DROPS: u32 = 1;
}

const _: () = assert!(size_of::<Tuple>() == 40);
const _: () = assert!(size_of::<Event>() == 112);
const _: () = assert!(size_of::<Trace>() == 16);
