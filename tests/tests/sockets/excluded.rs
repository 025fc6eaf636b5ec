//! What is left alone: control groups, marked sockets, and what is neither TCP nor UDP.

use lb_common::Outcome;
use tests::agent::Agent;
use tests::net::Family;
use tests::traffic::{Failure, Kind, Protocol, Way, Worker};

use crate::{World, counted, kinds, services, untouched, vip};

/// None of the worker's calls is translated, and each is counted.
fn left_alone(agent: &Agent<'_>, worker: &Worker) {
    for family in Family::ALL {
        for way in Way::ALL {
            for to in services(family, way.protocol()) {
                let excluded = counted(agent, Outcome::SocketExcluded, || {
                    untouched(worker.tally(way, 1, to, None), &format!("{way:?} {to}"));
                });
                assert_eq!(excluded, 1, "{way:?} {to}");
            }
        }
    }
}

fn served(worker: &Worker) {
    for family in Family::ALL {
        for way in Way::ALL {
            let to = vip(family, way.protocol());
            worker.tally(way, 3, to, None).unwrap_or_else(|error| panic!("{way:?} {to}: {error:?}"));
        }
    }
}

#[test]
fn control_groups_that_are_named_and_those_below() {
    let world = World::with_all();
    let [named, other] = ["named", "other"].map(|name| world.cgroup.child(name).unwrap());
    let [below, second] = [named.child("below").unwrap(), other.child("second").unwrap()];
    let names = [&named, &second].map(|cgroup| cgroup.path().display().to_string());
    let agent = world.agent(&["--exclude-cgroup", &names[0], "--exclude-cgroup", &names[1]]);
    let start = |cgroup| Worker::start(&world.network.node, cgroup).unwrap();
    for cgroup in [&named, &below, &second] {
        left_alone(&agent, &start(cgroup));
    }
    for cgroup in [&world.cgroup, &other] {
        let excluded = counted(&agent, Outcome::SocketExcluded, || served(&start(cgroup)));
        assert_eq!(excluded, 0);
    }
}

#[test]
fn control_groups_are_named_by_the_path_of_a_process_too_and_separated_by_commas() {
    let world = World::with_all();
    let [first, second] = ["first", "second"].map(|name| world.cgroup.child(name).unwrap());
    // As `/proc/PID/cgroup` shows it: from the root of the hierarchy.
    let root = world.cgroup.path().parent().unwrap();
    let path = second.path().strip_prefix(root).unwrap();
    let both = format!("{},/{}", first.path().display(), path.display());
    let agent = world.agent(&["--exclude-cgroup", &both]);
    for cgroup in [&first, &second] {
        left_alone(&agent, &Worker::start(&world.network.node, cgroup).unwrap());
    }
    served(&world.host());
}

fn marked(agent: &Agent<'_>, worker: &Worker, mark: u32, expected: bool) {
    for (family, protocol) in kinds() {
        let to = vip(family, protocol);
        let socket = worker.open(protocol, family).unwrap();
        socket.mark(mark).unwrap();
        let excluded = counted(agent, Outcome::SocketExcluded, || {
            if expected {
                untouched(socket.connect(to), &format!("{protocol:?} {to} with mark {mark:#x}"));
                if protocol == Protocol::Udp {
                    untouched(socket.send_to(to), &format!("{to} with mark {mark:#x}"));
                }
            } else {
                socket.connect(to).unwrap();
                assert_eq!(socket.peer(), Ok(to));
            }
        });
        assert_eq!(excluded, if !expected { 0 } else { 1 + u64::from(protocol == Protocol::Udp) });
    }
}

#[test]
fn sockets_with_the_mark() {
    let world = World::with_all();
    let host = world.host();
    {
        let agent = world.agent(&[]);
        marked(&agent, &host, 0x7765_6972, true);
        marked(&agent, &host, 0x7765_6973, false);
        marked(&agent, &host, 0, false);
    }
    {
        let agent = world.agent(&["--socket-mark", "0x1f"]);
        marked(&agent, &host, 31, true);
        marked(&agent, &host, 0x7765_6972, false);
    }
    let agent = world.agent(&["--socket-mark", "0"]);
    marked(&agent, &host, 0x7765_6972, false);
    marked(&agent, &host, 0, false);
}

#[test]
fn other_families_and_protocols() {
    let world = World::with_all();
    // Who may open sockets for echo requests.
    world.network.node.sysctl("ipv4/ping_group_range", "0 0").unwrap();
    let agent = world.agent(&[]);
    let host = world.host();
    host.unix().unwrap();
    for family in Family::ALL {
        for kind in [Kind::UdpLite, Kind::Ping, Kind::Raw] {
            let socket = match host.open(kind, family) {
                Ok(socket) => socket,
                Err(Failure::Errno(errno)) => {
                    println!("{kind:?} {family:?}: {errno}");
                    continue;
                }
                Err(other) => panic!("{other:?}"),
            };
            untouched(socket.connect(vip(family, Protocol::Udp)), &format!("{kind:?} {family:?}"));
            // For the others it would have to be a message of ICMP.
            if kind == Kind::UdpLite {
                untouched(socket.send_to(vip(family, Protocol::Udp)), &format!("{kind:?} {family:?}"));
            }
        }
    }
    for outcome in Outcome::ALL {
        assert_eq!(agent.count_calls(*outcome).unwrap(), 0, "{}", outcome.name());
    }
}

/// Processes that are in no control group of weir's are nothing to it.
#[test]
fn who_is_not_below_the_path_is_not_seen() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let outside = Worker::outside(&world.network.node).unwrap();
    for family in Family::ALL {
        for way in Way::ALL {
            untouched(outside.tally(way, 1, vip(family, way.protocol()), None), "outside");
        }
    }
    for outcome in Outcome::ALL {
        assert_eq!(agent.count_calls(*outcome).unwrap(), 0, "{}", outcome.name());
    }
}
