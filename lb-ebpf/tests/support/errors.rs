//! The four ways in which an ICMP error concerns a translated flow.

use lb_common::Outcome;
use lb_ebpf::icmp::{IcmpFamily, translate};
use lb_ebpf::memory::{BufferPacket, Message, Segment};
use lb_ebpf::{Action, Verdict};

use super::*;

/// A subnet of routers, to which there is no way.
const ROUTERS: u8 = 20;

/// A node with VIP 1 for one backend in `subnet`.
pub fn node<F: Net>(protocol: u8, subnet: u8) -> Node {
    Node::new().with_service::<F>(1, protocol, &[(subnet, 1)])
}

/// Types of errors that concern a flow.
pub fn kinds<F: IcmpFamily>() -> &'static [u8] {
    if F::PROTOCOL == 1 { &[3, 11, 12] } else { &[1, 2, 3, 4] }
}

/// The segment with its addresses and ports turned round.
pub fn turned<F: Net>(packet: &BufferPacket, payload: &[u8]) -> Segment<F> {
    Segment { payload: payload.to_vec(), ..reply_to::<F>(packet) }
}

/// Gives an error without tags to the node.
pub fn given<F: Net + IcmpFamily>(
    node: &mut Node,
    error: &BufferPacket,
    egress: bool,
) -> (Verdict, BufferPacket) {
    let mut after = error.clone();
    let words = if F::PROTOCOL == 1 { error.bytes().get(14).map_or(5, |byte| byte & 15) } else { 10 };
    let verdict =
        translate::<F, _, _, _>(&mut after, 14, 14 + 4 * words, &mut node.maps, &mut node.host, egress);
    (verdict, after)
}

/// What the four cases differ in.
pub struct Case<F: Net> {
    pub node: Node,
    /// What the receiver of the error once sent.
    pub sent: BufferPacket,
    /// The same where the error came about.
    pub seen: BufferPacket,
    /// The error's source and destination, after translation.
    pub ends: (F::Address, F::Address),
    pub egress: bool,
    pub verdict: Verdict,
    pub hops: u8,
}

/// A router or a backend behind the node has a complaint about what a client sent.
pub fn behind_the_node<F: Net>(segment: &Segment<F>) -> Case<F> {
    let mut node = node::<F>(segment.key.protocol, REMOTE);
    let mut seen = segment.build();
    assert_eq!(node.ingress(&mut seen).outcome(), Outcome::Redirected);
    let ends = (segment.key.destination, segment.key.source);
    // As it was when it left the node.
    let segment = Segment { hop_limit: segment.hop_limit - 1, ..segment.clone() };
    let verdict = Verdict::new(Action::Transmit, Outcome::Transmitted, INGRESS);
    Case { node, sent: segment.build(), seen, ends, egress: false, verdict, hops: 1 }
}

/// A backend of this node has one, and the client kept its address.
pub fn on_the_node<F: Net>(segment: &Segment<F>) -> Case<F> {
    let mut node = node::<F>(segment.key.protocol, LOCAL);
    let mut seen = segment.build();
    assert_eq!(node.ingress(&mut seen).outcome(), Outcome::Local);
    let ends = (segment.key.destination, segment.key.source);
    let verdict = Verdict::pass(Outcome::Replied);
    Case { node, sent: segment.build(), seen, ends, egress: true, verdict, hops: 0 }
}

/// The client, or a router towards it, has one about what a remote backend sent.
pub fn towards_the_client<F: Net>(segment: &Segment<F>) -> Case<F> {
    let mut node = node::<F>(segment.key.protocol, REMOTE);
    let mut forward = segment.build();
    assert_eq!(node.ingress(&mut forward).outcome(), Outcome::Redirected);
    let mut reply = Segment {
        option_words: segment.option_words,
        no_checksum: segment.no_checksum,
        ..turned::<F>(&forward, &segment.payload)
    };
    let mut seen = reply.build();
    assert_eq!(node.ingress(&mut seen).outcome(), Outcome::Transmitted);
    let ends = (reply.key.destination, reply.key.source);
    reply.hop_limit -= 1;
    let verdict = Verdict::new(Action::Redirect, Outcome::Redirected, OTHER);
    Case { node, sent: reply.build(), seen, ends, egress: false, verdict, hops: 1 }
}

/// The same about what a backend of this node sent.
pub fn towards_the_client_of_a_local_flow<F: Net>(segment: &Segment<F>) -> Case<F> {
    let mut node = node::<F>(segment.key.protocol, LOCAL);
    let mut forward = segment.build();
    assert_eq!(node.ingress(&mut forward).outcome(), Outcome::Local);
    let reply = Segment {
        option_words: segment.option_words,
        no_checksum: segment.no_checksum,
        ..turned::<F>(&forward, &segment.payload)
    };
    let mut seen = reply.build();
    assert_eq!(node.egress(&mut seen).outcome(), Outcome::Replied);
    let ends = (reply.key.destination, reply.key.source);
    let verdict = Verdict::pass(Outcome::Local);
    Case { node, sent: reply.build(), seen, ends, egress: false, verdict, hops: 0 }
}

pub type Make<F> = fn(&Segment<F>) -> Case<F>;

pub const fn cases<F: Net>() -> [(&'static str, Make<F>); 4] {
    [
        ("behind the node", behind_the_node),
        ("on the node", on_the_node),
        ("towards the client", towards_the_client),
        ("towards the client of a local flow", towards_the_client_of_a_local_flow),
    ]
}

impl<F: Net + IcmpFamily> Case<F> {
    /// An error about the packet, from a router or from the end that should have got it.
    pub fn error(&self, kind: u8, quote: usize, from_router: bool) -> Message<F> {
        let seen = key_of::<F>(&Seen::of(&self.seen));
        let source = if from_router { F::address(ROUTERS, 7) } else { seen.destination };
        let message = Message::about(&self.seen, source, seen.source, kind, quote);
        Message { code: 1, rest: [0, 0, 5, 0], ..message }
    }

    /// Where a quote ends that has one byte only of the transport checksum, which cannot be kept right then.
    pub fn half_a_checksum(&self) -> Option<usize> {
        let [first, ..] = *ip_of(&self.sent) else { return None };
        let header = if F::PROTOCOL == 1 { usize::from(first & 15) * 4 } else { 40 };
        Some(header + if Seen::of(&self.sent).protocol == 6 { 16 } else { 6 })
    }

    /// Panics unless `error` becomes what the case says.
    pub fn check(&mut self, error: &Message<F>, what: &str) {
        let packet = error.build();
        let flows = F::tables(&mut self.node.maps).flows.clone();
        let (verdict, after) = given::<F>(&mut self.node, &packet, self.egress);
        assert_eq!(verdict, self.verdict, "{what}");
        let (before, seen) = (SeenMessage::of(&packet), SeenMessage::of(&after));
        let link = if self.hops == 0 { before.ethernet } else { (SOURCE, DESTINATION) };
        // What the receiver sent, checksums and all, as far as the error quotes it.
        let mut body = ip_of(&self.sent)[..error.body.len()].to_vec();
        if let Some(half) = self.half_a_checksum()
            && half + 1 == body.len()
        {
            body[half] = error.body[half];
        }
        let expected = SeenMessage {
            ethernet: link,
            source: F::ip(&self.ends.0),
            destination: F::ip(&self.ends.1),
            hop_limit: before.hop_limit - self.hops,
            body,
            ..before
        };
        assert_eq!(seen, expected, "{what}");
        assert_eq!(F::tables(&mut self.node.maps).flows, flows, "{what}: an error keeps no flow alive");
    }
}
