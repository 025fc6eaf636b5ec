//! sendto(2) and recvfrom(2) on UDP sockets that are not connected: each destination is a flow of its own.
//!
//! A flow has an entry for what is sent and one for what is heard. As for packets, it stays with its backend as long as
//! that has the generation that the flow was made with. The entries of a socket are a list, from the latest on, by which
//! they are found when it is closed.

use lb_common::{Backend, Destination, FrontendKey, Outcome, SocketFlow, SocketFlowKey, protocol};

use super::choose::choose;
use super::names::believes;
use super::{Caller, Decision, SocketMaps, frontend_key};
use crate::Family;

/// Silence after which an entry is over, in seconds. It is long: who waits for a datagram need not send any.
pub const SOCKET_FLOW_IDLE_S: u32 = 3_600;

/// Most destinations of a socket that are forgotten when it is closed; others are when they are over.
const RELEASED_MAX: u32 = 512;

/// Gives a datagram a backend in place of the Service at `to`.
#[inline(always)]
pub fn send<F, M, C>(to: &mut Destination<F::Address>, maps: &mut M, caller: &mut C) -> Decision
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let Some(settings) = maps.settings() else { return Decision::proceed(Outcome::NotOurs) };
    let Some(frontend) = frontend_key::<F, M, C>(to, protocol::UDP, &settings, maps, caller) else {
        return Decision::proceed(Outcome::NotOurs);
    };
    if caller.is_excluded(&settings) {
        return Decision::proceed(Outcome::SocketExcluded);
    }
    if resume::<F, M, C>(to, &frontend, maps, caller) {
        return Decision::proceed(Outcome::SocketTranslated);
    }
    begin::<F, M, C>(to, &frontend, maps, caller)
}

/// Gives the datagram the backend of its flow, if that is valid. Not inlined, for its stack.
#[inline(never)]
fn resume<F, M, C>(
    to: &mut Destination<F::Address>,
    frontend: &FrontendKey<F::Address>,
    maps: &mut M,
    caller: &mut C,
) -> bool
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let (cookie, now_s) = (caller.cookie(), caller.now_s());
    let Some((flow, used_s)) = look_up::<F, M>(&SocketFlowKey::new(cookie, to, false), now_s, maps) else {
        return false;
    };
    if !is_valid::<F, M>(&flow, used_s != now_s, frontend, maps) {
        return false;
    }
    // Another destination may have taken the entry for what is heard, if it has the same backend.
    hear::<F, M>(cookie, to, &flow, maps);
    *to = flow.becomes;
    true
}

/// Begins a flow, or gives one another backend. Not inlined, for its stack.
#[inline(never)]
fn begin<F, M, C>(
    to: &mut Destination<F::Address>,
    frontend: &FrontendKey<F::Address>,
    maps: &mut M,
    caller: &mut C,
) -> Decision
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let Some(settings) = maps.settings() else { return Decision::proceed(Outcome::NotOurs) };
    let (id, backend) = match choose::<F, M, C>(frontend, &settings, maps, caller) {
        Ok(chosen) => chosen,
        Err(outcome) => return Decision::without_backend(outcome),
    };
    let Some(socket) = caller.socket_or_new() else { return Decision::proceed(Outcome::SocketFull) };
    let latest = socket.latest;
    let (cookie, now_s) = (caller.cookie(), caller.now_s());
    let key = SocketFlowKey::new(cookie, to, false);
    let stale = maps.socket_flow(&key).map(|stale| (stale.becomes, stale.previous));
    let previous = stale.map_or(latest, |(_, previous)| previous);
    if let Some((heard, _)) = &stale {
        maps.forget_socket_flow(&SocketFlowKey::new(cookie, heard, true));
    }
    let flow = new_flow::<F>(id, &backend, previous, now_s);
    if !hear::<F, M>(cookie, to, &flow, maps) {
        return Decision::proceed(Outcome::SocketFull);
    }
    if !maps.remember_socket_flow(&key, &flow) {
        maps.forget_socket_flow(&SocketFlowKey::new(cookie, &flow.becomes, true));
        return Decision::proceed(Outcome::SocketFull);
    }
    if stale.is_none()
        && let Some(socket) = caller.socket()
    {
        socket.latest = *to;
    }
    *to = flow.becomes;
    maps.account_socket(flow.service);
    Decision::proceed(Outcome::SocketTranslated)
}

/// The flow of a destination, and when it was used before now.
#[inline(always)]
fn look_up<F: Family, M: SocketMaps<F>>(
    key: &SocketFlowKey<F::Address>,
    now_s: u32,
    maps: &mut M,
) -> Option<(SocketFlow<F::Address>, u32)> {
    let entry = maps.socket_flow(key)?;
    let used_s = entry.last_used_s;
    if used_s != now_s {
        entry.last_used_s = now_s;
    }
    Some((*entry, used_s))
}

/// Whether the backend has the generation that the flow was made with; and, when a new second began, whether the address is
/// still that of the same Service.
#[inline(always)]
fn is_valid<F: Family, M: SocketMaps<F>>(
    flow: &SocketFlow<F::Address>,
    new_second: bool,
    frontend: &FrontendKey<F::Address>,
    maps: &mut M,
) -> bool {
    maps.backend(flow.backend)
        .is_some_and(|backend| backend.generation == flow.generation && backend.service == flow.service)
        && (!new_second || maps.frontend(frontend).is_some_and(|found| found.service == flow.service))
}

#[inline(always)]
fn new_flow<F: Family>(
    id: u32,
    backend: &Backend<F::Address>,
    previous: Destination<F::Address>,
    now_s: u32,
) -> SocketFlow<F::Address> {
    SocketFlow {
        becomes: Destination::new(backend.address, backend.port),
        previous,
        backend: id,
        generation: backend.generation,
        service: backend.service,
        last_used_s: now_s,
    }
}

/// Notes that what comes from the backend of `flow` is to be heard as from `to`; answers whether there was room.
#[inline(always)]
fn hear<F: Family, M: SocketMaps<F>>(
    cookie: u64,
    to: &Destination<F::Address>,
    flow: &SocketFlow<F::Address>,
    maps: &mut M,
) -> bool {
    let key = SocketFlowKey::new(cookie, &flow.becomes, true);
    if let Some(heard) = maps.socket_flow(&key)
        && heard.becomes == *to
    {
        if heard.last_used_s != flow.last_used_s {
            heard.last_used_s = flow.last_used_s;
        }
        return true;
    }
    // Whole, for another thread may be reading it.
    let heard = SocketFlow { becomes: *to, previous: Destination::NONE, ..*flow };
    maps.remember_socket_flow(&key, &heard)
}

/// Puts the address of the Service in place of the backend that a datagram came from.
#[inline(always)]
pub fn received<F, M, C>(from: &mut Destination<F::Address>, maps: &mut M, caller: &mut C)
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let Some(socket) = caller.socket() else { return };
    let service = Destination::new(socket.service_address, socket.service_port);
    let (connected, sends) = (believes(socket, from), socket.latest != Destination::NONE);
    if connected && caller.is_connected() {
        *from = service;
        return;
    }
    if !sends {
        return;
    }
    let (cookie, now_s) = (caller.cookie(), caller.now_s());
    if let Some(heard) = maps.socket_flow(&SocketFlowKey::new(cookie, from, true)) {
        if heard.last_used_s != now_s {
            heard.last_used_s = now_s;
        }
        *from = heard.becomes;
    }
}

/// Forgets the flows of a socket that is closed.
#[inline(always)]
pub fn release<F, M, C>(maps: &mut M, caller: &mut C)
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let Some(socket) = caller.socket() else { return };
    let mut latest = socket.latest;
    if latest == Destination::NONE {
        return;
    }
    socket.latest = Destination::NONE;
    let cookie = caller.cookie();
    for _ in 0..RELEASED_MAX {
        let key = SocketFlowKey::new(cookie, &latest, false);
        let Some(flow) = maps.socket_flow(&key) else { return };
        let (becomes, previous) = (flow.becomes, flow.previous);
        maps.forget_socket_flow(&SocketFlowKey::new(cookie, &becomes, true));
        maps.forget_socket_flow(&key);
        if previous == Destination::NONE {
            return;
        }
        latest = previous;
    }
}
