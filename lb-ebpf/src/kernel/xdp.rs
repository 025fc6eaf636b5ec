//! Edge file: packets and host as XDP programs see them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use lb_common::DeviceFlags;
use lb_ebpf::{AnswerKind, Host, L4Update, Packet, Route, RouteQuery, update_complete};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::kernel::clock::{now_s, tick};
use crate::kernel::fib::{Fib, route};
use crate::kernel::maps::{device, may_answer, sends_by_xdp};

/// A frame before the stack.
pub(crate) struct XdpPacket<'a>(pub(crate) &'a XdpContext);

impl Packet for XdpPacket<'_> {
    #[inline(always)]
    fn header<T>(&mut self, offset: usize) -> Option<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        let start = self.0.data() + offset;
        if start + size_of::<T>() > self.0.data_end() {
            return None;
        }
        // SAFETY: the bytes lie within the packet, as was just compared in the form that the verifier follows;
        // `T` is valid for all bytes, and
        // offsets are even, as the packet's start is; `&mut self` keeps a second reference away.
        Some(unsafe { &mut *(start as *mut T) })
    }

    #[inline(always)]
    fn length(&mut self) -> u32 {
        // SAFETY: the helper only reads the context, of which this is one.
        (unsafe { bpf_xdp_get_buff_len(self.0.as_ptr().cast()) }) as u32
    }

    #[inline(always)]
    fn reshape(&mut self, keep: u32, grow: u32) -> Option<()> {
        let cut = keep.wrapping_sub(Packet::length(self)) as i32;
        // SAFETY: both helpers check their arguments, and every reference into the packet ended before.
        let code = unsafe {
            match bpf_xdp_adjust_tail(self.0.as_ptr().cast(), cut) {
                0 => bpf_xdp_adjust_head(self.0.as_ptr().cast(), 0_i32.wrapping_sub(grow as i32)),
                refused => refused,
            }
        };
        (code == 0).then_some(())
    }

    #[inline(always)]
    fn update_l4(&mut self, update: &L4Update) -> Option<()> {
        update_complete(self, update)
    }
}

/// The machine before the stack: it knows neighbours, and cannot wait for one.
pub(crate) struct XdpHost<'a> {
    ctx: &'a XdpContext,
    /// Index of the device that the packet came in by. Read once: it is at the end of three pointers.
    pub(crate) ingress: u32,
}

impl<'a> XdpHost<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx, ingress: ctx.ingress_ifindex() as u32 }
    }
}

impl<F: Fib> Host<F> for XdpHost<'_> {
    const RESOLVES: bool = false;

    #[inline(always)]
    fn inside(&self) -> bool {
        false
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
        self.ingress
    }

    #[inline(always)]
    fn is_addressed(&mut self, destination: [u8; 6]) -> bool {
        device(self.ingress).is_none_or(|device| device.is_addressed(destination))
    }

    #[inline(always)]
    fn mac(&mut self, ifindex: u32) -> Option<[u8; 6]> {
        device(ifindex)
            .filter(|device| ifindex == self.ingress || device.flags & DeviceFlags::XDP_SENDS != 0)
            .map(|device| device.mac)
            .filter(|mac| *mac != [0; 6])
    }

    /// A device that may not be sent to from here is left to the stack like an unknown neighbour.
    #[inline(always)]
    fn route(&mut self, query: &RouteQuery<'_, F>) -> Route {
        let ingress = self.ingress;
        match route(self.ctx.as_ptr(), ingress, query.length, query) {
            Route::Neighbour { ifindex, .. } if ifindex != ingress && !sends_by_xdp(ifindex) => {
                Route::Unresolved { ifindex }
            }
            other => other,
        }
    }
}

/// Sends the frame out of another device.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> u32 {
    // SAFETY: the helper only notes the device for when the program returns.
    let action = unsafe { bpf_redirect(ifindex, 0) };
    if action == i64::from(xdp_action::XDP_REDIRECT) {
        xdp_action::XDP_REDIRECT
    } else {
        xdp_action::XDP_DROP
    }
}
