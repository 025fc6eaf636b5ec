//! The packet that a question is about, as bytes.

use lb_common::{FlowKey, protocol};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::memory::{BufferPacket, Segment};

use super::family::Family;

/// SCTP INIT (RFC 9260 section 3.3.2): a chunk of 20 bytes with the usual window and one stream each way.
const INIT: [u8; 20] = [1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1];
/// SCTP HEARTBEAT (RFC 9260 section 3.3.5) of 8 bytes: a chunk of an association that is open.
const HEARTBEAT: [u8; 8] = [4, 0, 0, 8, 0, 1, 0, 4];

/// A packet of `key`: the one that opens a connection, or one from the middle of it. Datagrams know no difference.
pub(super) fn packet<F: Family>(key: FlowKey<F::Address>, opens: bool) -> BufferPacket {
    let segment = Segment::<F>::new(key, b"weir");
    match key.protocol {
        protocol::TCP if opens => {
            Segment { payload: Vec::new(), ..segment.with_flags(TcpFlags::SYN) }.build()
        }
        protocol::SCTP => sctp(&segment, opens),
        _ => segment.build(),
    }
}

/// The frame of `segment` with an SCTP packet in place of what it carries. The checksum is zero: only the two ends of
/// an association look at it.
fn sctp<F: Family>(segment: &Segment<F>, opens: bool) -> BufferPacket {
    let (tag, chunk): ([u8; 4], &[u8]) = if opens { ([0; 4], &INIT) } else { ([0, 0, 0, 1], &HEARTBEAT) };
    let key = &segment.key;
    let transport = [&key.source_port[..], &key.destination_port, &tag, &[0; 4], chunk].concat();
    let header = F::header(segment, u16::try_from(transport.len()).unwrap_or(u16::MAX));
    // The link header is the same whatever follows.
    let frame = segment.build();
    let ethernet = frame.bytes().get(..lb_ebpf::headers::ETHERNET_BYTES).unwrap_or_default();
    BufferPacket::new(&[ethernet, &header, &transport].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_ebpf::{V4, V6};

    fn key<F: Family>(protocol: u8, source: &str, destination: &str) -> FlowKey<F::Address> {
        let address = |text: &str| F::address(text.parse().unwrap()).unwrap();
        FlowKey {
            source: address(source),
            destination: address(destination),
            source_port: [0x12, 0x34],
            destination_port: [0, 80],
            protocol,
            ..FlowKey::EMPTY
        }
    }

    #[test]
    fn an_sctp_packet_opens_with_an_init_of_tag_zero() {
        let key = key::<V4>(protocol::SCTP, "192.0.2.1", "198.51.100.1");
        let opening = packet::<V4>(key, true);
        assert_eq!(opening.bytes().len(), 14 + 20 + 12 + 20);
        assert_eq!(opening.bytes()[16..18], [0, 52]);
        assert_eq!(opening.bytes()[34..46], [0x12, 0x34, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(opening.bytes()[46], 1);
        let later = packet::<V4>(key, false);
        assert_eq!((&later.bytes()[38..42], later.bytes()[46]), (&[0, 0, 0, 1][..], 4));
    }

    #[test]
    fn a_tcp_packet_opens_with_a_syn_alone() {
        let key = key::<V6>(protocol::TCP, "2001:db8::1", "2001:db8::2");
        let flags = |opens| packet::<V6>(key, opens).bytes()[14 + 40 + 13];
        assert_eq!((flags(true), flags(false)), (TcpFlags::SYN, TcpFlags::ACK));
    }
}
