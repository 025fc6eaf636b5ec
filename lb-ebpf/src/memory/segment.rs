//! Building packets: a TCP segment or UDP datagram in an IP packet in an Ethernet frame.

use lb_common::{FlowKey, protocol};
use zerocopy::IntoBytes;

use crate::headers::{Ethernet, Ports, Tcp, TcpFlags, Udp};
use crate::memory::network::SOURCE;
use crate::memory::{BufferPacket, InMemory};

/// A packet by its fields. The checksums of what it builds are computed from all bytes.
#[derive(Clone, Debug)]
pub struct Segment<F: InMemory> {
    /// Addresses, ports and protocol.
    pub key: FlowKey<F::Address>,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type of service or traffic class.
    pub traffic_class: u8,
    /// IPv4 options in 32-bit words, at most 10. No use for IPv6.
    pub option_words: u8,
    /// IPv4 flags and fragment offset. No use for IPv6.
    pub fragment: u16,
    /// See [`TcpFlags`]. No use for UDP.
    pub flags: u8,
    /// UDP: whether the checksum is left out.
    pub no_checksum: bool,
    /// What the segment carries.
    pub payload: Vec<u8>,
}

impl<F: InMemory> Segment<F> {
    /// A segment with usual fields: a TCP one acknowledges.
    pub fn new(key: FlowKey<F::Address>, payload: &[u8]) -> Self {
        Self {
            key,
            hop_limit: 64,
            traffic_class: 0,
            option_words: 0,
            fragment: 0x4000,
            flags: TcpFlags::ACK,
            no_checksum: false,
            payload: payload.to_vec(),
        }
    }

    /// The segment with other TCP flags.
    #[must_use]
    pub fn with_flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// The bytes of the packet.
    pub fn build(&self) -> BufferPacket {
        let transport = self.transport();
        let ethernet = Ethernet { destination: SOURCE, source: [2, 0, 0, 0, 0, 2], ethertype: F::ETHERTYPE };
        let header = F::header(self, transport.len() as u16);
        BufferPacket::new(&[ethernet.as_bytes(), &header, &transport].concat())
    }

    /// The transport header and the payload.
    fn transport(&self) -> Vec<u8> {
        let ports = Ports { source: self.key.source_port, destination: self.key.destination_port };
        if self.key.protocol == protocol::UDP {
            let length = ((size_of::<Udp>() + self.payload.len()) as u16).to_be_bytes();
            let udp = Udp { ports, length, checksum: [0; 2] };
            let checksum = match self.checksum(udp.as_bytes()) {
                _ if self.no_checksum => [0; 2],
                [0, 0] => [0xff, 0xff],
                sum => sum,
            };
            return [Udp { checksum, ..udp }.as_bytes(), &self.payload].concat();
        }
        let tcp = Tcp {
            ports,
            sequence: [0, 0, 1, 2],
            acknowledgement: [0, 0, 3, 4],
            data_offset: 5 << 4,
            flags: self.flags,
            window: [0x10, 0],
            checksum: [0; 2],
            urgent: [0; 2],
        };
        let checksum = self.checksum(tcp.as_bytes());
        [Tcp { checksum, ..tcp }.as_bytes(), &self.payload].concat()
    }

    /// The checksum over the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1), `header` and the payload.
    fn checksum(&self, header: &[u8]) -> [u8; 2] {
        let length = (header.len() + self.payload.len()) as u16;
        let rest = [[0, self.key.protocol], length.to_be_bytes()].concat();
        checksum(&[self.key.source.as_bytes(), self.key.destination.as_bytes(), &rest, header, &self.payload])
    }
}

/// The Internet checksum over `parts`, of which all but the last have an even length (RFC 1071 section 4.1).
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let high = pair.first().copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([high, pair.get(1).copied().unwrap_or(0)]));
        }
        sum = (sum & 0xffff) + (sum >> 16);
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
