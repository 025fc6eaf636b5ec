//! The engine of sockets: what calls become, in both families.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

/// Runs a test for both families.
macro_rules! both {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                cases::$name::<V4>();
                cases::$name::<V6>();
            }
        )+
    };
}

mod flows;
mod node;

use lb_common::protocol::{TCP, UDP};
use lb_common::{
    Address, BackendFlags, Destination, Frontend, FrontendFlags, FrontendKey, Outcome, Run, SourceKey,
};
use lb_ebpf::memory::network::{LOCAL, NODE, Net, Node, PORT, REMOTE, VIPS};
use lb_ebpf::memory::{MemoryMaps, MemorySocket};
use lb_ebpf::socket::{Decision, connect, peer_name, received, send};
use lb_ebpf::{V4, V6};

/// Cookie of the node's network namespace.
const HOST: u64 = 1;
/// Cookie of a pod's.
const POD: u64 = 77;
const REFUSED: i32 = Decision::ECONNREFUSED;

type To<F> = Destination<<F as lb_ebpf::Family>::Address>;

/// Service 1 at VIP 1 with `backends`, for sockets; and an unused port at its address.
fn maps<F: Net>(protocol: u8, backends: &[(u8, u16)]) -> MemoryMaps {
    let mut maps = Node::new().with_service::<F>(1, protocol, backends).maps;
    let vip = F::address(VIPS, 1);
    for backend in &mut F::tables(&mut maps).backends {
        backend.flags |= BackendFlags::IN_CLUSTER;
    }
    frontend::<F>(&mut maps, protocol, |frontend| frontend.inside = frontend.outside);
    let flags = FrontendFlags::ADDRESS | FrontendFlags::CLUSTER_IP;
    let address = Frontend { service: 1, flags, ..Frontend::default() };
    F::tables(&mut maps).frontends.insert(FrontendKey::new(vip, 0, 0), address);
    maps.settings.as_mut().unwrap().netns_cookie = HOST;
    maps
}

fn frontend<F: Net>(maps: &mut MemoryMaps, protocol: u8, change: impl FnOnce(&mut Frontend)) {
    let key = FrontendKey::new(F::address(VIPS, 1), PORT, protocol);
    change(F::tables(maps).frontends.get_mut(&key).unwrap());
}

fn at<F: Net>(subnet: u8, host: u16, port: u16) -> To<F> {
    Destination::new(F::address(subnet, host), port.to_be_bytes())
}

fn vip<F: Net>() -> To<F> {
    at::<F>(VIPS, 1, PORT)
}

fn try_connect<F: Net>(
    maps: &mut MemoryMaps,
    socket: &mut MemorySocket<F>,
    to: To<F>,
    protocol: u8,
) -> (To<F>, Decision) {
    let mut got = to;
    let decision = connect::<F, _, _>(&mut got, protocol, maps, socket);
    (got, decision)
}

fn try_send<F: Net>(maps: &mut MemoryMaps, socket: &mut MemorySocket<F>, to: To<F>) -> (To<F>, Decision) {
    let mut got = to;
    let decision = send::<F, _, _>(&mut got, maps, socket);
    (got, decision)
}

fn heard<F: Net>(maps: &mut MemoryMaps, socket: &mut MemorySocket<F>, from: To<F>) -> To<F> {
    let mut heard = from;
    received::<F, _, _>(&mut heard, maps, socket);
    heard
}

both! {
    a_connection_goes_to_a_backend_and_shows_the_service
    without_a_backend_the_call_fails
    an_unused_port_is_refused_but_for_a_datagram_socket_that_connects
    others_are_left_alone_and_nothing_is_kept
    a_socket_that_connects_elsewhere_believes_nothing
    a_connected_socket_that_names_its_service_stays_with_its_backend
    a_pod_keeps_its_backend_until_the_time_is_over
    sources_are_judged_where_they_are_known
}

mod cases {
    use super::*;

    pub(super) fn a_connection_goes_to_a_backend_and_shows_the_service<F: Net>() {
        for protocol in [TCP, UDP] {
            let mut maps = maps::<F>(protocol, &[(REMOTE, 1), (LOCAL, 2)]);
            let mut hit = std::collections::BTreeSet::new();
            for cookie in 1..=32 {
                let mut socket = MemorySocket::new(cookie, POD);
                let (mut peer, decision) = try_connect::<F>(&mut maps, &mut socket, vip::<F>(), protocol);
                assert_eq!(decision, Decision { outcome: Outcome::SocketTranslated, errno: 0 });
                hit.insert(peer);
                socket.connected = true;
                assert_eq!(heard::<F>(&mut maps, &mut socket, peer), vip::<F>());
                peer_name::<F, _>(&mut peer, &mut socket);
                assert_eq!(peer, vip::<F>());
                let mut other = at::<F>(REMOTE, 9, 8080);
                peer_name::<F, _>(&mut other, &mut socket);
                assert_eq!(other, at::<F>(REMOTE, 9, 8080));
            }
            assert_eq!(
                hit.into_iter().collect::<Vec<_>>(),
                [at::<F>(REMOTE, 1, 8080), at::<F>(LOCAL, 2, 8080)]
            );
            assert_eq!(maps.stats[&1].new_flows, 32);
            assert!(F::tables(&mut maps).socket_flows.is_empty() && F::tables(&mut maps).flows.is_empty());
        }
    }

    pub(super) fn without_a_backend_the_call_fails<F: Net>() {
        for (flags, outcome) in [
            (0, Outcome::NoBackend),
            (FrontendFlags::INSIDE_LOCAL | FrontendFlags::INSIDE_DROPS, Outcome::NoLocalBackend),
        ] {
            let mut maps = maps::<F>(UDP, &[]);
            frontend::<F>(&mut maps, UDP, |frontend| frontend.flags = flags);
            let mut socket = MemorySocket::new(1, POD);
            let expected = (vip::<F>(), Decision { outcome, errno: REFUSED });
            assert_eq!(try_connect::<F>(&mut maps, &mut socket, vip::<F>(), UDP), expected);
            assert_eq!(try_send::<F>(&mut maps, &mut socket, vip::<F>()), expected);
            assert!(socket.kept.is_none() && F::tables(&mut maps).socket_flows.is_empty());
        }
    }

    pub(super) fn an_unused_port_is_refused_but_for_a_datagram_socket_that_connects<F: Net>() {
        let mut maps = maps::<F>(TCP, &[(REMOTE, 1)]);
        let to = at::<F>(VIPS, 1, 81);
        let decided = |errno| (to, Decision { outcome: Outcome::UnusedPort, errno });
        assert_eq!(try_connect::<F>(&mut maps, &mut MemorySocket::new(1, POD), to, TCP), decided(REFUSED));
        assert_eq!(try_connect::<F>(&mut maps, &mut MemorySocket::new(1, POD), to, UDP), decided(0));
        assert_eq!(try_send::<F>(&mut maps, &mut MemorySocket::new(1, POD), to), decided(REFUSED));
        // An external IP may be another machine's, which has other ports.
        let key = FrontendKey::new(F::address(VIPS, 1), 0, 0);
        F::tables(&mut maps).frontends.get_mut(&key).unwrap().flags = FrontendFlags::ADDRESS;
        let passed = (to, Decision { outcome: Outcome::NotOurs, errno: 0 });
        assert_eq!(try_connect::<F>(&mut maps, &mut MemorySocket::new(1, POD), to, TCP), passed);
        assert_eq!(try_send::<F>(&mut maps, &mut MemorySocket::new(1, POD), to), passed);
    }

    pub(super) fn others_are_left_alone_and_nothing_is_kept<F: Net>() {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1)]);
        let to = at::<F>(REMOTE, 5, 53);
        let mut socket = MemorySocket::new(1, POD);
        let passed = Decision { outcome: Outcome::NotOurs, errno: 0 };
        assert_eq!(try_connect::<F>(&mut maps, &mut socket, to, UDP), (to, passed));
        assert_eq!(try_send::<F>(&mut maps, &mut socket, to), (to, passed));
        assert!(socket.kept.is_none());
        socket.excluded = true;
        let excluded = Decision { outcome: Outcome::SocketExcluded, errno: 0 };
        assert_eq!(try_connect::<F>(&mut maps, &mut socket, vip::<F>(), UDP), (vip::<F>(), excluded));
        assert_eq!(try_send::<F>(&mut maps, &mut socket, vip::<F>()), (vip::<F>(), excluded));
        assert!(socket.kept.is_none());
        maps.settings = None;
        socket.excluded = false;
        assert_eq!(try_connect::<F>(&mut maps, &mut socket, vip::<F>(), UDP), (vip::<F>(), passed));
    }

    pub(super) fn a_socket_that_connects_elsewhere_believes_nothing<F: Net>() {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1)]);
        let mut socket = MemorySocket::new(1, POD);
        let (backend, _) = try_connect::<F>(&mut maps, &mut socket, vip::<F>(), UDP);
        // A call that fails leaves it connected to where it was.
        frontend::<F>(&mut maps, UDP, |frontend| frontend.inside = Run::default());
        assert_eq!(try_connect::<F>(&mut maps, &mut socket, vip::<F>(), UDP).1.errno, REFUSED);
        let mut peer = backend;
        peer_name::<F, _>(&mut peer, &mut socket);
        assert_eq!(peer, vip::<F>());
        // To where there is no Service, by a call that the kernel lets fail: it is connected as it was.
        try_connect::<F>(&mut maps, &mut socket, at::<F>(REMOTE, 9, 53), UDP);
        peer_name::<F, _>(&mut peer.clone(), &mut socket);
        socket.connected = true;
        assert_eq!(heard::<F>(&mut maps, &mut socket, backend), vip::<F>());
        // The backend itself, asked for by its own name.
        try_connect::<F>(&mut maps, &mut socket, backend, UDP);
        let mut peer = backend;
        peer_name::<F, _>(&mut peer, &mut socket);
        assert_eq!(peer, backend);
        socket.connected = true;
        assert_eq!(heard::<F>(&mut maps, &mut socket, backend), backend);
    }

    pub(super) fn a_connected_socket_that_names_its_service_stays_with_its_backend<F: Net>() {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1), (REMOTE, 2), (REMOTE, 3), (REMOTE, 4)]);
        for cookie in 1..20 {
            let mut socket = MemorySocket::new(cookie, POD);
            let (backend, _) = try_connect::<F>(&mut maps, &mut socket, vip::<F>(), UDP);
            socket.connected = true;
            F::tables(&mut maps).backends.iter_mut().for_each(|backend| backend.generation += 1);
            let (got, decision) = try_send::<F>(&mut maps, &mut socket, vip::<F>());
            assert_eq!((got, decision.outcome), (backend, Outcome::SocketTranslated));
            assert!(F::tables(&mut maps).socket_flows.is_empty());
        }
    }

    pub(super) fn a_pod_keeps_its_backend_until_the_time_is_over<F: Net>() {
        let backends: Vec<(u8, u16)> = (1..=16).map(|host| (REMOTE, host)).collect();
        let mut maps = maps::<F>(TCP, &backends);
        frontend::<F>(&mut maps, TCP, |frontend| frontend.affinity_timeout_s = 10);
        let mut connect_at = |netns, cookie, now_s| {
            let mut socket = MemorySocket { now_s, ..MemorySocket::new(cookie, netns) };
            try_connect::<F>(&mut maps, &mut socket, vip::<F>(), TCP).0
        };
        let first = connect_at(POD, 1, 100);
        assert!((2..50).all(|cookie| connect_at(POD, cookie, 91 + 9 * cookie as u32) == first));
        let others: std::collections::BTreeSet<_> =
            (1000..1020).map(|pod| connect_at(pod, pod, 100)).collect();
        assert!(others.len() > 4, "{others:?}");
        let later: std::collections::BTreeSet<_> =
            (1..20).map(|round| connect_at(POD, 50 + round, 1000 + 11 * round as u32)).collect();
        assert!(later.len() > 4, "{later:?}");
        connect_at(HOST, 99, 2000);
        let keys: Vec<u64> = maps.pod_affinity.keys().map(|key| key.netns_cookie).collect();
        assert!(keys.contains(&0) && !keys.contains(&HOST) && keys.contains(&POD), "{keys:?}");
    }

    pub(super) fn sources_are_judged_where_they_are_known<F: Net>() {
        let mut maps = maps::<F>(TCP, &[(REMOTE, 1)]);
        frontend::<F>(&mut maps, TCP, |frontend| frontend.flags = FrontendFlags::SOURCE_RANGES);
        let bits = 8 * size_of::<F::Address>() as u32;
        let allow = |maps: &mut MemoryMaps, address| {
            F::tables(maps).sources.push((SourceKey { service: 1, address }, bits));
        };
        let try_from = |maps: &mut MemoryMaps, netns, source| {
            let mut socket = MemorySocket { source, ..MemorySocket::new(1, netns) };
            let (got, decision) = try_connect::<F>(maps, &mut socket, vip::<F>(), TCP);
            assert_eq!(got != vip::<F>(), decision.outcome == Outcome::SocketTranslated);
            (decision.outcome, decision.errno)
        };
        let none = <F::Address as Address>::UNSPECIFIED;
        let (pod, node) = (F::address(LOCAL, 7), F::address(NODE, 1));
        assert_eq!(try_from(&mut maps, POD, none), (Outcome::SourceUnknown, 0));
        assert_eq!(try_from(&mut maps, POD, pod), (Outcome::SourceRefused, Decision::EPERM));
        assert_eq!(try_from(&mut maps, HOST, none), (Outcome::SourceRefused, Decision::EPERM));
        allow(&mut maps, pod);
        allow(&mut maps, node);
        assert_eq!(try_from(&mut maps, POD, none), (Outcome::SourceUnknown, 0));
        assert_eq!(try_from(&mut maps, POD, pod), (Outcome::SocketTranslated, 0));
        assert_eq!(try_from(&mut maps, HOST, none), (Outcome::SocketTranslated, 0));
    }
}
