//! First step: from bytes to a 5-tuple.

use lb_common::{FlowKey, Outcome, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::family::IpFields;
use crate::headers::{ETHERNET_BYTES, Tcp, TcpFlags, Udp};
use crate::{Family, Packet};

/// What the engine needs to know of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<F: Family> {
    /// The 5-tuple.
    pub(crate) key: FlowKey<F::Address>,
    /// The IP header's fields.
    pub(crate) ip: IpFields,
    /// TCP flags; zero for UDP.
    pub(crate) flags: u8,
}

impl<F: Family> Parsed<F> {
    /// A place for a packet.
    pub(crate) const EMPTY: Self = Self { key: FlowKey::EMPTY, ip: IpFields::EMPTY, flags: 0 };

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
}

/// Reads the IP and transport headers, or says why the packet is not for the engine.
///
/// Fills a place that the caller has, because a large value that is returned is on the stack twice.
#[inline(always)]
pub(crate) fn parse<F: Family, P: Packet>(packet: &mut P, parsed: &mut Parsed<F>) -> Result<(), Outcome> {
    parsed.ip = F::read(packet, &mut parsed.key)?;
    let ports = match parsed.key.protocol {
        protocol::TCP => {
            let tcp = transport::<Tcp, P>(packet, &parsed.ip)?;
            parsed.flags = tcp.flags;
            tcp.ports
        }
        protocol::UDP => transport::<Udp, P>(packet, &parsed.ip)?.ports,
        _ => return Err(Outcome::NotBalanced),
    };
    parsed.key.source_port = ports.source;
    parsed.key.destination_port = ports.destination;
    Ok(())
}

/// The transport header, which must end before the IP packet does: behind that there may be padding of the link.
#[inline(always)]
fn transport<'a, T, P>(packet: &'a mut P, ip: &IpFields) -> Result<&'a mut T, Outcome>
where
    T: FromBytes + IntoBytes + KnownLayout + Immutable,
    P: Packet,
{
    let l4 = usize::from(ip.l4);
    if usize::from(ip.length) + ETHERNET_BYTES < l4 + size_of::<T>() {
        return Err(Outcome::Malformed);
    }
    packet.header::<T>(l4).ok_or(Outcome::Malformed)
}
