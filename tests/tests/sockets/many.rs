//! Many sockets: what is kept of them goes with them.

use std::collections::BTreeMap;

use lb_common::Outcome;
use tests::net::Family;
use tests::traffic::Way;

use crate::{World, counted, until, vip};

const SOCKETS: usize = 10_000;
/// TCP connections that are open at once: each has a thread at the server.
const AT_ONCE: usize = 500;

#[test]
fn ten_thousand_sockets_leave_nothing_behind() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let host = world.host();
    for family in Family::ALL {
        for way in Way::ALL {
            let to = vip(family, way.protocol());
            let at_once = if way == Way::Tcp { AT_ONCE } else { SOCKETS };
            let calls = counted(&agent, Outcome::SocketTranslated, || {
                for _ in 0..SOCKETS / at_once {
                    host.hold(way, at_once, to).unwrap_or_else(|error| panic!("{way:?} {to}: {error:?}"));
                    let kept = if way == Way::SendTo { 2 * at_once } else { 0 };
                    assert_eq!(agent.socket_flows(family).unwrap(), kept, "{way:?} {to}");
                    host.let_go().unwrap();
                }
            });
            assert_eq!(calls, u64::try_from(SOCKETS).unwrap(), "{way:?} {to}");
            assert_eq!(agent.socket_flows(family).unwrap(), 0, "{way:?} {to}");
        }
    }
    // And there is no less room than before.
    for family in Family::ALL {
        let answers = host.tally(Way::SendTo, 50, vip(family, Way::SendTo.protocol()), None).unwrap();
        assert_eq!(answers.values().sum::<u64>(), 50);
    }
}

#[test]
fn what_a_killed_process_had_is_forgotten() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let pod = world.pod();
    for family in Family::ALL {
        pod.hold(Way::SendTo, 1_000, vip(family, Way::SendTo.protocol())).unwrap();
        assert_eq!(agent.socket_flows(family).unwrap(), 2_000);
    }
    pod.kill().unwrap();
    until("closed sockets", &agent, || Family::ALL.iter().all(|one| agent.socket_flows(*one).unwrap() == 0));
}

#[test]
fn a_socket_with_many_destinations_forgets_all() {
    let world = World::with_all();
    let agent = world.agent(&[]);
    let host = world.host();
    // As many sockets as a resolver may have, used for both families and both addresses.
    let mut sockets = Vec::new();
    let mut by_family = BTreeMap::new();
    for _ in 0..100 {
        let socket = host.open(tests::traffic::Kind::Udp, Family::V6).unwrap();
        for to in crate::services(Family::V6, tests::traffic::Protocol::Udp) {
            socket.send_to(to).unwrap();
            *by_family.entry(6).or_insert(0) += 1;
        }
        for to in crate::services(Family::V4, tests::traffic::Protocol::Udp).map(crate::mapped) {
            socket.send_to(to).unwrap();
            *by_family.entry(4).or_insert(0) += 1;
        }
        sockets.push(socket);
    }
    for (family, number) in [(Family::V4, 4), (Family::V6, 6)] {
        // Two destinations with one backend share what is heard.
        let (kept, sent) = (agent.socket_flows(family).unwrap(), by_family[&number]);
        assert!(kept > sent && kept <= 2 * sent, "{kept} entries for {sent} destinations");
    }
    drop(sockets);
    assert_eq!(Family::ALL.map(|family| agent.socket_flows(family).unwrap()), [0, 0]);
}
