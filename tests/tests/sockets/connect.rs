//! connect(2) of TCP and UDP: the socket has a backend, the application sees the Service.

use lb_common::Outcome;
use tests::net::Family;
use tests::traffic::{Kind, Protocol, Waited};

use crate::{ALL, World, cluster, counted, kinds, mapped, node_port, services, vip};

fn is_backend(name: &str) -> bool {
    ALL.iter().any(|(backend, _)| *backend == name)
}

#[test]
fn a_connected_socket_has_a_backend_and_sees_the_service() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for (family, protocol) in kinds() {
            for to in services(family, protocol) {
                let case = format!("{place} {protocol:?} {to}");
                let calls = counted(&agent, Outcome::SocketTranslated, || {
                    let socket = worker.open(protocol, family).unwrap();
                    socket.connect(to).unwrap_or_else(|error| panic!("{case}: {error:?}"));
                    assert_eq!(socket.peer(), Ok(to), "{case}");
                    let backend = socket.ask().unwrap_or_else(|error| panic!("{case}: {error:?}"));
                    assert!(is_backend(&backend), "{case}: {backend}");
                    assert_eq!(socket.peer(), Ok(to), "{case}: it forgot");
                    assert_ne!(socket.local().unwrap().ip(), to.ip(), "{case}");
                });
                assert_eq!(calls, 1, "{case}");
            }
        }
    }
    assert_eq!(Family::ALL.map(|family| agent.socket_flows(family).unwrap()), [0, 0]);
}

#[test]
fn a_connect_that_does_not_wait_is_the_same() {
    let world = World::lay(&[("backend-1", 1), ("backend-2", 1)]);
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for (family, protocol) in kinds() {
            for to in services(family, protocol) {
                let socket = worker.open(protocol, family).unwrap();
                let waited = if protocol == Protocol::Tcp { Waited::Yes } else { Waited::No };
                assert_eq!(socket.begin(to), Ok(waited), "{place} {protocol:?} {to}");
                assert_eq!(socket.peer(), Ok(to), "{place} {protocol:?}");
                assert!(is_backend(&socket.ask().unwrap()), "{place} {protocol:?} {to}");
            }
        }
    }
}

#[test]
fn a_pod_that_is_the_only_endpoint_reaches_itself() {
    let world = World::lay(&[("backend-3", 1)]);
    let _agent = world.agent(&[]);
    let pod = world.pod();
    for (family, protocol) in kinds() {
        for to in [vip(family, protocol), cluster(family, protocol), node_port(family, protocol)] {
            let socket = pod.open(protocol, family).unwrap();
            socket.connect(to).unwrap();
            let answer = (socket.ask().unwrap(), socket.peer().unwrap());
            assert_eq!(answer, ("backend-3".to_owned(), to), "{protocol:?} {to}");
            if protocol == Protocol::Udp {
                let received = pod.open(Kind::Udp, family).unwrap().ask_at(to).unwrap();
                assert_eq!((received.source, received.backend), (Some(to), "backend-3".to_owned()));
            }
        }
    }
}

#[test]
fn a_socket_of_ipv6_with_an_ipv4_address_is_one_of_ipv4() {
    let world = World::with_all();
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for protocol in Protocol::ALL {
            for to in services(Family::V4, protocol).map(mapped) {
                let case = format!("{place} {protocol:?} {to}");
                let socket = worker.open(protocol, Family::V6).unwrap();
                socket.connect(to).unwrap_or_else(|error| panic!("{case}: {error:?}"));
                assert!(is_backend(&socket.ask().unwrap()), "{case}");
                assert_eq!(socket.peer(), Ok(to), "{case}");
            }
        }
    }
}

#[test]
fn a_connected_udp_socket_hears_the_service() {
    let world = World::with_all();
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for (family, to) in [
            (Family::V4, vip(Family::V4, Protocol::Udp)),
            (Family::V6, vip(Family::V6, Protocol::Udp)),
            (Family::V6, mapped(vip(Family::V4, Protocol::Udp))),
        ] {
            let socket = worker.open(Kind::Udp, family).unwrap();
            socket.connect(to).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..5 {
                socket.send().unwrap();
                let received = socket.receive().unwrap();
                assert_eq!(received.source, Some(to), "{place}");
                seen.insert(received.backend);
            }
            assert_eq!(seen.len(), 1, "{place} {to}: a connected socket stays: {seen:?}");
        }
    }
}

#[test]
fn a_udp_socket_is_connected_again_and_elsewhere() {
    let world = World::lay(&[("backend-1", 1)]);
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let socket = worker.open(Kind::Udp, family).unwrap();
            for to in services(family, Protocol::Udp) {
                socket.connect(to).unwrap();
                socket.send().unwrap();
                assert_eq!((socket.receive().unwrap().source, socket.peer()), (Some(to), Ok(to)), "{place}");
            }
            // To the backend itself: now that is what it believes.
            let backend = world.backend("backend-1").address(family);
            let direct = std::net::SocketAddr::new(backend, tests::net::DNS_TARGET_PORT);
            socket.connect(direct).unwrap();
            socket.send().unwrap();
            let answer = (socket.receive().unwrap().source, socket.peer());
            assert_eq!(answer, (Some(direct), Ok(direct)), "{place}");
            socket.connect(vip(family, Protocol::Udp)).unwrap();
            socket.disconnect().unwrap();
            assert_eq!(crate::errno(socket.peer()), rustix::io::Errno::NOTCONN);
            let to = cluster(family, Protocol::Udp);
            assert_eq!(socket.ask_at(to).unwrap().source, Some(to), "{place}");
        }
    }
}

#[test]
fn a_connected_udp_socket_may_name_an_address_as_well() {
    // Of a connected socket the kernel takes answers of its peer only, so both are one endpoint.
    let world = World::lay(&[("backend-2", 1)]);
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let [first, second] = services(family, Protocol::Udp);
            let socket = worker.open(Kind::Udp, family).unwrap();
            socket.connect(first).unwrap();
            let calls = counted(&agent, Outcome::SocketTranslated, || {
                let received = socket.ask_at(second).unwrap();
                assert_eq!(received.backend, "backend-2", "{place}");
                assert!([first, second].map(Some).contains(&received.source), "{place} {received:?}");
            });
            assert_eq!((calls, socket.peer()), (1, Ok(first)), "{place}");
            socket.send().unwrap();
            assert_eq!(socket.receive().unwrap().source, Some(first), "{place}");
        }
    }
}

/// The first path of MPTCP is a TCP socket of the kernel's.
#[test]
fn multipath_tcp_reaches_a_backend() {
    let world = World::with_all();
    let _agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let Ok(socket) = worker.open(Kind::Mptcp, family) else {
                println!("this kernel has no MPTCP");
                return;
            };
            socket.connect(vip(family, Protocol::Tcp)).unwrap();
            assert!(is_backend(&socket.ask().unwrap()), "{place} {family:?}");
        }
    }
}
