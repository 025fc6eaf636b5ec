//! Edge file: parts of keys written by one store.
#![expect(unsafe_code, reason = "the fields are written as the word that they are in memory")]

use core::mem::offset_of;

use crate::{Address, FlowKey};

impl<A: Address> FlowKey<A> {
    /// Sets ports, protocol and what must be zero.
    ///
    /// The key is hashed right after, by words: a word that was written in parts is not there yet for the processor, which
    /// then waits for it.
    #[inline(always)]
    pub const fn set_tail(&mut self, source_port: [u8; 2], destination_port: [u8; 2], protocol: u8) {
        let ports =
            u16::from_ne_bytes(source_port) as u64 | ((u16::from_ne_bytes(destination_port) as u64) << 16);
        let word = (ports | ((protocol as u64) << 32)).to_le();
        // SAFETY: from the source port on there are eight bytes to the end of the key, aligned to eight, as is asserted
        // below; every value of theirs is valid.
        unsafe { (&raw mut *self).cast::<u8>().add(offset_of!(Self, source_port)).cast::<u64>().write(word) }
    }
}

const _: () = assert!(size_of::<FlowKey<[u8; 4]>>() - offset_of!(FlowKey<[u8; 4]>, source_port) == 8);
const _: () = assert!(size_of::<FlowKey<[u8; 16]>>() - offset_of!(FlowKey<[u8; 16]>, source_port) == 8);
const _: () = assert!(offset_of!(FlowKey<[u8; 4]>, source_port) % 8 == 0);
const _: () = assert!(offset_of!(FlowKey<[u8; 16]>, source_port) % 8 == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_fields() {
        let mut key = FlowKey::<[u8; 16]> { pad: 9, pad_end: 9, ..FlowKey::EMPTY };
        key.set_tail([1, 2], [3, 4], 6);
        let expected =
            FlowKey { source_port: [1, 2], destination_port: [3, 4], protocol: 6, ..FlowKey::EMPTY };
        assert_eq!(key, expected);
    }
}
