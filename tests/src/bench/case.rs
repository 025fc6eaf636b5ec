//! Which packets are measured, and what the aim of each is.

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
    /// The first of their flow, into a full table: each writes two entries and evicts two.
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
    /// Services in the maps, and among how many of them the flows are spread; none for the one of the usual network.
    pub services: Option<Services>,
}

/// Many Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    /// In the maps.
    pub count: u32,
    /// The packets are for all of them in turn, or all for one.
    pub spread: bool,
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

    /// The columns by which `--only` names it.
    pub fn columns(&self) -> Vec<String> {
        let [family, protocol] = [self.family(), self.protocol_name()].map(str::to_owned);
        let (kind, flows) = (self.kind.name().to_owned(), self.flows.to_string());
        match self.services {
            None => vec![kind, family, protocol, flows],
            Some(services) => {
                vec!["services".to_owned(), kind, services.target().to_owned(), services.count.to_string()]
            }
        }
    }

    /// Nanoseconds that a packet may take, where an aim is set: those that Katran takes on the machine whose figures the
    /// aims were made of, for less work.
    pub const fn aim_ns(&self) -> Option<u64> {
        if self.ipv6 || self.protocol != protocol::TCP || self.services.is_some() {
            return None;
        }
        match (self.kind, self.flows) {
            (Kind::Established, 1) => Some(69),
            (Kind::Established, 1_024) => Some(80),
            (Kind::Established, 65_536) => Some(250),
            (Kind::Evicting, TABLE_FLOWS) => Some(1_086),
            (Kind::NotOurs, _) => Some(20),
            _ => None,
        }
    }
}

impl Services {
    /// The name of what the packets are for.
    pub const fn target(&self) -> &'static str {
        if self.spread { "all" } else { "one" }
    }
}

/// Flows that fill a table of 2^20 entries.
const TABLE_FLOWS: u32 = 1 << 19;

/// All that is measured with one Service, or with `quick` the lines that have an aim, or that a change of the engine
/// moves first.
pub fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (ipv6, protocol) in
        [(false, protocol::TCP), (false, protocol::UDP), (true, protocol::TCP), (true, protocol::UDP)]
    {
        let counts: &[u32] = match (quick, ipv6, protocol) {
            (false, ..) => &[1, 1_024, 65_536, 524_288],
            (true, false, protocol::TCP) => &[1, 1_024, 65_536],
            (true, ..) => &[1],
        };
        let case = |kind, flows| Case { kind, ipv6, protocol, flows, services: None };
        cases.extend(counts.iter().map(|flows| case(Kind::Established, *flows)));
        cases.extend(
            counts.iter().filter(|flows| !quick || **flows == 1).map(|flows| case(Kind::New, *flows)),
        );
    }
    for ipv6 in [false, true] {
        for (kind, flows) in [
            (Kind::Redirected, 1),
            (Kind::Local, 1),
            (Kind::Evicting, 65_536),
            (Kind::Evicting, TABLE_FLOWS),
            (Kind::NotOurs, 1),
        ] {
            if !quick || !ipv6 && (kind != Kind::Evicting || flows == TABLE_FLOWS) {
                cases.push(Case { kind, ipv6, protocol: protocol::TCP, flows, services: None });
            }
        }
    }
    cases
}

/// The same packets with few and with many Services in the maps. Flows are as many in each line, so that what differs
/// is the number of Services alone.
pub fn service_cases(quick: bool) -> Vec<Case> {
    let counts: &[u32] = if quick { &[10, 100_000] } else { &[10, 1_000, 100_000] };
    let mut cases = Vec::new();
    for (kind, spread, flows) in [
        (Kind::Established, false, 1),
        (Kind::Established, true, 65_536),
        (Kind::NotOurs, false, 1),
        (Kind::NotOurs, true, 65_536),
        (Kind::New, true, 65_536),
    ] {
        cases.extend(counts.iter().map(|count| Case {
            kind,
            ipv6: false,
            protocol: protocol::TCP,
            flows,
            services: Some(Services { count: *count, spread }),
        }));
    }
    cases
}
