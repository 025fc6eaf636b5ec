//! Why a packet left weir: one variant, one counter.

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Every reason by which a packet leaves the engine. The number is the index in `COUNTERS`.
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
    /// Passed: neither TCP nor UDP.
    NotBalanced = 1, "not_balanced";
    /// Passed: a fragment; it has no ports, or not all of its bytes.
    Fragment = 2, "fragment";
    /// Passed: IPv6 with extension headers before the transport header.
    ExtensionHeader = 3, "extension_header";
    /// Passed: shorter than its headers say, or headers that contradict each other.
    Malformed = 4, "malformed";
    /// Passed: addressed to no Service.
    NotOurs = 5, "not_ours";
    /// Passed up, translated: the backend runs on this node.
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
    /// A reply of a local backend, translated on its way out.
    Replied = 11, "replied";
    /// Dropped: the Service has no endpoint for this traffic.
    NoBackend = 12, "no_backend";
    /// Dropped: the hop limit would reach zero here.
    HopLimit = 13, "hop_limit";
    /// Dropped: no free source port for this backend was found.
    PortsExhausted = 14, "ports_exhausted";
    /// Dropped: the flow table took no entry.
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
    /// Dropped: larger than the MTU of the way out.
    TooBig = 21, "too_big";
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
