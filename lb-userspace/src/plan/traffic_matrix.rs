//! Who reaches which endpoints by which address: service-semantics as a table, and what depends on the node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_common::FrontendFlags as Flags;

use super::tests::{endpoint, node, planned, planned_at, service};
use super::{FrontendKind, Node, Policy, PortPlan, Scope, plan};
use crate::model::{EndpointPort, EndpointSlice, IpFamily, ObjectKey, Protocol, Service, ServiceType};

/// Of a frontend: last octets of the endpoints for traffic from inside and from outside, and its flags.
fn row(port: &PortPlan, kind: FrontendKind) -> (Vec<u8>, Vec<u8>, u32) {
    let frontend = port.frontends.iter().find(|one| one.kind == kind).unwrap();
    let octets = |scope| {
        let last = |ip| if let IpAddr::V4(ip) = ip { ip.octets()[3] } else { 0 };
        port.scope(scope).keys().map(|at| last(at.ip())).collect()
    };
    (octets(frontend.inside), octets(frontend.outside), port.flags(frontend))
}

#[test]
fn every_row_of_the_traffic_matrix() {
    use FrontendKind::{ClusterIp, ExternalIp, LoadBalancer, NodePort};
    let external = [LoadBalancer, ExternalIp, NodePort];
    let (i, o) = (Flags::INSIDE_LOCAL, Flags::OUTSIDE_LOCAL);
    let (id, od) = (Flags::INSIDE_DROPS, Flags::OUTSIDE_DROPS);
    let only = Flags::INSIDE_ONLY;
    // Endpoint 2 is on this node. The policies, then for cluster IPs and for all others: from inside, from outside, flags.
    type Row = (&'static [u8], &'static [u8], u32);
    let (here, gone, none): (&[&str], &[&str], &[&str]) = (&["r", "r h", "r"], &["r", "h", "r"], &["", "h"]);
    let cases: [(&[&str], bool, bool, Row, Row); 12] = [
        (here, false, false, (&[1, 2, 3], &[1, 2, 3], only), (&[1, 2, 3], &[1, 2, 3], 0)),
        (here, true, false, (&[1, 2, 3], &[1, 2, 3], only), (&[1, 2, 3], &[2], o)),
        (here, false, true, (&[2], &[2], only | i | o), (&[1, 2, 3], &[1, 2, 3], 0)),
        (here, true, true, (&[2], &[2], only | i | o), (&[1, 2, 3], &[2], o)),
        // No endpoint here, though elsewhere: what must stay here is dropped, and nothing else.
        (gone, false, false, (&[1, 3], &[1, 3], only), (&[1, 3], &[1, 3], 0)),
        (gone, true, false, (&[1, 3], &[1, 3], only), (&[1, 3], &[], o | od)),
        (gone, false, true, (&[], &[], only | i | o | id | od), (&[1, 3], &[1, 3], 0)),
        (gone, true, true, (&[], &[], only | i | o | id | od), (&[1, 3], &[], o | od)),
        // None anywhere: rejected, whatever the policies.
        (none, false, false, (&[], &[], only), (&[], &[], 0)),
        (none, true, false, (&[], &[], only), (&[], &[], o)),
        (none, false, true, (&[], &[], only | i | o), (&[], &[], 0)),
        (none, true, true, (&[], &[], only | i | o), (&[], &[], o)),
    ];
    for (endpoints, external_local, internal_local, cluster_ip, others) in cases {
        let service =
            Service { service_type: ServiceType::LoadBalancer, external_local, internal_local, ..service() };
        let port = planned(&service, endpoints);
        let expected = |(inside, outside, flags): Row| (inside.to_vec(), outside.to_vec(), flags);
        let case = format!("{endpoints:?} eTP local {external_local}, iTP local {internal_local}");
        assert_eq!(row(&port, ClusterIp), expected(cluster_ip), "{case}: ClusterIP");
        for kind in external {
            assert_eq!(row(&port, kind), expected(others), "{case}: {kind:?}");
        }
    }
}

/// The NodePorts that are planned for a Service of both families, in its order.
fn node_ports(node: &Node, service: &Service) -> Vec<String> {
    let ports = plan(service, &[], node).ports;
    let frontends = ports.iter().flat_map(|port| &port.frontends);
    let node_ports = frontends.filter(|frontend| frontend.kind == FrontendKind::NodePort);
    node_ports.map(|frontend| frontend.at.to_string()).collect()
}

#[test]
fn the_node_itself_has_a_node_port_where_any_address_serves_it() {
    const A4: &str = "192.0.2.1:30080";
    const A6: &str = "[2001:db8::1]:30080";
    const NODE4: &str = "0.0.0.0:30080";
    const NODE6: &str = "[::]:30080";
    let both = ["192.0.2.1", "2001:db8::1"];
    let (only4, unspecified) = (["192.0.2.1"], ["0.0.0.0", "::"]);
    // Addresses of the node, `--nodeport-addresses`, then what is planned.
    let cases: [(&[&str], &str, &[&str]); 14] = [
        (&both, "", &[A4, NODE4, A6, NODE6]),
        (&both, "primary", &[A4, NODE4, A6, NODE6]),
        (&both, "all", &[A4, NODE4, A6, NODE6]),
        (&both, "primary,localhost", &[A4, NODE4, A6, NODE6]),
        (&both, "localhost", &[NODE4, NODE6]),
        // A family that none of the prefixes is of is served at all its addresses, but not at loopback.
        (&both, "127.0.0.0/8", &[NODE4, A6, NODE6]),
        (&both, "::1/128", &[A4, NODE4, NODE6]),
        (&both, "127.0.0.0/8,::1/128", &[NODE4, NODE6]),
        (&both, "203.0.113.0/24,2001:db8::/32", &[A6, NODE6]),
        (&only4, "primary", &[A4, NODE4]),
        (&only4, "localhost", &[NODE4, NODE6]),
        (&[], "all", &[]),
        (&[], "::1/128", &[NODE6]),
        (&unspecified, "all", &[]),
    ];
    let families = BTreeSet::from([IpFamily::V4, IpFamily::V6]);
    for (addresses, chosen, expected) in cases {
        let policy = Policy { node_port_addresses: chosen.parse().unwrap(), ..Policy::default() };
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let node = Node { addresses, policy, ..node() };
        let balanced =
            Service { service_type: ServiceType::LoadBalancer, ip_families: families.clone(), ..service() };
        assert_eq!(node_ports(&node, &balanced), expected, "{chosen:?} of {:?}", node.addresses);
        let mut without = balanced.clone();
        without.ports[0].node_port = None;
        let inside = Service { service_type: ServiceType::ClusterIp, ..balanced.clone() };
        let mut sctp = balanced;
        (sctp.ports[0].protocol, sctp.ports[0].node_port) = (Protocol::Sctp, Some(80));
        let sctp = node_ports(&node, &sctp);
        assert!(sctp.iter().all(|at| !at.starts_with("0.0.0.0") && !at.starts_with("[::]")), "{sctp:?}");
        for other in [without, inside] {
            assert_eq!(node_ports(&node, &other), [""; 0], "{chosen:?} {other:?}");
        }
    }
}

/// Nobody comes there from outside, and the policies are those of the NodePort at an address.
#[test]
fn the_node_ports_of_the_node_itself_are_for_inside_only() {
    let more = Flags::NODE | Flags::INSIDE_ONLY;
    for (endpoints, external_local) in
        [(["r", "r h"], false), (["r", "r h"], true), (["r", "h"], true), (["", ""], true)]
    {
        let service = Service {
            service_type: ServiceType::LoadBalancer,
            external_local,
            internal_local: true,
            affinity_timeout_s: Some(60),
            source_ranges: vec!["10.0.0.0/8".parse().unwrap()],
            ..service()
        };
        let port = planned(&service, &endpoints);
        let [at_address, at_node] = ["192.0.2.1:30080", "0.0.0.0:30080"]
            .map(|at| port.frontends.iter().find(|one| one.at.to_string() == at).unwrap());
        assert_eq!((at_address.is_node(), at_node.is_node()), (false, true));
        assert_eq!((at_address.inside, at_address.outside), (at_node.inside, at_node.outside));
        assert_eq!(at_node.inside, Scope::Cluster);
        assert_eq!(port.flags(at_node), port.flags(at_address) | more, "{endpoints:?} {external_local}");
        assert!(port.frontends.iter().all(|one| one.is_node() == (port.flags(one) & Flags::NODE != 0)));
        assert!(port.virtual_ips.keys().all(|ip| !ip.is_unspecified()), "{:?}", port.virtual_ips);
    }
}

#[test]
fn terminating_endpoints_and_weights_decide_between_drop_and_reject() {
    let drops = Flags::OUTSIDE_DROPS;
    let local = Service { external_local: true, ..service() };
    let flags = |port: &PortPlan| row(port, FrontendKind::NodePort).2 & drops;
    for (endpoints, expected) in
        [(["s t", "h"], drops), (["t", "h"], 0), (["s", "h"], 0), (["r", "s t h"], 0)]
    {
        assert_eq!(flags(&planned(&local, &endpoints)), expected, "{endpoints:?}");
    }
    let mut drained = endpoint(1, "r");
    drained.weight = Some(0);
    assert_eq!(flags(&planned_at(&node(), &local, vec![drained])), 0, "an endpoint of weight 0 is none");
}

#[test]
fn cluster_ips_are_for_inside_only_unless_allowed() {
    let open = Node { policy: Policy { external_cluster_ip: true, ..Policy::default() }, ..node() };
    let port = planned_at(&open, &service(), vec![endpoint(1, "r"), endpoint(2, "r h")]);
    assert_eq!(row(&port, FrontendKind::ClusterIp), (vec![1, 2], vec![1, 2], 0));
}

#[test]
fn only_virtual_ips_that_the_node_does_not_have_are_addresses_of_their_own() {
    let mut own = node();
    own.addresses.push("198.51.100.1".parse().unwrap());
    let balanced = Service { service_type: ServiceType::LoadBalancer, ..service() };
    let ips = |node: &Node, service: &Service| -> Vec<String> {
        let port = planned_at(node, service, vec![endpoint(1, "r")]);
        assert!(
            port.virtual_ips
                .iter()
                .all(|(ip, kind)| (*kind == FrontendKind::ClusterIp) == ip.to_string().starts_with("10.96."))
        );
        port.virtual_ips.keys().map(ToString::to_string).collect()
    };
    assert_eq!(ips(&node(), &balanced), ["10.96.0.1", "198.51.100.1", "203.0.113.1"]);
    assert_eq!(ips(&node(), &service()), ["10.96.0.1", "198.51.100.1"]);
    assert_eq!(ips(&own, &balanced), ["10.96.0.1", "203.0.113.1"]);
}

#[test]
fn source_ranges_by_family() {
    // Ranges, then what is left of them for IPv4: none is all.
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &[]),
        (&["10.0.0.0/8", "172.16.0.0/12"], &["10.0.0.0/8", "172.16.0.0/12"]),
        (&["10.0.0.0/8", "0.0.0.0/0"], &[]),
        (&["10.0.0.0/8", "::/0"], &["10.0.0.0/8"]),
        (&["2001:db8::/32"], &[]),
        // A range with an address of the node lets the load balancer addresses in as sources.
        (&["192.0.2.0/24"], &["192.0.2.0/24", "203.0.113.1/32"]),
    ];
    for (ranges, expected) in cases {
        let service = Service {
            service_type: ServiceType::LoadBalancer,
            source_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..service()
        };
        let port = planned(&service, &["r"]);
        let expected = expected.iter().map(|range| range.parse().unwrap()).collect::<BTreeSet<_>>();
        assert_eq!(port.sources, expected, "{ranges:?}");
        for frontend in &port.frontends {
            let ranged = frontend.kind == FrontendKind::LoadBalancer && !expected.is_empty();
            assert_eq!(port.flags(frontend) & Flags::SOURCE_RANGES != 0, ranged, "{ranges:?} {frontend:?}");
        }
    }
}

/// An SCTP Service with a NodePort, and endpoints of these port numbers: frontends and endpoints that are served.
fn sctp(node_port: u16, targets: &[u16]) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut service = service();
    service.external_ips.clear();
    service.ports[0].protocol = Protocol::Sctp;
    service.ports[0].node_port = Some(node_port);
    let slices: Vec<EndpointSlice> = targets
        .iter()
        .map(|port| EndpointSlice {
            key: ObjectKey::new("default", format!("web-{port}")),
            service: service.key.clone(),
            family: IpFamily::V4,
            ports: vec![EndpointPort { name: "http".to_owned(), protocol: Protocol::Sctp, port: *port }],
            endpoints: vec![endpoint(1, "r")],
        })
        .collect();
    let plan = plan(&service, &slices.iter().collect::<Vec<_>>(), &node());
    let port = &plan.ports[0];
    let frontends = port.frontends.iter().map(|one| one.at.to_string()).collect();
    (frontends, port.cluster.keys().map(ToString::to_string).collect(), plan.problems)
}

#[test]
fn sctp_is_served_where_the_port_stays() {
    const CLUSTER_IP: &str = "10.96.0.1:80";
    const NODE_PORT: &str = "192.0.2.1:30080";
    type Texts = &'static [&'static str];
    /// Node port, ports of the endpoints; frontends, endpoints, and what is left out.
    type Case = (u16, &'static [u16], Texts, Texts, Texts);
    // SCTP sockets have no programs: nothing is planned for the node itself.
    let cases: [Case; 5] = [
        (80, &[80], &[CLUSTER_IP, "192.0.2.1:80"], &["10.0.0.1:80"], &[]),
        (30080, &[80], &[CLUSTER_IP], &["10.0.0.1:80"], &[NODE_PORT]),
        (30080, &[80, 90], &[CLUSTER_IP], &["10.0.0.1:80"], &[NODE_PORT, "port 90"]),
        (30080, &[30080], &[NODE_PORT], &["10.0.0.1:30080"], &[CLUSTER_IP]),
        (30080, &[90], &[CLUSTER_IP], &[], &[NODE_PORT, "port 90"]),
    ];
    for (number, targets, frontends, endpoints, left_out) in cases {
        let (found_frontends, found_endpoints, problems) = sctp(number, targets);
        assert_eq!(
            (found_frontends, found_endpoints),
            (
                frontends.iter().map(|at| (*at).to_owned()).collect(),
                endpoints.iter().map(|at| (*at).to_owned()).collect::<Vec<_>>()
            ),
            "{number} {targets:?}"
        );
        assert_eq!(problems.is_empty(), left_out.is_empty(), "{problems:?}");
        for part in left_out.iter().chain(left_out.first().map(|_| &"CRC32c")) {
            assert!(problems[0].contains(part), "{part} is not in {problems:?}");
        }
    }
}
