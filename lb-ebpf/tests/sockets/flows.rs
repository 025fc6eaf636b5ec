//! Flows of UDP sockets that are not connected.

use lb_common::protocol::{TCP, UDP};
use lb_common::{Destination, FrontendKey, Outcome, Run, SocketFlowKey};
use lb_ebpf::memory::network::{Net, PORT, REMOTE, VIPS};
use lb_ebpf::memory::{MemoryMaps, MemorySocket};
use lb_ebpf::socket::{Decision, SOCKET_DESTINATIONS_MAX, release};
use lb_ebpf::{V4, V6};

use crate::{POD, REFUSED, at, frontend, heard, maps, try_connect, try_send, vip};

both! {
    a_flow_that_moves_leaves_others_what_they_hear
    a_socket_with_too_many_destinations_begins_anew
    what_was_swept_does_not_tie_a_knot
    who_only_listens_keeps_its_flow
    one_socket_talks_to_many_services
    a_flow_stays_until_its_backend_goes
    a_full_table_passes_the_call_and_keeps_what_it_has
    what_is_released_is_forgotten
}

mod cases {
    use super::*;

    pub(super) fn a_flow_that_moves_leaves_others_what_they_hear<F: Net>() {
        let mut maps = many::<F>();
        let mut socket = MemorySocket::new(1, POD);
        let (first, second) = (at::<F>(VIPS, 1, PORT), at::<F>(VIPS, 2, PORT));
        let (backend, _) = try_send::<F>(&mut maps, &mut socket, first);
        try_send::<F>(&mut maps, &mut socket, second);
        // Service 1 alone gets another backend, while an answer of Service 2 is on its way.
        let id = F::tables(&mut maps).backends.len() as u32;
        let mut other = F::tables(&mut maps).backends[1];
        (other.address, other.service) = (F::address(REMOTE, 7), 3);
        F::tables(&mut maps).backends.push(other);
        let start = maps.slots.len() as u32;
        maps.slots.push(id);
        frontend::<F>(&mut maps, UDP, |frontend| {
            (frontend.service, frontend.inside) = (3, Run { start, length: 1 });
        });
        socket.now_s += 1;
        assert_eq!(try_send::<F>(&mut maps, &mut socket, first).0, at::<F>(REMOTE, 7, 8080));
        assert_eq!(heard::<F>(&mut maps, &mut socket, backend), second);
        release::<F, _, _>(&mut maps, &mut socket);
        assert!(F::tables(&mut maps).socket_flows.is_empty());
    }

    pub(super) fn a_socket_with_too_many_destinations_begins_anew<F: Net>() {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1)]);
        let first =
            *F::tables(&mut maps).frontends.get(&FrontendKey::new(F::address(VIPS, 1), PORT, UDP)).unwrap();
        let mut socket = MemorySocket::new(1, POD);
        let max = SOCKET_DESTINATIONS_MAX as u16;
        for host in 1..=2 * max + 10 {
            let key = FrontendKey::new(F::address(VIPS, host), PORT, UDP);
            F::tables(&mut maps).frontends.insert(key, first);
            let (got, _) = try_send::<F>(&mut maps, &mut socket, at::<F>(VIPS, host, PORT));
            assert_eq!(heard::<F>(&mut maps, &mut socket, got), at::<F>(VIPS, host, PORT));
            assert!(F::tables(&mut maps).socket_flows.len() <= usize::from(max) + 1);
        }
        release::<F, _, _>(&mut maps, &mut socket);
        assert!(F::tables(&mut maps).socket_flows.is_empty());
    }

    pub(super) fn what_was_swept_does_not_tie_a_knot<F: Net>() {
        let mut maps = many::<F>();
        let mut socket = MemorySocket::new(1, POD);
        for host in [1, 2] {
            try_send::<F>(&mut maps, &mut socket, at::<F>(VIPS, host, PORT));
        }
        // The latest is swept, and used again.
        let key = SocketFlowKey::new(1, &at::<F>(VIPS, 2, PORT), false);
        F::tables(&mut maps).socket_flows.remove(&key).unwrap();
        try_send::<F>(&mut maps, &mut socket, at::<F>(VIPS, 2, PORT));
        let again = F::tables(&mut maps).socket_flows[&key];
        assert_eq!(again.previous, Destination::NONE);
    }

    pub(super) fn who_only_listens_keeps_its_flow<F: Net>() {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1)]);
        let mut socket = MemorySocket::new(1, POD);
        let (backend, _) = try_send::<F>(&mut maps, &mut socket, vip::<F>());
        socket.now_s = 3_000;
        assert_eq!(heard::<F>(&mut maps, &mut socket, backend), vip::<F>());
        assert!(F::tables(&mut maps).socket_flows.values().all(|flow| flow.last_used_s == 3_000));
    }

    /// Services 2 to 9 at VIPs of their own, all with the one backend of Service 1.
    fn many<F: Net>() -> MemoryMaps {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1)]);
        let first =
            *F::tables(&mut maps).frontends.get(&FrontendKey::new(F::address(VIPS, 1), PORT, UDP)).unwrap();
        for host in 2..=9 {
            let key = FrontendKey::new(F::address(VIPS, host), PORT, UDP);
            F::tables(&mut maps).frontends.insert(key, first);
        }
        maps
    }

    pub(super) fn one_socket_talks_to_many_services<F: Net>() {
        let mut maps = many::<F>();
        let mut socket = MemorySocket::new(1, POD);
        for _ in 0..3 {
            for host in 1..=9 {
                let to = at::<F>(VIPS, host, PORT);
                let (got, decision) = try_send::<F>(&mut maps, &mut socket, to);
                assert_eq!((got, decision.outcome), (at::<F>(REMOTE, 1, 8080), Outcome::SocketTranslated));
                assert_eq!(heard::<F>(&mut maps, &mut socket, got), to);
            }
        }
        // Nine that are sent to, one that is heard from.
        assert_eq!(F::tables(&mut maps).socket_flows.len(), 10);
        assert_eq!(maps.stats[&1].new_flows, 9);
        let stranger = at::<F>(REMOTE, 4, 8080);
        assert_eq!(heard::<F>(&mut maps, &mut socket, stranger), stranger);
        let mut other = MemorySocket::new(2, POD);
        assert_eq!(heard::<F>(&mut maps, &mut other, at::<F>(REMOTE, 1, 8080)), at::<F>(REMOTE, 1, 8080));
        release::<F, _, _>(&mut maps, &mut socket);
        assert!(F::tables(&mut maps).socket_flows.is_empty());
    }

    pub(super) fn a_flow_stays_until_its_backend_goes<F: Net>() {
        let mut maps = maps::<F>(UDP, &[(REMOTE, 1), (REMOTE, 2)]);
        let mut socket = MemorySocket::new(1, POD);
        let (first, _) = try_send::<F>(&mut maps, &mut socket, vip::<F>());
        let mine = maps
            .slots
            .iter()
            .position(|id| F::tables(&mut maps.clone()).backends[*id as usize].address == first.address);
        // The other takes all slots: the flow stays.
        let other = maps.slots[1 - mine.unwrap()];
        let old = std::mem::replace(&mut maps.slots, vec![other, other])[mine.unwrap()];
        socket.now_s = 50;
        assert_eq!(try_send::<F>(&mut maps, &mut socket, vip::<F>()).0, first);
        // Its backend goes: the flow goes to the other, and nothing is left of the first.
        F::tables(&mut maps).backends[old as usize].generation += 1;
        let (second, decision) = try_send::<F>(&mut maps, &mut socket, vip::<F>());
        assert_ne!(second, first);
        assert_eq!(decision.outcome, Outcome::SocketTranslated);
        assert_eq!(heard::<F>(&mut maps, &mut socket, second), vip::<F>());
        assert_eq!(heard::<F>(&mut maps, &mut socket, first), first);
        assert_eq!(F::tables(&mut maps).socket_flows.len(), 2);
        // The address moves to another Service: in the next second so does the flow.
        frontend::<F>(&mut maps, UDP, |frontend| (frontend.service, frontend.inside) = (2, Run::default()));
        assert_eq!(try_send::<F>(&mut maps, &mut socket, vip::<F>()).0, second);
        socket.now_s = 51;
        assert_eq!(try_send::<F>(&mut maps, &mut socket, vip::<F>()).1.errno, REFUSED);
    }

    pub(super) fn a_full_table_passes_the_call_and_keeps_what_it_has<F: Net>() {
        for room in [0, 1, 2, 3] {
            let mut maps = many::<F>();
            F::tables(&mut maps).socket_flows_max = room;
            let mut socket = MemorySocket::new(1, POD);
            // Each needs an entry, and all together one more.
            for host in 1..=9 {
                let to = at::<F>(VIPS, host, PORT);
                let (got, decision) = try_send::<F>(&mut maps, &mut socket, to);
                let fits = usize::from(host) < room;
                assert_eq!(got == to, !fits, "{room} {host}");
                assert_eq!(decision.errno, 0);
                assert_eq!(decision.outcome == Outcome::SocketFull, !fits, "{room} {host}");
            }
            release::<F, _, _>(&mut maps, &mut socket);
            assert!(F::tables(&mut maps).socket_flows.is_empty());
        }
        let mut maps = maps::<F>(TCP, &[(REMOTE, 1)]);
        let mut socket = MemorySocket { has_memory: false, ..MemorySocket::new(1, POD) };
        let full = Decision { outcome: Outcome::SocketFull, errno: 0 };
        assert_eq!(try_connect::<F>(&mut maps, &mut socket, vip::<F>(), TCP), (vip::<F>(), full));
    }

    pub(super) fn what_is_released_is_forgotten<F: Net>() {
        let mut maps = many::<F>();
        let mut sockets: Vec<_> = (1..=20).map(|cookie| MemorySocket::new(cookie, POD)).collect();
        for round in 0..5_u16 {
            for (index, socket) in sockets.iter_mut().enumerate() {
                socket.now_s = u32::from(round);
                try_send::<F>(&mut maps, socket, at::<F>(VIPS, 1 + (index as u16 * 3 + round * 5) % 9, PORT));
            }
            // Backends go in the middle.
            F::tables(&mut maps).backends[1].generation += 1;
        }
        assert!(F::tables(&mut maps).socket_flows.len() > 40);
        for socket in &mut sockets {
            release::<F, _, _>(&mut maps, socket);
            let cookie = socket.cookie as u32;
            assert!(F::tables(&mut maps).socket_flows.keys().all(|key| key.cookie[0] != cookie));
        }
        assert!(F::tables(&mut maps).socket_flows.is_empty());
    }
}
