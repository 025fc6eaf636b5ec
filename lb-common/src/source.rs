//! Prefixes of sources: those that a Service allows, and those of the cluster itself.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::Address;

/// What follows the prefix length in a key of `SOURCES4` and `SOURCES6` (longest prefix match).
///
/// The service id comes first and is always matched whole, so the prefix length is 32 more than that of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct SourceKey<A: Address> {
    /// Key of `SERVICES`; [`CLUSTER_SOURCES`] for the prefixes of the cluster's own pods.
    pub service: u32,
    /// Address, of which the prefix counts.
    pub address: A,
}

/// Bits of [`SourceKey::service`], which are part of every prefix.
pub const SOURCE_SERVICE_BITS: u32 = 32;

/// The service id under which `SOURCES4` and `SOURCES6` hold the prefixes of the cluster's own pods: what comes from
/// them is traffic from inside, wherever it arrives.
pub const CLUSTER_SOURCES: u32 = 0;

const _: () = assert!(size_of::<SourceKey<[u8; 4]>>() == 8);
const _: () = assert!(size_of::<SourceKey<[u8; 16]>>() == 20);
