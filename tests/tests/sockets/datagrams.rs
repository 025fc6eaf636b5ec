//! sendto(2) and recvfrom(2) of UDP sockets that are not connected: each answer comes from the Service that was asked.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use lb_common::Outcome;
use tests::net::{DNS_PORT, DNS_TARGET_PORT, Family};
use tests::traffic::{Kind, Protocol, Socket};

use crate::{World, counted, mapped, node_port, services, untouched, vip};

/// Services beside `echo`.
const SERVICES: u8 = 20;

/// The cluster IP of one of them.
fn address(family: Family, number: u8) -> IpAddr {
    let text = match family {
        Family::V4 => format!("10.96.1.{number}"),
        Family::V6 => format!("fd00:96::1:{number}"),
    };
    text.parse().unwrap()
}

/// Many Services, each with another of the endpoints in turn.
fn many(world: &World) -> String {
    let mut text = String::new();
    for number in 1..=SERVICES {
        let backend = &world.network.backends[usize::from(number) % 3];
        let (v4, v6) = (address(Family::V4, number), address(Family::V6, number));
        let port = format!("{{name: dns, protocol: UDP, port: {DNS_PORT}, targetPort: {DNS_TARGET_PORT}}}");
        write!(
            text,
            "apiVersion: v1
kind: Service
metadata: {{name: many-{number}}}
spec:
  clusterIPs: [\"{v4}\", \"{v6}\"]
  ipFamilies: [IPv4, IPv6]
  ports: [{port}]
---
"
        )
        .unwrap();
        for family in Family::ALL {
            let kind = if family == Family::V4 { "IPv4" } else { "IPv6" };
            write!(
                text,
                "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: many-{number}-{suffix}, labels: {{kubernetes.io/service-name: many-{number}}}}}
addressType: {kind}
ports: [{{name: dns, protocol: UDP, port: {DNS_TARGET_PORT}}}]
endpoints: [{{addresses: [\"{}\"]}}]
---
",
                backend.address(family),
                suffix = kind.to_lowercase(),
            )
            .unwrap();
        }
    }
    text.trim_end_matches("---\n").to_owned()
}

#[test]
fn one_socket_asks_many_services_and_each_answers() {
    let world = World::with_all();
    world.manifests.write("30-many.yaml", &many(&world)).unwrap();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let socket = worker.open(Kind::Udp, family).unwrap();
            // Twice: by flows that begin, and by flows that go on.
            for round in 0..2 {
                for number in 1..=SERVICES {
                    let to = SocketAddr::new(address(family, number), DNS_PORT);
                    let received =
                        socket.ask_at(to).unwrap_or_else(|error| panic!("{place} {round} {to}: {error:?}"));
                    let backend = world.network.backends[usize::from(number) % 3].name;
                    let answer = (received.source, received.backend.as_str());
                    assert_eq!(answer, (Some(to), backend), "{place} {round}");
                }
            }
            // Each has an entry of its own; of what is heard the three endpoints have one each.
            assert_eq!(agent.socket_flows(family).unwrap(), usize::from(SERVICES) + 3, "{place}");
            drop(socket);
            assert_eq!(agent.socket_flows(family).unwrap(), 0, "{place}");
        }
    }
}

fn asks(place: &str, socket: &Socket<'_>, to: SocketAddr) {
    let mut backends = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let received = socket.ask_at(to).unwrap_or_else(|error| panic!("{place} {to}: {error:?}"));
        assert_eq!(received.source, Some(to), "{place}");
        backends.insert(received.backend);
    }
    assert_eq!(backends.len(), 1, "{place} {to}: a flow stays with its backend: {backends:?}");
}

#[test]
fn every_address_of_a_service_answers_datagrams() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let socket = worker.open(Kind::Udp, family).unwrap();
            let [cluster, external] = services(family, Protocol::Udp);
            let calls = counted(&agent, Outcome::SocketTranslated, || {
                for to in [cluster, external, node_port(family, Protocol::Udp), cluster] {
                    asks(place, &socket, to);
                }
            });
            assert_eq!(calls, 20, "{place} {family:?}");
        }
        let socket = worker.open(Kind::Udp, Family::V6).unwrap();
        for to in services(Family::V4, Protocol::Udp) {
            asks(place, &socket, mapped(to));
        }
        // One of each family by turns.
        asks(place, &socket, vip(Family::V6, Protocol::Udp));
        asks(place, &socket, mapped(vip(Family::V4, Protocol::Udp)));
        assert!(Family::ALL.iter().all(|family| agent.socket_flows(*family).unwrap() > 0), "{place}");
        drop(socket);
        assert_eq!(Family::ALL.map(|family| agent.socket_flows(family).unwrap()), [0, 0], "{place}");
    }
}

#[test]
fn what_no_service_has_is_sent_as_it_is() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let backend = SocketAddr::new(world.backend("backend-1").address(family), DNS_TARGET_PORT);
            let socket = worker.open(Kind::Udp, family).unwrap();
            assert_eq!(socket.ask_at(backend).unwrap().source, Some(backend), "{place}");
            assert_eq!(agent.socket_flows(family).unwrap(), 0, "{place}");
        }
    }
    assert_eq!(agent.count_calls(Outcome::SocketTranslated).unwrap(), 0);
}

/// Room for so many entries, the least that weir takes: half as many destinations.
const ROOM: usize = 64;

#[test]
fn without_room_a_datagram_is_sent_as_it_is_and_the_others_go_on() {
    let world = World::with_all();
    let agent = world.agent(&["--socket-flows-max", &ROOM.to_string()]);
    let host = world.host();
    for family in Family::ALL {
        let to = vip(family, Protocol::Udp);
        let open = || host.open(Kind::Udp, family).unwrap();
        let mut sockets: Vec<_> = (0..ROOM / 2).map(|_| open()).collect();
        for socket in &sockets {
            assert_eq!(socket.ask_at(to).unwrap().source, Some(to));
        }
        let late = open();
        let full = counted(&agent, Outcome::SocketFull, || {
            for _ in 0..3 {
                untouched(late.send_to(to), "without room");
            }
        });
        assert_eq!((full, agent.socket_flows(family).unwrap()), (3, ROOM), "{family:?}");
        for socket in &sockets {
            assert_eq!(socket.ask_at(to).unwrap().source, Some(to));
        }
        // A connected socket keeps what it believes itself.
        let connected = open();
        connected.connect(to).unwrap();
        assert_eq!(connected.peer(), Ok(to));
        drop(sockets.pop());
        assert_eq!(late.ask_at(to).unwrap().source, Some(to), "there is room again");
    }
}
