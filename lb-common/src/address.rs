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

    /// Whether it is one of a machine's loopback addresses, `127.0.0.0/8` or `::1`.
    fn is_loopback(&self) -> bool;

    /// The word at `index` as the machine reads it from memory, or zero beyond the end.
    fn word(&self, index: usize) -> u32;
}

macro_rules! address {
    ($bytes:literal, $mask:expr, $loopback:expr) => {
        impl Address for [u8; $bytes] {
            const WORDS: usize = $bytes / 4;
            const UNSPECIFIED: Self = [0; $bytes];

            #[inline(always)]
            fn is_loopback(&self) -> bool {
                let (mask, loopback): ([u8; $bytes], [u8; $bytes]) = ($mask, $loopback);
                (0..Self::WORDS).all(|index| self.word(index) & mask.word(index) == loopback.word(index))
            }

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

address!(4, [255, 0, 0, 0], [127, 0, 0, 0]);
address!(16, [255; 16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

#[cfg(test)]
mod tests {
    use super::Address as _;

    #[test]
    fn loopback_addresses() {
        assert!([127, 0, 0, 1].is_loopback() && [127, 255, 0, 3].is_loopback());
        assert!(![128, 0, 0, 1].is_loopback() && ![0, 0, 0, 0].is_loopback());
        let v6 = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        assert!(v6(1).is_loopback() && !v6(0).is_loopback() && !v6(2).is_loopback());
    }
}
