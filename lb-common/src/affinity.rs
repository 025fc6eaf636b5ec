//! Session affinity: the backend that a client got last time.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::Address;

/// Key of `AFFINITY4` and `AFFINITY6`: a client and a service port (`sessionAffinity: ClientIP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct AffinityKey<A: Address> {
    /// Address of the client.
    pub client: A,
    /// Key of `SERVICES`.
    pub service: u32,
}

/// Value of `AFFINITY4` and `AFFINITY6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Affinity {
    /// Index in `BACKENDS4` or `BACKENDS6`.
    pub backend: u32,
    /// Generation of the backend when it was selected.
    pub generation: u32,
    /// Second since boot (`CLOCK_MONOTONIC`) of the client's latest new flow.
    pub last_used_s: u32,
}

const _: () = assert!(size_of::<AffinityKey<[u8; 4]>>() == 8);
const _: () = assert!(size_of::<AffinityKey<[u8; 16]>>() == 20);
const _: () = assert!(size_of::<Affinity>() == 12);
