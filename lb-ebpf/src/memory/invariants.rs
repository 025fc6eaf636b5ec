//! What holds for any sequence of bytes given to the engine: the body of the fuzz target.

use lb_common::Outcome;

use crate::memory::BufferPacket;
use crate::memory::network::{LOCAL, Node, REMOTE};
use crate::{Action, V4, V6};

/// A node with Services of both families and protocols: VIPs 1 (TCP) and 2 (UDP) on remote, 3 and 4 on local backends.
pub fn node() -> Node {
    let mut node = Node::new();
    node.host.mac = None;
    for (id, protocol, subnet) in [(1, 6, REMOTE), (2, 17, REMOTE), (3, 6, LOCAL), (4, 17, LOCAL)] {
        node = node.with_service::<V4>(id, protocol, &[(subnet, 1), (subnet, 2)]).with_service::<V6>(
            id,
            protocol,
            &[(subnet, 1), (subnet, 2)],
        );
    }
    node
}

/// Gives the frames in `input` to a node and checks every verdict. A frame is a byte that says how, its length in two
/// bytes (high first), and its bytes; the last may be cut short. Bits of the first byte: 0 for egress, 1 for a second
/// later, 2 for the reply to the latest translated packet in place of the bytes. Answers the outcome of the last frame.
///
/// # Panics
/// When an invariant does not hold.
pub fn check_frames(input: &[u8]) -> Option<Outcome> {
    let (mut node, mut rest) = (node(), input);
    let (mut sent, mut last) = (None, None);
    while let [how, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (bytes, next) = tail.split_at(length);
        let bit = |number: u32| how >> number & 1 == 1;
        node.host.now_s += u32::from(bit(1));
        let reply = sent.as_ref().filter(|_| bit(2)).and_then(BufferPacket::turned);
        let frame = reply.unwrap_or_else(|| BufferPacket::new(bytes));
        let (outcome, after) = check_frame(&mut node, &frame, bit(0));
        if translates(outcome) {
            sent = Some(after);
        }
        last = Some(outcome);
        rest = next;
    }
    last
}

/// Checks one frame: unless it is translated or answered it stays as it is, and a second one like it becomes the same.
/// Answers the outcome, and the frame as it left.
///
/// # Panics
/// When an invariant does not hold.
pub fn check_frame(node: &mut Node, original: &BufferPacket, egress: bool) -> (Outcome, BufferPacket) {
    let mut run = || {
        let mut packet = original.clone();
        let verdict = if egress { node.egress(&mut packet) } else { node.ingress(&mut packet) };
        (verdict, packet)
    };
    let (verdict, packet) = run();
    let untouched = packet == *original;
    let translated = translates(verdict.outcome());
    let answered = verdict.action() == Action::Transmit && !translated;
    assert!(untouched || translated || answered, "{verdict:?} changed {original:?} to {packet:?}");
    assert!(answered || packet.bytes().len() == original.bytes().len(), "{verdict:?} changed the length");
    assert_ne!(verdict.action(), Action::Reject);
    assert_eq!(run(), (verdict, packet.clone()), "the same frame again");
    (verdict.outcome(), packet)
}

fn translates(outcome: Outcome) -> bool {
    use Outcome::{Local, Redirected, Replied, Resolved, Transmitted};
    matches!(outcome, Local | Transmitted | Redirected | Resolved | Replied)
}
