//! The engine of sockets: what an application asks for in, what its socket does out.
//!
//! The modules follow the calls: [`connect()`] and [`send()`] give a socket a backend, by [`choose`] as packets get theirs;
//! [`peer_name`] and [`received`] give the application the address that it asked for; [`release`] forgets; [`bind()`] keeps
//! local servers off NodePorts. What differs between the kernel and the host is behind [`SocketMaps`], [`Kept`]
//! and [`Caller`].

mod bind;
mod choose;
mod connect;
mod datagram;
mod names;

pub use bind::bind;
pub use connect::connect;
pub use datagram::{SOCKET_DESTINATIONS_MAX, SOCKET_FLOW_IDLE_S, received, release, send};
pub use names::peer_name;

use lb_common::{
    Address as _, Affinity, Destination, FlowKey, FrontendKey, Outcome, PodAffinityKey, Settings, Socket,
    SocketFlow, SocketFlowKey,
};

use crate::{Family, Maps};

/// Verbs on the maps that sockets alone use, beside those of [`Maps`].
pub trait SocketMaps<F: Family>: Maps<F> {
    /// The backend that a pod, or the node, got last time. The entry may be changed in place.
    fn pod_affinity(&mut self, key: &PodAffinityKey) -> Option<&mut Affinity>;

    /// Writes an entry. When there is no room for it the next call selects anew.
    fn remember_pod_affinity(&mut self, key: &PodAffinityKey, affinity: &Affinity);

    /// What a destination, or a source, of a UDP socket becomes. The entry may be changed in place.
    fn socket_flow(&mut self, key: &SocketFlowKey<F::Address>) -> Option<&mut SocketFlow<F::Address>>;

    /// Writes an entry whole; answers whether there was room for it.
    fn remember_socket_flow(
        &mut self,
        key: &SocketFlowKey<F::Address>,
        flow: &SocketFlow<F::Address>,
    ) -> bool;

    /// Deletes an entry, if it is there.
    fn forget_socket_flow(&mut self, key: &SocketFlowKey<F::Address>);

    /// Adds a flow that begins to the figures of a service. Not [`Maps::account_new`]: a process may be interrupted in the
    /// middle of it.
    fn account_socket(&mut self, service: u32);
}

/// A socket, and what is kept with it.
pub trait Kept<F: Family> {
    /// Number of the socket, never given out again (`SO_COOKIE`).
    fn cookie(&mut self) -> u64;

    /// What it believes, if anything was ever kept. May be changed in place.
    fn socket(&mut self) -> Option<&mut Socket<F::Address>>;
}

/// The socket that a call is made on, and the process that makes it.
pub trait Caller<F: Family>: Kept<F> {
    /// Whether the call is to be left alone, by the socket's mark or the process's control group.
    fn is_excluded(&mut self, settings: &Settings) -> bool;

    /// A random number.
    fn random(&mut self) -> u32;

    /// Number of its network namespace (`SO_NETNS_COOKIE`).
    fn netns_cookie(&mut self) -> u64;

    /// The address that it is bound to; unspecified if to none.
    fn source(&mut self) -> F::Address;

    /// Whether it is connected.
    fn is_connected(&mut self) -> bool;

    /// Seconds since boot (`CLOCK_MONOTONIC`).
    fn now_s(&mut self) -> u32;

    /// What it believes, made if nothing was kept; `None` when there is no memory for it.
    fn socket_or_new(&mut self) -> Option<&mut Socket<F::Address>>;
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub outcome: Outcome,
    /// The error that the call fails with; zero when it goes on.
    pub errno: i32,
}

impl Decision {
    /// `EPERM`, which the kernel gives where a program can give no other.
    pub const EPERM: i32 = 1;
    /// `EADDRINUSE`.
    pub const EADDRINUSE: i32 = 98;
    /// `ECONNREFUSED`.
    pub const ECONNREFUSED: i32 = 111;

    /// The call goes on.
    #[inline(always)]
    pub(crate) const fn proceed(outcome: Outcome) -> Self {
        Self { outcome, errno: 0 }
    }

    /// The call fails.
    #[inline(always)]
    pub(crate) const fn fail(outcome: Outcome, errno: i32) -> Self {
        Self { outcome, errno }
    }

    /// What becomes of a call for which no backend was chosen. Where packets would be rejected the application is told at
    /// once, and also where they would be dropped because the endpoints are on other nodes: a client on this node has no
    /// other way to them. `EPERM` is what a packet filter answers.
    #[inline(always)]
    const fn without_backend(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotOurs | Outcome::SourceUnknown => Self::proceed(outcome),
            Outcome::SourceRefused => Self::fail(outcome, Self::EPERM),
            _ => Self::fail(outcome, Self::ECONNREFUSED),
        }
    }
}

/// Whether the call is made on the node itself, and not in a pod.
#[inline(always)]
fn is_node<F: Family, C: Caller<F>>(caller: &mut C, settings: &Settings) -> bool {
    caller.netns_cookie() == settings.netns_cookie
}

/// What the destination of a call is looked up by; `None` where it certainly is for no Service.
///
/// Loopback, which the unspecified address also means (RFC 1122 section 3.2.1.3), stands for the node itself, but only to
/// the node, and where it is to serve NodePorts.
#[inline(always)]
fn frontend_key<F, M, C>(
    to: &Destination<F::Address>,
    protocol: u8,
    settings: &Settings,
    maps: &mut M,
    caller: &mut C,
) -> Option<FrontendKey<F::Address>>
where
    F: Family,
    M: Maps<F>,
    C: Caller<F>,
{
    let unspecified = <F::Address as lb_common::Address>::UNSPECIFIED;
    let loopback = to.address.is_loopback() || to.address == unspecified;
    if loopback && (settings.flags & F::LOOPBACK == 0 || !is_node::<F, C>(caller, settings)) {
        return None;
    }
    let address = if loopback { unspecified } else { to.address };
    let mut key = FlowKey::EMPTY;
    key.destination = address;
    key.destination_port = to.port;
    key.protocol = protocol;
    maps.may_concern(&key).then_some(FrontendKey { address, port: to.port, protocol, pad: 0 })
}
