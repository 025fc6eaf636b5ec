//! The Internet checksum, updated incrementally (RFC 1071, RFC 1624).
//!
//! One's complement addition does not depend on the byte order, so words are taken as the machine reads them.

use lb_common::Address;

/// The one's complement sum of what was added to a checksummed area, less what was taken from it. Not folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference(u64);

impl Difference {
    /// Adds the change of an address.
    #[inline(always)]
    #[must_use]
    pub fn address<A: Address>(mut self, old: &A, new: &A) -> Self {
        for index in 0..A::WORDS {
            self.0 += u64::from(!old.word(index)) + u64::from(new.word(index));
        }
        self
    }

    /// Adds the change of a 16-bit field.
    #[inline(always)]
    #[must_use]
    pub fn word(mut self, old: [u8; 2], new: [u8; 2]) -> Self {
        self.0 += u64::from(!u16::from_ne_bytes(old)) + u64::from(u16::from_ne_bytes(new));
        self
    }

    /// Adds a 16-bit field that was not there before.
    #[inline(always)]
    #[must_use]
    pub fn with(mut self, word: [u8; 2]) -> Self {
        self.0 += u64::from(u16::from_ne_bytes(word));
        self
    }

    /// Adds an address that was not there before.
    #[inline(always)]
    #[must_use]
    pub fn with_address<A: Address>(mut self, address: &A) -> Self {
        for index in 0..A::WORDS {
            self.0 += u64::from(address.word(index));
        }
        self
    }

    /// What takes the difference back.
    #[inline(always)]
    #[must_use]
    pub const fn negated(self) -> Self {
        Self((!fold(self.0)) as u64)
    }

    /// Adds another difference.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The difference as 32 bits, as the kernel's checksum helpers take it.
    #[inline(always)]
    pub const fn to_u32(self) -> u32 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        ((sum & 0xffff_ffff) + (sum >> 32)) as u32
    }

    /// `checksum` after the change.
    #[inline(always)]
    pub const fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        (!fold(self.0 + (!u16::from_ne_bytes(checksum)) as u64)).to_ne_bytes()
    }
}

/// Folds a sum to 16 bits.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The checksum over `bytes` from scratch, RFC 1071 section 4.1.
    fn full(bytes: &[u8]) -> [u8; 2] {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    /// Zero has two forms in one's complement arithmetic; as a checksum both say the same.
    fn same(left: [u8; 2], right: [u8; 2]) -> bool {
        let zero = |sum: [u8; 2]| sum == [0, 0] || sum == [0xff, 0xff];
        left == right || (zero(left) && zero(right))
    }

    proptest! {
        #[test]
        fn a_sum_from_nothing_is_the_checksum(address: [u8; 16], word: [u8; 2]) {
            let sum = Difference::default().with_address(&address).with(word);
            prop_assert!(same(sum.apply([0; 2]), full(&[&address[..], &word].concat())));
            prop_assert!(same(sum.plus(sum.negated()).apply([0x12, 0x34]), [0x12, 0x34]));
        }

        #[test]
        fn an_updated_checksum_is_the_checksum_of_the_new_bytes(
            rest: [u8; 20], old: ([u8; 4], [u8; 16], [u8; 2]), new: ([u8; 4], [u8; 16], [u8; 2]),
        ) {
            let bytes = |part: &([u8; 4], [u8; 16], [u8; 2])| [&rest[..], &part.0, &part.1, &part.2].concat();
            let change = Difference::default()
                .address(&old.0, &new.0)
                .address(&old.1, &new.1)
                .word(old.2, new.2);
            prop_assert!(same(change.apply(full(&bytes(&old))), full(&bytes(&new))));
            prop_assert!(same(Difference(u64::from(change.to_u32())).apply(full(&bytes(&old))), full(&bytes(&new))));
        }
    }
}
