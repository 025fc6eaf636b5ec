//! `loadBalancerSourceRanges`: a socket is judged by the address that it is bound to, the node's own by the node's.

use std::net::{IpAddr, SocketAddr};

use lb_common::Outcome;
use rustix::io::Errno;
use tests::net::{Family, NODE4, NODE6};
use tests::traffic::{Protocol, Way, Worker};

use crate::policies::{balanced, balancer};
use crate::{World, counted, errno, kinds, vip};

/// A further address of the node, towards the remote endpoints.
fn gateway(family: Family) -> IpAddr {
    if family == Family::V4 { [10, 1, 1, 1].into() } else { "fd00:1:1::1".parse().unwrap() }
}

fn node(family: Family) -> IpAddr {
    if family == Family::V4 { NODE4.into() } else { NODE6.into() }
}

fn guarded(ranges: &str) -> World {
    let world = World::with_all();
    let fields = format!("loadBalancerSourceRanges: [{ranges}]");
    world.manifests.write("10-service.yaml", &balanced(&fields)).unwrap();
    world
}

fn ask(worker: &Worker, way: Way, to: SocketAddr, source: Option<IpAddr>) -> Result<(), Errno> {
    match worker.tally(way, 3, to, source) {
        Ok(_) => Ok(()),
        failed => Err(errno(failed)),
    }
}

#[test]
fn the_host_is_judged_by_its_first_address_or_that_of_the_socket() {
    let world = guarded("10.1.0.1/32, \"fd00:1::1/128\"");
    let agent = world.agent(&[]);
    let host = world.host();
    for family in Family::ALL {
        for way in Way::ALL {
            let to = balancer(family, way.protocol());
            for source in [None, Some(node(family))] {
                assert_eq!(ask(&host, way, to, source), Ok(()), "{way:?} {to} {source:?}");
            }
            let refused = counted(&agent, Outcome::SourceRefused, || {
                let called = ask(&host, way, to, Some(gateway(family)));
                assert_eq!(called, Err(Errno::PERM), "{way:?} {to}");
            });
            assert_eq!(refused, 1, "{way:?} {to}");
            // The ranges are for the addresses of load balancers.
            assert_eq!(ask(&host, way, vip(family, way.protocol()), Some(gateway(family))), Ok(()));
        }
    }
}

#[test]
fn a_host_that_no_range_has_is_refused() {
    let world = guarded("10.1.1.0/24, \"fd00:1:1::/64\"");
    let _agent = world.agent(&[]);
    let host = world.host();
    for family in Family::ALL {
        for way in Way::ALL {
            let to = balancer(family, way.protocol());
            assert_eq!(ask(&host, way, to, None), Err(Errno::PERM), "{way:?} {to}");
            assert_eq!(ask(&host, way, to, Some(gateway(family))), Ok(()), "{way:?} {to}");
        }
    }
}

#[test]
fn a_pod_is_judged_by_what_its_socket_is_bound_to() {
    for (ranges, allowed) in [
        ("10.1.2.0/24, \"fd00:1:2::/64\"", true),
        // The pod's addresses are not in these.
        ("10.1.0.0/24, \"fd00:1::/64\"", false),
    ] {
        let world = guarded(ranges);
        let agent = world.agent(&[]);
        let pod = world.pod();
        for family in Family::ALL {
            let source = Some(world.backend("backend-3").address(family));
            for way in Way::ALL {
                let to = balancer(family, way.protocol());
                let expected = if allowed { Ok(()) } else { Err(Errno::PERM) };
                assert_eq!(ask(&pod, way, to, source), expected, "{way:?} {to}");
            }
        }
        assert_eq!(agent.count_calls(Outcome::SourceUnknown).unwrap(), 0);
    }
}

/// The source of a pod's socket is known when its packets come: they are judged at the device of the pod.
#[test]
fn packets_of_a_pod_tell_what_a_socket_cannot() {
    for (ranges, allowed) in
        [("10.1.2.0/24, \"fd00:1:2::/64\"", true), ("10.1.0.0/24, \"fd00:1::/64\"", false)]
    {
        let world = guarded(ranges);
        let agent = world.agent(&["--workload-device", "pod0"]);
        let pod = world.pod();
        for (family, protocol) in kinds() {
            let to = balancer(family, protocol);
            let socket = pod.open(protocol, family).unwrap();
            let refused = agent.count(Outcome::SourceRefused).unwrap();
            let unknown = counted(&agent, Outcome::SourceUnknown, || {
                let called = socket.connect(to).and_then(|()| socket.ask());
                assert_eq!(called.is_ok(), allowed, "{protocol:?} {to}: {called:?}");
            });
            assert_eq!(unknown, 1, "{protocol:?} {to}");
            assert_eq!(agent.count(Outcome::SourceRefused).unwrap() > refused, !allowed, "{protocol:?} {to}");
            if protocol == Protocol::Udp && allowed {
                let received = pod.open(protocol, family).unwrap().ask_at(to).unwrap();
                assert_eq!(received.source, Some(to), "the packet path says it");
            }
        }
    }
}
