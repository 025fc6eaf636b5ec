//! What the two versions of ICMP have in common.

use lb_common::{Flow, FlowKey};

use crate::checksum::Difference;
use crate::{Family, Packet};

/// A rejected packet that may be answered.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Transport protocol.
    pub protocol: u8,
    /// Offset of the transport header from the start of the packet.
    pub l4: u8,
    /// Length from the IP header on, bytes.
    pub length: u16,
}

/// Sums that the checksum of an error is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// Of the pseudo header.
    pub pseudo_header: Difference,
    /// Of the quoted IP header.
    pub quoted: Difference,
}

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The hop limit reached zero.
    TimeExceeded,
    /// The packet is larger than this MTU, bytes.
    TooBig(u32),
    /// Nobody serves the port.
    PortUnreachable,
}

/// The IP header around an ICMP message, beside its addresses: in one register, as what a BPF function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Outer(u32);

impl Outer {
    /// TTL or hop limit, type of service or traffic class, and the length from the IP header on, bytes.
    #[inline(always)]
    pub fn new(hop_limit: u8, traffic_class: u8, length: u16) -> Self {
        Self(u32::from(length) << 16 | u32::from(traffic_class) << 8 | u32::from(hop_limit))
    }

    /// TTL or hop limit.
    #[inline(always)]
    pub const fn hop_limit(self) -> u8 {
        self.0 as u8
    }

    /// Type of service or traffic class.
    #[inline(always)]
    pub const fn traffic_class(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Length from the IP header on, bytes.
    #[inline(always)]
    pub const fn length(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// An address family, and its ICMP.
pub trait IcmpFamily: Family {
    /// IP protocol number of ICMP.
    const PROTOCOL: u8;
    /// Length of an IP header without options, bytes.
    const HEADER_BYTES: u8;
    /// Type of an echo request.
    const ECHO_REQUEST: u8;
    /// Type of an echo reply.
    const ECHO_REPLY: u8;

    /// Whether messages of this type are errors, to which there is never an answer.
    fn is_error(kind: u8) -> bool;

    /// Whether messages of this type are errors that end-points of a flow must see.
    fn concerns_flow(kind: u8) -> bool;

    /// Type, code, and the last four bytes of the ICMP header.
    fn message(answer: Answer) -> (u8, u8, [u8; 4]);

    /// The packet at `l3`, unless its IP header forbids an answer: a fragment that is not the first, an address that is
    /// not one of a single machine, or more headers than an answer quotes.
    fn subject<P: Packet>(packet: &mut P, l3: u8) -> Option<Subject>;

    /// Writes an IP header at `l3` for an ICMP message that quotes `quote` bytes, from the destination of the packet at
    /// `quoted` to its source.
    fn write_header<P: Packet>(packet: &mut P, l3: u8, quoted: u8, quote: u8) -> Option<Sums>;

    /// Turns the IP header of an echo request into that of its reply. `None`, and nothing changed, for a request that is
    /// not whole, or not from a single machine.
    fn turn<P: Packet>(packet: &mut P, l3: u8, l4: u8) -> Option<()>;

    /// Reads the IP header at `at` of a packet that an error quotes. Fills in addresses and protocol of `reply`, the key
    /// of packets of the other direction, and gives the header's length. `None` when no transport header follows.
    fn read_quoted<P: Packet>(packet: &mut P, at: usize, reply: &mut FlowKey<Self::Address>) -> Option<u8>;

    /// Reads the IP header at `l3`. `None` for a fragment, and for a packet that is not for `destination`.
    fn read_outer<P: Packet>(packet: &mut P, l3: u8, destination: &Self::Address) -> Option<Outer>;

    /// Gives the quoted packet at `at` the addresses of the other direction of `flow`, which differ by `change`. Gives
    /// the change of the header beside that.
    fn write_quoted<P: Packet>(
        packet: &mut P,
        at: usize,
        flow: &Flow<Self::Address>,
        change: Difference,
    ) -> Option<Difference>;

    /// How the pseudo header of an error to `reply.destination` changes, when the addresses of both ends change by `change`,
    /// and the error's source becomes what `reply.source` becomes.
    fn pseudo_header<P: Packet>(
        packet: &mut P,
        l3: u8,
        reply: &FlowKey<Self::Address>,
        change: Difference,
    ) -> Difference;

    /// Gives the IP header at `l3` the addresses of `flow`, and lowers the hop limit by `hops`.
    fn write_outer<P: Packet>(packet: &mut P, l3: u8, flow: &Flow<Self::Address>, hops: u8) -> Option<()>;
}
