//! A rejected packet becomes the ICMP error that says why.

use lb_common::{Outcome, protocol};

use super::{Answer, ICMP_BYTES, IcmpFamily, Subject, is_unicast};
use crate::checksum::Difference;
use crate::headers::{Checksum, ETHERNET_BYTES, Ethernet, Icmp, Tcp, TcpFlags, Udp, Vlan};
use crate::{Action, AnswerKind, Host, L4Update, Packet, Verdict};

/// Longest part of a packet that its answer quotes, from the IP header on, bytes: the longest headers of IPv4 and TCP.
/// RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c) would have more; each byte is an iteration of the verifier.
pub(crate) const QUOTE_MAX: u8 = 128;

/// Bytes behind the IP header that an answer has to quote (RFC 792).
const TRANSPORT_MIN: u8 = 8;

/// Turns a rejected packet, whose IP header is at `l3`, into an ICMP error and sends it back; drops it when it may not be
/// answered (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 e), or no more may be for now.
///
/// `verdict` rejects the packet, which is as it came. The device of one that is too big is the MTU.
#[inline(never)]
pub fn answer<F, P, H>(packet: &mut P, l3: u8, host: &mut H, verdict: Verdict) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    H: Host<F>,
{
    match rebuild::<F, P, H>(packet, l3, host, verdict) {
        Some(()) => verdict.by(Action::Transmit, host.ingress_ifindex()),
        None => verdict.by(Action::Drop, 0),
    }
}

#[inline(always)]
fn rebuild<F, P, H>(packet: &mut P, l3: u8, host: &mut H, verdict: Verdict) -> Option<()>
where
    F: IcmpFamily,
    P: Packet,
    H: Host<F>,
{
    if !is_unicast(packet) {
        return None;
    }
    let subject = F::subject(packet, l3)?;
    let field = transport_checksum::<F, P>(packet, &subject)?;
    let room = packet.length().saturating_sub(l3.into()).min(subject.length.into());
    // Even, so that the checksum has no last byte of its own.
    let quote = room.min(QUOTE_MAX.into()) as u8 & !1;
    let headers = subject.l4.wrapping_sub(l3);
    if quote < headers.saturating_add(TRANSPORT_MIN) || !host.may_answer(kind_of(verdict)) {
        return None;
    }
    let grow = F::HEADER_BYTES + ICMP_BYTES;
    packet.reshape(u32::from(l3) + u32::from(quote), grow.into())?;
    move_link(packet, l3, grow)?;
    let quoted = l3.wrapping_add(grow);
    let sums = F::write_header(packet, l3, quoted, quote)?;
    let (kind, code, rest) = F::message(what(verdict));
    let icmp = l3.wrapping_add(F::HEADER_BYTES);
    *packet.header::<Icmp>(icmp.into())? = Icmp { kind, code, checksum: [0; 2], rest };
    let [first, second, third, fourth] = rest;
    let header = sums.pseudo_header.with([kind, code]).with([first, second]).with([third, fourth]);
    seal(packet, icmp, header, sums.quoted, field)
}

#[inline(always)]
fn kind_of(verdict: Verdict) -> AnswerKind {
    if verdict.outcome_index() == Outcome::TooBig.index() { AnswerKind::TooBig } else { AnswerKind::Error }
}

#[inline(always)]
fn what(verdict: Verdict) -> Answer {
    let outcome = verdict.outcome_index();
    if outcome == Outcome::HopLimit.index() {
        Answer::TimeExceeded
    } else if outcome == Outcome::TooBig.index() {
        Answer::TooBig(verdict.ifindex())
    } else {
        Answer::PortUnreachable
    }
}

/// The field of the transport checksum, zero where there is none. `None` for a packet that itself says that something went
/// wrong, an ICMP error or an RST, and for one whose transport header cannot be read.
#[inline(always)]
fn transport_checksum<F: IcmpFamily, P: Packet>(packet: &mut P, subject: &Subject) -> Option<[u8; 2]> {
    let l4 = usize::from(subject.l4);
    if subject.protocol == protocol::TCP {
        let tcp = packet.header::<Tcp>(l4)?;
        (tcp.flags & TcpFlags::RST == 0).then_some(tcp.checksum)
    } else if subject.protocol == protocol::UDP {
        packet.header::<Udp>(l4).map(|udp| udp.checksum)
    } else if subject.protocol == F::PROTOCOL {
        let icmp = packet.header::<Icmp>(l4)?;
        (!F::is_error(icmp.kind)).then_some([0; 2])
    } else {
        Some([0; 2])
    }
}

/// Moves the link header with its tags from `from` to the start, and turns it round.
#[inline(always)]
fn move_link<P: Packet>(packet: &mut P, l3: u8, from: u8) -> Option<()> {
    let old = packet.header::<Ethernet>(from.into())?;
    let new = Ethernet { destination: old.source, source: old.destination, ethertype: old.ethertype };
    *packet.header::<Ethernet>(0)? = new;
    for at in [ETHERNET_BYTES, ETHERNET_BYTES + size_of::<Vlan>()] {
        if at < usize::from(l3) {
            let tag = *packet.header::<Vlan>(usize::from(from) + at)?;
            *packet.header::<Vlan>(at)? = tag;
        }
    }
    Some(())
}

/// Writes the checksum of the ICMP message at `icmp`, which goes on to the end of the packet, and whose own header has the
/// sum `header`. `ip` is the sum of the quoted IP header, and `field` what is in the quoted checksum of the transport.
///
/// What the hook still leaves to a device is that quoted checksum, not the message's: the device will complete the quoted
/// field, after which the quoted segment as a whole sums up to the negative of what is in the field now, the pseudo
/// header's sum. Then the message's checksum is `-(header + ip - field)`; otherwise it is `-(header + quote)`. The two
/// parts of the update are chosen so that the hook, which where a device completes applies the first only, and adds it as
/// it is, writes the one or the other.
#[inline(always)]
fn seal<P: Packet>(
    packet: &mut P,
    icmp: u8,
    header: Difference,
    ip: Difference,
    field: [u8; 2],
) -> Option<()> {
    let head = header.plus(ip);
    let quote = sum(packet, icmp.wrapping_add(ICMP_BYTES));
    let pseudo_header = head.negated().with(field);
    packet.update_l4(&L4Update {
        field: usize::from(icmp) + core::mem::offset_of!(Icmp, checksum),
        pseudo_header,
        segment: header.plus(quote).plus(pseudo_header.negated()),
        zero_is_none: false,
        ipv6: false,
    })
}

/// The sum of the packet's bytes from `start` on, of which there is an even number, and no more than are quoted.
///
/// Not inlined: what is known of the packet's length here must not replace a comparison elsewhere, which the verifier
/// would miss. It ends where the packet does, because the verifier would follow each value of a number that says so.
#[inline(never)]
fn sum<P: Packet>(packet: &mut P, start: u8) -> Difference {
    let mut sum = Difference::default();
    // Asked first, for else the compiler would have the caller read where the packet begins, which is a mere number in
    // the verifier's eyes then.
    if packet.length() <= start.into() {
        return sum;
    }
    for word in 0..QUOTE_MAX / 2 {
        let Some(word) = packet.header::<Checksum>(usize::from(start) + 2 * usize::from(word)) else { break };
        sum = sum.with(word.sum);
    }
    sum
}
