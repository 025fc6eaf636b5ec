//! Settings of the kernel that keep a node from serving.

use std::net::IpAddr;

use crate::devices::{Role, Wanted};

/// What to change, one text for each; empty where all is well. `read` gives a file below `/proc/sys/net`.
pub(super) fn complaints(
    addresses: &[IpAddr],
    wanted: &[Wanted],
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let number = |path: &str| read(path).and_then(|text| text.trim().parse::<i32>().ok());
    let mut complaints = Vec::new();
    for (of_family, path) in [
        (IpAddr::is_ipv4 as fn(&IpAddr) -> bool, "ipv4/ip_forward"),
        (IpAddr::is_ipv6, "ipv6/conf/all/forwarding"),
    ] {
        if addresses.iter().any(of_family) && number(path) == Some(0) {
            let name = path.replace('/', ".");
            complaints.push(format!(
                "net.{name} is 0: this node does not forward packets to endpoints; set it to 1"
            ));
        }
    }
    // With one device there is one way back, which a strict filter knows.
    let nodes: Vec<&Wanted> = wanted.iter().filter(|wanted| wanted.role == Role::Node).collect();
    if nodes.len() > 1 {
        let of = |device: &str| number(&format!("ipv4/conf/{device}/rp_filter")).unwrap_or(0);
        let everywhere = of("all");
        // The larger of the two holds (`rp_filter` in the kernel's networking/ip-sysctl.rst).
        let strict: Vec<&str> = nodes
            .iter()
            .map(|wanted| wanted.link.name.as_str())
            .filter(|name| of(name).max(everywhere) == 1)
            .collect();
        if !strict.is_empty() {
            complaints.push(format!(
                "net.ipv4.conf.*.rp_filter is 1 (strict) on {}: what arrives by one device for a local endpoint, and \
                 would be answered by another, is dropped by the kernel; set it to 2",
                strict.join(", ")
            ));
        }
    }
    complaints
}

/// A file below `/proc/sys/net` of this network namespace.
pub(super) fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{Kind, Link};

    fn node(name: &str) -> Wanted {
        let link = Link {
            ifindex: 2,
            name: name.to_owned(),
            kind: Kind::Hardware,
            ethernet: true,
            loopback: false,
            mac: [0; 6],
            up: true,
            mtu: 1500,
            master: None,
            xdp: 0,
            addresses: Vec::new(),
        };
        Wanted { link, role: Role::Node, named: false }
    }

    #[test]
    fn each_family_is_asked_for_its_forwarding() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let off = |_: &str| Some("0\n".to_owned());
        assert_eq!(complaints(&[v4, v6], &[], off).len(), 2);
        let one = complaints(&[v6], &[], off);
        assert!(matches!(one.as_slice(), [text] if text.contains("net.ipv6.conf.all.forwarding")), "{one:?}");
        assert_eq!(complaints(&[v4, v6], &[], |_| None), Vec::<String>::new());
    }

    #[test]
    fn a_strict_filter_matters_where_there_are_several_ways() {
        let strict = |path: &str| path.ends_with("eth1/rp_filter").then(|| "1".to_owned());
        let one = complaints(&[], &[node("eth0"), node("eth1")], strict);
        assert!(matches!(one.as_slice(), [text] if text.contains("on eth1:")), "{one:?}");
        assert_eq!(complaints(&[], &[node("eth1")], strict), Vec::<String>::new());
        let loose = |path: &str| Some(if path.contains("all") { "2" } else { "1" }.to_owned());
        assert_eq!(complaints(&[], &[node("eth0"), node("eth1")], loose), Vec::<String>::new());
    }
}
