//! Edge file: addresses in the context of a call. Words of addresses are in network order, as in memory everywhere.

use aya_ebpf::programs::SockAddrContext;
use lb_common::{Address as _, Destination};

/// What stands before an IPv4 address that is mapped into IPv6: `::ffff:0:0/96`.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// An IPv6 address of a call.
pub(super) enum Asked {
    /// An IPv4 address mapped into it.
    Mapped(Destination<[u8; 4]>),
    /// A real one.
    V6(Destination<[u8; 16]>),
}

#[inline(always)]
fn port(ctx: &SockAddrContext) -> [u8; 2] {
    // SAFETY: the kernel gives a valid context, of which the fields of the address may be read by every program.
    let [first, second, ..] = unsafe { (*ctx.sock_addr).user_port }.to_ne_bytes();
    [first, second]
}

/// The IPv4 address and port.
#[inline(always)]
pub(super) fn asked4(ctx: &SockAddrContext) -> Destination<[u8; 4]> {
    // SAFETY: as in `port`.
    Destination::new(unsafe { (*ctx.sock_addr).user_ip4 }.to_ne_bytes(), port(ctx))
}

/// The IPv6 address and port.
#[inline(always)]
pub(super) fn asked(ctx: &SockAddrContext) -> Asked {
    let port = port(ctx);
    // SAFETY: as in `port`; by words, as the kernel lets programs read them.
    let words = unsafe {
        let from = &raw const (*ctx.sock_addr).user_ip6;
        let word = |index: usize| from.cast::<u32>().add(index).read_volatile();
        [word(0), word(1), word(2), word(3)]
    };
    let [first, second, third, fourth] = words;
    if first == 0 && second == 0 && third == MAPPED {
        return Asked::Mapped(Destination::new(fourth.to_ne_bytes(), port));
    }
    let mut address = [0; 16];
    for (to, from) in address.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *to = from.to_ne_bytes();
    }
    Asked::V6(Destination::new(address, port))
}

#[inline(always)]
fn put_port(ctx: &SockAddrContext, port: [u8; 2]) {
    let [first, second] = port;
    // SAFETY: the kernel gives a valid context, of which the programs that call this may write the address.
    unsafe { (*ctx.sock_addr).user_port = u32::from_ne_bytes([first, second, 0, 0]) };
}

/// Sets the IPv4 address and port.
#[inline(always)]
pub(super) fn put4(ctx: &SockAddrContext, to: &Destination<[u8; 4]>) {
    // SAFETY: as in `put_port`.
    unsafe { (*ctx.sock_addr).user_ip4 = to.address.word(0) };
    put_port(ctx, to.port);
}

/// Sets the IPv4 address that is mapped into IPv6, and the port.
#[inline(always)]
pub(super) fn put_mapped(ctx: &SockAddrContext, to: &Destination<[u8; 4]>) {
    put_word(ctx, 3, to.address.word(0));
    put_port(ctx, to.port);
}

/// Sets the IPv6 address and port.
#[inline(always)]
pub(super) fn put6(ctx: &SockAddrContext, to: &Destination<[u8; 16]>) {
    for index in 0..4 {
        put_word(ctx, index, to.address.word(index));
    }
    put_port(ctx, to.port);
}

#[inline(always)]
fn put_word(ctx: &SockAddrContext, index: usize, word: u32) {
    // SAFETY: as in `put_port`; the index is below four. Volatile, so that words are not written in pairs.
    unsafe { (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>().add(index).write_volatile(word) };
}
