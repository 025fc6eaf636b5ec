//! Packets that must be read more closely: VLAN tags, IPv6 extension headers, fragments, ICMP.

use lb_common::{Fragment, FragmentKey, Outcome, SettingsFlags, protocol};

use crate::engine::{pursue, translate_reply};
use crate::headers::{ETHERNET_BYTES, Ethernet, IcmpType};
use crate::icmp::{IcmpFamily, echo, translate};
use crate::parse::{Parsed, parse_any};
use crate::select::is_virtual;
use crate::work::Work;
use crate::{Family, Host, Maps, Packet, Verdict};

/// How long fragments of a datagram are waited for, in seconds. Much shorter than the kernel does (`ipfrag_time`): a sender
/// of many comes back to the same identification, and the later fragments of one must not follow another's first.
const FRAGMENTS_S: u32 = 2;

/// Bytes in which the headers of such a packet end: the longest way to a transport header and TCP, or an ICMP error with
/// the headers of the packet that it tells of.
const HEADERS_MAX: u32 = 256;

/// The way of such a packet that comes in; [`Verdict::FIRST`] for the first of a flow, and [`Verdict::ICMP`] for a message
/// that was read up to its own header.
///
/// Not inlined, as the way of a usual packet.
#[inline(never)]
pub(crate) fn unusual<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    packet.reach(HEADERS_MAX);
    let destination = packet.header::<Ethernet>(0).map(|ethernet| ethernet.destination);
    if !destination.is_some_and(|destination| host.is_addressed(destination)) {
        return Verdict::pass(Outcome::OtherHost);
    }
    match parse_any(packet, &mut work.parsed) {
        Ok(true) => {
            if work.parsed.part.is_first() && maps.may_concern(&work.parsed.key) {
                remember_ports::<F, M, H>(&work.parsed, maps, host);
            }
        }
        Ok(false) if work.parsed.part.is_later() => {
            if !find_ports::<F, M, H>(&mut work.parsed, maps, host) {
                return stray::<F, M>(&work.parsed, maps);
            }
        }
        Ok(false) if is_icmp(work.parsed.key.protocol) => {
            let whole = work.parsed.part.is_whole();
            return if whole { Verdict::ICMP } else { stray::<F, M>(&work.parsed, maps) };
        }
        Ok(false) => return Verdict::pass(Outcome::NotBalanced),
        Err(outcome) => return Verdict::pass(outcome),
    }
    pursue::<F, P, M, H>(packet, maps, host, work)
}

/// A fragment of which nobody knows whose it is: the kernel may put it together with others, but not for a virtual IP.
#[inline(always)]
fn stray<F: Family, M: Maps<F>>(parsed: &Parsed<F>, maps: &mut M) -> Verdict {
    if is_virtual::<F, M>(parsed.key.destination, maps) {
        Verdict::drop(Outcome::FragmentUnknown)
    } else {
        Verdict::pass(Outcome::Fragment)
    }
}

/// An ICMP message that comes in. Not inlined, as the way of a usual packet.
#[inline(never)]
pub(crate) fn icmp<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    let (l3, l4) = (work.parsed.ip.l3, work.parsed.ip.l4);
    let Some(kind) = packet.header::<IcmpType>(usize::from(l4)).map(|header| header.kind) else {
        return Verdict::pass(Outcome::Malformed);
    };
    if kind == F::ECHO_REQUEST {
        let answers = maps.settings().is_some_and(|settings| settings.flags & SettingsFlags::ECHO != 0);
        return if answers && is_virtual::<F, M>(work.parsed.key.destination, maps) {
            echo::<F, P, H>(packet, l3, l4, host)
        } else {
            Verdict::pass(Outcome::NotBalanced)
        };
    }
    translate::<F, P, M, H>(packet, l3, l4, maps, host, false)
}

/// The way of such a packet that leaves. Not inlined, as the way of a usual packet.
#[inline(never)]
pub(crate) fn egress<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    packet.reach(HEADERS_MAX);
    work.parsed.ip.l3 = ETHERNET_BYTES as u8;
    match parse_any(packet, &mut work.parsed) {
        Ok(true) => {
            let verdict = translate_reply::<F, P, M, H>(packet, maps, host, work);
            if work.parsed.part.is_first() && verdict.is_translated() {
                remember_ports::<F, M, H>(&work.parsed, maps, host);
            }
            verdict
        }
        Ok(false) if work.parsed.part.is_later() => {
            if find_ports::<F, M, H>(&mut work.parsed, maps, host) {
                translate_reply::<F, P, M, H>(packet, maps, host, work)
            } else {
                Verdict::pass(Outcome::Fragment)
            }
        }
        Ok(false) if is_icmp(work.parsed.key.protocol) && work.parsed.part.is_whole() => Verdict::ICMP,
        Ok(false) => Verdict::pass(Outcome::NotBalanced),
        Err(outcome) => Verdict::pass(outcome),
    }
}

/// An ICMP message that leaves. Not inlined, as above.
#[inline(never)]
pub(crate) fn egress_icmp<F, P, M, H>(
    packet: &mut P,
    maps: &mut M,
    host: &mut H,
    work: &mut Work<F>,
) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    translate::<F, P, M, H>(packet, work.parsed.ip.l3, work.parsed.ip.l4, maps, host, true)
}

/// Notes the ports of a first fragment. Not inlined, for its stack.
#[inline(never)]
fn remember_ports<F: Family, M: Maps<F>, H: Host<F>>(parsed: &Parsed<F>, maps: &mut M, host: &mut H) {
    let fragment = Fragment {
        source_port: parsed.key.source_port,
        destination_port: parsed.key.destination_port,
        first_seen_s: host.now_s(),
    };
    maps.remember_fragment(&key(parsed), &fragment);
}

/// Fills in the ports that the first fragment had; `false` when it was not seen. Not inlined, for its stack.
#[inline(never)]
fn find_ports<F: Family, M: Maps<F>, H: Host<F>>(parsed: &mut Parsed<F>, maps: &mut M, host: &mut H) -> bool {
    match maps.fragment(&key(parsed)) {
        Some(fragment) if host.now_s().saturating_sub(fragment.first_seen_s) <= FRAGMENTS_S => {
            parsed.key.source_port = fragment.source_port;
            parsed.key.destination_port = fragment.destination_port;
            true
        }
        _ => false,
    }
}

#[inline(always)]
fn key<F: Family>(parsed: &Parsed<F>) -> FragmentKey<F::Address> {
    FragmentKey {
        source: parsed.key.source,
        destination: parsed.key.destination,
        identification: parsed.part.identification,
        protocol: parsed.key.protocol,
        pad: 0,
        pad_end: 0,
    }
}

#[inline(always)]
const fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}
