//! Frontends: the addresses and ports at which Services are reached.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Address;

/// Key of `FRONTENDS4` and `FRONTENDS6`: what a packet for a Service carries as its destination.
///
/// Port 0 with protocol 0 stands for the address itself ([`FrontendFlags::ADDRESS`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct FrontendKey<A: Address> {
    /// Virtual IP, external IP, load balancer IP, or node address of a NodePort.
    pub address: A,
    /// Port, network byte order.
    pub port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Always zero.
    pub pad: u8,
}

impl<A: Address> FrontendKey<A> {
    /// The key for `address` and `port` (host byte order).
    #[inline(always)]
    pub const fn new(address: A, port: u16, protocol: u8) -> Self {
        Self { address, port: port.to_be_bytes(), protocol, pad: 0 }
    }
}

/// A run of consecutive slots.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable
)]
#[repr(C)]
pub struct Run {
    /// First slot.
    pub start: u32,
    /// Number of slots; zero means that there is no endpoint to select.
    pub length: u32,
}

/// Slots in one element of `SLOTS`: the kernel rounds each element up to eight bytes, so slots of four share one.
pub const SLOTS_PER_LINE: u32 = 16;

/// Value of `SLOTS`: a cache line of slots, each a backend id. Slot `i` is word `i % 16` of element `i / 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SlotLine {
    /// Backend ids.
    pub backends: [u32; SLOTS_PER_LINE as usize],
}

/// Value of `FRONTENDS4` and `FRONTENDS6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Frontend {
    /// Key of `SERVICES`, never zero.
    pub service: u32,
    /// Session affinity time-out in seconds, zero without affinity.
    pub affinity_timeout_s: u32,
    /// Slots for traffic that starts in this cluster: pods and the node itself.
    pub inside: Run,
    /// Slots for traffic that comes from outside.
    pub outside: Run,
    /// See [`FrontendFlags`].
    pub flags: u32,
}

/// Bits of [`Frontend::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontendFlags;

impl FrontendFlags {
    /// The run for traffic from inside has endpoints of this node only.
    pub const INSIDE_LOCAL: u32 = 1;
    /// The run for traffic from outside has endpoints of this node only.
    pub const OUTSIDE_LOCAL: u32 = 2;
    /// Traffic from inside is dropped, not rejected, when its run is empty: other nodes have endpoints.
    pub const INSIDE_DROPS: u32 = 4;
    /// Traffic from outside is dropped, not rejected, when its run is empty: other nodes have endpoints.
    pub const OUTSIDE_DROPS: u32 = 8;
    /// Not for traffic from outside: a cluster IP.
    pub const INSIDE_ONLY: u32 = 16;
    /// Only for the sources that `SOURCES4` or `SOURCES6` has for the Service.
    pub const SOURCE_RANGES: u32 = 32;
    /// The address itself, port 0: an echo request to it is answered, and packets to ports of it that no Service has are
    /// rejected, but those from inside only where it is a cluster IP.
    pub const ADDRESS: u32 = 64;
    /// With [`Self::ADDRESS`]: a cluster IP. Nobody else has it, while a load balancer's address or an external IP may be that of
    /// another machine, of which this cluster's own processes may want other ports.
    pub const CLUSTER_IP: u32 = 256;
    /// A NodePort at the unspecified address, which stands for the node itself, whatever its addresses: no packet goes
    /// there, but a socket may be bound to it.
    pub const NODE: u32 = 128;
}

const _: () = assert!(size_of::<FrontendKey<[u8; 4]>>() == 8);
const _: () = assert!(size_of::<FrontendKey<[u8; 16]>>() == 20);
const _: () = assert!(size_of::<Frontend>() == 28);
