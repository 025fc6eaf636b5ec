//! Sockets: what they believe they talk to, and what they talk to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Address;

/// Value of `SOCKETS4` and `SOCKETS6` (socket storage): it lives as long as the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct Socket<A: Address> {
    /// Address that the application has connected to.
    pub service_address: A,
    /// Address that the socket is connected to.
    pub backend_address: A,
    /// Port that the application has connected to, network byte order.
    pub service_port: [u8; 2],
    /// Port that the socket is connected to, network byte order.
    pub backend_port: [u8; 2],
    /// Index in `BACKENDS4` or `BACKENDS6`.
    pub backend: u32,
    /// Generation of the backend when it was selected.
    pub generation: u32,
    /// Key of `SERVICES`; zero while the socket is not connected to a Service.
    pub service: u32,
    /// Destinations that got an entry of `SOCKET_FLOWS4` or `SOCKET_FLOWS6`.
    pub flows: u32,
    /// The latest destination to which `SOCKET_FLOWS4` or `SOCKET_FLOWS6` got an entry; unspecified before the first.
    pub latest: Destination<A>,
}

impl<A: Address> Socket<A> {
    /// Believes nothing.
    pub const EMPTY: Self = Self {
        service_address: A::UNSPECIFIED,
        backend_address: A::UNSPECIFIED,
        service_port: [0; 2],
        backend_port: [0; 2],
        backend: 0,
        generation: 0,
        service: 0,
        flows: 0,
        latest: Destination::NONE,
    };
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct Destination<A: Address> {
    /// Address.
    pub address: A,
    /// Port, network byte order.
    pub port: [u8; 2],
    /// Always zero.
    pub pad: u16,
}

impl<A: Address> Destination<A> {
    /// Nowhere: the unspecified address and port 0.
    pub const NONE: Self = Self { address: A::UNSPECIFIED, port: [0; 2], pad: 0 };

    /// An address and a port in network byte order.
    #[inline(always)]
    pub const fn new(address: A, port: [u8; 2]) -> Self {
        Self { address, port, pad: 0 }
    }
}

/// Key of `SOCKET_FLOWS4` and `SOCKET_FLOWS6`: what a UDP socket that is not connected sends to, or hears from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct SocketFlowKey<A: Address> {
    /// Cookie of the socket (`SO_COOKIE`), its lower half first: as one number it would need padding.
    pub cookie: [u32; 2],
    /// The other end.
    pub address: A,
    /// Its port, network byte order.
    pub port: [u8; 2],
    /// 0 for what the application sends to the address, 1 for what the socket hears from it.
    pub reply: u8,
    /// Always zero.
    pub pad: u8,
}

impl<A: Address> SocketFlowKey<A> {
    /// The key for a socket and its other end.
    #[inline(always)]
    pub const fn new(cookie: u64, end: &Destination<A>, reply: bool) -> Self {
        Self {
            cookie: [cookie as u32, (cookie >> 32) as u32],
            address: end.address,
            port: end.port,
            reply: reply as u8,
            pad: 0,
        }
    }
}

/// Value of `SOCKET_FLOWS4` and `SOCKET_FLOWS6`. A flow has two entries of this shape: from the address of the Service to
/// that of the backend, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct SocketFlow<A: Address> {
    /// What the address in the key becomes.
    pub becomes: Destination<A>,
    /// The destination that got an entry before this one, by which all of a socket are found; unspecified in the first, and
    /// in replies.
    pub previous: Destination<A>,
    /// Index in `BACKENDS4` or `BACKENDS6`.
    pub backend: u32,
    /// Generation of the backend when it was selected.
    pub generation: u32,
    /// Key of `SERVICES`.
    pub service: u32,
    /// Second since boot (`CLOCK_MONOTONIC`) of the latest datagram.
    pub last_used_s: u32,
}

/// Key of `POD_AFFINITY`: a network namespace and a service port. A socket has no source address yet when its backend is
/// selected, but a pod has a network namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PodAffinityKey {
    /// Cookie of the network namespace (`SO_NETNS_COOKIE`); zero for that of the node.
    pub netns_cookie: u64,
    /// Key of `SERVICES`.
    pub service: u32,
    /// Always zero.
    pub pad: u32,
}

/// Value of `EXCLUDED_CGROUPS`: processes of this control group and of those below are left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExcludedCgroup {
    /// Its id: the inode number of its directory. Zero ends the list.
    pub id: u64,
    /// How far below the root of the hierarchy it is; 0 is the root.
    pub level: u32,
    /// Always zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<Socket<[u8; 4]>>() == 36);
const _: () = assert!(size_of::<Socket<[u8; 16]>>() == 72);
const _: () = assert!(size_of::<SocketFlowKey<[u8; 4]>>() == 16);
const _: () = assert!(size_of::<SocketFlowKey<[u8; 16]>>() == 28);
const _: () = assert!(size_of::<SocketFlow<[u8; 4]>>() == 32);
const _: () = assert!(size_of::<SocketFlow<[u8; 16]>>() == 56);
const _: () = assert!(size_of::<PodAffinityKey>() == 16);
const _: () = assert!(size_of::<ExcludedCgroup>() == 16);
