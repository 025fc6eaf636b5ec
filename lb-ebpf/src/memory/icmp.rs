//! Building ICMP messages.

use lb_common::{FlowKey, protocol};
use zerocopy::IntoBytes;

use crate::headers::{Ethernet, Icmp};
use crate::icmp::IcmpFamily;
use crate::memory::segment::checksum;
use crate::memory::{BufferPacket, InMemory, Segment};

/// An ICMP message by its fields. The checksums of what it builds are computed from all bytes.
#[derive(Clone, Debug)]
pub struct Message<F: InMemory> {
    /// The IP header; its ports and its payload have no use.
    pub ip: Segment<F>,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What follows the checksum in the header.
    pub rest: [u8; 4],
    /// What follows the header.
    pub body: Vec<u8>,
}

impl<F: InMemory + IcmpFamily> Message<F> {
    /// A message with code 0.
    pub fn new(source: F::Address, destination: F::Address, kind: u8, body: &[u8]) -> Self {
        let key = FlowKey { source, destination, protocol: F::PROTOCOL, ..FlowKey::EMPTY };
        Self { ip: Segment::new(key, &[]), kind, code: 0, rest: [0; 4], body: body.to_vec() }
    }

    /// An error about `packet` that quotes at most `quote` bytes of it.
    pub fn about(
        packet: &BufferPacket,
        source: F::Address,
        destination: F::Address,
        kind: u8,
        quote: usize,
    ) -> Self {
        let ip = packet.bytes().get(size_of::<Ethernet>()..).unwrap_or_default();
        Self::new(source, destination, kind, ip.get(..quote).unwrap_or(ip))
    }

    /// The bytes of the packet.
    pub fn build(&self) -> BufferPacket {
        let key = &self.ip.key;
        let icmp = Icmp { kind: self.kind, code: self.code, checksum: [0; 2], rest: self.rest };
        let length = (size_of::<Icmp>() + self.body.len()) as u16;
        let next = [[0, protocol::ICMPV6], length.to_be_bytes()].concat();
        let message = [icmp.as_bytes(), &self.body].concat();
        let sum = if F::PROTOCOL == protocol::ICMPV6 {
            checksum(&[key.source.as_bytes(), key.destination.as_bytes(), &next, &message])
        } else {
            checksum(&[&message])
        };
        let frame = self.ip.build();
        let ethernet = frame.bytes().get(..size_of::<Ethernet>()).unwrap_or_default();
        let icmp = Icmp { checksum: sum, ..icmp };
        BufferPacket::new(&[ethernet, &F::header(&self.ip, length), icmp.as_bytes(), &self.body].concat())
    }
}
