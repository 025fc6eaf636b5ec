//! Sockets and packets together: what is translated once is not translated again.

use lb_common::Outcome;
use tests::net::Family;
use tests::traffic::{Kind, Protocol, Way, Worker};

use crate::{World, counted, kinds, vip};

#[test]
fn a_pod_is_translated_at_its_sockets_or_by_its_packets() {
    let world = World::with_all();
    let agent = world.agent(&["--workload-device", "pod0"]);
    let pod = world.pod();
    for family in Family::ALL {
        for way in Way::ALL {
            let answers = pod.tally(way, 30, vip(family, way.protocol()), None).unwrap();
            assert_eq!(answers.len(), 3, "{way:?} {family:?}: {answers:?}");
        }
    }
    assert_eq!(agent.count_calls(Outcome::SocketTranslated).unwrap(), 180);
    assert_eq!(agent.get("flows", "json").unwrap().trim(), "[]", "sockets of the pod need no flow");

    let outside = Worker::outside(&world.backend("backend-3").namespace).unwrap();
    for (family, protocol) in kinds() {
        let to = vip(family, protocol);
        let answers = outside.tally(protocol_way(protocol), 10, to, None);
        assert!(answers.is_ok(), "{protocol:?} {to}: {answers:?}");
    }
    let flows = agent.get("flows", "json").unwrap();
    let flows: serde_json::Value = serde_json::from_str(&flows).unwrap();
    // Two families, two protocols.
    assert!(flows.as_array().unwrap().len() >= 40, "{flows}");
}

fn protocol_way(protocol: Protocol) -> Way {
    match protocol {
        Protocol::Tcp => Way::Tcp,
        Protocol::Udp => Way::Udp,
    }
}

/// Packets of a socket for which there was no room are served as those of any other.
#[test]
fn without_room_a_pod_is_served_by_its_packets() {
    let world = World::with_all();
    let agent = world.agent(&["--workload-device", "pod0", "--socket-flows-max", "64"]);
    let pod = world.pod();
    for family in Family::ALL {
        let to = vip(family, Protocol::Udp);
        let sockets: Vec<_> = (0..36).map(|_| pod.open(Kind::Udp, family).unwrap()).collect();
        let full = counted(&agent, Outcome::SocketFull, || {
            for socket in &sockets {
                assert_eq!(socket.ask_at(to).unwrap().source, Some(to), "{family:?}");
            }
        });
        assert_eq!(full, 4, "{family:?}");
    }
}
