//! What memory needs to know of an address family beyond what the engine does.

use std::net::IpAddr;

use zerocopy::IntoBytes;

use crate::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, Ipv6};
use crate::memory::{MemoryMaps, Segment, Tables};
use crate::{Family, V4, V6};

/// A family whose tables are in memory and whose packets can be built.
pub trait InMemory: Family {
    /// EtherType of its packets.
    const ETHERTYPE: [u8; 2];

    /// The tables of this family.
    fn tables(maps: &mut MemoryMaps) -> &mut Tables<Self>;

    /// An address as the standard library has it.
    fn ip(address: &Self::Address) -> IpAddr;

    /// The IP header of `segment` with its options, for `length` bytes of transport header and payload.
    fn header(segment: &Segment<Self>, length: u16) -> Vec<u8>;
}

impl InMemory for V4 {
    const ETHERTYPE: [u8; 2] = ETHERTYPE_IPV4;

    fn tables(maps: &mut MemoryMaps) -> &mut Tables<Self> {
        &mut maps.v4
    }

    fn ip(address: &[u8; 4]) -> IpAddr {
        IpAddr::from(*address)
    }

    fn header(segment: &Segment<Self>, length: u16) -> Vec<u8> {
        let bytes = size_of::<Ipv4>() as u16 + u16::from(segment.option_words) * 4;
        let header = Ipv4 {
            version_ihl: 0x45 + segment.option_words,
            tos: segment.traffic_class,
            total_length: bytes.saturating_add(length).to_be_bytes(),
            identification: [0x12, 0x34],
            fragment: segment.fragment.to_be_bytes(),
            ttl: segment.hop_limit,
            protocol: segment.key.protocol,
            checksum: [0; 2],
            source: segment.key.source,
            destination: segment.key.destination,
        };
        let mut raw = header.as_bytes().to_vec();
        // No-operation options, RFC 791 section 3.1.
        raw.resize(usize::from(bytes), 1);
        let checksum = super::segment::checksum(&[&raw]);
        Ipv4 { checksum, ..header }.write_to_prefix(&mut raw).expect("the buffer holds a header");
        raw
    }
}

impl InMemory for V6 {
    const ETHERTYPE: [u8; 2] = ETHERTYPE_IPV6;

    fn tables(maps: &mut MemoryMaps) -> &mut Tables<Self> {
        &mut maps.v6
    }

    fn ip(address: &[u8; 16]) -> IpAddr {
        IpAddr::from(*address)
    }

    fn header(segment: &Segment<Self>, length: u16) -> Vec<u8> {
        let class = segment.traffic_class;
        let header = Ipv6 {
            version_class_label: [0x60 | (class >> 4), class << 4, 0x56, 0x78],
            payload_length: length.to_be_bytes(),
            next_header: segment.key.protocol,
            hop_limit: segment.hop_limit,
            source: segment.key.source,
            destination: segment.key.destination,
        };
        header.as_bytes().to_vec()
    }
}
