//! What the engine asks of a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Difference;

/// A change of a TCP or UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L4Update {
    /// Offset of the checksum field from the start of the packet.
    pub field: usize,
    /// Change of the pseudo header: the addresses.
    pub pseudo_header: Difference,
    /// Change of the segment itself: the ports.
    pub segment: Difference,
    /// UDP sends "no checksum" as zero: a zero stays, and a sum that comes out as zero is sent as all ones
    /// (RFC 768, RFC 8200 section 8.1).
    pub zero_is_none: bool,
    /// The addresses are of IPv6, whose header has no checksum that would make up for their change.
    pub ipv6: bool,
}

/// A packet at one hook, from its Ethernet header on.
pub trait Packet {
    /// The header `T` at `offset`, which is even, or `None` when the packet ends before it does.
    ///
    /// It borrows the whole packet, so that two headers cannot overlap.
    fn header<T>(&mut self, offset: usize) -> Option<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable;

    /// Length from the Ethernet header on, bytes.
    fn length(&mut self) -> u32;

    /// Makes the first `bytes` readable where the packet lies in pieces and is as long: more than those that a usual packet's
    /// headers need, which are readable from the start.
    fn reach(&mut self, bytes: u32) {
        let _ = bytes;
    }

    /// Cuts the packet to its first `keep` bytes and then puts `grow` bytes in front of them, whose content is not
    /// defined. `keep` is not more than the length. `None` when the hook refuses; the packet is then of no use.
    fn reshape(&mut self, keep: u32, grow: u32) -> Option<()>;

    /// Applies `update`; `None` when the packet ends before the field does.
    ///
    /// Where a checksum may be left to hardware the field holds only part of the sum, which the hook knows.
    fn update_l4(&mut self, update: &L4Update) -> Option<()>;
}
