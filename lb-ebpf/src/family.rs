//! The two address families, reduced to what the engine needs to know of them.

use core::fmt::Debug;

use lb_common::{Address, FlowKey, Outcome, Settings};

use crate::Packet;
use crate::checksum::Difference;
use crate::headers::{ETHERNET_BYTES, Ipv4, Ipv6};

/// What an IP header says beside the addresses and the protocol, alike for both families.
#[derive(Clone, Copy, Debug)]
pub struct IpFields {
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type of service or traffic class.
    pub traffic_class: u8,
    /// Length from the IP header on, bytes.
    pub length: u16,
    /// Offset of the transport header from the start of the packet; at most 74. One byte, so that the verifier knows
    /// a bound of it even where it was kept on the stack.
    pub l4: u8,
}

impl IpFields {
    /// All zero: a place for the fields.
    pub const EMPTY: Self = Self { hop_limit: 0, traffic_class: 0, length: 0, l4: 0 };
}

/// An address family.
pub trait Family: Copy + Debug + 'static {
    /// Its addresses.
    type Address: Address;

    /// Reads the IP header behind the Ethernet header, or says why the packet is not for the engine. Fills in the
    /// addresses and the protocol of `key`.
    fn read<P: Packet>(packet: &mut P, key: &mut FlowKey<Self::Address>) -> Result<IpFields, Outcome>;

    /// Writes addresses and lowers the hop limit by `hops`, keeping a header checksum right.
    fn write<P: Packet>(
        packet: &mut P,
        source: Self::Address,
        destination: Self::Address,
        hops: u8,
    ) -> Option<()>;

    /// The node's own address for translated sources.
    fn snat(settings: &Settings) -> Self::Address;
}

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub struct V6;

impl Family for V4 {
    type Address = [u8; 4];

    #[inline(always)]
    fn read<P: Packet>(packet: &mut P, key: &mut FlowKey<[u8; 4]>) -> Result<IpFields, Outcome> {
        let ip = packet.header::<Ipv4>(ETHERNET_BYTES).ok_or(Outcome::Malformed)?;
        // Header length in bytes: the mask bounds it for the verifier, 20..=60 in any valid packet.
        let header = usize::from(ip.version_ihl & 0x0f) * 4;
        let length = u16::from_be_bytes(ip.total_length);
        if ip.version_ihl >> 4 != 4 || header < size_of::<Ipv4>() || usize::from(length) < header {
            return Err(Outcome::Malformed);
        }
        // More fragments, or an offset.
        if u16::from_be_bytes(ip.fragment) & 0x3fff != 0 {
            return Err(Outcome::Fragment);
        }
        key.source = ip.source;
        key.destination = ip.destination;
        key.protocol = ip.protocol;
        Ok(IpFields { hop_limit: ip.ttl, traffic_class: ip.tos, length, l4: (ETHERNET_BYTES + header) as u8 })
    }

    #[inline(always)]
    fn write<P: Packet>(packet: &mut P, source: [u8; 4], destination: [u8; 4], hops: u8) -> Option<()> {
        let ip = packet.header::<Ipv4>(ETHERNET_BYTES)?;
        let old = [ip.ttl, ip.protocol];
        ip.ttl = ip.ttl.saturating_sub(hops);
        let change = Difference::default()
            .address(&ip.source, &source)
            .address(&ip.destination, &destination)
            .word(old, [ip.ttl, ip.protocol]);
        ip.checksum = change.apply(ip.checksum);
        ip.source = source;
        ip.destination = destination;
        Some(())
    }

    #[inline(always)]
    fn snat(settings: &Settings) -> [u8; 4] {
        settings.snat4
    }
}

impl Family for V6 {
    type Address = [u8; 16];

    #[inline(always)]
    fn read<P: Packet>(packet: &mut P, key: &mut FlowKey<[u8; 16]>) -> Result<IpFields, Outcome> {
        let ip = packet.header::<Ipv6>(ETHERNET_BYTES).ok_or(Outcome::Malformed)?;
        let [first, second, ..] = ip.version_class_label;
        if first >> 4 != 6 {
            return Err(Outcome::Malformed);
        }
        match ip.next_header {
            // Hop-by-hop options, routing, fragment, authentication, destination options (RFC 8200 section 4).
            0 | 43 | 51 | 60 => return Err(Outcome::ExtensionHeader),
            44 => return Err(Outcome::Fragment),
            _ => {}
        }
        key.source = ip.source;
        key.destination = ip.destination;
        key.protocol = ip.next_header;
        Ok(IpFields {
            hop_limit: ip.hop_limit,
            traffic_class: (first << 4) | (second >> 4),
            // A payload length of 0 with a next header is a jumbogram (RFC 2675), which Ethernet cannot carry.
            length: u16::from_be_bytes(ip.payload_length).saturating_add(size_of::<Ipv6>() as u16),
            l4: (ETHERNET_BYTES + size_of::<Ipv6>()) as u8,
        })
    }

    #[inline(always)]
    fn write<P: Packet>(packet: &mut P, source: [u8; 16], destination: [u8; 16], hops: u8) -> Option<()> {
        let ip = packet.header::<Ipv6>(ETHERNET_BYTES)?;
        ip.hop_limit = ip.hop_limit.saturating_sub(hops);
        ip.source = source;
        ip.destination = destination;
        Some(())
    }

    #[inline(always)]
    fn snat(settings: &Settings) -> [u8; 16] {
        settings.snat6
    }
}
