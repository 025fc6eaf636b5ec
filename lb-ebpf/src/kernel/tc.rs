//! Edge file: packets and host as tc programs see them.

use core::arch::asm;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, bpf_hdr_start_off::BPF_HDR_START_NET,
};
use aya_ebpf::helpers::{
    bpf_csum_update, bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head, bpf_skb_change_tail,
    bpf_skb_load_bytes_relative, bpf_skb_vlan_pop,
};
use aya_ebpf::programs::TcContext;
use lb_ebpf::headers::{ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use lb_ebpf::{AnswerKind, Host, L4Update, Packet, Route, RouteQuery};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::kernel::clock::{now_s, tick};
use crate::kernel::fib::{Fib, route};
use crate::kernel::maps::may_answer;

/// `PACKET_HOST` of `linux/if_packet.h`: addressed to this machine.
const PACKET_HOST: u32 = 0;
/// `PACKET_OTHERHOST`: addressed to another.
const PACKET_OTHERHOST: u32 = 3;

/// Longest run of headers that the engine reads: Ethernet, an IPv4 header with options, TCP.
const HEADERS: u32 = 14 + 60 + 20;

/// A packet in the stack.
///
/// Some packets have no Ethernet header where the program may look: those of devices without one, and those that
/// generic XDP copied and passed up (Linux 6.9 and later forget the length of the header with the copy). The engine
/// is then shown one that only names the protocol.
pub(crate) struct TcPacket<'a> {
    ctx: &'a TcContext,
    /// Bytes of link header that the packet lacks: none, or all.
    missing: usize,
    link: Ethernet,
}

impl<'a> TcPacket<'a> {
    /// Makes the headers of a packet that lies in pieces readable where it is long enough.
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext, memory: &mut u32) -> Self {
        pull(ctx, HEADERS);
        let link = Ethernet { destination: [0; 6], source: [0; 6], ethertype: protocol(ctx).to_ne_bytes() };
        Self { ctx, missing: one_of_two(missing_link(ctx), memory), link }
    }
}

impl TcPacket<'_> {
    /// Sends the packet out of the device that it came in by.
    #[inline(always)]
    pub(crate) fn send_back(self) -> i32 {
        // SAFETY: the helper only notes the device for when the program returns.
        (unsafe { bpf_redirect(ifindex(self.ctx), 0) }) as i32
    }

    /// Sends the packet out of a device by way of the kernel's neighbour table, which replaces an Ethernet header:
    /// a packet that lacks one is given room for it.
    #[inline(always)]
    pub(crate) fn redirect_neighbour(self, ifindex: u32) -> i32 {
        if self.missing != 0 && self.ctx.change_head(ETHERNET_BYTES as u32, 0).is_err() {
            return TC_ACT_SHOT;
        }
        // SAFETY: no parameters are given, so the kernel looks up the next hop of the packet's destination itself.
        (unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) }) as i32
    }
}

/// Makes the first `bytes` of a packet that lies in pieces readable, where it is as long. When this fails the headers are
/// found to be short, and the packet passes.
#[inline(always)]
fn pull(ctx: &TcContext, bytes: u32) {
    let wanted = ctx.len().min(bytes);
    if ((ctx.data_end() - ctx.data()) as u32) < wanted {
        let _pulled = ctx.pull_data(wanted);
    }
}

/// How many bytes of link header the packet lacks. Not inlined, for its stack.
#[inline(never)]
fn missing_link(ctx: &TcContext) -> usize {
    let ethertype = protocol(ctx).to_ne_bytes();
    if ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6 {
        return 0;
    }
    let shown = read::<Ethernet>(ctx, 0).map(|ethernet| ethernet.ethertype);
    if shown != Some(ethertype) || starts_with_ip(ctx) { ETHERNET_BYTES } else { 0 }
}

/// Whether the packet starts with the very bytes that the kernel takes for its IP header. It is looked at only when
/// the first byte could be that of one: an address that reads like an EtherType must not deceive.
#[inline(always)]
fn starts_with_ip(ctx: &TcContext) -> bool {
    let Some(Start { bytes }) = read::<Start>(ctx, 0).map(|start| *start) else { return false };
    let [first, ..] = bytes;
    if first >> 4 != 4 && first >> 4 != 6 {
        return false;
    }
    let mut network = Start { bytes: [0; 12] };
    // SAFETY: the buffer has the length that is given, and the helper writes all of it or fails.
    let code = unsafe {
        bpf_skb_load_bytes_relative(
            ctx.as_ptr().cast(),
            0,
            (&raw mut network).cast(),
            size_of::<Start>() as u32,
            BPF_HDR_START_NET,
        )
    };
    code == 0 && network.bytes == bytes
}

/// The `T` at `offset` of the packet's linear part, or `None` when that ends before it does.
///
/// The lifetime is the caller's to bound: no helper that moves the packet may run while the reference lives.
#[inline(always)]
fn read<'a, T>(ctx: &TcContext, offset: usize) -> Option<&'a mut T>
where
    T: FromBytes + IntoBytes + KnownLayout + Immutable,
{
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes lie within the packet's linear part, as was just compared; `T` is valid for all bytes, and
    // offsets are even, as the packet's start is. The callers keep no second reference: `header` borrows the packet
    // exclusively, and the functions above copy.
    Some(unsafe { &mut *(start as *mut T) })
}

/// The offset, which is below 1024, with an instruction that tells the verifier so. The compiler knows it, and would drop
/// the same in Rust.
#[inline(always)]
fn bounded(offset: usize) -> usize {
    let mut bounded = offset;
    // SAFETY: the instruction changes nothing but its own register.
    unsafe { asm!("{0} &= 1023", inout(reg) bounded, options(pure, nomem, nostack)) };
    bounded
}

/// The length, none or that of an Ethernet header, by way of memory: the verifier then knows no more than that, and does not
/// walk the whole program once for each.
#[inline(always)]
fn one_of_two(length: usize, memory: &mut u32) -> usize {
    let place = &raw mut *memory;
    // SAFETY: the place is a reference's; a volatile access only keeps the compiler from leaving it out.
    let either = unsafe {
        place.write_volatile(length as u32);
        place.read_volatile()
    };
    bounded(either as usize) & ETHERNET_BYTES
}

/// The first bytes of an IP header, enough to tell two packets apart.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(2))]
struct Start {
    bytes: [u8; 12],
}

impl Packet for TcPacket<'_> {
    #[inline(always)]
    fn header<T>(&mut self, offset: usize) -> Option<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        if self.missing > offset {
            return T::mut_from_bytes(self.link.as_mut_bytes()).ok();
        }
        read(self.ctx, bounded(offset - self.missing))
    }

    #[inline(always)]
    fn length(&mut self) -> u32 {
        self.ctx.len() + self.missing as u32
    }

    #[inline(always)]
    fn reach(&mut self, bytes: u32) {
        pull(self.ctx, bytes);
    }

    #[inline(always)]
    fn reshape(&mut self, keep: u32, grow: u32) -> Option<()> {
        if self.missing != 0 {
            // Without a link header there is nobody to send it back to.
            return None;
        }
        // SAFETY: both helpers check their arguments, and every reference into the packet ended before.
        let code = unsafe {
            match bpf_skb_change_tail(self.ctx.as_ptr().cast(), keep, 0) {
                0 => bpf_skb_change_head(self.ctx.as_ptr().cast(), grow, 0),
                refused => refused,
            }
        };
        pull(self.ctx, HEADERS);
        (code == 0).then_some(())
    }

    /// The helper knows whether the field holds a whole checksum, or what the device shall complete.
    #[inline(always)]
    fn update_l4(&mut self, update: &L4Update) -> Option<()> {
        let mangled = if update.zero_is_none { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let (field, addresses) = (update.field - self.missing, u64::from(update.pseudo_header.to_u32()));
        self.ctx.l4_csum_replace(field, 0, addresses, mangled | u64::from(BPF_F_PSEUDO_HDR)).ok()?;
        if update.ipv6 {
            // The helper takes the change of the addresses off the sum that the device gave of the whole packet, as is right
            // for IPv4 only, whose header checksum changes too. Where the device gave none this does nothing.
            // SAFETY: the helper changes a number of the packet's, and no byte.
            let _given = unsafe { bpf_csum_update(self.ctx.as_ptr().cast(), addresses as u32) };
        }
        self.ctx.l4_csum_replace(field, 0, u64::from(update.segment.to_u32()), mangled).ok()
    }
}

/// The machine in the stack: it can wait for a neighbour.
///
/// `WORKLOAD` for packets that come from one.
pub(crate) struct TcHost<'a, const WORKLOAD: bool>(pub(crate) &'a TcContext);

impl<F: Fib, const WORKLOAD: bool> Host<F> for TcHost<'_, WORKLOAD> {
    const RESOLVES: bool = true;

    #[inline(always)]
    fn inside(&self) -> bool {
        WORKLOAD
    }

    #[inline(always)]
    fn may_answer(&mut self, kind: AnswerKind) -> bool {
        may_answer(kind)
    }

    #[inline(always)]
    fn now_s(&mut self) -> u32 {
        now_s()
    }

    #[inline(always)]
    fn tick(&mut self) -> u32 {
        tick()
    }

    #[inline(always)]
    fn ingress_ifindex(&mut self) -> u32 {
        ifindex(self.0)
    }

    /// The stack has compared the address.
    #[inline(always)]
    fn is_addressed(&mut self, _: [u8; 6]) -> bool {
        // SAFETY: the context of a tc program is an `__sk_buff`, readable while the program runs.
        let kind = unsafe { (*self.0.as_ptr().cast::<__sk_buff>()).pkt_type };
        // What a workload behind a bridge sends is addressed to the bridge, and not to the port that it comes in by.
        kind == PACKET_HOST || (WORKLOAD && kind == PACKET_OTHERHOST)
    }

    /// The kernel's neighbour table knows the way.
    #[inline(always)]
    fn mac(&mut self, _: u32) -> Option<[u8; 6]> {
        None
    }

    /// A known neighbour is left to the kernel like an unknown one: it writes the link header then.
    #[inline(always)]
    fn route(&mut self, query: &RouteQuery<'_, F>) -> Route {
        // SAFETY: as above. A packet that was merged of several is cut up again on its way out: a part counts, without the
        // options of its transport header.
        let part = unsafe { (*self.0.as_ptr().cast::<__sk_buff>()).gso_size } as u16;
        let length = if part == 0 { query.length } else { part.saturating_add(F::PART_HEADERS) };
        match route(self.0.as_ptr(), ifindex(self.0), length, query) {
            Route::Neighbour { ifindex, .. } => Route::Unresolved { ifindex },
            other => other,
        }
    }
}

/// Whether the packet has a VLAN tag that was taken off it, and that says which VLAN: a tag of priority only says none.
#[inline(always)]
pub(crate) fn is_tagged(ctx: &TcContext) -> bool {
    // SAFETY: the context of a tc program is an `__sk_buff`, readable while the program runs.
    let skb = unsafe { &*ctx.as_ptr().cast::<__sk_buff>() };
    skb.vlan_present != 0 && skb.vlan_tci & 0xfff != 0
}

/// Takes off a tag that says a priority only, as the stack would: what is sent on has none.
#[inline(always)]
pub(crate) fn drop_priority_tag(ctx: &TcContext) {
    // SAFETY: as above; no reference into the packet lives while the helper moves it.
    unsafe {
        if (*ctx.as_ptr().cast::<__sk_buff>()).vlan_present != 0 {
            // When this fails the packet keeps its priority.
            let _popped = bpf_skb_vlan_pop(ctx.as_ptr().cast());
        }
    }
}

/// The protocol of the packet as the stack knows it: an EtherType in network order.
#[inline(always)]
fn protocol(ctx: &TcContext) -> u16 {
    // SAFETY: the context of a tc program is an `__sk_buff`, readable while the program runs.
    unsafe { (*ctx.as_ptr().cast::<__sk_buff>()).protocol as u16 }
}

/// The device that the packet came in by, or goes out of.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context of a tc program is an `__sk_buff`, readable while the program runs.
    unsafe { (*ctx.as_ptr().cast::<__sk_buff>()).ifindex }
}
