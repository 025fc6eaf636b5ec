//! ICMPv6 (RFC 4443).

use lb_common::{Address as _, Flow, FlowKey, protocol};

use super::answer::QUOTE_MAX;
use super::{Answer, HOP_LIMIT, ICMP_BYTES, IcmpFamily, Outer, Subject, Sums};
use crate::checksum::Difference;
use crate::headers::{Extension, Ipv6};
use crate::{Packet, V6};

/// How many extension headers are walked.
const EXTENSIONS_MAX: u32 = 3;

/// Whether this is the address of one other machine.
#[inline(always)]
fn is_single(address: &[u8; 16]) -> bool {
    let [first, .., last] = *address;
    let low = u32::from_ne_bytes([0, 0, 0, last]);
    // `::` and `::1`: all zero but perhaps the last bit.
    let local = address.word(0) | address.word(1) | address.word(2) | (address.word(3) ^ low) == 0;
    first != 0xff && !(local && last <= 1)
}

/// The transport protocol behind the extension headers of the packet at `l3`, and its offset.
#[inline(always)]
fn transport<P: Packet>(packet: &mut P, l3: u8, first: u8) -> Option<(u8, u8)> {
    let (mut next, mut at) = (first, l3.wrapping_add(V6::HEADER_BYTES));
    for _ in 0..=EXTENSIONS_MAX {
        let fragment = match next {
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => false,
            44 => true,
            _ => return Some((next, at)),
        };
        let extension = packet.header::<Extension>(at.into())?;
        let [high, low] = extension.fragment;
        if fragment && (high != 0 || low & 0xf8 != 0) {
            return None;
        }
        let length = if fragment { 0 } else { extension.length };
        if length > QUOTE_MAX / 8 {
            return None;
        }
        next = extension.next_header;
        at = at.wrapping_add(8 * (length + 1));
        // Eight bytes behind the headers must be quoted as well.
        if at > l3.wrapping_add(QUOTE_MAX - 8) {
            return None;
        }
    }
    None
}

impl IcmpFamily for V6 {
    const PROTOCOL: u8 = protocol::ICMPV6;
    const HEADER_BYTES: u8 = size_of::<Ipv6>() as u8;
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;

    /// RFC 4443 section 2.1; and redirects (RFC 4861), section 2.4 e.2.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        kind < 128 || kind == 137
    }

    /// Destination unreachable, packet too big, time exceeded, parameter problem.
    #[inline(always)]
    fn concerns_flow(kind: u8) -> bool {
        matches!(kind, 1..=4)
    }

    #[inline(always)]
    fn message(answer: Answer) -> (u8, u8, [u8; 4]) {
        match answer {
            Answer::TimeExceeded => (3, 0, [0; 4]),
            Answer::TooBig(mtu) => (2, 0, mtu.to_be_bytes()),
            Answer::PortUnreachable => (1, 4, [0; 4]),
        }
    }

    #[inline(always)]
    fn subject<P: Packet>(packet: &mut P, l3: u8) -> Option<Subject> {
        let ip = packet.header::<Ipv6>(l3.into())?;
        let [first, ..] = ip.version_class_label;
        let whom = is_single(&ip.source) && is_single(&ip.destination) && ip.source != ip.destination;
        if first >> 4 != 6 || !whom {
            return None;
        }
        let length = u16::from_be_bytes(ip.payload_length).saturating_add(u16::from(Self::HEADER_BYTES));
        let next = ip.next_header;
        let (protocol, l4) = transport(packet, l3, next)?;
        Some(Subject { protocol, l4, length })
    }

    #[inline(always)]
    fn write_header<P: Packet>(packet: &mut P, l3: u8, quoted: u8, quote: u8) -> Option<Sums> {
        let old = packet.header::<Ipv6>(quoted.into())?;
        let (source, destination) = (old.destination, old.source);
        let [first, second, third, fourth] = old.version_class_label;
        let addresses = Difference::default().with_address(&source).with_address(&destination);
        // Extension headers are left out: what leaves a checksum to a device has none.
        let quoted = addresses
            .with([first, second])
            .with([third, fourth])
            .with(old.payload_length)
            .with([old.next_header, old.hop_limit]);
        let payload_length = (u16::from(ICMP_BYTES) + u16::from(quote)).to_be_bytes();
        let ip = packet.header::<Ipv6>(l3.into())?;
        ip.version_class_label = [0x60, 0, 0, 0];
        ip.payload_length = payload_length;
        ip.next_header = protocol::ICMPV6;
        ip.hop_limit = HOP_LIMIT;
        ip.source = source;
        ip.destination = destination;
        let pseudo_header = addresses.with(payload_length).with([0, protocol::ICMPV6]);
        Some(Sums { pseudo_header, quoted })
    }

    /// A request behind extension headers, among which is that of a fragment, is not answered.
    #[inline(always)]
    fn turn<P: Packet>(packet: &mut P, l3: u8, l4: u8) -> Option<()> {
        let ip = packet.header::<Ipv6>(l3.into())?;
        let plain = ip.next_header == protocol::ICMPV6 && l4 == l3.wrapping_add(Self::HEADER_BYTES);
        if !plain || !is_single(&ip.source) || !is_single(&ip.destination) {
            return None;
        }
        ip.hop_limit = HOP_LIMIT;
        core::mem::swap(&mut ip.source, &mut ip.destination);
        Some(())
    }

    /// A packet with extension headers is none of a flow: the transport header need not be quoted then.
    #[inline(always)]
    fn read_quoted<P: Packet>(packet: &mut P, at: usize, reply: &mut FlowKey<[u8; 16]>) -> Option<u8> {
        let ip = packet.header::<Ipv6>(at)?;
        let [first, ..] = ip.version_class_label;
        if first >> 4 != 6 {
            return None;
        }
        reply.source = ip.destination;
        reply.destination = ip.source;
        reply.protocol = ip.next_header;
        Some(Self::HEADER_BYTES)
    }

    #[inline(always)]
    fn read_outer<P: Packet>(packet: &mut P, l3: u8, destination: &[u8; 16]) -> Option<Outer> {
        let ip = packet.header::<Ipv6>(l3.into())?;
        let [first, second, ..] = ip.version_class_label;
        let length = u16::from_be_bytes(ip.payload_length).saturating_add(u16::from(Self::HEADER_BYTES));
        let traffic_class = (first << 4) | (second >> 4);
        (ip.destination == *destination).then(|| Outer::new(ip.hop_limit, traffic_class, length))
    }

    #[inline(always)]
    fn write_quoted<P: Packet>(
        packet: &mut P,
        at: usize,
        flow: &Flow<[u8; 16]>,
        _change: Difference,
    ) -> Option<Difference> {
        let ip = packet.header::<Ipv6>(at)?;
        ip.source = flow.destination;
        ip.destination = flow.source;
        Some(Difference::default())
    }

    /// The destination changes as that end does. Of the source only what it was is different: a router's address.
    #[inline(always)]
    fn pseudo_header<P: Packet>(
        packet: &mut P,
        l3: u8,
        reply: &FlowKey<[u8; 16]>,
        change: Difference,
    ) -> Difference {
        let Some(ip) = packet.header::<Ipv6>(l3.into()) else { return Difference::default() };
        Difference::default().address(&ip.source, &reply.source).plus(change)
    }

    #[inline(always)]
    fn write_outer<P: Packet>(packet: &mut P, l3: u8, flow: &Flow<[u8; 16]>, hops: u8) -> Option<()> {
        let ip = packet.header::<Ipv6>(l3.into())?;
        ip.hop_limit = ip.hop_limit.saturating_sub(hops);
        ip.source = flow.source;
        ip.destination = flow.destination;
        Some(())
    }
}
