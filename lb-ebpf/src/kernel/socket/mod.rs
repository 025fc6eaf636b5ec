//! Edge files: the engine of sockets at its hooks.
//!
//! Unlike the programs for packets these run in the process that makes the call, which may be put aside for another one in
//! the middle: what they work on is on the stack, and what they count is added in one step.

mod address;
mod caller;
pub(crate) mod maps;

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_set_retval;
use aya_ebpf::programs::{SockAddrContext, SockContext};
use lb_common::{Destination, Hook, Outcome, protocol};
use lb_ebpf::socket::{self, Decision};
use lb_ebpf::{V4, V6};

use address::{Asked, asked, put_mapped, put4, put6};
use caller::{Call, Closed};

use crate::kernel::maps::Tables;
use crate::kernel::observe::{CallKind, report_call};
use maps::count_call;

/// Whether the kernel lets these programs choose the error that a call fails with (Linux 6.1).
#[unsafe(no_mangle)]
static WEIR_SET_RETVAL: Global<u8> = Global::new(1);

/// The call goes on.
const PROCEED: i32 = 1;
/// The call fails: with `EPERM`, or what was said by `bpf_set_retval`.
const FAIL: i32 = 0;

/// `IPPROTO_MPTCP` of `linux/in.h`: TCP by several paths, and TCP for whoever has a port.
const MPTCP: u32 = 262;

/// The protocol of the socket, if it is one of those that are balanced here.
#[inline(always)]
fn balanced(ctx: &SockAddrContext) -> Option<u8> {
    const TCP: u32 = protocol::TCP as u32;
    const UDP: u32 = protocol::UDP as u32;
    // SAFETY: the kernel gives a valid context, and every program may read this field.
    match unsafe { (*ctx.sock_addr).protocol } {
        TCP | MPTCP => Some(protocol::TCP),
        UDP => Some(protocol::UDP),
        _ => None,
    }
}

/// Counts the call, and answers the kernel.
#[inline(always)]
fn answer(decision: Decision) -> i32 {
    count_call(decision.outcome);
    if decision.errno == 0 {
        return PROCEED;
    }
    if decision.errno != Decision::EPERM && WEIR_SET_RETVAL.load() != 0 {
        // SAFETY: the helper takes a number.
        unsafe { bpf_set_retval(-decision.errno) };
    }
    FAIL
}

macro_rules! calls {
    ($family:ty, $address:ty, $version:literal, $connect:ident, $send:ident, $bind:ident, $received:ident, $name:ident) => {
        #[inline(always)]
        fn $connect(ctx: &SockAddrContext, to: &mut Destination<$address>, protocol: u8) -> Decision {
            let asked = *to;
            let decision = socket::connect::<$family, _, _>(to, protocol, &mut Tables, &mut Call(ctx));
            let call = CallKind { hook: Hook::CONNECT, ip_version: $version, protocol };
            report_call::<$family>(call, &asked, to, decision);
            decision
        }

        #[inline(always)]
        fn $send(ctx: &SockAddrContext, to: &mut Destination<$address>) -> Decision {
            let asked = *to;
            let decision = socket::send::<$family, _, _>(to, &mut Tables, &mut Call(ctx));
            let call = CallKind { hook: Hook::SEND, ip_version: $version, protocol: protocol::UDP };
            report_call::<$family>(call, &asked, to, decision);
            decision
        }

        #[inline(always)]
        fn $bind(ctx: &SockAddrContext, at: &Destination<$address>, protocol: u8) -> Decision {
            let decision = socket::bind::<$family, _, _>(at, protocol, &mut Tables, &mut Call(ctx));
            if decision.outcome == Outcome::NodePortTaken {
                let call = CallKind { hook: Hook::BIND, ip_version: $version, protocol };
                report_call::<$family>(call, at, at, decision);
            }
            decision
        }

        #[inline(always)]
        fn $received(ctx: &SockAddrContext, from: &mut Destination<$address>) {
            socket::received::<$family, _, _>(from, &mut Tables, &mut Call(ctx));
        }

        #[inline(always)]
        fn $name(ctx: &SockAddrContext, peer: &mut Destination<$address>) {
            socket::peer_name::<$family, _>(peer, &mut Call(ctx));
        }
    };
}

calls!(V4, [u8; 4], 4, connect_v4, send_v4, bind_v4, received_v4, name_v4);
calls!(V6, [u8; 16], 6, connect_v6, send_v6, bind_v6, received_v6, name_v6);

/// connect(2) with an IPv4 address.
#[inline(always)]
pub(crate) fn connect4(ctx: &SockAddrContext) -> i32 {
    let Some(protocol) = balanced(ctx) else { return PROCEED };
    let mut to = address::asked4(ctx);
    let decision = connect_v4(ctx, &mut to, protocol);
    if decision.outcome == Outcome::SocketTranslated {
        put4(ctx, &to);
    }
    answer(decision)
}

/// connect(2) with an IPv6 address, or an IPv4 address mapped into one (RFC 4291 section 2.5.5.2).
#[inline(always)]
pub(crate) fn connect6(ctx: &SockAddrContext) -> i32 {
    let Some(protocol) = balanced(ctx) else { return PROCEED };
    match asked(ctx) {
        Asked::Mapped(mut to) => {
            let decision = connect_v4(ctx, &mut to, protocol);
            if decision.outcome == Outcome::SocketTranslated {
                put_mapped(ctx, &to);
            }
            answer(decision)
        }
        Asked::V6(mut to) => {
            let decision = connect_v6(ctx, &mut to, protocol);
            if decision.outcome == Outcome::SocketTranslated {
                put6(ctx, &to);
            }
            answer(decision)
        }
    }
}

/// sendto(2) with an IPv4 address; mapped ones come here too.
#[inline(always)]
pub(crate) fn send4(ctx: &SockAddrContext) -> i32 {
    let Some(protocol::UDP) = balanced(ctx) else { return PROCEED };
    let mut to = address::asked4(ctx);
    let decision = send_v4(ctx, &mut to);
    if decision.outcome == Outcome::SocketTranslated {
        put4(ctx, &to);
    }
    answer(decision)
}

/// sendto(2) with an IPv6 address.
#[inline(always)]
pub(crate) fn send6(ctx: &SockAddrContext) -> i32 {
    let Some(protocol::UDP) = balanced(ctx) else { return PROCEED };
    let Asked::V6(mut to) = asked(ctx) else { return PROCEED };
    let decision = send_v6(ctx, &mut to);
    if decision.outcome == Outcome::SocketTranslated {
        put6(ctx, &to);
    }
    answer(decision)
}

/// bind(2) with an IPv4 address.
#[inline(always)]
pub(crate) fn bind4(ctx: &SockAddrContext) -> i32 {
    let Some(protocol) = balanced(ctx) else { return PROCEED };
    answer(bind_v4(ctx, &address::asked4(ctx), protocol))
}

/// bind(2) with an IPv6 address. The unspecified one takes the port of IPv4 too, unless the socket is for IPv6 only, which
/// this program cannot see.
#[inline(always)]
pub(crate) fn bind6(ctx: &SockAddrContext) -> i32 {
    let Some(protocol) = balanced(ctx) else { return PROCEED };
    match asked(ctx) {
        Asked::Mapped(at) => answer(bind_v4(ctx, &at, protocol)),
        Asked::V6(at) => {
            let decision = bind_v6(ctx, &at, protocol);
            if decision.outcome == Outcome::NotOurs && at.address == [0; 16] {
                return answer(bind_v4(ctx, &Destination::new([0; 4], at.port), protocol));
            }
            answer(decision)
        }
    }
}

/// recvfrom(2): the source as the kernel would tell it. Not called when nobody asks for it.
#[inline(always)]
pub(crate) fn received4(ctx: &SockAddrContext) -> i32 {
    let heard = address::asked4(ctx);
    let mut from = heard;
    received_v4(ctx, &mut from);
    if from != heard {
        put4(ctx, &from);
    }
    PROCEED
}

/// As `received4`; sockets of IPv6 see mapped addresses here.
#[inline(always)]
pub(crate) fn received6(ctx: &SockAddrContext) -> i32 {
    match asked(ctx) {
        Asked::Mapped(heard) => {
            let mut from = heard;
            received_v4(ctx, &mut from);
            if from != heard {
                put_mapped(ctx, &from);
            }
        }
        Asked::V6(heard) => {
            let mut from = heard;
            received_v6(ctx, &mut from);
            if from != heard {
                put6(ctx, &from);
            }
        }
    }
    PROCEED
}

/// getpeername(2) of a socket of IPv4.
#[inline(always)]
pub(crate) fn name4(ctx: &SockAddrContext) -> i32 {
    let actual = address::asked4(ctx);
    let mut peer = actual;
    name_v4(ctx, &mut peer);
    if peer != actual {
        put4(ctx, &peer);
    }
    PROCEED
}

/// getpeername(2) of a socket of IPv6.
#[inline(always)]
pub(crate) fn name6(ctx: &SockAddrContext) -> i32 {
    match asked(ctx) {
        Asked::Mapped(actual) => {
            let mut peer = actual;
            name_v4(ctx, &mut peer);
            if peer != actual {
                put_mapped(ctx, &peer);
            }
        }
        Asked::V6(actual) => {
            let mut peer = actual;
            name_v6(ctx, &mut peer);
            if peer != actual {
                put6(ctx, &peer);
            }
        }
    }
    PROCEED
}

/// The socket is closed.
#[inline(always)]
pub(crate) fn release(ctx: &SockContext) -> i32 {
    socket::release::<V4, _, _>(&mut Tables, &mut Closed(ctx));
    socket::release::<V6, _, _>(&mut Tables, &mut Closed(ctx));
    PROCEED
}
