//! The two address families, reduced to what the engine needs to know of them.

use core::fmt::Debug;

use lb_common::{Address, FlowKey, Outcome, Settings, SettingsFlags};

use crate::Packet;
use crate::checksum::Difference;
use crate::headers::{Extension, Ipv4, Ipv6};

/// What an IP header says beside the addresses and the protocol, alike for both families.
#[derive(Clone, Copy, Debug)]
pub struct IpFields {
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type of service or traffic class.
    pub traffic_class: u8,
    /// Length from the IP header on, bytes.
    pub length: u16,
    /// Offset of the IP header from the start of the packet: 14, or more behind VLAN tags.
    pub l3: u8,
    /// Offset of the transport header from the start of the packet. One byte, so that the verifier knows a bound of it
    /// even where it was kept in memory.
    pub l4: u8,
}

impl IpFields {
    /// All zero: a place for the fields.
    pub const EMPTY: Self = Self { hop_limit: 0, traffic_class: 0, length: 0, l3: 0, l4: 0 };
}

/// IPv6 extension headers that are walked at most; hosts send one or two.
const EXTENSIONS_MAX: u32 = 6;
/// Largest offset of a transport header.
const L4_MAX: u16 = 230;
/// Next header of a fragment.
const FRAGMENT: u8 = 44;
/// Next header of IPsec authentication.
const AUTHENTICATION: u8 = 51;

/// Which part of its datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Identification of the datagram.
    pub identification: [u8; 4],
    /// 0 whole, 1 the first fragment, 2 a later one.
    kind: u8,
}

impl Part {
    /// The whole of it.
    pub const WHOLE: Self = Self { identification: [0; 4], kind: 0 };

    /// From the fragment field of a header, without the bits that mean neither offset nor "more fragments".
    #[inline(always)]
    const fn new(field: u16, more: u16, identification: [u8; 4]) -> Self {
        let kind = match field {
            0 => 0,
            field if field == more => 1,
            _ => 2,
        };
        Self { identification, kind }
    }

    /// Makes it the whole, of which the identification says nothing.
    #[inline(always)]
    pub(crate) const fn set_whole(&mut self) {
        self.kind = Self::WHOLE.kind;
    }

    /// Whether it is no fragment.
    #[inline(always)]
    pub const fn is_whole(self) -> bool {
        self.kind == 0
    }

    /// Whether it is a fragment that begins with the transport header.
    #[inline(always)]
    pub const fn is_first(self) -> bool {
        self.kind == 1
    }

    /// Whether it is a fragment without transport header.
    #[inline(always)]
    pub const fn is_later(self) -> bool {
        self.kind == 2
    }
}

/// An address family.
pub trait Family: Copy + Debug + 'static {
    /// Its addresses.
    type Address: Address;

    /// The flag of [`Settings::flags`] by which NodePorts are served at its loopback addresses.
    const LOOPBACK: u32;

    /// Reads the IP header at `l3`. Fills in the addresses and the protocol of `key`; the protocol is that of the header
    /// that follows, which for IPv6 may be an extension header.
    fn read<P: Packet>(
        packet: &mut P,
        l3: u8,
        key: &mut FlowKey<Self::Address>,
    ) -> Result<(IpFields, Part), Outcome>;

    /// Walks what may stand between the IP header and the transport header, with a bound: IPv6 extension headers. Moves
    /// `ip.l4` and `key.protocol` to the transport header.
    fn walk<P: Packet>(
        packet: &mut P,
        key: &mut FlowKey<Self::Address>,
        ip: &mut IpFields,
        part: &mut Part,
    ) -> Result<(), Outcome>;

    /// Whether the header that [`Self::read`] found is one that [`Self::walk`] walks over.
    fn is_extension(protocol: u8) -> bool;

    /// Writes addresses into the header at `l3` and lowers the hop limit by `hops`, keeping a header checksum right.
    fn write<P: Packet>(
        packet: &mut P,
        l3: u8,
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

    const LOOPBACK: u32 = SettingsFlags::LOOPBACK4;

    #[inline(always)]
    fn read<P: Packet>(
        packet: &mut P,
        l3: u8,
        key: &mut FlowKey<[u8; 4]>,
    ) -> Result<(IpFields, Part), Outcome> {
        let ip = packet.header::<Ipv4>(usize::from(l3)).ok_or(Outcome::Malformed)?;
        // Header length in bytes: the mask bounds it for the verifier, 20..=60 in any valid packet.
        let header = usize::from(ip.version_ihl & 0x0f) * 4;
        let length = u16::from_be_bytes(ip.total_length);
        if ip.version_ihl >> 4 != 4 || header < size_of::<Ipv4>() || usize::from(length) < header {
            return Err(Outcome::Malformed);
        }
        key.source = ip.source;
        key.destination = ip.destination;
        key.protocol = ip.protocol;
        let [high, low] = ip.identification;
        let part = Part::new(u16::from_be_bytes(ip.fragment) & 0x3fff, 0x2000, [high, low, 0, 0]);
        let l4 = l3 + header as u8;
        Ok((IpFields { hop_limit: ip.ttl, traffic_class: ip.tos, length, l3, l4 }, part))
    }

    #[inline(always)]
    fn walk<P: Packet>(
        _: &mut P,
        _: &mut FlowKey<[u8; 4]>,
        _: &mut IpFields,
        _: &mut Part,
    ) -> Result<(), Outcome> {
        Ok(())
    }

    #[inline(always)]
    fn is_extension(_: u8) -> bool {
        false
    }

    #[inline(always)]
    fn write<P: Packet>(
        packet: &mut P,
        l3: u8,
        source: [u8; 4],
        destination: [u8; 4],
        hops: u8,
    ) -> Option<()> {
        let ip = packet.header::<Ipv4>(usize::from(l3))?;
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

    const LOOPBACK: u32 = SettingsFlags::LOOPBACK6;

    #[inline(always)]
    fn read<P: Packet>(
        packet: &mut P,
        l3: u8,
        key: &mut FlowKey<[u8; 16]>,
    ) -> Result<(IpFields, Part), Outcome> {
        let ip = packet.header::<Ipv6>(usize::from(l3)).ok_or(Outcome::Malformed)?;
        let [first, second, ..] = ip.version_class_label;
        if first >> 4 != 6 {
            return Err(Outcome::Malformed);
        }
        key.source = ip.source;
        key.destination = ip.destination;
        key.protocol = ip.next_header;
        let ip = IpFields {
            hop_limit: ip.hop_limit,
            traffic_class: (first << 4) | (second >> 4),
            // A payload length of 0 with a next header is a jumbogram (RFC 2675), which Ethernet cannot carry.
            length: u16::from_be_bytes(ip.payload_length).saturating_add(size_of::<Ipv6>() as u16),
            l3,
            l4: l3 + size_of::<Ipv6>() as u8,
        };
        Ok((ip, Part::WHOLE))
    }

    #[inline(always)]
    fn walk<P: Packet>(
        packet: &mut P,
        key: &mut FlowKey<[u8; 16]>,
        ip: &mut IpFields,
        part: &mut Part,
    ) -> Result<(), Outcome> {
        for _ in 0..EXTENSIONS_MAX {
            if !Self::is_extension(key.protocol) {
                return Ok(());
            }
            let header = packet.header::<Extension>(usize::from(ip.l4)).ok_or(Outcome::Malformed)?;
            let words = u16::from(header.length);
            let bytes = match key.protocol {
                FRAGMENT => {
                    let offset = u16::from_be_bytes(header.fragment);
                    *part = Part::new(offset & 0xfff9, 1, header.identification);
                    8
                }
                // Its length counts words of four bytes, less two (RFC 4302 section 2.2).
                AUTHENTICATION => (words + 2) * 4,
                _ => (words + 1) * 8,
            };
            key.protocol = header.next_header;
            let l4 = u16::from(ip.l4) + bytes;
            // A transport header must still fit below the bound that one byte sets.
            if l4 > L4_MAX {
                return Err(Outcome::ExtensionHeader);
            }
            ip.l4 = l4 as u8;
            if part.is_later() {
                // What follows is the middle of something.
                return Ok(());
            }
        }
        if Self::is_extension(key.protocol) { Err(Outcome::ExtensionHeader) } else { Ok(()) }
    }

    /// Hop-by-hop options, routing, fragment, authentication, destination options (RFC 8200 section 4).
    #[inline(always)]
    fn is_extension(protocol: u8) -> bool {
        matches!(protocol, 0 | 43 | FRAGMENT | AUTHENTICATION | 60)
    }

    #[inline(always)]
    fn write<P: Packet>(
        packet: &mut P,
        l3: u8,
        source: [u8; 16],
        destination: [u8; 16],
        hops: u8,
    ) -> Option<()> {
        let ip = packet.header::<Ipv6>(usize::from(l3))?;
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
