//! What the engine's tests share: an independent judge of packets, and each test for both families.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]
#![allow(dead_code, unused_imports, reason = "each test is its own crate and uses a part")]
#![allow(unreachable_pub, reason = "a module of tests has no other users")]
#![allow(clippy::allow_attributes, reason = "`expect` would fail where a test does use all")]

pub mod errors;
pub mod icmp;

use std::net::IpAddr;

use etherparse::{LinkHeader, LinkSlice, NetSlice, SlicedPacket, TransportSlice};
use lb_common::{Flow, FlowKey};
use lb_ebpf::memory::{BufferPacket, Segment};
use zerocopy::FromBytes;

pub use self::icmp::*;
pub use lb_ebpf::memory::network::*;

/// A segment from `client` to VIP 1.
pub fn segment<F: Net>(protocol: u8, client: (u16, u16)) -> Segment<F> {
    Segment::new(key::<F>(protocol, client, 1), b"payload")
}

/// The reply to `packet`: its 5-tuple turned round, with a payload of its own.
pub fn reply_to<F: Net>(packet: &BufferPacket) -> Segment<F> {
    let seen = Seen::of(packet);
    let key = key_of::<F>(&seen);
    let turned = FlowKey {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        ..key
    };
    Segment::new(turned, b"reply payload")
}

/// The 5-tuple of a packet.
pub fn key_of<F: Net>(seen: &Seen) -> FlowKey<F::Address> {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => F::Address::read_from_bytes(&ip.octets()[..]).ok(),
        IpAddr::V6(ip) => F::Address::read_from_bytes(&ip.octets()[..]).ok(),
    };
    FlowKey {
        source: address(seen.source.0).expect("the packet is of the family"),
        destination: address(seen.destination.0).expect("the packet is of the family"),
        source_port: seen.source.1.to_be_bytes(),
        destination_port: seen.destination.1.to_be_bytes(),
        protocol: seen.protocol,
        pad: 0,
        pad_end: 0,
    }
}

/// A packet as another implementation reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub ethernet: ([u8; 6], [u8; 6]),
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub protocol: u8,
    pub hop_limit: u8,
    pub payload: Vec<u8>,
    /// The UDP checksum as sent; zero for TCP.
    pub udp_checksum: u16,
}

impl Seen {
    /// Reads a packet, and panics unless its lengths and all its checksums are right.
    pub fn of(packet: &BufferPacket) -> Self {
        let sliced = SlicedPacket::from_ethernet(packet.bytes()).expect("a well-formed packet");
        let ethernet = sliced.link.as_ref().and_then(LinkSlice::to_header).and_then(LinkHeader::ethernet2);
        let ethernet = ethernet.expect("an Ethernet frame");
        let (addresses, hop_limit): ((IpAddr, IpAddr), u8) = match sliced.net.as_ref().expect("an IP packet")
        {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
                (
                    (ip.header().source_addr().into(), ip.header().destination_addr().into()),
                    header.time_to_live,
                )
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                ((header.source_addr().into(), header.destination_addr().into()), header.hop_limit())
            }
            NetSlice::Arp(_) => panic!("not IP"),
        };
        let (ports, protocol, payload, udp_checksum) = transport(&sliced, addresses);
        Self {
            ethernet: (ethernet.source, ethernet.destination),
            source: (addresses.0, ports.0),
            destination: (addresses.1, ports.1),
            protocol,
            hop_limit,
            payload,
            udp_checksum,
        }
    }
}

fn transport(sliced: &SlicedPacket<'_>, addresses: (IpAddr, IpAddr)) -> ((u16, u16), u8, Vec<u8>, u16) {
    match sliced.transport.as_ref().expect("a transport header") {
        TransportSlice::Tcp(tcp) => {
            let (header, payload) = (tcp.to_header(), tcp.payload());
            let sum = match addresses {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload)
                }
                mixed => panic!("{mixed:?}"),
            };
            assert_eq!(header.checksum, sum.expect("a short segment"), "TCP checksum");
            ((header.source_port, header.destination_port), 6, payload.to_vec(), 0)
        }
        TransportSlice::Udp(udp) => {
            let (header, payload) = (udp.to_header(), udp.payload());
            let sum = match addresses {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload)
                }
                mixed => panic!("{mixed:?}"),
            };
            if header.checksum != 0 {
                assert_eq!(header.checksum, sum.expect("a short datagram"), "UDP checksum");
            }
            ((header.source_port, header.destination_port), 17, payload.to_vec(), header.checksum)
        }
        other => panic!("{other:?}"),
    }
}

/// The packet with VLAN tags in front of its IP header.
pub fn tagged(packet: &BufferPacket, ethertypes: &[[u8; 2]]) -> BufferPacket {
    let (link, ip) = packet.bytes().split_at(12);
    let tags: Vec<u8> = ethertypes.iter().flat_map(|kind| [kind[0], kind[1], 0x20, 100]).collect();
    BufferPacket::new(&[link, &tags, ip].concat())
}

/// The packet with extension headers behind its IPv6 header: (number, bytes behind the first two).
pub fn extended(packet: &BufferPacket, headers: &[(u8, &[u8])]) -> BufferPacket {
    let mut bytes = packet.bytes().to_vec();
    for (number, rest) in headers.iter().rev() {
        let next = bytes[20];
        bytes[20] = *number;
        let words = ((2 + rest.len()) / 8 - 1) as u8;
        let header = [&[next, if *number == 44 { 0 } else { words }][..], rest].concat();
        let length = u16::from_be_bytes([bytes[18], bytes[19]]) + header.len() as u16;
        bytes[18..20].copy_from_slice(&length.to_be_bytes());
        bytes.splice(54..54, header);
    }
    BufferPacket::new(&bytes)
}

/// The packet in two fragments of which the first has `at` bytes of the IP packet's content, a multiple of eight.
pub fn fragments(packet: &BufferPacket, at: usize) -> [BufferPacket; 2] {
    let bytes = packet.bytes();
    if bytes[12] == 0x08 {
        return [(0, at), (at, bytes.len() - 34)].map(|(from, to)| {
            let mut header = bytes[..34].to_vec();
            header[16..18].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
            let field = (from / 8) as u16 | if from == 0 { 0x2000 } else { 0 };
            header[20..22].copy_from_slice(&field.to_be_bytes());
            header[24..26].copy_from_slice(&[0, 0]);
            let sum = header[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum = sum.sum::<u32>();
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
            header[24..26].copy_from_slice(&sum.to_be_bytes());
            BufferPacket::new(&[&header, &bytes[34 + from..34 + to]].concat())
        });
    }
    [(0, at), (at, bytes.len() - 54)].map(|(from, to)| {
        let part = BufferPacket::new(&[&bytes[..54], &bytes[54 + from..54 + to]].concat());
        let mut part = part.bytes().to_vec();
        part[18..20].copy_from_slice(&((to - from) as u16).to_be_bytes());
        let [high, low] = (from as u16 | u16::from(from == 0)).to_be_bytes();
        extended(&BufferPacket::new(&part), &[(44, &[high, low, 1, 2, 3, 4])])
    })
}

/// Source and destination address as an IP header has them, at an offset of the link header's length.
pub fn addresses(packet: &BufferPacket) -> (IpAddr, IpAddr) {
    let sliced = SlicedPacket::from_ethernet(packet.bytes()).expect("a well-formed packet");
    match sliced.net.as_ref().expect("an IP packet") {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => panic!("not IP"),
    }
}

/// Runs a generic test for both families and both protocols.
#[macro_export]
macro_rules! for_all {
    ($test:ident) => {
        mod $test {
            use lb_ebpf::{V4, V6};

            #[test]
            fn ipv4_tcp() {
                super::$test::<V4>(6);
            }
            #[test]
            fn ipv4_udp() {
                super::$test::<V4>(17);
            }
            #[test]
            fn ipv6_tcp() {
                super::$test::<V6>(6);
            }
            #[test]
            fn ipv6_udp() {
                super::$test::<V6>(17);
            }
        }
    };
}

/// The flow entry for packets like `packet`.
pub fn flow_of<F: Net>(node: &mut Node, packet: &BufferPacket) -> Option<Flow<F::Address>> {
    F::tables(&mut node.maps).flows.get(&key_of::<F>(&Seen::of(packet))).copied()
}
