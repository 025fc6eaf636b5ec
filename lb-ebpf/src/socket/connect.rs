//! connect(2): once for a connection, of TCP or UDP.

use lb_common::{Destination, Outcome, protocol};

use super::choose::choose;
use super::names::believes;
use super::{Caller, Decision, SocketMaps, frontend_key};
use crate::Family;

/// Gives the socket a backend in place of the Service at `to`, and notes for it what the application asked for.
#[inline(always)]
pub fn connect<F, M, C>(
    to: &mut Destination<F::Address>,
    protocol: u8,
    maps: &mut M,
    caller: &mut C,
) -> Decision
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let decision = translate::<F, M, C>(to, protocol, maps, caller);
    // A UDP socket may go elsewhere. Then what it believed fits no more, unless it goes to that very backend; and a call
    // that fails, here or later in the kernel, leaves it connected as it was.
    if decision.errno == 0
        && decision.outcome != Outcome::SocketTranslated
        && let Some(socket) = caller.socket()
        && believes(socket, to)
    {
        socket.service = 0;
    }
    decision
}

#[inline(always)]
fn translate<F, M, C>(
    to: &mut Destination<F::Address>,
    protocol: u8,
    maps: &mut M,
    caller: &mut C,
) -> Decision
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let Some(settings) = maps.settings() else { return Decision::proceed(Outcome::NotOurs) };
    let Some(key) = frontend_key::<F, M, C>(to, protocol, &settings, maps, caller) else {
        return Decision::proceed(Outcome::NotOurs);
    };
    if caller.is_excluded(&settings) {
        return Decision::proceed(Outcome::SocketExcluded);
    }
    let (id, backend) = match choose::<F, M, C>(&key, &settings, maps, caller) {
        Ok(chosen) => chosen,
        // Resolvers connect a UDP socket to any port, only to learn which source address the kernel would take (RFC 6724).
        Err(Outcome::UnusedPort) if protocol == protocol::UDP => {
            return Decision::proceed(Outcome::UnusedPort);
        }
        Err(outcome) => return Decision::without_backend(outcome),
    };
    let Some(socket) = caller.socket_or_new() else { return Decision::proceed(Outcome::SocketFull) };
    socket.service_address = to.address;
    socket.service_port = to.port;
    socket.backend_address = backend.address;
    socket.backend_port = backend.port;
    socket.backend = id;
    socket.generation = backend.generation;
    socket.service = backend.service;
    to.address = backend.address;
    to.port = backend.port;
    maps.account_socket(backend.service);
    Decision::proceed(Outcome::SocketTranslated)
}
