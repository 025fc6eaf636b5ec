//! sendto(2) and recvfrom(2) on UDP sockets that are not connected: each destination is a flow of its own.
//!
//! A flow has an entry for what is sent and one for what is heard. As for packets, it stays with its backend as long as
//! that has the generation that the flow was made with. The entries of a socket are a list, from the latest on, by which
//! they are found when it is closed.

use lb_common::{Backend, Destination, FrontendKey, Outcome, SocketFlow, SocketFlowKey, protocol};

use super::choose::choose;
use super::names::believes;
use super::{Caller, Decision, Kept, SocketMaps, frontend_key};
use crate::Family;

/// Silence after which an entry is over, in seconds. It is long: who waits for a datagram need not send any.
pub const SOCKET_FLOW_IDLE_S: u32 = 3_600;

/// Most destinations of a socket. With one more it forgets all and begins anew: so what a closed socket leaves has a bound.
pub const SOCKET_DESTINATIONS_MAX: u32 = 256;

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
    if names_its_peer::<F, C>(to, caller) || resume::<F, M, C>(to, &frontend, maps, caller) {
        return Decision::proceed(Outcome::SocketTranslated);
    }
    if caller.socket().is_some_and(|socket| socket.flows >= SOCKET_DESTINATIONS_MAX) {
        release::<F, M, C>(maps, caller);
    }
    begin::<F, M, C>(to, &frontend, maps, caller)
}

/// Whether a connected socket names the Service that it is connected to: the datagram then goes to its backend, since the
/// kernel lets it hear from no other.
#[inline(always)]
fn names_its_peer<F: Family, C: Caller<F>>(to: &mut Destination<F::Address>, caller: &mut C) -> bool {
    if !caller.is_connected() {
        return false;
    }
    let Some(socket) = caller.socket() else { return false };
    if socket.service == 0 || socket.service_address != to.address || socket.service_port != to.port {
        return false;
    }
    *to = Destination::new(socket.backend_address, socket.backend_port);
    true
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
    // What was swept meanwhile may still be the head: an entry must not follow itself.
    let latest = if socket.latest == *to { Destination::NONE } else { socket.latest };
    let (cookie, now_s) = (caller.cookie(), caller.now_s());
    let key = SocketFlowKey::new(cookie, to, false);
    let stale = maps.socket_flow(&key).map(|stale| (stale.becomes, stale.previous));
    let previous = stale.map_or(latest, |(_, previous)| previous);
    if let Some((from, _)) = &stale {
        forget_heard::<F, M>(cookie, from, to, maps);
    }
    let flow = new_flow::<F>(id, &backend, previous, now_s);
    if !hear::<F, M>(cookie, to, &flow, maps) {
        return Decision::proceed(Outcome::SocketFull);
    }
    if !maps.remember_socket_flow(&key, &flow) {
        forget_heard::<F, M>(cookie, &flow.becomes, to, maps);
        return Decision::proceed(Outcome::SocketFull);
    }
    if stale.is_none()
        && let Some(socket) = caller.socket()
    {
        socket.latest = *to;
        socket.flows += 1;
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

/// Forgets that what comes from `from` is to be heard as from `to`; as from another it still may be.
#[inline(always)]
fn forget_heard<F: Family, M: SocketMaps<F>>(
    cookie: u64,
    from: &Destination<F::Address>,
    to: &Destination<F::Address>,
    maps: &mut M,
) {
    let key = SocketFlowKey::new(cookie, from, true);
    if maps.socket_flow(&key).is_some_and(|heard| heard.becomes == *to) {
        maps.forget_socket_flow(&key);
    }
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
    let Some(heard) = maps.socket_flow(&SocketFlowKey::new(cookie, from, true)) else { return };
    let (becomes, used_s) = (heard.becomes, heard.last_used_s);
    *from = becomes;
    if used_s == now_s {
        return;
    }
    heard.last_used_s = now_s;
    // Who only listens keeps the flow too.
    if let Some(sent) = maps.socket_flow(&SocketFlowKey::new(cookie, &becomes, false)) {
        sent.last_used_s = now_s;
    }
}

/// Forgets the flows of a socket. Not inlined, for its stack.
#[inline(never)]
pub fn release<F, M, K>(maps: &mut M, kept: &mut K)
where
    F: Family,
    M: SocketMaps<F>,
    K: Kept<F>,
{
    let Some(socket) = kept.socket() else { return };
    let mut latest = socket.latest;
    if latest == Destination::NONE {
        return;
    }
    socket.latest = Destination::NONE;
    socket.flows = 0;
    let cookie = kept.cookie();
    for _ in 0..SOCKET_DESTINATIONS_MAX {
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
