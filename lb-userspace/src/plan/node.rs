//! The node that is planned for, and what its operator chose.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::model::{IpFamily, Prefix, PrefixError};

/// The node that is planned for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, which endpoints name to say where they run.
    pub name: String,
    /// Its zone, for topology hints.
    pub zone: Option<String>,
    /// Its addresses; the first of a family is its primary one.
    pub addresses: Vec<IpAddr>,
    /// Every address of this machine, on whichever device, beside these: none of them is a virtual IP whose unused ports
    /// nobody else has.
    pub own: BTreeSet<IpAddr>,
    /// What the operator chose.
    pub policy: Policy,
}

impl Node {
    /// Whether an address is one of this machine's.
    pub fn has(&self, ip: &IpAddr) -> bool {
        self.addresses.contains(ip) || self.own.contains(ip)
    }
}

/// What the operator of a node chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Cluster IPs are served to traffic from outside too.
    pub external_cluster_ip: bool,
    /// Addresses at which NodePorts are served.
    pub node_port_addresses: NodePortAddresses,
    /// Prefixes of the cluster's pods: what comes from them is traffic from inside.
    pub cluster_cidrs: Vec<Prefix>,
}

/// Which addresses of the node serve NodePorts; empty means `primary`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePortAddresses(Vec<Selector>);

/// A part of [`NodePortAddresses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selector {
    Primary,
    Localhost,
    All,
    Prefix(Prefix),
}

impl NodePortAddresses {
    /// The addresses of a node at which NodePorts are served, in its order.
    ///
    /// A family that none of the prefixes is of is served at all its addresses, as kube-proxy has it.
    pub fn of(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let selected = |ip: &IpAddr| match self.0.as_slice() {
            [] => selects(Selector::Primary, *ip, addresses),
            selectors => {
                let family = IpFamily::of(*ip);
                selectors.iter().any(|one| selects(*one, *ip, addresses))
                    || (!ip.is_loopback() && !selectors.iter().any(|one| concerns(*one, family)))
            }
        };
        addresses.iter().copied().filter(selected).collect()
    }

    /// Whether NodePorts are served to the node itself at the loopback addresses of a family. No packet from a device may
    /// be for one, so this is for programs on sockets alone.
    pub fn loopback(&self, family: IpFamily) -> bool {
        let loopback = match family {
            IpFamily::V4 => Ipv4Addr::LOCALHOST.into(),
            IpFamily::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        self.0.iter().any(|one| match one {
            Selector::Localhost => true,
            // `/0` is another way to say `all`, which never means loopback.
            Selector::Prefix(prefix) => prefix.length() > 0 && prefix.contains(loopback),
            Selector::Primary | Selector::All => false,
        })
    }
}

fn selects(selector: Selector, ip: IpAddr, addresses: &[IpAddr]) -> bool {
    let family = IpFamily::of(ip);
    match selector {
        Selector::Primary => {
            let usable = |other: &&IpAddr| IpFamily::of(**other) == family && !other.is_loopback();
            addresses.iter().find(usable) == Some(&ip)
        }
        Selector::Localhost => ip.is_loopback(),
        Selector::All => !ip.is_loopback(),
        Selector::Prefix(prefix) => prefix.contains(ip) && (prefix.length() > 0 || !ip.is_loopback()),
    }
}

/// Keywords are for both families.
fn concerns(selector: Selector, family: IpFamily) -> bool {
    match selector {
        Selector::Primary | Selector::Localhost | Selector::All => true,
        Selector::Prefix(prefix) => prefix.family() == family,
    }
}

impl FromStr for NodePortAddresses {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let selectors = parts.map(|part| {
            Ok(match part {
                "primary" => Selector::Primary,
                "localhost" => Selector::Localhost,
                "all" => Selector::All,
                prefix => Selector::Prefix(prefix.parse()?),
            })
        });
        selectors.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_serve_node_ports() {
        let addresses: Vec<IpAddr> = ["127.0.0.1", "192.0.2.1", "10.1.0.1", "::1", "2001:db8::1", "fd00::1"]
            .map(|ip| ip.parse().unwrap())
            .into();
        let cases: [(&str, &[&str]); 11] = [
            ("", &["192.0.2.1", "2001:db8::1"]),
            ("primary", &["192.0.2.1", "2001:db8::1"]),
            ("localhost", &["127.0.0.1", "::1"]),
            ("all", &["192.0.2.1", "10.1.0.1", "2001:db8::1", "fd00::1"]),
            ("primary,localhost", &["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"]),
            ("10.0.0.0/8, fd00::/8", &["10.1.0.1", "fd00::1"]),
            ("10.0.0.0/8", &["10.1.0.1", "2001:db8::1", "fd00::1"]),
            ("fd00::/8", &["192.0.2.1", "10.1.0.1", "fd00::1"]),
            ("203.0.113.0/24,primary", &["192.0.2.1", "2001:db8::1"]),
            ("0.0.0.0/0,::/0", &["192.0.2.1", "10.1.0.1", "2001:db8::1", "fd00::1"]),
            ("127.0.0.0/8,::1/128", &["127.0.0.1", "::1"]),
        ];
        for (text, expected) in cases {
            let chosen: NodePortAddresses = text.parse().unwrap();
            let found: Vec<String> = chosen.of(&addresses).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn loopback_is_chosen_by_family() {
        let cases = [
            ("", [false, false]),
            ("primary", [false, false]),
            ("all", [false, false]),
            ("localhost", [true, true]),
            ("primary,localhost", [true, true]),
            ("127.0.0.0/8", [true, false]),
            ("127.0.0.1/32,10.0.0.0/8", [true, false]),
            ("::1/128", [false, true]),
            ("127.0.0.0/8,::1/128", [true, true]),
            ("0.0.0.0/0,::/0", [false, false]),
            ("10.0.0.0/8,fd00::/8", [false, false]),
        ];
        for (text, expected) in cases {
            let chosen: NodePortAddresses = text.parse().unwrap();
            assert_eq!(
                [IpFamily::V4, IpFamily::V6].map(|family| chosen.loopback(family)),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_no_choice_of_addresses_is_refused() {
        for text in ["primary,everything", "10.0.0.0/40"] {
            assert!(text.parse::<NodePortAddresses>().is_err(), "{text}");
        }
    }
}
