//! Options that become settings of the data path.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lb_common::{Settings, SettingsFlags};

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

/// The settings for a node; `echo` answers echo requests to virtual IPs.
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
        flags: (if echo { SettingsFlags::ECHO } else { 0 })
            | (if node.policy.cluster_cidrs.is_empty() { 0 } else { SettingsFlags::CLUSTER_SOURCES }),
        socket_mark: 0,
        netns_cookie: 0,
    }
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

    #[test]
    fn the_first_address_of_each_family_is_the_source() {
        let addresses = ["2001:db8::1", "192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let mut node = Node {
            name: String::new(),
            zone: None,
            addresses: addresses.into(),
            own: std::collections::BTreeSet::new(),
            policy: Policy::default(),
        };
        let ports = PortRange { first: 1, last: 2 };
        let chosen = settings(&node, ports, true);
        assert_eq!(chosen.snat4, [192, 0, 2, 1]);
        assert_eq!(chosen.snat6[..4], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(chosen.flags, SettingsFlags::ECHO);
        node.policy.cluster_cidrs.push("10.244.0.0/16".parse().unwrap());
        assert_eq!(settings(&node, ports, false).flags, SettingsFlags::CLUSTER_SOURCES);
    }
}
