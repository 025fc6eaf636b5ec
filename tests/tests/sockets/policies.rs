//! NodePorts and traffic policies, as calls from inside have them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::Outcome;
use rustix::io::Errno;
use tests::manifests::service;
use tests::net::Family;
use tests::traffic::{Protocol, Way, Worker};

use crate::{World, cluster, counted, errno, kinds, node_port, services, vip};

/// Addresses of a load balancer.
pub(crate) const BALANCERS: [&str; 2] = ["198.51.100.77", "2001:db8:100::77"];

pub(crate) fn balancer(family: Family, protocol: Protocol) -> SocketAddr {
    let text = if family == Family::V4 { BALANCERS[0] } else { BALANCERS[1] };
    SocketAddr::new(text.parse().unwrap(), protocol.port())
}

/// The Service as one of type LoadBalancer, with these fields more.
pub(crate) fn balanced(fields: &str) -> String {
    let [v4, v6] = BALANCERS;
    let status = format!("status: {{loadBalancer: {{ingress: [{{ip: {v4}}}, {{ip: \"{v6}\"}}]}}}}\n");
    let text = service().replace("type: NodePort", "type: LoadBalancer");
    format!("{}{status}", text.replace("spec:\n", &format!("spec:\n  {fields}\n")))
}

fn answers(worker: &Worker, way: Way, to: SocketAddr) -> BTreeSet<String> {
    let answers = worker.tally(way, 30, to, None).unwrap_or_else(|error| panic!("{way:?} {to}: {error:?}"));
    answers.into_keys().collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_node_port_is_served_at_the_address_of_the_node() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for (family, protocol) in kinds() {
            let to = node_port(family, protocol);
            let socket = worker.open(protocol, family).unwrap();
            let calls = counted(&agent, Outcome::SocketTranslated, || socket.connect(to).unwrap());
            assert_eq!((calls, socket.peer()), (1, Ok(to)), "{place}");
            assert!(!socket.ask().unwrap().is_empty());
            // Another port of the node is the node's.
            let other = worker.open(protocol, family).unwrap();
            let calls = counted(&agent, Outcome::SocketTranslated, || {
                let called = other.connect(SocketAddr::new(to.ip(), to.port() + 1));
                assert_eq!(called.is_err(), protocol == Protocol::Tcp, "{place} {to}");
            });
            assert_eq!(calls, 0, "{place}");
        }
    }
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

#[test]
fn a_node_port_is_served_at_loopback_to_the_node_alone() {
    let world = World::with_all();
    let agent = world.agent(&["--nodeport-addresses", "primary,localhost"]);
    let host = world.host();
    for (family, protocol) in kinds() {
        let mut addresses = vec![loopback(family)];
        if family == Family::V4 {
            addresses.extend([IpAddr::from([127, 9, 9, 9]), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]);
        }
        for address in addresses {
            let to = SocketAddr::new(address, protocol.node_port());
            let socket = host.open(protocol, family).unwrap();
            socket.connect(to).unwrap_or_else(|error| panic!("{protocol:?} {to}: {error:?}"));
            let answer = socket.ask().unwrap_or_else(|error| panic!("{protocol:?} {to}: {error:?}"));
            assert!(!answer.is_empty());
            if !address.is_unspecified() {
                assert_eq!(socket.peer(), Ok(to), "{protocol:?}");
            }
        }
        if protocol == Protocol::Udp {
            let to = SocketAddr::new(loopback(family), protocol.node_port());
            assert_eq!(host.open(protocol, family).unwrap().ask_at(to).unwrap().source, Some(to));
        }
    }
    let pod = world.pod();
    for (family, protocol) in kinds() {
        let to = SocketAddr::new(loopback(family), protocol.node_port());
        let socket = pod.open(protocol, family).unwrap();
        let calls = counted(&agent, Outcome::SocketTranslated, || {
            let called = socket.connect(to).and_then(|()| socket.ask());
            assert_eq!(errno(called), Errno::CONNREFUSED, "the loopback of a pod is its own: {to}");
        });
        assert_eq!(calls, 0);
    }
}

#[test]
fn loopback_is_left_alone_unless_it_is_named() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for (family, protocol) in kinds() {
            let to = SocketAddr::new(loopback(family), protocol.node_port());
            let socket = worker.open(protocol, family).unwrap();
            let called = socket.connect(to).and_then(|()| socket.ask());
            assert_eq!(errno(called), Errno::CONNREFUSED, "{place} {to}");
        }
    }
    assert_eq!(agent.count_calls(Outcome::SocketTranslated).unwrap(), 0);
}

/// From inside the policy for traffic from outside is none: the endpoints of the whole cluster are reached (KEP-1669).
#[test]
fn an_external_policy_of_local_is_not_for_processes_here() {
    let world = World::lay(&[("backend-1", 1), ("backend-2", 1)]);
    world.manifests.write("10-service.yaml", &balanced("externalTrafficPolicy: Local")).unwrap();
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            for way in Way::ALL {
                let protocol = way.protocol();
                let [cluster, external] = services(family, protocol);
                for to in [cluster, external, balancer(family, protocol), node_port(family, protocol)] {
                    let seen = answers(&worker, way, to);
                    assert_eq!(seen, names(&["backend-1", "backend-2"]), "{place} {way:?} {to}");
                }
            }
        }
    }
}

#[test]
fn an_internal_policy_of_local_keeps_cluster_ips_on_the_node() {
    let world = World::with_all();
    world.manifests.write("10-service.yaml", &balanced("internalTrafficPolicy: Local")).unwrap();
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            for way in Way::ALL {
                let protocol = way.protocol();
                let seen = answers(&worker, way, cluster(family, protocol));
                assert_eq!(seen, names(&["backend-3"]), "{place} {way:?}");
                for to in [vip(family, protocol), balancer(family, protocol)] {
                    assert_eq!(answers(&worker, way, to).len(), 3, "{place} {way:?} {to}");
                }
            }
        }
    }
}

#[test]
fn an_internal_policy_of_local_refuses_where_there_is_no_endpoint() {
    let world = World::lay(&[("backend-1", 1), ("backend-2", 1)]);
    world.manifests.write("10-service.yaml", &balanced("internalTrafficPolicy: Local")).unwrap();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            for way in Way::ALL {
                let calls = counted(&agent, Outcome::NoLocalBackend, || {
                    let called = worker.tally(way, 1, cluster(family, way.protocol()), None);
                    assert_eq!(errno(called), Errno::CONNREFUSED, "{place} {way:?} {family:?}");
                });
                assert_eq!(calls, 1, "{place} {way:?} {family:?}");
            }
        }
    }
}
