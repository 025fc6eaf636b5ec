//! Why a packet left weir: one variant, one counter.

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Every reason by which a packet, or a call on a socket, leaves the engine. The number is the index in `COUNTERS`,
        /// or `SOCKET_COUNTERS`.
        ///
        /// "Rejected" means dropped, and answered with an ICMP error as far as their rate allows; a call on a socket fails
        /// instead, and what is said of packets is meant of what the socket would send.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Outcome { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl Outcome {
            /// All outcomes, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in metrics and messages.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The index in `COUNTERS`.
            #[inline(always)]
            pub const fn index(self) -> u32 { self as u32 }
        }
    };
}

outcomes! {
    /// Passed: neither IPv4 nor IPv6.
    NotIp = 0, "not_ip";
    /// Passed: neither TCP nor UDP nor SCTP, nor ICMP that concerns a Service.
    NotBalanced = 1, "not_balanced";
    /// Passed: a fragment of a datagram whose first fragment was not seen, to an address that is no virtual IP.
    Fragment = 2, "fragment";
    /// Passed: more IPv6 extension headers, or longer ones, than the engine walks.
    ExtensionHeader = 3, "extension_header";
    /// Passed: shorter than its headers say, or headers that contradict each other.
    Malformed = 4, "malformed";
    /// Passed: addressed to no Service.
    NotOurs = 5, "not_ours";
    /// Passed up, translated: the kernel routes it, because the backend or the client is on this node.
    Local = 6, "local";
    /// Passed up, not translated: the device hook hands it to the tc hook, where the kernel can resolve a
    /// neighbour.
    Deferred = 7, "deferred";
    /// Sent, translated, out of the device it came in by.
    Transmitted = 8, "transmitted";
    /// Sent, translated, out of another device.
    Redirected = 9, "redirected";
    /// Sent, translated, through the kernel's neighbour resolution.
    Resolved = 10, "resolved";
    /// A reply to a client that kept its address, translated on its way out.
    Replied = 11, "replied";
    /// Rejected: the Service has no endpoint.
    NoBackend = 12, "no_backend";
    /// Rejected: the hop limit would reach zero here.
    HopLimit = 13, "hop_limit";
    /// Rejected: no free source port for this backend was found.
    PortsExhausted = 14, "ports_exhausted";
    /// Rejected: the flow table took no entry.
    FlowTableFull = 15, "flow_table_full";
    /// Dropped: the frontend changed twice while the packet looked at it.
    Changing = 16, "changing";
    /// Dropped: an RST that belongs to no known flow.
    ResetWithoutFlow = 17, "reset_without_flow";
    /// Dropped: the node has no address of this family to send from.
    NoSourceAddress = 18, "no_source_address";
    /// Dropped: no route to the destination.
    NoRoute = 19, "no_route";
    /// Dropped: forwarding is off on the receiving device (`net.ipv4.ip_forward`, `net.ipv6.conf.*.forwarding`).
    ForwardingOff = 20, "forwarding_off";
    /// Rejected: larger than the MTU of the way out.
    TooBig = 21, "too_big";
    /// Dropped: the traffic policy keeps it on this node, and the node has no endpoint.
    NoLocalBackend = 22, "no_local_backend";
    /// Rejected: a port of a virtual IP that no Service has.
    UnusedPort = 23, "unused_port";
    /// Dropped: not from one of the Service's `loadBalancerSourceRanges`.
    SourceRefused = 24, "source_refused";
    /// Dropped: to a cluster IP from outside, which is not allowed.
    FromOutside = 25, "from_outside";
    /// Answered: an echo request to a virtual IP.
    Echo = 26, "echo";
    /// Dropped: a fragment to a virtual IP whose first fragment was not seen.
    FragmentUnknown = 27, "fragment_unknown";
    /// Dropped: an SCTP packet whose ports would have to change, for which its checksum would have to be made anew.
    SctpPorts = 28, "sctp_ports";
    /// Passed: addressed to another machine on the link.
    OtherHost = 29, "other_host";
    /// Passed, translated: a call on a socket, which was given the address of a backend.
    SocketTranslated = 30, "socket_translated";
    /// Passed: a call on a socket, as it is, since there is no room to keep what the socket believes.
    SocketFull = 31, "socket_full";
    /// Passed: a call on a socket, as it is, since the socket's mark or the process's control group is left alone.
    SocketExcluded = 32, "socket_excluded";
    /// Rejected: a bind to a NodePort of this node.
    NodePortTaken = 33, "node_port_taken";
    /// Passed: a call on a socket, as it is, to a Service for some sources only; packets show the source, a socket does not.
    SourceUnknown = 34, "source_unknown";
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn numbers_are_dense_and_names_unique() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome.index() as usize, index);
            assert_eq!(Outcome::ALL.iter().filter(|other| other.name() == outcome.name()).count(), 1);
        }
    }
}
