//! Edge file: the benchmark's wrapper, which restores the packet, varies its flow, and calls the measured program.
//!
//! `BPF_PROG_TEST_RUN` with a repetition does not restore the packet, so without this only the first run would see
//! what a client sent.
#![no_std]
#![no_main]
#![expect(unreachable_pub, missing_docs, reason = "the program macros repeat what the loader must see")]
#![expect(clippy::needless_pass_by_value, reason = "the program macros decide how a context is passed")]

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::{Array, ProgramArray};
use aya_ebpf::helpers::bpf_xdp_store_bytes;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lb_common::bench::{
    FRAME_BYTES4, FRAME_BYTES6, HOST_OFFSET4, HOST_OFFSET6, PORT_OFFSET4, PORT_OFFSET6, Template,
    VIP_OFFSET4, vip4,
};

/// What every run starts from. Written by the benchmark before a run, and by the wrapper, on one CPU, during it.
#[btf_map]
static TEMPLATE: Array<Template, 1> = Array::new();

/// The measured program.
#[btf_map]
static MEASURED: ProgramArray<1> = ProgramArray::new();

/// Restores the packet with the next flow's addresses and port, and goes on to the measured program.
#[xdp(frags)]
pub fn weir_bench(ctx: XdpContext) -> u32 {
    let Some(template) = TEMPLATE.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the element is valid while the program runs, and one benchmark runs it on one CPU at a time.
    let template = unsafe { &mut *template };
    let flow = template.next;
    template.next = if flow >= template.last { template.first } else { flow + 1 };
    let (host, port) = ((1 + (flow >> 16) as u16).to_be_bytes(), (flow as u16).to_be_bytes());
    let (host_offset, port_offset) =
        if template.ipv6 == 0 { (HOST_OFFSET4, PORT_OFFSET4) } else { (HOST_OFFSET6, PORT_OFFSET6) };
    for (offset, bytes) in [(host_offset, host), (port_offset, port)] {
        if let Some(place) = template.frame.get_mut(offset..offset + 2) {
            place.copy_from_slice(&bytes);
        }
    }
    if template.vips != 0
        && let Some(place) = template.frame.get_mut(VIP_OFFSET4..VIP_OFFSET4 + 4)
    {
        place.copy_from_slice(&vip4(template.vip_first + flow % template.vips));
    }
    let frame = template.frame.as_mut_ptr().cast::<c_void>();
    // Two calls with a constant length each, for which the helper's bounds are checked once, by the verifier.
    let stored = if template.ipv6 == 0 {
        // SAFETY: the frame has that many bytes, and the packet's bounds are the helper's to check.
        unsafe { bpf_xdp_store_bytes(ctx.as_ptr().cast(), 0, frame, FRAME_BYTES4 as u32) }
    } else {
        // SAFETY: as above.
        unsafe { bpf_xdp_store_bytes(ctx.as_ptr().cast(), 0, frame, FRAME_BYTES6 as u32) }
    };
    if stored != 0 {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: nothing here needs to be dropped.
    unsafe { MEASURED.tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

/// Measured in place of the engine, it gives the wrapper's own cost.
#[xdp(frags)]
pub fn weir_bench_nothing(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// The licence, as of the measured programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A panic that survived optimisation is an endless loop, which the verifier refuses to load.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
