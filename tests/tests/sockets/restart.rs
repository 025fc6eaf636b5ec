//! The agent comes and goes; what it attached stays, until it is removed on purpose.

use lb_common::Outcome;
use rustix::process::Signal;
use tests::agent::Agent;
use tests::net::Family;
use tests::traffic::{Kind, Protocol, Socket, Way, Worker};

use crate::{World, counted, kinds, until_true, untouched, vip};

/// Each call of a new socket.
fn served(worker: &Worker) {
    for family in Family::ALL {
        for way in Way::ALL {
            let to = vip(family, way.protocol());
            worker.tally(way, 5, to, None).unwrap_or_else(|error| panic!("{way:?} {to}: {error:?}"));
        }
    }
}

struct Held<'worker> {
    socket: Socket<'worker>,
    family: Family,
    protocol: Protocol,
    backend: String,
}

impl Held<'_> {
    fn goes_on(&self, when: &str) {
        let to = vip(self.family, self.protocol);
        assert_eq!(self.socket.ask().as_ref(), Ok(&self.backend), "{when}: {to}");
        assert_eq!(self.socket.peer(), Ok(to), "{when}");
    }
}

#[test]
fn a_killed_agent_is_not_missed() {
    let world = World::with_all();
    let mut agent = world.agent(&[]);
    let places = world.places();
    let mut held = Vec::new();
    let mut unconnected = Vec::new();
    for (_, worker) in &places {
        for (family, protocol) in kinds() {
            let socket = worker.open(protocol, family).unwrap();
            socket.connect(vip(family, protocol)).unwrap();
            let backend = socket.ask().unwrap();
            held.push(Held { socket, family, protocol, backend });
        }
        for family in Family::ALL {
            let (socket, to) = (worker.open(Kind::Udp, family).unwrap(), vip(family, Protocol::Udp));
            let backend = socket.ask_at(to).unwrap().backend;
            unconnected.push((socket, to, backend));
        }
    }
    let goes_on = |when: &str| {
        held.iter().for_each(|one| one.goes_on(when));
        for (socket, to, backend) in &unconnected {
            let received = socket.ask_at(*to).unwrap();
            assert_eq!((received.source, &received.backend), (Some(*to), backend), "{when}");
        }
        for (_, worker) in &places {
            served(worker);
        }
    };
    agent.end(Signal::KILL).unwrap();
    let translated = counted(&agent, Outcome::SocketTranslated, || goes_on("without an agent"));
    // Five by each way, family and place, and the datagrams of four open sockets.
    assert_eq!(translated, 64);
    agent.launch().unwrap();
    let translated = counted(&agent, Outcome::SocketTranslated, || goes_on("with the next agent"));
    assert_eq!(translated, 64, "once each, not by two programs");
}

fn links(agent: &Agent<'_>) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(agent.pin_path().join("links"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn cleanup_takes_the_programs_away_and_the_next_start_brings_them_back() {
    let world = World::with_all();
    let mut agent = world.agent(&[]);
    let host = world.host();
    served(&host);
    let before = links(&agent);
    let held = host.open(Kind::Tcp, Family::V6).unwrap();
    held.connect(vip(Family::V6, Protocol::Tcp)).unwrap();
    let backend = held.ask().unwrap();
    agent.end(Signal::TERM).unwrap();
    served(&host);
    assert_eq!(links(&agent), before);
    let ended = agent.clean_up().unwrap();
    assert_eq!(ended.code, Some(0), "{ended}");
    // The kernel takes them away a little after their names.
    until_true("programs that are gone", || {
        host.tally(Way::Tcp, 1, vip(Family::V4, Protocol::Tcp), None).is_err()
    });
    for family in Family::ALL {
        for way in Way::ALL {
            untouched(host.tally(way, 1, vip(family, way.protocol()), None), "cleaned up");
        }
    }
    // The connection is the kernel's; only the name of its peer was weir's.
    assert_eq!(held.ask(), Ok(backend));
    agent.launch().unwrap();
    served(&host);
    assert_eq!(links(&agent), before);
}

/// Processes do not wait for weir with opening their sockets.
#[test]
fn sockets_that_were_there_before_are_served() {
    let world = World::with_all();
    let places = world.places();
    let sockets: Vec<_> = places
        .iter()
        .flat_map(|(_, worker)| kinds().map(move |(family, protocol)| (worker, family, protocol)))
        .map(|(worker, family, protocol)| (worker.open(protocol, family).unwrap(), vip(family, protocol)))
        .collect();
    let _agent = world.agent(&[]);
    for (socket, to) in &sockets {
        socket.connect(*to).unwrap();
        assert!(socket.ask().is_ok(), "{to}");
        assert_eq!(socket.peer(), Ok(*to));
    }
}
