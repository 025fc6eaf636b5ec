//! ICMP messages as another implementation reads them.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{LinkHeader, LinkSlice, NetSlice, SlicedPacket, TransportSlice};
use lb_ebpf::headers::{ETHERTYPE_QINQ, ETHERTYPE_VLAN};
use lb_ebpf::memory::BufferPacket;

/// An ICMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenMessage {
    /// Source and destination.
    pub ethernet: ([u8; 6], [u8; 6]),
    /// What stands between the Ethernet addresses and the IP header.
    pub tags: Vec<u8>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
    pub kind: u8,
    pub code: u8,
    pub rest: [u8; 4],
    pub body: Vec<u8>,
}

impl SeenMessage {
    /// Reads a packet, and panics unless its lengths and its checksums are right.
    pub fn of(packet: &BufferPacket) -> Self {
        let bytes = packet.bytes();
        let sliced = SlicedPacket::from_ethernet(bytes).expect("a well-formed packet");
        let ethernet = sliced.link.as_ref().and_then(LinkSlice::to_header).and_then(LinkHeader::ethernet2);
        let ethernet = ethernet.expect("an Ethernet frame");
        let tags = bytes[12..14 + 4 * sliced.link_exts.len()].to_vec();
        match (sliced.net.as_ref().expect("IP"), sliced.transport.as_ref().expect("ICMP")) {
            (NetSlice::Ipv4(ip), TransportSlice::Icmpv4(icmp)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
                let sum = Sum16BitWords::new().add_slice(icmp.slice()).ones_complement();
                assert_eq!(sum, 0, "ICMP checksum");
                Self {
                    ethernet: (ethernet.source, ethernet.destination),
                    tags,
                    source: ip.header().source_addr().into(),
                    destination: ip.header().destination_addr().into(),
                    hop_limit: header.time_to_live,
                    kind: icmp.type_u8(),
                    code: icmp.code_u8(),
                    rest: icmp.bytes5to8(),
                    body: icmp.slice()[8..].to_vec(),
                }
            }
            (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
                let header = ip.header();
                let addresses = (header.source_addr(), header.destination_addr());
                assert!(
                    icmp.is_checksum_valid(addresses.0.octets(), addresses.1.octets()),
                    "ICMPv6 checksum"
                );
                Self {
                    ethernet: (ethernet.source, ethernet.destination),
                    tags,
                    source: addresses.0.into(),
                    destination: addresses.1.into(),
                    hop_limit: header.hop_limit(),
                    kind: icmp.type_u8(),
                    code: icmp.code_u8(),
                    rest: icmp.bytes5to8(),
                    body: icmp.slice()[8..].to_vec(),
                }
            }
            other => panic!("no ICMP: {other:?}"),
        }
    }
}

/// EtherTypes of so many VLAN tags, at most two.
pub fn tags(count: usize) -> &'static [[u8; 2]] {
    match count {
        0 => &[],
        1 => &[ETHERTYPE_VLAN],
        _ => &[ETHERTYPE_QINQ, ETHERTYPE_VLAN],
    }
}

/// The bytes from the IP header on of a frame without tags.
pub fn ip_of(packet: &BufferPacket) -> &[u8] {
    &packet.bytes()[14..]
}

/// The frame cut to its first `length` bytes.
pub fn cut(packet: &BufferPacket, length: usize) -> BufferPacket {
    BufferPacket::new(&packet.bytes()[..length])
}

/// The frame with another byte.
pub fn with_byte(packet: &BufferPacket, at: usize, value: u8) -> BufferPacket {
    let mut bytes = packet.bytes().to_vec();
    bytes[at] = value;
    BufferPacket::new(&bytes)
}
