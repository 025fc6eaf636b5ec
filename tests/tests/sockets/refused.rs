//! Calls that fail at once, where packets would be rejected.

use std::net::SocketAddr;

use lb_common::Outcome;
use rustix::io::Errno;
use tests::net::Family;
use tests::traffic::{Kind, Protocol, Way};

use crate::{World, cluster, counted, errno, kinds, mapped, node_port, services, until, untouched, vip};

/// A port of the virtual IPs that the Service does not have.
const UNUSED: u16 = 81;

#[test]
fn without_endpoints_every_call_is_refused() {
    let world = World::lay(&[]);
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            for way in Way::ALL {
                let [cluster, external] = services(family, way.protocol());
                for to in [cluster, external, node_port(family, way.protocol())] {
                    let calls = counted(&agent, Outcome::NoBackend, || {
                        let called = worker.tally(way, 1, to, None);
                        assert_eq!(errno(called), Errno::CONNREFUSED, "{place} {way:?} {to}");
                    });
                    assert_eq!(calls, 1, "{place} {way:?} {to}");
                }
            }
            for protocol in Protocol::ALL {
                let socket = worker.open(protocol, family).unwrap();
                assert_eq!(errno(socket.begin(vip(family, protocol))), Errno::CONNREFUSED, "{place}");
                assert_eq!(errno(socket.peer()), Errno::NOTCONN, "{place}");
            }
        }
        for protocol in Protocol::ALL {
            let socket = worker.open(protocol, Family::V6).unwrap();
            let to = mapped(vip(Family::V4, protocol));
            assert_eq!(errno(socket.connect(to)), Errno::CONNREFUSED, "{place}");
        }
    }
}

#[test]
fn what_was_refused_is_served_when_there_is_an_endpoint() {
    let world = World::lay(&[]);
    let agent = world.agent(&[]);
    let pod = world.pod();
    let sockets: Vec<_> = kinds()
        .map(|(family, protocol)| {
            let (to, socket) = (vip(family, protocol), pod.open(protocol, family).unwrap());
            assert_eq!(errno(socket.connect(to)), Errno::CONNREFUSED);
            (socket, to)
        })
        .collect();
    world.endpoints(&[("backend-1", 1)]);
    for (socket, to) in sockets {
        until("an endpoint", &agent, || socket.connect(to).is_ok());
        assert_eq!((socket.ask().unwrap().as_str(), socket.peer()), ("backend-1", Ok(to)));
    }
}

#[test]
fn a_port_that_no_service_has_is_refused() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let to = SocketAddr::new(cluster(family, Protocol::Tcp).ip(), UNUSED);
            for way in [Way::Tcp, Way::SendTo] {
                let calls = counted(&agent, Outcome::UnusedPort, || {
                    let called = worker.tally(way, 1, to, None);
                    assert_eq!(errno(called), Errno::CONNREFUSED, "{place} {way:?} {to}");
                });
                assert_eq!(calls, 1, "{place} {way:?} {to}");
            }
        }
        // The port of the other protocol is none of this one.
        let to = SocketAddr::new(cluster(Family::V4, Protocol::Tcp).ip(), Protocol::Udp.port());
        assert_eq!(errno(worker.tally(Way::Tcp, 1, to, None)), Errno::CONNREFUSED, "{place}");
    }
}

/// An external IP, or a load balancer's, may be another machine's, and that has other ports.
#[test]
fn other_ports_of_an_external_ip_are_not_touched() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let host = world.host();
    for family in Family::ALL {
        let to = SocketAddr::new(vip(family, Protocol::Tcp).ip(), UNUSED);
        for way in Way::ALL {
            let calls =
                counted(&agent, Outcome::NotOurs, || untouched(host.tally(way, 1, to, None), "its way"));
            assert_eq!(calls, 1, "{way:?} {to}");
        }
    }
    assert_eq!(agent.count_calls(Outcome::UnusedPort).unwrap(), 0);
}

/// A resolver connects UDP sockets to any port, to learn which source address the kernel would take (RFC 6724).
#[test]
fn a_udp_socket_may_be_connected_to_any_port() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let (host, pod) = (world.host(), world.pod());
    for family in Family::ALL {
        let to = SocketAddr::new(cluster(family, Protocol::Udp).ip(), UNUSED);
        let socket = pod.open(Kind::Udp, family).unwrap();
        let calls = counted(&agent, Outcome::UnusedPort, || socket.connect(to).unwrap());
        assert_eq!((calls, socket.peer()), (1, Ok(to)));
        assert_eq!(socket.local().unwrap().ip(), world.backend("backend-3").address(family));
        untouched(host.open(Kind::Udp, family).unwrap().connect(to), "as it is");
    }
}
