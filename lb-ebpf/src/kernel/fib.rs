//! Edge file: `bpf_fib_lookup`, the kernel's own routing table.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
    BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibParams,
};
use aya_ebpf::helpers::bpf_fib_lookup;
use lb_common::Address;
use lb_ebpf::{Family, Route, RouteQuery, V4, V6};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// How a family's addresses stand in the kernel's parameter block.
pub(crate) trait Fib: Family {
    /// Bytes of the IP header and of a TCP header, both without options.
    const PART_HEADERS: u16;

    /// Writes family, addresses and traffic class.
    fn fill(params: &mut FibParams, query: &RouteQuery<'_, Self>);
}

impl Fib for V4 {
    const PART_HEADERS: u16 = 40;

    #[inline(always)]
    fn fill(params: &mut FibParams, query: &RouteQuery<'_, Self>) {
        params.family = AF_INET;
        params.__bindgen_anon_2.tos = query.traffic_class;
        params.__bindgen_anon_3.ipv4_src = query.flow.source.word(0);
        params.__bindgen_anon_4.ipv4_dst = query.flow.destination.word(0);
    }
}

impl Fib for V6 {
    const PART_HEADERS: u16 = 60;

    #[inline(always)]
    fn fill(params: &mut FibParams, query: &RouteQuery<'_, Self>) {
        params.family = AF_INET6;
        params.__bindgen_anon_2.flowinfo = (u32::from(query.traffic_class) << 20).to_be();
        let words = |address: &[u8; 16]| [address.word(0), address.word(1), address.word(2), address.word(3)];
        params.__bindgen_anon_3.ipv6_src = words(&query.flow.source);
        params.__bindgen_anon_4.ipv6_dst = words(&query.flow.destination);
    }
}

/// Asks the routing table for the way of a packet of `length` bytes.
#[inline(always)]
pub(crate) fn route<F: Fib>(ctx: *mut c_void, ifindex: u32, length: u16, query: &RouteQuery<'_, F>) -> Route {
    let mut block = MaybeUninit::<FibParams>::uninit();
    for word in 0..size_of::<FibParams>() / 8 {
        // SAFETY: the word lies within the block. The write is volatile because a plain one becomes a call that
        // clears byte by byte.
        unsafe { block.as_mut_ptr().cast::<u64>().add(word).write_volatile(0) };
    }
    // SAFETY: every byte was just written, and the block is plain integers, for which zero is a value.
    let params = unsafe { block.assume_init_mut() };
    F::fill(params, query);
    params.l4_protocol = query.protocol;
    params.sport = u16::from_ne_bytes(query.flow.source_port);
    params.dport = u16::from_ne_bytes(query.flow.destination_port);
    params.__bindgen_anon_1.tot_len = length;
    params.ifindex = ifindex;
    // SAFETY: `ctx` is the context of the running program, and the size is that of the block.
    let code = unsafe { bpf_fib_lookup(ctx, &raw mut *params, size_of::<FibParams>() as i32, 0) };
    match code as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {
            // SAFETY: the lookup wrote both addresses.
            let macs = unsafe { params.__bindgen_anon_6.__bindgen_anon_2 };
            // SAFETY: the lookup wrote the MTU over the length, when it was given one (Linux 5.12).
            let mtu = unsafe { params.__bindgen_anon_1.mtu_result };
            Route::Neighbour { ifindex: params.ifindex, source: macs.smac, destination: macs.dmac, mtu }
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => Route::Unresolved { ifindex: params.ifindex },
        BPF_FIB_LKUP_RET_FRAG_NEEDED => {
            // SAFETY: the lookup wrote the MTU over the length (Linux 5.12).
            Route::TooBig { mtu: unsafe { params.__bindgen_anon_1.mtu_result } }
        }
        BPF_FIB_LKUP_RET_FWD_DISABLED => Route::ForwardingOff,
        // Among these are routes with an encapsulation of their own, for which the kernel names no device.
        _ => Route::Unreachable,
    }
}
