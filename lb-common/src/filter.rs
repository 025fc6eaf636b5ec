//! A quick "certainly not ours" for packets that are for no Service.
//!
//! `FILTER` is a bit map. The agent sets the bit of an address before it writes a frontend there, and never clears one:
//! a bit too many costs a packet one look-up in vain, a missing one would cost a connection.

use crate::Address;

/// Bits in the map, as a power of two.
const FILTER_BITS_LOG2: u32 = 22;
/// Elements of `FILTER`, of 64 bits each.
pub const FILTER_WORDS: u32 = 1 << (FILTER_BITS_LOG2 - 6);

/// Place of the bits of one address, or port: the element of `FILTER`, and the bits in it. Two in one element, since one
/// would often be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilterBit {
    /// Index in `FILTER`.
    pub word: u32,
    /// The bits that are set.
    pub mask: u64,
}

impl FilterBit {
    /// The bit of an address all of whose ports are of interest: a virtual IP.
    #[inline(always)]
    pub fn of_address<A: Address>(address: &A) -> Self {
        Self::of(fold(address))
    }

    /// The bit of one port of an address that also serves others than weir: a NodePort.
    #[inline(always)]
    pub fn of_port<A: Address>(address: &A, port: [u8; 2], protocol: u8) -> Self {
        let port = u64::from(u16::from_be_bytes(port)) | (u64::from(protocol) << 16) | (1 << 24);
        Self::of(step(fold(address), port))
    }

    /// Whether an element that was read says that there may be something.
    #[inline(always)]
    pub const fn is_in(self, word: u64) -> bool {
        word & self.mask == self.mask
    }

    #[inline(always)]
    const fn of(hash: u64) -> Self {
        let bits = step(hash, 0);
        // The word, then one bit in it, then another, from the upper bits down.
        let word = bits >> (64 - FILTER_BITS_LOG2 + 6);
        let first = (bits >> (64 - FILTER_BITS_LOG2)) & 63;
        let second = (bits >> (64 - FILTER_BITS_LOG2 - 6)) & 63;
        Self { word: word as u32, mask: (1 << first) | (1 << second) }
    }
}

#[inline(always)]
fn fold<A: Address>(address: &A) -> u64 {
    let mut hash = 0;
    for index in 0..A::WORDS {
        hash = step(hash, u64::from(address.word(index).to_be()));
    }
    hash
}

/// Multiplication by an odd constant (2^64 over the golden ratio): the upper bits depend on all that came before.
#[inline(always)]
const fn step(hash: u64, word: u64) -> u64 {
    ((hash >> 32) ^ hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_addresses_leave_most_bits_clear() {
        let mut words = vec![0_u64; FILTER_WORDS as usize];
        for number in 0..100_000_u32 {
            let bit = FilterBit::of_address(&(0x0a60_0000 + number).to_be_bytes());
            words[bit.word as usize] |= bit.mask;
        }
        let hit = |bit: FilterBit| bit.is_in(words[bit.word as usize]);
        let strangers = (0..100_000_u32).map(|number| (0xc0a8_0000 + number * 7).to_be_bytes());
        let wrong = strangers.filter(|address| hit(FilterBit::of_address(address))).count();
        assert!(wrong < 600, "{wrong} of 100,000");
        let ports = (0..=u16::MAX).map(|port| FilterBit::of_port(&[192, 0, 2, 1], port.to_be_bytes(), 6));
        let wrong = ports.filter(|bit| hit(*bit)).count();
        assert!(wrong < 2_000, "{wrong} of 65,536");
    }

    #[test]
    fn families_ports_and_protocols_have_bits_of_their_own() {
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let bits = [
            FilterBit::of_address(&[10, 0, 0, 1]),
            FilterBit::of_address(&[10, 0, 0, 2]),
            FilterBit::of_address(&v6),
            FilterBit::of_port(&[10, 0, 0, 1], [0, 80], 6),
            FilterBit::of_port(&[10, 0, 0, 1], [0, 80], 17),
            FilterBit::of_port(&[10, 0, 0, 1], [0, 81], 6),
            FilterBit::of_port(&v6, [0, 80], 6),
        ];
        for (index, bit) in bits.iter().enumerate() {
            assert!(bit.word < FILTER_WORDS && matches!(bit.mask.count_ones(), 1 | 2));
            assert!(!bits[..index].contains(bit), "{index}");
        }
    }
}
