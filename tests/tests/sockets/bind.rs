//! bind(2): NodePorts of this node are in use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::Outcome;
use rustix::io::Errno;
use tests::agent::Agent;
use tests::net::Family;
use tests::traffic::{Called, Kind, Protocol, Worker};

use crate::{World, errno, kinds};

/// A further address of the node, which serves no NodePorts.
fn gateway(family: Family) -> IpAddr {
    if family == Family::V4 { [10, 1, 1, 1].into() } else { "fd00:1:1::1".parse().unwrap() }
}

fn unspecified(family: Family) -> IpAddr {
    if family == Family::V4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn loopback(family: Family) -> IpAddr {
    if family == Family::V4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// Binds a socket and closes it.
fn bind(worker: &Worker, family: Family, protocol: Protocol, address: IpAddr, port: u16) -> Called<()> {
    worker.open(protocol, family)?.bind(SocketAddr::new(address, port))
}

fn taken(agent: &Agent<'_>) -> u64 {
    agent.count_calls(Outcome::NodePortTaken).unwrap()
}

#[test]
fn a_node_port_cannot_be_bound_where_it_is_served() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let host = world.host();
    for (family, protocol) in kinds() {
        for address in [unspecified(family), family.node()] {
            let before = taken(&agent);
            let called = bind(&host, family, protocol, address, protocol.node_port());
            assert_eq!(errno(called), Errno::ADDRINUSE, "{protocol:?} {address}");
            assert_eq!(taken(&agent), before + 1);
        }
        let before = taken(&agent);
        for (address, port) in [
            (unspecified(family), 0),
            (family.node(), 0),
            (unspecified(family), protocol.node_port() + 1),
            (family.node(), protocol.node_port() + 1),
            (gateway(family), protocol.node_port()),
            (loopback(family), protocol.node_port()),
            // Ports of the virtual IPs are nobody's here.
            (unspecified(family), protocol.port()),
        ] {
            let called = bind(&host, family, protocol, address, port);
            assert_eq!(called, Ok(()), "{protocol:?} {address}:{port}");
        }
        // What the other protocol has.
        let [other] = Protocol::ALL.into_iter().filter(|one| *one != protocol).collect::<Vec<_>>()[..] else {
            panic!("two protocols")
        };
        assert_eq!(bind(&host, family, protocol, unspecified(family), other.node_port()), Ok(()));
        assert_eq!(taken(&agent), before);
    }
}

#[test]
fn a_mapped_address_is_one_of_ipv4() {
    let world = World::with_all();
    let _agent = world.agent(&[]);
    let host = world.host();
    for protocol in Protocol::ALL {
        for address in [Family::V4.node(), Ipv4Addr::UNSPECIFIED.into()] {
            let to = crate::mapped(SocketAddr::new(address, protocol.node_port()));
            let socket = host.open(protocol, Family::V6).unwrap();
            assert_eq!(errno(socket.bind(to)), Errno::ADDRINUSE, "{protocol:?} {to}");
        }
        let to = crate::mapped(SocketAddr::new(gateway(Family::V4), protocol.node_port()));
        assert_eq!(host.open(protocol, Family::V6).unwrap().bind(to), Ok(()));
    }
}

#[test]
fn a_pod_may_bind_what_it_likes() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let pod = world.pod();
    for (family, protocol) in kinds() {
        for address in [unspecified(family), world.backend("backend-3").address(family)] {
            let called = bind(&pod, family, protocol, address, protocol.node_port());
            assert_eq!(called, Ok(()), "{protocol:?} {address}");
        }
    }
    assert_eq!(taken(&agent), 0);
}

#[test]
fn loopback_is_taken_where_node_ports_are_served_at_it() {
    let world = World::with_all();
    let _agent = world.agent(&["--nodeport-addresses", "primary,localhost"]);
    let (host, pod) = (world.host(), world.pod());
    for (family, protocol) in kinds() {
        let (address, port) = (loopback(family), protocol.node_port());
        let called = bind(&host, family, protocol, address, port);
        assert_eq!(errno(called), Errno::ADDRINUSE, "{protocol:?} {address}");
        assert_eq!(bind(&pod, family, protocol, address, port), Ok(()));
    }
}

#[test]
fn node_ports_are_free_unless_they_are_protected() {
    let world = World::with_all();
    let agent = world.agent(&["--protect-nodeports", "false"]);
    let host = world.host();
    for (family, protocol) in kinds() {
        for address in [unspecified(family), family.node()] {
            assert_eq!(bind(&host, family, protocol, address, protocol.node_port()), Ok(()));
        }
    }
    assert_eq!(taken(&agent), 0);
}

#[test]
fn who_is_left_alone_may_bind_a_node_port() {
    let world = World::with_all();
    let left_alone = world.cgroup.child("left-alone").unwrap();
    let agent = world.agent(&["--exclude-cgroup", &left_alone.path().display().to_string()]);
    let worker = Worker::start(&world.network.node, &left_alone).unwrap();
    let (address, port) = (unspecified(Family::V4), Protocol::Tcp.node_port());
    assert_eq!(bind(&worker, Family::V4, Protocol::Tcp, address, port), Ok(()));
    assert_eq!(agent.count_calls(Outcome::SocketExcluded).unwrap(), 1);
}

/// A NodePort that goes is free again, and one that comes is taken.
#[test]
fn node_ports_follow_the_service() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let host = world.host();
    let service = world.manifests.read("10-service.yaml").unwrap();
    let old = Protocol::Tcp.node_port();
    let new = old + 7;
    let text = service.replace(&format!("nodePort: {old}"), &format!("nodePort: {new}"));
    world.manifests.write("10-service.yaml", &text).unwrap();
    for family in Family::ALL {
        let free = |port| bind(&host, family, Protocol::Tcp, unspecified(family), port).is_ok();
        crate::until("the new port", &agent, || !free(new));
        crate::until("the old port", &agent, || free(old));
    }
    // UDP and TCP of one Service are apart.
    let udp = host.open(Kind::Udp, Family::V4).unwrap();
    let to = SocketAddr::new(unspecified(Family::V4), Protocol::Udp.node_port());
    assert_eq!(errno(udp.bind(to)), Errno::ADDRINUSE);
}
