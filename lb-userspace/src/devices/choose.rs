//! Which devices weir serves on, and as what. Pure: the same devices and options give the same choice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Kind, Link, Listing, Pattern};

/// What a device leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The network that the node is a part of.
    Node,
    /// A workload of this node.
    Workload,
}

/// What the options say of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Devices of the node; empty: those that carry an address of the node.
    pub nodes: Vec<Pattern>,
    /// Devices that lead to workloads.
    pub workloads: Vec<Pattern>,
}

/// A device to serve on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The device.
    pub link: Link,
    /// What it leads to.
    pub role: Role,
    /// Whether somebody named it, and it alone.
    pub named: bool,
}

impl Selection {
    /// The devices to serve on, by index.
    ///
    /// A name says more than a pattern, and a pattern for workloads more than one for the node: no device is both.
    ///
    /// `preferred` are the addresses that the kernel takes towards other networks.
    pub fn choose(&self, links: &[Link], preferred: &[IpAddr]) -> Vec<Wanted> {
        let leads_to_workload =
            |link: &&Link| matches!(self.role(link), Some((Role::Workload, _))) && link.master.is_some();
        let workload_bridges: BTreeSet<u32> =
            links.iter().filter(leads_to_workload).filter_map(|link| link.master).collect();
        let mut wanted: Vec<Wanted> = links
            .iter()
            .filter_map(|link| {
                let chosen = self.role(link).or_else(|| {
                    let found = self.nodes.is_empty() && is_found(link, preferred);
                    // What workloads send is taken at their own devices, where it comes from inside.
                    (found && !workload_bridges.contains(&link.ifindex)).then_some((Role::Node, false))
                });
                chosen.map(|(role, named)| Wanted { link: link.clone(), role, named })
            })
            .collect();
        wanted.sort_by_key(|wanted| wanted.link.ifindex);
        wanted
    }

    /// What the options alone say of a device, and whether by its name.
    fn role(&self, link: &Link) -> Option<(Role, bool)> {
        let names = |patterns: &[Pattern]| {
            patterns.iter().any(|pattern| pattern.is_name() && pattern.matches(&link.name))
        };
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&link.name));
        if names(&self.nodes) {
            Some((Role::Node, true))
        } else if names(&self.workloads) {
            Some((Role::Workload, true))
        } else if link.loopback {
            None
        } else if matches(&self.workloads) {
            Some((Role::Workload, false))
        } else {
            matches(&self.nodes).then_some((Role::Node, false))
        }
    }

    /// The patterns that no device has, those of one name first.
    pub fn missing(&self, links: &[Link]) -> Vec<&Pattern> {
        let absent = |pattern: &&Pattern| links.iter().all(|link| !pattern.matches(&link.name));
        let mut missing: Vec<&Pattern> = self.nodes.iter().chain(&self.workloads).filter(absent).collect();
        missing.sort_by_key(|pattern| !pattern.is_name());
        missing
    }
}

/// Whether a device that nobody named is one of the node's. A bridge is when it leads to other networks: else it most
/// likely is one of a pod network, whose traffic does not come from outside.
fn is_found(link: &Link, preferred: &[IpAddr]) -> bool {
    let leads_out = || link.addresses.iter().any(|ip| preferred.contains(ip));
    !link.loopback
        && link.kind != Kind::Dummy
        && !link.addresses.is_empty()
        && (link.kind != Kind::Bridge || leads_out())
}

/// The node's addresses: those of its devices, each once; first in each family the one that the kernel itself takes
/// towards other networks.
pub fn addresses(wanted: &[Wanted], listing: &Listing) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let nodes = wanted.iter().filter(|wanted| wanted.role == Role::Node);
    for ip in nodes.flat_map(|wanted| &wanted.link.addresses) {
        if !addresses.contains(ip) {
            addresses.push(*ip);
        }
    }
    addresses.sort_by_key(|ip| (ip.is_ipv6(), !listing.preferred.contains(ip)));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, kind: Kind, addresses: &[&str]) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            kind,
            ethernet: true,
            loopback: name == "lo",
            mac: [2, 0, 0, 0, 0, ifindex as u8],
            up: true,
            mtu: 1500,
            master: None,
            xdp: 0,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn links() -> Vec<Link> {
        vec![
            link(1, "lo", Kind::Hardware, &["10.9.9.9"]),
            link(3, "eth1", Kind::Hardware, &["192.0.2.1", "2001:db8::1"]),
            link(2, "eth0", Kind::Hardware, &["10.0.0.1"]),
            link(4, "eth2", Kind::Hardware, &[]),
            link(5, "kube-ipvs0", Kind::Dummy, &["10.96.0.1"]),
            link(6, "cni0", Kind::Bridge, &["10.244.0.1"]),
            Link { master: Some(6), ..link(7, "veth1234", Kind::Veth, &[]) },
            link(8, "veth5678", Kind::Veth, &["10.0.7.1"]),
        ]
    }

    fn selection(nodes: &[&str], workloads: &[&str]) -> Selection {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Selection { nodes: parse(nodes), workloads: parse(workloads) }
    }

    fn names(selection: &Selection, role: Role) -> Vec<String> {
        let wanted = selection.choose(&links(), &[]);
        wanted.into_iter().filter(|wanted| wanted.role == role).map(|wanted| wanted.link.name).collect()
    }

    #[test]
    fn without_names_devices_with_addresses_serve() {
        assert_eq!(names(&selection(&[], &[]), Role::Node), ["eth0", "eth1", "veth5678"]);
        let with_pods = selection(&[], &["veth*"]);
        assert_eq!(names(&with_pods, Role::Node), ["eth0", "eth1"], "cni0 has a workload behind it");
        assert_eq!(names(&with_pods, Role::Workload), ["veth1234", "veth5678"]);
    }

    #[test]
    fn a_bridge_is_the_nodes_when_it_leads_to_other_networks() {
        let links = links();
        let bridge = links.iter().find(|link| link.kind == Kind::Bridge).expect("there is one");
        let chosen = |preferred: &[IpAddr]| {
            selection(&[], &[]).choose(&links, preferred).iter().any(|wanted| wanted.link == *bridge)
        };
        assert!(!chosen(&[]), "most likely a pod network's");
        assert!(chosen(&bridge.addresses));
    }

    #[test]
    fn names_and_patterns() {
        assert_eq!(names(&selection(&["eth?"], &[]), Role::Node), ["eth0", "eth1", "eth2"]);
        assert_eq!(names(&selection(&["eth2", "x*"], &[]), Role::Node), ["eth2"]);
        assert_eq!(
            names(&selection(&["*"], &["veth*"]), Role::Node),
            ["eth0", "eth1", "eth2", "kube-ipvs0", "cni0"]
        );
        assert_eq!(names(&selection(&["lo"], &[]), Role::Node), ["lo"]);
        let both = selection(&["veth5678"], &["veth*"]);
        assert_eq!(names(&both, Role::Node), ["veth5678"], "a name says more than a pattern");
        assert_eq!(names(&both, Role::Workload), ["veth1234"]);
    }

    #[test]
    fn what_is_missing_is_told_names_first() {
        let selection = selection(&["x*", "eth0", "eth9"], &["cali*"]);
        let missing: Vec<String> = selection.missing(&links()).into_iter().map(Pattern::to_string).collect();
        assert_eq!(missing, ["eth9", "x*", "cali*"]);
    }

    #[test]
    fn the_address_of_the_default_route_comes_first() {
        let listing = Listing { links: links(), preferred: vec!["192.0.2.1".parse().unwrap()] };
        let wanted = selection(&["eth*"], &["veth*"]).choose(&listing.links, &[]);
        let expected = ["192.0.2.1", "10.0.0.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(addresses(&wanted, &listing), expected);
    }
}
