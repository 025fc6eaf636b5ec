//! What is measured.

use lb_common::protocol;

/// What happens to the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a known flow, back out of the device it came by.
    Established,
    /// Of a known flow, out of another device.
    Redirected,
    /// Of a known flow with a backend on this node.
    Local,
    /// The first of their flow, into a table with room.
    New,
    /// The first of their flow, into a full table: each evicts two entries.
    Evicting,
    /// For no Service.
    NotOurs,
}

impl Kind {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Redirected => "established-redirected",
            Self::Local => "established-local",
            Self::New => "new",
            Self::Evicting => "new-evicting",
            Self::NotOurs => "not-ours",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What happens to the packets.
    pub kind: Kind,
    /// IPv6, or IPv4.
    pub ipv6: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// Flows in the table: those that the packets belong to, or those that new ones come to.
    pub flows: u32,
}

impl Case {
    /// The name of the family.
    pub const fn family(&self) -> &'static str {
        if self.ipv6 { "ipv6" } else { "ipv4" }
    }

    /// The name of the protocol.
    pub const fn protocol_name(&self) -> &'static str {
        if self.protocol == protocol::TCP { "tcp" } else { "udp" }
    }

    /// Whether the case is named by `path`: its columns from the left, all or some.
    pub fn is_below(&self, path: &str) -> bool {
        let flows = self.flows.to_string();
        let columns = [self.kind.name(), self.family(), self.protocol_name(), &flows];
        let mut wanted = path.split('/');
        wanted.by_ref().zip(columns).all(|(wanted, column)| wanted == column) && wanted.next().is_none()
    }
}

/// All that is measured, or with `quick` the lines that a change of the engine moves first.
pub fn cases(quick: bool) -> Vec<Case> {
    let counts: &[u32] = if quick { &[1] } else { &[1, 1_024, 65_536, 524_288] };
    let mut cases = Vec::new();
    for (ipv6, protocol) in
        [(false, protocol::TCP), (false, protocol::UDP), (true, protocol::TCP), (true, protocol::UDP)]
    {
        for kind in [Kind::Established, Kind::New] {
            cases.extend(counts.iter().map(|flows| Case { kind, ipv6, protocol, flows: *flows }));
        }
    }
    for ipv6 in [false, true] {
        for (kind, flows) in
            [(Kind::Redirected, 1), (Kind::Local, 1), (Kind::Evicting, 65_536), (Kind::NotOurs, 1)]
        {
            cases.push(Case { kind, ipv6, protocol: protocol::TCP, flows });
        }
    }
    cases
}
