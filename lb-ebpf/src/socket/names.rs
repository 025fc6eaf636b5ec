//! getpeername(2): the application sees what it asked for.

use lb_common::{Address, Destination, Socket};

use super::Kept;
use crate::Family;

/// Puts the address of the Service in place of the backend that the socket is connected to.
#[inline(always)]
pub fn peer_name<F: Family, K: Kept<F>>(peer: &mut Destination<F::Address>, kept: &mut K) {
    if let Some(socket) = kept.socket()
        && believes(socket, peer)
    {
        peer.address = socket.service_address;
        peer.port = socket.service_port;
    }
}

/// Whether this is the backend that the socket was connected to for a Service.
#[inline(always)]
pub(super) fn believes<A: Address>(socket: &Socket<A>, peer: &Destination<A>) -> bool {
    socket.service != 0 && socket.backend_address == peer.address && socket.backend_port == peer.port
}
