//! Flows: what a packet of a known 5-tuple becomes.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::Address;

/// Key of `FLOWS4` and `FLOWS6`: the 5-tuple as the packet shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct FlowKey<A: Address> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port, network byte order.
    pub source_port: [u8; 2],
    /// Destination port, network byte order.
    pub destination_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Always zero.
    pub pad: u8,
    /// Always zero. A separate field, because three bytes at once are cleared by a call.
    pub pad_end: u16,
}

/// Value of `FLOWS4` and `FLOWS6`: the 5-tuple that the packet is given, and why.
///
/// A flow has two entries of this shape, one for each direction. Each can be computed from the other, so that
/// a pair of which the LRU evicted one half is whole again after the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct Flow<A: Address> {
    /// New source address.
    pub source: A,
    /// New destination address.
    pub destination: A,
    /// New source port, network byte order.
    pub source_port: [u8; 2],
    /// New destination port, network byte order.
    pub destination_port: [u8; 2],
    /// Index in `BACKENDS4` or `BACKENDS6`.
    pub backend: u32,
    /// Generation of the backend when it was selected.
    pub generation: u32,
    /// Key of `SERVICES`.
    pub service: u32,
    /// Second since boot (`CLOCK_MONOTONIC`) of the latest packet.
    pub last_seen_s: u32,
    /// See [`FlowState`].
    pub state: u8,
    /// See [`FlowFlags`].
    pub flags: u8,
    /// Largest packet of the way out, from its IP header on, bytes.
    pub mtu: u16,
    /// A counter that moves several times a second, when `last_seen_s` was written: while it stands still, no clock is
    /// read, and the way out is as it was.
    pub tick: u32,
    /// Device of the way out; zero when none is known. The way out is looked up anew in every tick.
    pub ifindex: u32,
    /// Ethernet address of the next hop.
    pub neighbour: [u8; 6],
    /// Always zero.
    pub pad: u16,
}

impl<A: Address> Flow<A> {
    /// All zero: a place for a flow.
    pub const EMPTY: Self = Self {
        source: A::UNSPECIFIED,
        destination: A::UNSPECIFIED,
        source_port: [0; 2],
        destination_port: [0; 2],
        backend: 0,
        generation: 0,
        service: 0,
        last_seen_s: 0,
        state: 0,
        flags: 0,
        mtu: 0,
        tick: 0,
        ifindex: 0,
        neighbour: [0; 6],
        pad: 0,
    };
}

/// Bits of [`Flow::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowFlags;

impl FlowFlags {
    /// From the client to the backend; without it the entry is for the replies.
    pub const FORWARD: u8 = 1;
    /// The client keeps its own address, because the backend runs on this node or the client does: the kernel routes the
    /// packet, and replies are translated on their way out to the client.
    pub const LOCAL: u8 = 2;
}

/// How far a flow has come. Both directions have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowState {
    /// TCP, SCTP: opened, and the client has not confirmed yet. UDP: not answered yet.
    New,
    /// TCP, SCTP: open. UDP: answered.
    Established,
    /// The client has sent a FIN.
    ClientClosed,
    /// The backend has sent a FIN.
    BackendClosed,
    /// Both have.
    Closed,
    /// One has sent an RST. Whoever can guess the ports can send one too, so a segment that follows opens the flow again.
    Reset,
}

impl FlowState {
    /// The number in the map.
    #[inline(always)]
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::New => 0,
            Self::Established => 1,
            Self::ClientClosed => 2,
            Self::BackendClosed => 3,
            Self::Closed => 4,
            Self::Reset => 5,
        }
    }

    /// The state for a number of the map.
    #[inline(always)]
    pub const fn from_u8(raw: u8) -> Self {
        match raw {
            0 => Self::New,
            1 => Self::Established,
            2 => Self::ClientClosed,
            3 => Self::BackendClosed,
            4 => Self::Closed,
            _ => Self::Reset,
        }
    }
}

const _: () = assert!(size_of::<FlowKey<[u8; 4]>>() == 16);
const _: () = assert!(size_of::<FlowKey<[u8; 16]>>() == 40);
const _: () = assert!(size_of::<Flow<[u8; 4]>>() == 48);
const _: () = assert!(size_of::<Flow<[u8; 16]>>() == 72);

impl<A: Address> FlowKey<A> {
    /// All zero: a place for a key.
    pub const EMPTY: Self = Self {
        source: A::UNSPECIFIED,
        destination: A::UNSPECIFIED,
        source_port: [0; 2],
        destination_port: [0; 2],
        protocol: 0,
        pad: 0,
        pad_end: 0,
    };

    /// The key that the other direction of a flow arrives with, when packets of `self` become `flow`.
    #[inline(always)]
    pub const fn opposite_key(&self, flow: &Flow<A>) -> Self {
        Self {
            source: flow.destination,
            destination: flow.source,
            source_port: flow.destination_port,
            destination_port: flow.source_port,
            protocol: self.protocol,
            pad: 0,
            pad_end: 0,
        }
    }

    /// What packets of the other direction become, when packets of `self` become `flow`.
    #[inline(always)]
    pub const fn opposite_flow(&self, flow: &Flow<A>) -> Flow<A> {
        Flow {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            backend: flow.backend,
            generation: flow.generation,
            service: flow.service,
            last_seen_s: flow.last_seen_s,
            state: flow.state,
            flags: flow.flags ^ FlowFlags::FORWARD,
            mtu: 0,
            tick: flow.tick,
            ifindex: 0,
            neighbour: [0; 6],
            pad: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_gives_the_other_back() {
        let key = FlowKey {
            source: [10, 0, 0, 1],
            destination: [10, 0, 0, 2],
            source_port: [1, 2],
            destination_port: [3, 4],
            protocol: 6,
            pad: 0,
            pad_end: 0,
        };
        let flow = Flow {
            source: [10, 0, 0, 3],
            destination: [10, 0, 0, 4],
            source_port: [5, 6],
            destination_port: [7, 8],
            backend: 9,
            generation: 10,
            service: 11,
            last_seen_s: 12,
            state: 1,
            flags: FlowFlags::FORWARD,
            tick: 13,
            ..Flow::EMPTY
        };
        let (back_key, back) = (key.opposite_key(&flow), key.opposite_flow(&flow));
        assert_eq!(back.flags & FlowFlags::FORWARD, 0);
        assert_eq!((back_key.opposite_key(&back), back_key.opposite_flow(&back)), (key, flow));
    }
}
