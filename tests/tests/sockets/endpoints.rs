//! Endpoints come and go while sockets are open.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use tests::agent::Agent;
use tests::net::Family;
use tests::traffic::{Kind, Protocol, Socket, Way, Worker};

use crate::{ALL, World, kinds, until, vip};

/// So many new sockets miss one of three endpoints once in ten million times.
const ENOUGH: usize = 40;

/// Waits until new sockets of both families get these backends.
fn new_sockets_get(agent: &Agent<'_>, worker: &Worker, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    until("the new endpoints", agent, || {
        Family::ALL.iter().all(|family| {
            let answers = worker.tally(Way::SendTo, ENOUGH, vip(*family, Protocol::Udp), None);
            answers.is_ok_and(|answers| answers.into_keys().collect::<BTreeSet<_>>() == expected)
        })
    });
}

#[test]
fn datagrams_leave_an_endpoint_that_goes_and_connections_end_in_order() {
    let world = World::lay(&[("backend-1", 1)]);
    let agent = world.agent(&[]);
    let places = world.places();
    let sockets: Vec<_> = places
        .iter()
        .flat_map(|(_, worker)| kinds().map(move |kind| (worker, kind)))
        .map(|(worker, (family, protocol))| {
            let (to, socket) = (vip(family, protocol), worker.open(protocol, family).unwrap());
            match protocol {
                Protocol::Tcp => socket.connect(to).unwrap(),
                Protocol::Udp => assert_eq!(socket.ask_at(to).unwrap().backend, "backend-1"),
            }
            (socket, to, protocol)
        })
        .collect();
    world.endpoints(&[("backend-2", 1)]);
    new_sockets_get(&agent, &places[0].1, &["backend-2"]);
    for (socket, to, protocol) in &sockets {
        match protocol {
            Protocol::Tcp => {
                assert_eq!((socket.ask().unwrap().as_str(), socket.peer()), ("backend-1", Ok(*to)));
            }
            Protocol::Udp => {
                let received = socket.ask_at(*to).unwrap();
                assert_eq!((received.backend.as_str(), received.source), ("backend-2", Some(*to)));
            }
        }
    }
    let kept = Family::ALL.map(|family| agent.socket_flows(family).unwrap());
    assert_eq!(kept, [4, 4], "what was heard of the endpoint that went is forgotten");
}

fn backends(sockets: &[(Socket<'_>, std::net::SocketAddr)]) -> Vec<String> {
    let ask = |(socket, to): &(Socket<'_>, _)| {
        let received = socket.ask_at(*to).unwrap();
        assert_eq!(received.source, Some(*to));
        received.backend
    };
    sockets.iter().map(ask).collect()
}

#[test]
fn a_flow_stays_while_its_endpoint_does() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let host = world.host();
    let sockets: Vec<_> = (0..ENOUGH)
        .map(|number| {
            let family = Family::ALL[number % 2];
            (host.open(Kind::Udp, family).unwrap(), vip(family, Protocol::Udp))
        })
        .collect();
    let first = backends(&sockets);
    assert!(ALL.iter().all(|(name, _)| first.iter().any(|backend| backend == name)), "{first:?}");

    world.endpoints(&[("backend-1", 1), ("backend-3", 1)]);
    new_sockets_get(&agent, &host, &["backend-1", "backend-3"]);
    let second = backends(&sockets);
    for (before, after) in first.iter().zip(&second) {
        if before == "backend-2" {
            assert_ne!(after, "backend-2", "it is gone");
        } else {
            assert_eq!(after, before, "its endpoint is still there");
        }
    }

    world.endpoints(&ALL);
    new_sockets_get(&agent, &host, &["backend-1", "backend-2", "backend-3"]);
    assert_eq!(backends(&sockets), second, "nobody has to leave");

    // A weight of zero lets nobody in, and nobody is sent away.
    world.endpoints(&[("backend-1", 0), ("backend-2", 1), ("backend-3", 0)]);
    new_sockets_get(&agent, &host, &["backend-2"]);
    assert_eq!(backends(&sockets), second, "drained endpoints keep what they have");
}

/// Frontends are rewritten while sockets ask them: each call finds an endpoint all the same.
#[test]
fn no_call_fails_while_endpoints_change() {
    let world = World::with_all();
    let _agent = world.agent(&[]);
    let places = world.places();
    let over = AtomicBool::new(false);
    let asked = scope(|scope| {
        let ask = |worker: &Worker| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                for family in Family::ALL {
                    for way in Way::ALL {
                        let to = vip(family, way.protocol());
                        let answers = worker.tally(way, 20, to, None);
                        assert!(answers.is_ok(), "{way:?} {to}: {answers:?}");
                        count += 20;
                    }
                }
            }
            count
        };
        let asking = places.each_ref().map(|(_, worker)| scope.spawn(move || ask(worker)));
        for number in 0..20 {
            let [one, other] = [ALL[number % 3], ALL[(number + 1) % 3]];
            let pair = [one, other];
            world.endpoints(if number % 5 == 4 { &ALL } else { &pair });
            sleep(Duration::from_millis(150));
        }
        over.store(true, Ordering::Relaxed);
        asking.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    assert!(asked.iter().all(|count| *count >= 120), "{asked:?}");
}

#[test]
fn what_begins_at_a_socket_is_a_new_flow_of_its_service() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    for (_, worker) in world.places() {
        for family in Family::ALL {
            for way in Way::ALL {
                worker.tally(way, 10, vip(family, way.protocol()), None).unwrap();
            }
        }
    }
    let services = agent.get("services", "json").unwrap();
    let services: serde_json::Value = serde_json::from_str(&services).unwrap();
    let flows = |port: &str| -> u64 {
        let ports = services.as_array().unwrap().iter().filter(|one| one["portName"] == port);
        ports.map(|one| one["newFlows"].as_u64().unwrap()).sum()
    };
    assert_eq!((flows("http"), flows("dns")), (40, 80), "{services}");
}
