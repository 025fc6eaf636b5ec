//! First step: from bytes to a 5-tuple.

use lb_common::{FlowKey, Outcome, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::family::{IpFields, Part};
use crate::headers::{
    ETHERNET_BYTES, ETHERTYPE_QINQ, ETHERTYPE_VLAN, Ethernet, Sctp, Tcp, TcpFlags, Udp, Vlan,
};
use crate::{Family, Packet};

/// What the engine needs to know of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<F: Family> {
    /// The 5-tuple.
    pub(crate) key: FlowKey<F::Address>,
    /// The IP header's fields.
    pub(crate) ip: IpFields,
    /// TCP flags; zero for UDP; of SCTP chunks, the TCP flags that mean the same.
    pub(crate) flags: u8,
    /// Which part of its datagram the packet is.
    pub(crate) part: Part,
}

impl<F: Family> Parsed<F> {
    /// A place for a packet.
    pub(crate) const EMPTY: Self =
        Self { key: FlowKey::EMPTY, ip: IpFields::EMPTY, flags: 0, part: Part::WHOLE };

    /// The first segment of a connection, from the side that opens it. A segment that also ends it is none.
    #[inline(always)]
    pub(crate) fn opens(&self) -> bool {
        self.flags & (TcpFlags::SYN | TcpFlags::ACK | TcpFlags::FIN | TcpFlags::RST) == TcpFlags::SYN
    }

    /// A segment that ends a connection or one of its halves.
    #[inline(always)]
    pub(crate) fn closes(&self) -> bool {
        self.flags & (TcpFlags::FIN | TcpFlags::RST) != 0
    }

    /// A segment that resets a connection.
    #[inline(always)]
    pub(crate) fn resets(&self) -> bool {
        self.flags & TcpFlags::RST != 0
    }

    /// Whether VLAN tags stand before the IP header.
    #[inline(always)]
    pub(crate) fn is_tagged(&self) -> bool {
        usize::from(self.ip.l3) != ETHERNET_BYTES
    }
}

/// EtherType of a frame, and where what it names begins: behind at most two VLAN tags.
#[inline(always)]
pub(crate) fn link<P: Packet>(packet: &mut P) -> Option<([u8; 2], u8)> {
    let mut ethertype = packet.header::<Ethernet>(0)?.ethertype;
    let mut l3 = ETHERNET_BYTES;
    for _ in 0..2 {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        ethertype = packet.header::<Vlan>(l3)?.ethertype;
        l3 += size_of::<Vlan>();
    }
    Some((ethertype, l3 as u8))
}

/// Reads the headers of a usual packet: no tags, no extension headers, no fragment, TCP or UDP or SCTP. `Ok(false)` for
/// one that [`parse_any`] must read.
///
/// Fills a place that the caller has, because a large value that is returned is on the stack twice.
#[inline(always)]
pub(crate) fn parse<F: Family, P: Packet>(packet: &mut P, parsed: &mut Parsed<F>) -> Result<bool, Outcome> {
    let (ip, part) = F::read(packet, ETHERNET_BYTES as u8, &mut parsed.key)?;
    parsed.ip = ip;
    parsed.part = Part::WHOLE;
    if !part.is_whole() || F::is_extension(parsed.key.protocol) {
        return Ok(false);
    }
    transport(packet, parsed)
}

/// Reads the headers of any packet; where its IP header is stands in `parsed` already. `Ok(false)` where there are no ports: other protocols, and
/// fragments but the first. Of ICMP the offset of its header is then known.
#[inline(always)]
pub(crate) fn parse_any<F: Family, P: Packet>(
    packet: &mut P,
    parsed: &mut Parsed<F>,
) -> Result<bool, Outcome> {
    let (ip, part) = F::read(packet, parsed.ip.l3, &mut parsed.key)?;
    parsed.ip = ip;
    parsed.part = part;
    F::walk(packet, &mut parsed.key, &mut parsed.ip, &mut parsed.part)?;
    if parsed.part.is_later() {
        parsed.flags = 0;
        return Ok(false);
    }
    transport(packet, parsed)
}

/// Reads ports and flags. `Ok(false)` for a protocol without ports.
#[inline(always)]
fn transport<F: Family, P: Packet>(packet: &mut P, parsed: &mut Parsed<F>) -> Result<bool, Outcome> {
    let ports = match parsed.key.protocol {
        protocol::TCP => {
            let tcp = header::<Tcp, P>(packet, &parsed.ip)?;
            parsed.flags = tcp.flags;
            tcp.ports
        }
        protocol::UDP => {
            parsed.flags = 0;
            header::<Udp, P>(packet, &parsed.ip)?.ports
        }
        protocol::SCTP => {
            let sctp = header::<Sctp, P>(packet, &parsed.ip)?;
            parsed.flags = meaning(sctp.chunk);
            sctp.ports
        }
        _ => return Ok(false),
    };
    parsed.key.source_port = ports.source;
    parsed.key.destination_port = ports.destination;
    Ok(true)
}

/// The TCP flags that mean what an SCTP chunk does (RFC 9260 section 3.2): INIT opens, ABORT and SHUTDOWN COMPLETE end.
#[inline(always)]
const fn meaning(chunk: u8) -> u8 {
    match chunk {
        1 => TcpFlags::SYN,
        6 | 14 => TcpFlags::RST,
        _ => TcpFlags::ACK,
    }
}

/// The transport header, which must end before the IP packet does: behind that there may be padding of the link.
#[inline(always)]
fn header<'a, T, P>(packet: &'a mut P, ip: &IpFields) -> Result<&'a mut T, Outcome>
where
    T: FromBytes + IntoBytes + KnownLayout + Immutable,
    P: Packet,
{
    let l4 = usize::from(ip.l4);
    if usize::from(ip.length) + usize::from(ip.l3) < l4 + size_of::<T>() {
        return Err(Outcome::Malformed);
    }
    packet.header::<T>(l4).ok_or(Outcome::Malformed)
}
