//! Bytes that never repeat, and their digest. Word by word: tests are compiled without optimisation.

/// A reproducible stream of bytes (xorshift64, G. Marsaglia, Journal of Statistical Software 8(14), 2003).
#[derive(Clone, Debug)]
pub(super) struct Stream(u64);

impl Stream {
    /// The stream of a seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Its next bytes.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let word = self.0.to_le_bytes();
            chunk.copy_from_slice(word.get(..chunk.len()).unwrap_or_default());
        }
    }
}

/// A running hash that depends on the order (FNV-1a, by words).
#[derive(Clone, Debug)]
pub(super) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds bytes. Those of one stream must be cut at the same places for the same value.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.get_mut(..chunk.len()).unwrap_or_default().copy_from_slice(chunk);
            // The multiplication moves what differs up only; the rotation brings it down again.
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
    }

    /// The value so far.
    pub(super) const fn value(&self) -> u64 {
        self.0
    }
}
