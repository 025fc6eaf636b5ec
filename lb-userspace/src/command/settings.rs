//! Options that become settings of the data path.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lb_common::{ExcludedCgroup, Settings, SettingsFlags};

use crate::maps::{MapsError, Tables};
use crate::model::{IpFamily, Prefix};
use crate::plan::Node;

/// A range of ports, `FIRST-LAST`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortRange {
    pub(super) first: u16,
    pub(super) last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of ports; write FIRST-LAST, such as 61000-65535");
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        let range = Self { first: port(first)?, last: port(last)? };
        if range.first == 0 || range.first > range.last { Err(wrong()) } else { Ok(range) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What of the settings is about calls on sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketSettings {
    /// Sockets with this mark are left alone; 0 for none.
    pub(super) mark: u32,
    /// A bind to a NodePort is refused.
    pub(super) protect_node_ports: bool,
    /// The network namespace of the node; 0 where calls on sockets are not served.
    pub(super) netns_cookie: u64,
}

/// What the options say of the data path, as long as the agent runs; what else is in the settings follows the node.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    /// Source ports for flows to other nodes.
    pub(super) ports: PortRange,
    /// Echo requests to virtual IPs are answered.
    pub(super) echo: bool,
    /// About calls on sockets.
    pub(super) sockets: SocketSettings,
    /// Control groups whose processes are left alone.
    pub(super) excluded: Vec<ExcludedCgroup>,
}

impl Choices {
    /// Writes what the data path must know of a node; answers how many writes that took.
    pub(super) fn write(&self, node: &Node, tables: &mut Tables) -> Result<usize, MapsError> {
        let cluster: BTreeSet<Prefix> = node.policy.cluster_cidrs.iter().copied().collect();
        tables.write_settings(&self.settings(node), &cluster, &self.excluded)
    }

    fn settings(&self, node: &Node) -> Settings {
        let plain = settings(node, self.ports, self.echo);
        let flags = set_flags([
            (self.sockets.protect_node_ports, SettingsFlags::PROTECT_NODE_PORTS),
            (!self.excluded.is_empty(), SettingsFlags::EXCLUDED_CGROUPS),
        ]);
        Settings {
            flags: plain.flags | flags,
            socket_mark: self.sockets.mark,
            netns_cookie: self.sockets.netns_cookie,
            ..plain
        }
    }
}

/// The settings for a node, but for what concerns sockets alone; `echo` answers echo requests to virtual IPs.
pub(super) fn settings(node: &Node, ports: PortRange, echo: bool) -> Settings {
    let addresses = &node.addresses;
    let first4 =
        addresses.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip.octets()) } else { None });
    let first6 =
        addresses.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip.octets()) } else { None });
    Settings {
        snat4: first4.unwrap_or_default(),
        snat6: first6.unwrap_or_default(),
        snat_port_first: ports.first,
        snat_port_last: ports.last,
        flags: set_flags([
            (echo, SettingsFlags::ECHO),
            (!node.policy.cluster_cidrs.is_empty(), SettingsFlags::CLUSTER_SOURCES),
            (loopback(node, IpFamily::V4), SettingsFlags::LOOPBACK4),
            (loopback(node, IpFamily::V6), SettingsFlags::LOOPBACK6),
        ]),
        socket_mark: 0,
        netns_cookie: 0,
    }
}

fn set_flags<const N: usize>(flags: [(bool, u32); N]) -> u32 {
    flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag)
}

/// Whether NodePorts are to be served at loopback addresses, which calls on sockets alone can be for.
pub(super) fn serves_loopback(node: &Node) -> bool {
    loopback(node, IpFamily::V4) || loopback(node, IpFamily::V6)
}

fn loopback(node: &Node, _family: IpFamily) -> bool {
    node.policy.node_port_addresses.wants_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Policy;

    #[test]
    fn ranges() {
        assert_eq!("61000-65535".parse(), Ok(PortRange { first: 61000, last: 65535 }));
        for wrong in ["", "1", "0-5", "9-8", "1-70000", "a-b"] {
            assert!(wrong.parse::<PortRange>().unwrap_err().contains("FIRST-LAST"), "{wrong}");
        }
    }

    fn node(addresses: &[&str]) -> Node {
        Node {
            name: String::new(),
            zone: None,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            own: BTreeSet::new(),
            policy: Policy::default(),
        }
    }

    fn choices() -> Choices {
        Choices {
            ports: PortRange { first: 1, last: 2 },
            echo: false,
            sockets: SocketSettings { mark: 7, protect_node_ports: false, netns_cookie: 1 << 40 },
            excluded: Vec::new(),
        }
    }

    #[test]
    fn the_first_address_of_each_family_is_the_source() {
        let node = node(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
        let chosen = choices().settings(&node);
        assert_eq!(chosen.snat4, [192, 0, 2, 1]);
        assert_eq!(chosen.snat6[..4], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!((chosen.socket_mark, chosen.netns_cookie), (7, 1 << 40));
    }

    #[test]
    fn each_choice_is_a_flag() {
        let plain = node(&[]);
        assert_eq!(choices().settings(&plain).flags, 0);
        assert_eq!(Choices { echo: true, ..choices() }.settings(&plain).flags, SettingsFlags::ECHO);
        let sockets = SocketSettings { protect_node_ports: true, ..choices().sockets };
        let protects = Choices { sockets, ..choices() };
        assert_eq!(protects.settings(&plain).flags, SettingsFlags::PROTECT_NODE_PORTS);
        let excludes = Choices { excluded: vec![ExcludedCgroup { id: 9, level: 1, pad: 0 }], ..choices() };
        assert_eq!(excludes.settings(&plain).flags, SettingsFlags::EXCLUDED_CGROUPS);
        let mut cluster = node(&[]);
        cluster.policy.cluster_cidrs.push("10.244.0.0/16".parse().unwrap());
        assert_eq!(choices().settings(&cluster).flags, SettingsFlags::CLUSTER_SOURCES);
    }

    #[test]
    fn loopback_is_served_where_it_is_selected() {
        const BOTH: u32 = SettingsFlags::LOOPBACK4 | SettingsFlags::LOOPBACK6;
        for (selection, flags) in [("", 0), ("primary", 0), ("all", 0), ("localhost", BOTH)] {
            let mut node = node(&["192.0.2.1"]);
            node.policy.node_port_addresses = selection.parse().unwrap();
            assert_eq!(choices().settings(&node).flags, flags, "{selection}");
            assert_eq!(serves_loopback(&node), flags != 0, "{selection}");
        }
    }
}
