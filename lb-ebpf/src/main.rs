//! The kernel edge: maps, contexts and programs around the packet engine.
//!
//! A program does one thing: it maps the engine's verdict to the action of its hook.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, missing_docs, reason = "the program macros repeat what the loader must see")]
#![expect(
    clippy::needless_pass_by_value,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "the program macros decide how a context is passed"
)]

mod kernel;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, classifier, xdp};
use aya_ebpf::programs::{SockAddrContext, SockContext, TcContext, XdpContext};
use lb_common::Hook;
use lb_ebpf::{Action, egress, ingress};

use kernel::maps::{Tables, count, scratch};
use kernel::observe::{after, before, settle};
use kernel::socket;
use kernel::sweep::sweep;
use kernel::tc::{TcHost, TcPacket, drop_priority_tag, ifindex, is_tagged};
use kernel::xdp::{XdpHost, XdpPacket, redirect};

/// Packets that arrive at a device of the node, before the stack.
#[xdp(frags)]
pub fn weir_xdp(ctx: XdpContext) -> u32 {
    let Some(scratch) = scratch(Hook::XDP) else { return xdp_action::XDP_ABORTED };
    let mut packet = XdpPacket(&ctx);
    before(&mut packet, scratch);
    let mut host = XdpHost::new(&ctx);
    let verdict = ingress(&mut packet, &mut Tables, &mut host, scratch);
    let verdict = settle(scratch, verdict);
    count(verdict);
    after(&ctx, &mut packet, scratch, verdict, Hook::XDP, host.ingress);
    match verdict.action() {
        // Only a hook that resolves neighbours answers `Resolve`; the stack would be the place for it.
        Action::Pass | Action::Resolve => xdp_action::XDP_PASS,
        // The engine has made an answer, or a drop, of what it rejects.
        Action::Drop | Action::Reject => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
        Action::Redirect => redirect(verdict.ifindex()),
    }
}

/// Packets that arrive at a device of the node and that the program before left to the stack.
#[classifier]
pub fn weir_tc_ingress(ctx: TcContext) -> i32 {
    tc_ingress::<false>(&ctx, Hook::TC_INGRESS)
}

/// Packets that come from a workload of this node.
#[classifier]
pub fn weir_tc_workload(ctx: TcContext) -> i32 {
    tc_ingress::<true>(&ctx, Hook::TC_WORKLOAD)
}

#[inline(always)]
fn tc_ingress<const WORKLOAD: bool>(ctx: &TcContext, hook: u8) -> i32 {
    // The device of the tag sees the packet next, and what it sends on has no tag that it should not have.
    if is_tagged(ctx) {
        return TC_ACT_UNSPEC;
    }
    drop_priority_tag(ctx);
    let Some(scratch) = scratch(hook) else { return TC_ACT_SHOT };
    let mut packet = TcPacket::new(ctx, &mut scratch.aside);
    before(&mut packet, scratch);
    let verdict = ingress(&mut packet, &mut Tables, &mut TcHost::<WORKLOAD>(ctx), scratch);
    let verdict = settle(scratch, verdict);
    count(verdict);
    after(ctx, &mut packet, scratch, verdict, hook, ifindex(ctx));
    match verdict.action() {
        Action::Pass => TC_ACT_UNSPEC,
        Action::Drop | Action::Reject => TC_ACT_SHOT,
        // This hook's routes are never `Neighbour`: what it sends back is an answer.
        Action::Transmit => packet.send_back(),
        Action::Redirect | Action::Resolve => packet.redirect_neighbour(verdict.ifindex()),
    }
}

/// Packets that leave by a device of the node, or towards a workload: replies to clients that kept their address are
/// among them.
#[classifier]
pub fn weir_tc_egress(ctx: TcContext) -> i32 {
    let Some(scratch) = scratch(Hook::TC_EGRESS) else { return TC_ACT_SHOT };
    let mut packet = TcPacket::new(&ctx, &mut scratch.aside);
    before(&mut packet, scratch);
    let verdict = egress(&mut packet, &mut Tables, &mut TcHost::<false>(&ctx), scratch);
    let verdict = settle(scratch, verdict);
    count(verdict);
    after(&ctx, &mut packet, scratch, verdict, Hook::TC_EGRESS, ifindex(&ctx));
    match verdict.action() {
        Action::Pass => TC_ACT_UNSPEC,
        // Egress only translates.
        Action::Drop | Action::Transmit | Action::Redirect | Action::Resolve | Action::Reject => TC_ACT_SHOT,
    }
}

/// An application connects a socket to an IPv4 address.
#[cgroup_sock_addr(connect4)]
pub fn weir_connect4(ctx: SockAddrContext) -> i32 {
    socket::connect4(&ctx)
}

/// The same with an IPv6 address.
#[cgroup_sock_addr(connect6)]
pub fn weir_connect6(ctx: SockAddrContext) -> i32 {
    socket::connect6(&ctx)
}

/// An application sends a datagram to an IPv4 address that it names.
#[cgroup_sock_addr(sendmsg4)]
pub fn weir_sendmsg4(ctx: SockAddrContext) -> i32 {
    socket::send4(&ctx)
}

/// The same with an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
pub fn weir_sendmsg6(ctx: SockAddrContext) -> i32 {
    socket::send6(&ctx)
}

/// An application has received a datagram and wants to know from where.
#[cgroup_sock_addr(recvmsg4)]
pub fn weir_recvmsg4(ctx: SockAddrContext) -> i32 {
    socket::received4(&ctx)
}

/// The same by a socket of IPv6.
#[cgroup_sock_addr(recvmsg6)]
pub fn weir_recvmsg6(ctx: SockAddrContext) -> i32 {
    socket::received6(&ctx)
}

/// An application wants to know what its socket is connected to.
#[cgroup_sock_addr(getpeername4)]
pub fn weir_getpeername4(ctx: SockAddrContext) -> i32 {
    socket::name4(&ctx)
}

/// The same of a socket of IPv6.
#[cgroup_sock_addr(getpeername6)]
pub fn weir_getpeername6(ctx: SockAddrContext) -> i32 {
    socket::name6(&ctx)
}

/// An application binds a socket to an IPv4 address.
#[cgroup_sock_addr(bind4)]
pub fn weir_bind4(ctx: SockAddrContext) -> i32 {
    socket::bind4(&ctx)
}

/// The same with an IPv6 address.
#[cgroup_sock_addr(bind6)]
pub fn weir_bind6(ctx: SockAddrContext) -> i32 {
    socket::bind6(&ctx)
}

/// A socket is closed.
#[cgroup_sock(sock_release)]
pub fn weir_release(ctx: SockContext) -> i32 {
    socket::release(&ctx)
}

/// Deletes expired entries of which the agent tells, and says how many; attached nowhere, run by `BPF_PROG_TEST_RUN`.
#[classifier]
pub fn weir_sweep(ctx: TcContext) -> i32 {
    sweep(&ctx)
}

/// The licence that lets the kernel give these programs its GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A panic that survived optimisation is an endless loop, which the verifier refuses to load.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
