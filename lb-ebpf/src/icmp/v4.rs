//! ICMP of IPv4 (RFC 792).

use lb_common::{Flow, FlowKey, protocol};

use super::{Answer, HOP_LIMIT, ICMP_BYTES, IcmpFamily, Outer, Subject, Sums};
use crate::checksum::Difference;
use crate::headers::Ipv4;
use crate::{Packet, V4};

/// Bits of the fragment field: more fragments, and the offset.
const FRAGMENT: u16 = 0x3fff;
const OFFSET: u16 = 0x1fff;

/// Length of the header with its options, bytes: the mask bounds it. `None` when it is none of IPv4.
#[inline(always)]
fn header_bytes(ip: &Ipv4) -> Option<u8> {
    let bytes = (ip.version_ihl & 0x0f) << 2;
    (ip.version_ihl >> 4 == 4 && usize::from(bytes) >= size_of::<Ipv4>()).then_some(bytes)
}

/// Whether this is the address of one other machine (RFC 1122 section 3.2.1.3).
#[inline(always)]
const fn is_single(address: [u8; 4]) -> bool {
    let [first, ..] = address;
    first != 0 && first != 127 && first < 224
}

impl IcmpFamily for V4 {
    const PROTOCOL: u8 = protocol::ICMP;
    const HEADER_BYTES: u8 = size_of::<Ipv4>() as u8;
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;

    /// Destination unreachable, source quench, redirect, time exceeded, parameter problem.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    }

    #[inline(always)]
    fn concerns_flow(kind: u8) -> bool {
        matches!(kind, 3 | 11 | 12)
    }

    #[inline(always)]
    fn message(answer: Answer) -> (u8, u8, [u8; 4]) {
        match answer {
            Answer::TimeExceeded => (11, 0, [0; 4]),
            // RFC 1191 section 4.
            Answer::TooBig(mtu) => (3, 4, mtu.min(0xffff).to_be_bytes()),
            Answer::PortUnreachable => (3, 3, [0; 4]),
        }
    }

    #[inline(always)]
    fn subject<P: Packet>(packet: &mut P, l3: u8) -> Option<Subject> {
        let ip = packet.header::<Ipv4>(l3.into())?;
        let header = header_bytes(ip)?;
        let whom = is_single(ip.source) && is_single(ip.destination) && ip.source != ip.destination;
        if !whom || u16::from_be_bytes(ip.fragment) & OFFSET != 0 {
            return None;
        }
        let length = u16::from_be_bytes(ip.total_length);
        Some(Subject { protocol: ip.protocol, l4: l3.wrapping_add(header), length })
    }

    #[inline(always)]
    fn write_header<P: Packet>(packet: &mut P, l3: u8, quoted: u8, quote: u8) -> Option<Sums> {
        let old = packet.header::<Ipv4>(quoted.into())?;
        let (source, destination) = (old.destination, old.source);
        let length = u16::from(Self::HEADER_BYTES + ICMP_BYTES) + u16::from(quote);
        let total_length = length.to_be_bytes();
        let sum = Difference::default()
            .with([0x45, 0])
            .with(total_length)
            .with([HOP_LIMIT, protocol::ICMP])
            .with_address(&source)
            .with_address(&destination);
        *packet.header::<Ipv4>(l3.into())? = Ipv4 {
            version_ihl: 0x45,
            tos: 0,
            total_length,
            identification: [0; 2],
            fragment: [0; 2],
            ttl: HOP_LIMIT,
            protocol: protocol::ICMP,
            checksum: sum.apply([0; 2]),
            source,
            destination,
        };
        // The message's checksum covers no addresses; and a header sums up to nothing, since it has a checksum.
        Some(Sums { pseudo_header: Difference::default(), quoted: Difference::default() })
    }

    #[inline(always)]
    fn turn<P: Packet>(packet: &mut P, l3: u8, _l4: u8) -> Option<()> {
        let ip = packet.header::<Ipv4>(l3.into())?;
        let whole = u16::from_be_bytes(ip.fragment) & FRAGMENT == 0;
        if !whole || !is_single(ip.source) || !is_single(ip.destination) {
            return None;
        }
        let change = Difference::default().word([ip.ttl, ip.protocol], [HOP_LIMIT, ip.protocol]);
        ip.checksum = change.apply(ip.checksum);
        ip.ttl = HOP_LIMIT;
        core::mem::swap(&mut ip.source, &mut ip.destination);
        Some(())
    }

    #[inline(always)]
    fn read_quoted<P: Packet>(packet: &mut P, at: usize, reply: &mut FlowKey<[u8; 4]>) -> Option<u8> {
        let ip = packet.header::<Ipv4>(at)?;
        let header = header_bytes(ip)?;
        if u16::from_be_bytes(ip.fragment) & OFFSET != 0 {
            return None;
        }
        reply.source = ip.destination;
        reply.destination = ip.source;
        reply.protocol = ip.protocol;
        Some(header)
    }

    #[inline(always)]
    fn read_outer<P: Packet>(packet: &mut P, l3: u8, destination: &[u8; 4]) -> Option<Outer> {
        let ip = packet.header::<Ipv4>(l3.into())?;
        let whole = u16::from_be_bytes(ip.fragment) & FRAGMENT == 0;
        (whole && ip.destination == *destination)
            .then(|| Outer::new(ip.ttl, ip.tos, u16::from_be_bytes(ip.total_length)))
    }

    #[inline(always)]
    fn write_quoted<P: Packet>(
        packet: &mut P,
        at: usize,
        flow: &Flow<[u8; 4]>,
        change: Difference,
    ) -> Option<Difference> {
        let ip = packet.header::<Ipv4>(at)?;
        let old = ip.checksum;
        ip.checksum = change.apply(old);
        ip.source = flow.destination;
        ip.destination = flow.source;
        Some(Difference::default().word(old, ip.checksum))
    }

    /// The checksum does not cover addresses.
    #[inline(always)]
    fn pseudo_header<P: Packet>(_: &mut P, _: u8, _: &FlowKey<[u8; 4]>, _: Difference) -> Difference {
        Difference::default()
    }

    #[inline(always)]
    fn write_outer<P: Packet>(packet: &mut P, l3: u8, flow: &Flow<[u8; 4]>, hops: u8) -> Option<()> {
        let ip = packet.header::<Ipv4>(l3.into())?;
        let ttl = ip.ttl.saturating_sub(hops);
        let change = Difference::default()
            .address(&ip.source, &flow.source)
            .address(&ip.destination, &flow.destination)
            .word([ip.ttl, ip.protocol], [ttl, ip.protocol]);
        ip.checksum = change.apply(ip.checksum);
        ip.ttl = ttl;
        ip.source = flow.source;
        ip.destination = flow.destination;
        Some(())
    }
}
