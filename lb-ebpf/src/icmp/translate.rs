//! An ICMP error about a translated packet reaches the one who sent that packet, and quotes it as it was sent.

use lb_common::{Flow, FlowFlags, FlowKey, Outcome, protocol};

use super::{ICMP_BYTES, IcmpFamily, Outer};
use crate::checksum::Difference;
use crate::forward::{depart, done};
use crate::headers::{Checksum, ETHERNET_BYTES, Icmp, Ports, Tcp, Udp};
use crate::{Action, Host, Maps, Packet, RouteQuery, Verdict};

/// Gives the ICMP error with its IP header at `l3` and its ICMP header at `l4` to the one whom it concerns.
///
/// The packet that the error quotes was sent to somebody by way of this node, so packets of the other direction have an
/// entry here: the error goes where they go, and the quoted packet becomes what the receiver of such packets had sent.
/// Its flow lives no longer by it. A packet that is not translated is as it was.
#[inline(always)]
pub fn translate<F, P, M, H>(
    packet: &mut P,
    l3: u8,
    l4: u8,
    maps: &mut M,
    host: &mut H,
    egress: bool,
) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    translate_at::<F, P, M, H>(packet, Place::new(l3, l4, 0, 0), maps, host, egress)
}

/// Where things are, in one register: a BPF function takes five.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Place(u32);

impl Place {
    #[inline(always)]
    fn new(l3: u8, l4: u8, header: u8, checksum: u8) -> Self {
        Self(u32::from_le_bytes([l3, l4, header, checksum]))
    }

    /// Offset of the IP header.
    #[inline(always)]
    const fn l3(self) -> u8 {
        self.0 as u8
    }

    /// Offset of the ICMP header.
    #[inline(always)]
    const fn l4(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Offset of the quoted IP header.
    #[inline(always)]
    fn quoted(self) -> usize {
        usize::from(self.l4()) + usize::from(ICMP_BYTES)
    }

    /// Offset of the quoted transport header.
    #[inline(always)]
    fn transport(self) -> usize {
        // The mask is that of an IPv4 header's length, and bounds the offset for the verifier.
        self.quoted() + ((self.0 >> 16) & 0x3c) as usize
    }

    /// Offset of the quoted checksum; `None` when there is none, or it is not quoted.
    #[inline(always)]
    fn checksum(self) -> Option<usize> {
        let field = ((self.0 >> 24) & 0x1e) as usize;
        (field != 0).then(|| self.transport() + field)
    }
}

/// Not inlined: the caller needs its stack elsewhere.
#[inline(never)]
fn translate_at<F, P, M, H>(packet: &mut P, place: Place, maps: &mut M, host: &mut H, egress: bool) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    let mut key = FlowKey::EMPTY;
    let Some((place, outer)) = read::<F, P>(packet, place, &mut key) else {
        return Verdict::pass(Outcome::NotBalanced);
    };
    let Some(flow) = maps.flow(&key) else { return Verdict::pass(Outcome::NotBalanced) };
    let (hops, verdict) = match (flow.flags & (FlowFlags::LOCAL | FlowFlags::FORWARD), egress) {
        // The kernel routes it.
        (LOCAL_FORWARD, false) => (0, Verdict::pass(Outcome::Local)),
        (FlowFlags::LOCAL, true) => (0, Verdict::pass(Outcome::Replied)),
        (0 | FlowFlags::FORWARD, false) => {
            // A way out depends on tags that a frame has, and would get others: the device of the tag sends it on.
            if usize::from(place.l3()) != ETHERNET_BYTES {
                return Verdict::pass(Outcome::Deferred);
            }
            let verdict = way_out::<F, P, H>(packet, flow, outer, host);
            if matches!(verdict.action(), Action::Pass | Action::Drop) {
                return verdict;
            }
            (1, verdict)
        }
        _ => return Verdict::pass(Outcome::NotOurs),
    };
    let change = write_quoted::<F, P>(packet, place, &key, flow);
    done(write_outer::<F, P>(packet, place, flow, hops, change), verdict)
}

const LOCAL_FORWARD: u8 = FlowFlags::LOCAL | FlowFlags::FORWARD;

/// Reads all that will be changed. Fills in the key of the other direction; `None` for what is no such error.
#[inline(always)]
fn read<F: IcmpFamily, P: Packet>(
    packet: &mut P,
    place: Place,
    key: &mut FlowKey<F::Address>,
) -> Option<(Place, Outer)> {
    let icmp = packet.header::<Icmp>(place.l4().into())?;
    if !F::concerns_flow(icmp.kind) {
        return None;
    }
    let header = F::read_quoted(packet, place.quoted(), key)?;
    let field = match key.protocol {
        protocol::TCP => core::mem::offset_of!(Tcp, checksum),
        protocol::UDP => core::mem::offset_of!(Udp, checksum),
        // Its checksum covers no addresses, and its ports stay.
        protocol::SCTP => 0,
        _ => return None,
    };
    // An error goes to the one who sent the packet: else it is made up.
    let outer = F::read_outer(packet, place.l3(), &key.destination)?;
    let place = Place::new(place.l3(), place.l4(), header, field as u8);
    let ports = packet.header::<Ports>(place.transport())?;
    key.source_port = ports.destination;
    key.destination_port = ports.source;
    // Behind the IP packet there may be padding of the link.
    let end = usize::from(place.l3()) + usize::from(outer.length());
    if end < place.transport() + size_of::<Ports>() {
        return None;
    }
    let quoted = place
        .checksum()
        .is_some_and(|at| at + size_of::<Checksum>() <= end && packet.header::<Checksum>(at).is_some());
    Some((if quoted { place } else { Place::new(place.l3(), place.l4(), header, 0) }, outer))
}

/// Writes the link header of the way to the flow's destination, unless the verdict is to pass or to drop the error. Not
/// inlined, for its stack.
#[inline(never)]
fn way_out<F, P, H>(packet: &mut P, flow: &Flow<F::Address>, outer: Outer, host: &mut H) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    H: Host<F>,
{
    if outer.hop_limit() <= 1 {
        return Verdict::drop(Outcome::HopLimit);
    }
    let query = RouteQuery::<F> {
        flow,
        protocol: F::PROTOCOL,
        traffic_class: outer.traffic_class(),
        length: outer.length(),
    };
    let route = host.route(&query);
    match depart::<F, P, H>(packet, &route, host) {
        // Never an error about an error.
        Err(verdict) if verdict.action() == Action::Reject => verdict.by(Action::Drop, 0),
        Ok(verdict) | Err(verdict) => verdict,
    }
}

/// Changes the quoted packet, and gives how what the ICMP checksum covers changes by the whole translation.
///
/// Not inlined: what else is done needs the same stack. The headers are there, since they were read; a packet that ended
/// before would be found to do so at last.
#[inline(never)]
fn write_quoted<F: IcmpFamily, P: Packet>(
    packet: &mut P,
    place: Place,
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
) -> Difference {
    // The key is of the other direction: its destination is the source of the quoted packet.
    let addresses =
        Difference::default().address(&key.destination, &flow.destination).address(&key.source, &flow.source);
    let tuple =
        addresses.word(key.destination_port, flow.destination_port).word(key.source_port, flow.source_port);
    let pseudo_header = F::pseudo_header(packet, place.l3(), key, addresses);
    let checksum = write_checksum(packet, place, tuple, key.protocol == protocol::UDP);
    if let Some(ports) = packet.header::<Ports>(place.transport()) {
        *ports = Ports { source: flow.destination_port, destination: flow.source_port };
    }
    let header = F::write_quoted(packet, place.quoted(), flow, addresses).unwrap_or_default();
    tuple.plus(checksum).plus(header).plus(pseudo_header)
}

/// Changes the quoted segment's checksum by `tuple`, and gives the change that this is.
#[inline(always)]
fn write_checksum<P: Packet>(packet: &mut P, place: Place, tuple: Difference, udp: bool) -> Difference {
    let field = place.checksum().and_then(|at| packet.header::<Checksum>(at));
    let Some(Checksum { sum }) = field else { return Difference::default() };
    let old = *sum;
    // UDP sends "no checksum" as zero, as in `L4Update`.
    if udp && old == [0, 0] {
        return Difference::default();
    }
    let new = tuple.apply(old);
    *sum = if udp && new == [0, 0] { [0xff, 0xff] } else { new };
    Difference::default().word(old, *sum)
}

/// Changes the IP header, and the ICMP header's checksum by `change`.
#[inline(always)]
fn write_outer<F: IcmpFamily, P: Packet>(
    packet: &mut P,
    place: Place,
    flow: &Flow<F::Address>,
    hops: u8,
    change: Difference,
) -> Option<()> {
    F::write_outer(packet, place.l3(), flow, hops)?;
    let icmp = packet.header::<Icmp>(place.l4().into())?;
    icmp.checksum = change.apply(icmp.checksum);
    Some(())
}
