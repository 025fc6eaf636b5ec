//! ICMP: errors in answer to rejected packets, replies to echo requests, and errors about translated flows.
//!
//! Offsets count from the start of the packet: `l3` is where the IP header begins (14, or 18 or 22 behind VLAN tags), and
//! `l4` where the ICMP header does. They are bytes, so that the verifier knows a bound of them.

mod answer;
mod echo;
mod family;
mod translate;
mod v4;
mod v6;

pub use answer::answer;
pub use echo::echo;
pub use family::{Answer, IcmpFamily, Outer, Subject, Sums};
pub use translate::translate;

use crate::Packet;
use crate::headers::Ethernet;

/// Length of an ICMP header, bytes.
pub(crate) const ICMP_BYTES: u8 = 8;
/// Hop limit of packets that are made here.
pub(crate) const HOP_LIMIT: u8 = 64;

/// Whether the frame is for this machine alone. To others no answer is given: all that hear it would (RFC 1122 section
/// 3.2.2, RFC 4443 section 2.4 e.4).
#[inline(always)]
fn is_unicast<P: Packet>(packet: &mut P) -> bool {
    packet.header::<Ethernet>(0).is_some_and(|ethernet| {
        let [first, ..] = ethernet.destination;
        first & 1 == 0
    })
}
