//! An echo request becomes its reply.

use lb_common::Outcome;

use super::{IcmpFamily, is_unicast};
use crate::checksum::Difference;
use crate::headers::{Ethernet, Icmp};
use crate::{Action, AnswerKind, Host, Packet, Verdict};

/// Turns the echo request with its IP header at `l3` and its ICMP header at `l4` into the reply, and sends that back.
/// Any other packet passes as it is.
///
/// Beyond the rate it is dropped: a reply is no longer than its request, but may go where that only pretends to come from.
#[inline(never)]
pub fn echo<F, P, H>(packet: &mut P, l3: u8, l4: u8, host: &mut H) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    H: Host<F>,
{
    if !host.may_answer(AnswerKind::Echo) {
        return Verdict::drop(Outcome::Echo);
    }
    match reply::<F, P>(packet, l3, l4) {
        Some(()) => Verdict::new(Action::Transmit, Outcome::Echo, host.ingress_ifindex()),
        None => Verdict::pass(Outcome::NotBalanced),
    }
}

#[inline(always)]
fn reply<F: IcmpFamily, P: Packet>(packet: &mut P, l3: u8, l4: u8) -> Option<()> {
    let icmp = packet.header::<Icmp>(l4.into())?;
    if icmp.kind != F::ECHO_REQUEST || icmp.code != 0 || !is_unicast(packet) {
        return None;
    }
    F::turn(packet, l3, l4)?;
    let ethernet = packet.header::<Ethernet>(0)?;
    core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
    let icmp = packet.header::<Icmp>(l4.into())?;
    let change = Difference::default().word([F::ECHO_REQUEST, 0], [F::ECHO_REPLY, 0]);
    icmp.checksum = change.apply(icmp.checksum);
    icmp.kind = F::ECHO_REPLY;
    Some(())
}
