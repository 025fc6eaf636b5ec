//! What each outcome means, in a sentence.

use lb_common::Outcome;

/// What became of a packet, or of a call on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It went on, translated.
    Forward,
    /// weir answered it.
    Answer,
    /// It was dropped, and its sender told so by an ICMP error as far as their rate allows. A call failed.
    Reject,
    /// It was dropped without a word. A call failed: there is no way not to answer it.
    Drop,
    /// It went on to the kernel as it was.
    Pass,
}

impl Fate {
    /// The name in JSON and text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Answer => "answer",
            Self::Reject => "reject",
            Self::Drop => "drop",
            Self::Pass => "pass",
        }
    }

    /// Whether the packet is lost, or the call refused.
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::Reject | Self::Drop)
    }
}

/// What became of a packet, or a call, with this outcome.
pub const fn fate(outcome: Outcome) -> Fate {
    match outcome {
        Outcome::NotIp
        | Outcome::NotBalanced
        | Outcome::Fragment
        | Outcome::ExtensionHeader
        | Outcome::Malformed
        | Outcome::NotOurs
        | Outcome::Deferred
        | Outcome::OtherHost
        | Outcome::SocketFull
        | Outcome::SocketExcluded
        | Outcome::SourceUnknown => Fate::Pass,
        Outcome::Local
        | Outcome::Transmitted
        | Outcome::Redirected
        | Outcome::Resolved
        | Outcome::Replied
        | Outcome::SocketTranslated => Fate::Forward,
        Outcome::Echo => Fate::Answer,
        Outcome::NoBackend
        | Outcome::HopLimit
        | Outcome::PortsExhausted
        | Outcome::FlowTableFull
        | Outcome::TooBig
        | Outcome::NodePortTaken
        | Outcome::UnusedPort => Fate::Reject,
        Outcome::Changing
        | Outcome::ResetWithoutFlow
        | Outcome::NoSourceAddress
        | Outcome::NoRoute
        | Outcome::ForwardingOff
        | Outcome::NoLocalBackend
        | Outcome::SourceRefused
        | Outcome::FromOutside
        | Outcome::FragmentUnknown
        | Outcome::SctpPorts => Fate::Drop,
    }
}

/// Why a packet, or a call, had this outcome, and what to do where something can be done.
pub const fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotIp => "neither IPv4 nor IPv6",
        Outcome::NotBalanced => "neither TCP nor UDP nor SCTP, nor ICMP that concerns a Service",
        Outcome::Fragment => {
            "a fragment whose first fragment was not seen, to an address that is no virtual IP"
        }
        Outcome::ExtensionHeader => "more IPv6 extension headers, or longer ones, than are walked",
        Outcome::Malformed => "shorter than its headers say, or headers that contradict each other",
        Outcome::NotOurs => "addressed to no Service",
        Outcome::Local => {
            "translated; the kernel routes it, because the endpoint or the client is on this node"
        }
        Outcome::Deferred => "left to the tc hook, where the kernel can resolve a neighbour",
        Outcome::Transmitted => "translated, and sent out of the device it came in by",
        Outcome::Redirected => "translated, and sent out of another device",
        Outcome::Resolved => "translated, and sent by way of the kernel's neighbour table",
        Outcome::Replied => "the reply to a client that kept its address, translated on its way out",
        Outcome::NoBackend => "the Service has no endpoint that takes new flows",
        Outcome::HopLimit => "its hop limit would reach zero here",
        Outcome::PortsExhausted => {
            "no source port is free towards this endpoint: give weir more with --snat-ports"
        }
        Outcome::FlowTableFull => "the flow table took no entry: enlarge it with --flows-max",
        Outcome::Changing => "the Service changed twice meanwhile; the next attempt gets through",
        Outcome::ResetWithoutFlow => "an RST that belongs to no known flow",
        Outcome::NoSourceAddress => {
            "the node has no address of this family to send from: name one with --node-ip"
        }
        Outcome::NoRoute => "the node has no route to the endpoint",
        Outcome::ForwardingOff => {
            "forwarding is off: set net.ipv4.ip_forward and net.ipv6.conf.all.forwarding to 1"
        }
        Outcome::TooBig => "larger than the MTU of the way out; the sender is told the size that fits",
        Outcome::NoLocalBackend => "the traffic policy keeps it on this node, which has no endpoint",
        Outcome::UnusedPort => "a port of a virtual IP that no Service has",
        Outcome::SourceRefused => "its source is in none of the Service's loadBalancerSourceRanges",
        Outcome::FromOutside => {
            "to a cluster IP from outside: pods are inside by --workload-device or --cluster-cidr, all others by \
             --external-cluster-ip"
        }
        Outcome::Echo => "an echo request to a virtual IP, answered",
        Outcome::FragmentUnknown => "a fragment to a virtual IP whose first fragment was not seen",
        Outcome::SctpPorts => {
            "SCTP whose port would have to change: give the Service's port the number of the endpoints' port"
        }
        Outcome::OtherHost => "addressed to another machine on the link",
        Outcome::SocketTranslated => "the socket was given the address of an endpoint",
        Outcome::SocketFull => {
            "no room to keep what the socket believes, so its packets are translated only where they pass weir: enlarge \
             the table with --socket-flows-max (UDP without connect), or net.core.optmem_max"
        }
        Outcome::SocketExcluded => "the socket's mark or the process's control group is left alone",
        Outcome::NodePortTaken => "the port is a NodePort of this node (--protect-nodeports)",
        Outcome::SourceUnknown => {
            "the Service has loadBalancerSourceRanges and the socket has no source yet, so the packets are judged on \
             their way"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation of each outcome begins with what becomes of the packet.
    #[test]
    fn fates_are_those_that_the_outcomes_are_documented_with() {
        let text = include_str!("../../../lb-common/src/outcome.rs");
        for outcome in Outcome::ALL {
            let line = format!("= {}, \"{}\";", outcome.index(), outcome.name());
            let before = text.split(&line).next().expect("declared");
            let documented = before.rsplit("    ///").take_while(|part| !part.contains(";\n")).last();
            let documented = documented.expect("documented").trim_start();
            let expected = match fate(*outcome) {
                Fate::Pass => "Passed",
                Fate::Reject => "Rejected",
                Fate::Drop => "Dropped",
                Fate::Answer => "Answered",
                Fate::Forward if documented.starts_with("Passed up, translated") => "Passed up, translated",
                Fate::Forward if *outcome == Outcome::Replied => "A reply",
                Fate::Forward if *outcome == Outcome::SocketTranslated => "Passed, translated",
                Fate::Forward => "Sent",
            };
            assert!(documented.starts_with(expected), "{}: {documented}", outcome.name());
        }
    }

    #[test]
    fn only_what_is_rejected_or_dropped_is_lost() {
        let lost = Outcome::ALL.iter().filter(|outcome| fate(**outcome).is_drop());
        let names: Vec<&str> = lost.map(|outcome| outcome.name()).collect();
        assert_eq!(names.len(), 17, "{names:?}");
        assert!(names.contains(&"source_refused") && !names.contains(&"deferred"), "{names:?}");
    }
}
