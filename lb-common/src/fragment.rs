//! Fragments: the ports that only the first of a datagram carries.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::Address;

/// Key of `FRAGMENTS4` and `FRAGMENTS6`: what the fragments of one datagram have in common (RFC 791 section 3.2,
/// RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct FragmentKey<A: Address> {
    /// Source address as the packet shows it.
    pub source: A,
    /// Destination address as the packet shows it.
    pub destination: A,
    /// Identification, network byte order; the 16 bits of IPv4 are in the first two bytes.
    pub identification: [u8; 4],
    /// IP protocol number.
    pub protocol: u8,
    /// Always zero.
    pub pad: u8,
    /// Always zero.
    pub pad_end: u16,
}

/// Value of `FRAGMENTS4` and `FRAGMENTS6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Fragment {
    /// Source port, network byte order.
    pub source_port: [u8; 2],
    /// Destination port, network byte order.
    pub destination_port: [u8; 2],
    /// Second since boot (`CLOCK_MONOTONIC`) of the first fragment.
    pub first_seen_s: u32,
}

const _: () = assert!(size_of::<FragmentKey<[u8; 4]>>() == 16);
const _: () = assert!(size_of::<FragmentKey<[u8; 16]>>() == 40);
const _: () = assert!(size_of::<Fragment>() == 8);
