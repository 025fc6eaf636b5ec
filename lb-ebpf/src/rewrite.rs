//! Fifth step: change the packet's bytes.

use lb_common::{Address, Flow, protocol};

use crate::checksum::Difference;
use crate::headers::{Checksum, Ports, Tcp, Udp};
use crate::parse::Parsed;
use crate::{Family, L4Update, Packet};

/// Gives the packet the 5-tuple of `flow` and lowers its hop limit by `hops`.
///
/// `None` when the packet is shorter than it was when it was parsed, which cannot happen; the bytes are then left
/// as they are at that point.
#[inline(always)]
pub(crate) fn rewrite<F: Family, P: Packet>(
    packet: &mut P,
    parsed: &Parsed<F>,
    flow: &Flow<F::Address>,
    hops: u8,
) -> Option<()> {
    let key = &parsed.key;
    // The checksum of SCTP covers no address, and its ports stay. A later fragment has neither ports nor checksum.
    if key.protocol == protocol::SCTP || parsed.part.is_later() {
        return F::write(packet, parsed.ip.l3, flow.source, flow.destination, hops);
    }
    let tcp = key.protocol == protocol::TCP;
    let field = if tcp { core::mem::offset_of!(Tcp, checksum) } else { core::mem::offset_of!(Udp, checksum) };
    let l4 = usize::from(parsed.ip.l4);
    let update = L4Update {
        field: l4 + field,
        pseudo_header: Difference::default()
            .address(&key.source, &flow.source)
            .address(&key.destination, &flow.destination),
        segment: Difference::default()
            .word(key.source_port, flow.source_port)
            .word(key.destination_port, flow.destination_port),
        zero_is_none: !tcp,
        ipv6: <F::Address as Address>::WORDS == 4,
    };
    packet.update_l4(&update)?;
    *packet.header::<Ports>(l4)? = Ports { source: flow.source_port, destination: flow.destination_port };
    F::write(packet, parsed.ip.l3, flow.source, flow.destination, hops)
}

/// [`Packet::update_l4`] for hooks where the checksum in the packet is always complete.
#[inline(always)]
pub fn update_complete<P: Packet>(packet: &mut P, update: &L4Update) -> Option<()> {
    let Checksum { sum: field } = packet.header::<Checksum>(update.field)?;
    if update.zero_is_none && *field == [0, 0] {
        return Some(());
    }
    let sum = update.pseudo_header.plus(update.segment).apply(*field);
    *field = if update.zero_is_none && sum == [0, 0] { [0xff, 0xff] } else { sum };
    Some(())
}
