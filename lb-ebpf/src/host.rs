//! What the engine asks of the machine it runs on.

use lb_common::Flow;

use crate::Family;

/// A question for the routing table.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a, F: Family> {
    /// Addresses and ports of the packet as it will leave.
    pub flow: &'a Flow<F::Address>,
    /// IP protocol number.
    pub protocol: u8,
    /// IPv4 type of service or IPv6 traffic class.
    pub traffic_class: u8,
    /// Length of the packet from its IP header on, bytes.
    pub length: u16,
}

/// The way out of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By this device to this neighbour.
    Neighbour {
        /// Index of the outgoing device.
        ifindex: u32,
        /// Ethernet source.
        source: [u8; 6],
        /// Ethernet destination.
        destination: [u8; 6],
        /// Largest packet of the way, from its IP header on, bytes; zero where it is not known.
        mtu: u16,
    },
    /// By this device, whose neighbour the kernel must still resolve.
    Unresolved {
        /// Index of the outgoing device.
        ifindex: u32,
    },
    /// The packet is larger than the MTU of the way.
    TooBig {
        /// Largest packet of the way, from its IP header on, bytes.
        mtu: u16,
    },
    /// Forwarding is switched off on the receiving device.
    ForwardingOff,
    /// There is no way.
    Unreachable,
}

/// Kinds of answers, each with a rate of its own: a flood that asks for one must not keep another away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// An ICMP error.
    Error,
    /// The ICMP error without which a path's MTU is not learnt.
    TooBig,
    /// The reply to an echo request.
    Echo,
}

/// The machine, as one hook sees it.
pub trait Host<F: Family> {
    /// Whether this hook can send a packet whose neighbour is not resolved yet.
    const RESOLVES: bool;

    /// Whether what this hook sees comes from inside: from a workload of this node.
    fn inside(&self) -> bool;

    /// Whether one more ICMP message of this kind may be sent in answer; it counts as sent.
    fn may_answer(&mut self, kind: AnswerKind) -> bool;

    /// Seconds since boot (`CLOCK_MONOTONIC`); it wraps after 136 years.
    fn now_s(&mut self) -> u32;

    /// A counter that moves several times a second, and whose reading costs next to nothing.
    fn tick(&mut self) -> u32;

    /// Index of the device that the packet came in by.
    fn ingress_ifindex(&mut self) -> u32;

    /// Whether a frame with this Ethernet destination is for this machine.
    fn is_addressed(&mut self, destination: [u8; 6]) -> bool;

    /// Ethernet address of a device that this hook may send to without asking for the way; `None` where it must ask.
    fn mac(&mut self, ifindex: u32) -> Option<[u8; 6]>;

    /// The way out for a packet.
    fn route(&mut self, query: &RouteQuery<'_, F>) -> Route;
}
