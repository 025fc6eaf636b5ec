//! The one thing in which the two address families differ for a map: the width of an address.

use core::fmt::Debug;
use core::hash::Hash;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An IP address in network byte order: four bytes for IPv4, sixteen for IPv6.
pub trait Address:
    Copy + Eq + Ord + Hash + Debug + FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned + 'static
{
    /// Number of 32-bit words in the address.
    const WORDS: usize;
    /// The unspecified address, `0.0.0.0` or `::`.
    const UNSPECIFIED: Self;

    /// The word at `index` as the machine reads it from memory, or zero beyond the end.
    fn word(&self, index: usize) -> u32;
}

macro_rules! address {
    ($bytes:literal) => {
        impl Address for [u8; $bytes] {
            const WORDS: usize = $bytes / 4;
            const UNSPECIFIED: Self = [0; $bytes];

            #[inline(always)]
            fn word(&self, index: usize) -> u32 {
                match self.as_chunks::<4>().0.get(index) {
                    Some(word) => u32::from_ne_bytes(*word),
                    None => 0,
                }
            }
        }
    };
}

address!(4);
address!(16);
