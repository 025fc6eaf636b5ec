//! The rules of Services as tables of cases.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lb_common::BackendState;

use super::{FrontendKind, Node, Policy, PortPlan, ServicePlan, plan};
use crate::model::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, ObjectKey, Protocol, Service, ServicePort, ServiceType,
};

pub(super) fn node() -> Node {
    Node {
        name: "here".to_owned(),
        zone: Some("a".to_owned()),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        own: BTreeSet::new(),
        policy: Policy::default(),
    }
}

pub(super) fn service() -> Service {
    Service {
        key: ObjectKey::new("default", "web"),
        service_type: ServiceType::NodePort,
        ip_families: BTreeSet::from([IpFamily::V4]),
        cluster_ips: vec!["10.96.0.1".parse().unwrap()],
        external_ips: vec!["198.51.100.1".parse().unwrap(), "2001:db8:1::1".parse().unwrap()],
        load_balancer_ips: vec!["203.0.113.1".parse().unwrap()],
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: Some(30080),
        }],
        external_local: false,
        internal_local: false,
        affinity_timeout_s: None,
        weight_by_zone: BTreeMap::new(),
    }
}

/// An endpoint in short: `r`eady, `s`erving, `t`erminating, `h`ere; `za` hints zone a, `nh` hints node here, ...
pub(super) fn endpoint(last: u8, flags: &str) -> Endpoint {
    let word = |word: &str| flags.split(' ').any(|one| one == word);
    let hints = |kind: char| {
        flags
            .split(' ')
            .filter_map(|one| one.strip_prefix(kind))
            .map(str::to_owned)
            .collect::<BTreeSet<String>>()
    };
    Endpoint {
        address: [10, 0, 0, last].into(),
        ready: word("r"),
        serving: word("r") || word("s"),
        terminating: word("t"),
        node_name: Some(if word("h") { "here" } else { "there" }.to_owned()),
        zone: Some("a".to_owned()),
        for_zones: hints('z'),
        for_nodes: hints('n'),
        weight: None,
    }
}

fn slice(endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        key: ObjectKey::new("default", "web-1"),
        service: ObjectKey::new("default", "web"),
        family: IpFamily::V4,
        ports: vec![EndpointPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints,
    }
}

pub(super) fn planned(service: &Service, endpoints: &[&str]) -> PortPlan {
    let endpoints = (1..).zip(endpoints).map(|(last, flags)| endpoint(last, flags)).collect();
    planned_at(&node(), service, endpoints)
}

pub(super) fn planned_at(node: &Node, service: &Service, endpoints: Vec<Endpoint>) -> PortPlan {
    let mut plan = plan(service, &[&slice(endpoints)], node);
    assert_eq!(plan.ports.len(), 1);
    plan.ports.remove(0)
}

fn last_octets(scope: &BTreeMap<SocketAddr, u16>) -> Vec<u8> {
    scope.keys().map(|at| if let SocketAddr::V4(at) = at { at.ip().octets()[3] } else { 0 }).collect()
}

#[test]
fn which_endpoints_serve_which_traffic() {
    // Endpoints, then the last octets of those chosen in the cluster and on this node.
    let cases: &[(&[&str], &[u8], &[u8])] = &[
        (&[], &[], &[]),
        (&["r", "r h"], &[1, 2], &[2]),
        // Not ready, not terminating: never.
        (&["", "s", "r"], &[3], &[]),
        // Terminating ones serve only when nothing is ready, in either scope by itself.
        (&["s t h", "r"], &[2], &[1]),
        (&["s t h", "s t"], &[1, 2], &[1]),
        (&["t h", "t"], &[], &[]),
        // Published though not ready, and terminating: ready counts.
        (&["r t", "s t"], &[1], &[]),
        // Hints of zones: all ready ones must have one, and one must be for here.
        (&["r za", "r zb"], &[1], &[]),
        (&["r za", "r"], &[1, 2], &[]),
        (&["r zb", "r zb"], &[1, 2], &[]),
        // Hints never narrow the endpoints of this node.
        (&["r za", "r zb h"], &[1], &[2]),
        // Hints of nodes come first, and fall back to zones.
        (&["r nhere za", "r nthere za"], &[1], &[]),
        (&["r nthere za", "r nthere zb"], &[1], &[]),
        // The last resort ignores hints.
        (&["s t zb", "s t"], &[1, 2], &[]),
    ];
    for (endpoints, cluster, local) in cases {
        let port = planned(&service(), endpoints);
        assert_eq!(
            (&last_octets(&port.cluster)[..], &last_octets(&port.local)[..]),
            (*cluster, *local),
            "{endpoints:?}"
        );
    }
}

#[test]
fn backends_are_kept_while_they_serve() {
    let port = planned(&service(), &["r", "s t", "t", "", "r"]);
    let states: Vec<_> = port.backends.values().map(|backend| backend.state).collect();
    assert_eq!(last_octets(&port.backends.keys().map(|at| (*at, 0)).collect()), [1, 2, 5]);
    assert_eq!(states, [BackendState::Active, BackendState::Draining, BackendState::Active]);
}

#[test]
fn frontends_by_type_and_policy() {
    use FrontendKind::{ClusterIp, ExternalIp, LoadBalancer, NodePort};
    let cluster = ("10.96.0.1:80", ClusterIp);
    let external = ("198.51.100.1:80", ExternalIp);
    let [at_address, at_node] = [("192.0.2.1:30080", NodePort), ("0.0.0.0:30080", NodePort)];
    let balancer = ("203.0.113.1:80", LoadBalancer);
    let cases = [
        (ServiceType::ClusterIp, vec![cluster, external]),
        (ServiceType::NodePort, vec![cluster, external, at_address, at_node]),
        (ServiceType::LoadBalancer, vec![cluster, balancer, external, at_address, at_node]),
    ];
    for (service_type, expected) in cases {
        let service = Service { service_type, ..service() };
        let port = planned(&service, &["r"]);
        let found: Vec<_> =
            port.frontends.iter().map(|frontend| (frontend.at.to_string(), frontend.kind)).collect();
        let expected: Vec<_> = expected.iter().map(|(at, kind)| ((*at).to_owned(), *kind)).collect();
        assert_eq!(found, expected, "{service_type:?}");
    }
    let name = Service { service_type: ServiceType::ExternalName, ..service() };
    assert!(plan(&name, &[], &node()).ports.is_empty());
}

#[test]
fn an_address_that_is_given_twice_is_one_frontend() {
    let service = Service {
        service_type: ServiceType::LoadBalancer,
        load_balancer_ips: vec!["198.51.100.1".parse().unwrap()],
        ..service()
    };
    let port = planned(&service, &["r"]);
    let at = "198.51.100.1:80".parse().unwrap();
    let kinds: Vec<_> = port.frontends.iter().filter(|one| one.at == at).map(|one| one.kind).collect();
    assert_eq!(kinds, [FrontendKind::LoadBalancer]);
}

#[test]
fn families_are_planned_apart() {
    let both = Service { ip_families: BTreeSet::from([IpFamily::V4, IpFamily::V6]), ..service() };
    let plan = plan(&both, &[&slice(vec![endpoint(1, "r")])], &node());
    let families: Vec<_> = plan.ports.iter().map(|port| (port.key.family, port.backends.len())).collect();
    assert_eq!(families, [(IpFamily::V4, 1), (IpFamily::V6, 0)]);
    let none = Service { ip_families: BTreeSet::new(), ..service() };
    assert!(super::plan(&none, &[], &node()).ports.is_empty());
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let long = "a-port-name-of-more-than-fifteen-characters";
    let cases = [
        ("http", Protocol::Tcp, 1),
        ("http", Protocol::Udp, 0),
        ("other", Protocol::Tcp, 0),
        (long, Protocol::Tcp, 0),
    ];
    for (name, protocol, found) in cases {
        let mut slice = slice(vec![endpoint(1, "r")]);
        slice.ports = vec![EndpointPort { name: name.to_owned(), protocol, port: 8080 }];
        assert_eq!(plan(&service(), &[&slice], &node()).ports[0].backends.len(), found, "{name}");
    }
    let mut service = service();
    service.ports[0].name = long.to_owned();
    let mut slice = slice(vec![endpoint(1, "r")]);
    slice.ports[0].name = long.to_owned();
    assert_eq!(plan(&service, &[&slice], &node()).ports[0].backends.len(), 1);
}

#[test]
fn a_named_target_port_with_several_numbers_is_their_union() {
    let mut other = slice(vec![endpoint(2, "r")]);
    other.key.name = "web-2".to_owned();
    other.ports[0].port = 9090;
    let plan: ServicePlan = plan(&service(), &[&slice(vec![endpoint(1, "r")]), &other], &node());
    let found: Vec<_> = plan.ports[0].cluster.keys().map(ToString::to_string).collect();
    assert_eq!(found, ["10.0.0.1:8080", "10.0.0.2:9090"]);
}

#[test]
fn of_two_copies_the_one_that_is_not_terminating_counts() {
    for order in [["r", "s t"], ["s t", "r"]] {
        let slices: Vec<_> = order.iter().map(|flags| slice(vec![endpoint(1, flags)])).collect();
        let plan = plan(&service(), &slices.iter().collect::<Vec<_>>(), &node());
        assert_eq!(plan.ports[0].backends.values().next().unwrap().state, BackendState::Active, "{order:?}");
    }
}

#[test]
fn weights_by_precedence_and_zero_takes_nothing_new() {
    let mut service = service();
    service.weight_by_zone = BTreeMap::from([("a".to_owned(), 7)]);
    let mut endpoints: Vec<_> = (1..=4).map(|last| endpoint(last, "r")).collect();
    endpoints[0].weight = Some(5);
    endpoints[1].weight = Some(0);
    endpoints[3].zone = Some("b".to_owned());
    let plan = plan(&service, &[&slice(endpoints)], &node());
    let port = &plan.ports[0];
    assert_eq!(port.cluster.values().copied().collect::<Vec<_>>(), [5, 7, 1]);
    assert_eq!(last_octets(&port.cluster), [1, 3, 4]);
    let drained = port.backends.get(&"10.0.0.2:8080".parse().unwrap()).unwrap();
    assert_eq!((drained.state, drained.weight), (BackendState::Draining, 0));
}

#[test]
fn a_name_that_no_label_can_have_is_left_out_and_told() {
    let mut service = service();
    service.ports[0].name = "x".repeat(64);
    let plan = plan(&service, &[], &node());
    assert!(plan.ports.is_empty() && plan.problems[0].contains("63 bytes"), "{:?}", plan.problems);
}

#[test]
fn of_two_ports_with_one_name_the_first_is_served() {
    let mut service = service();
    service.ports.push(ServicePort { port: 443, node_port: None, ..service.ports[0].clone() });
    let plan = plan(&service, &[], &node());
    assert_eq!(plan.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80]);
    assert!(plan.problems[0].contains("443") && plan.problems[0].contains("http"), "{:?}", plan.problems);
}

#[test]
fn an_address_of_the_node_is_local() {
    let mut here = endpoint(1, "r");
    here.address = "192.0.2.1".parse().unwrap();
    here.node_name = None;
    let plan = plan(&service(), &[&slice(vec![here])], &node());
    assert!(plan.ports[0].backends.values().all(|backend| backend.local));
}
