//! Placeholder.
use crate::{Family, Host, Maps, Packet, V4, V6, Verdict};
use lb_common::Outcome;
pub trait IcmpFamily: Family {
    const ECHO_REQUEST: u8;
}
impl IcmpFamily for V4 {
    const ECHO_REQUEST: u8 = 8;
}
impl IcmpFamily for V6 {
    const ECHO_REQUEST: u8 = 128;
}
#[inline(always)]
pub(crate) fn answer<F: IcmpFamily, P: Packet, H: Host<F>>(
    _: &mut P,
    _: u8,
    _: &mut H,
    v: Verdict,
) -> Verdict {
    Verdict::drop(v.outcome())
}
#[inline(always)]
pub(crate) fn echo<F: IcmpFamily, P: Packet, H: Host<F>>(_: &mut P, _: u8, _: u8, _: &mut H) -> Verdict {
    Verdict::pass(Outcome::NotBalanced)
}
#[inline(always)]
pub(crate) fn translate<F: IcmpFamily, P: Packet, M: Maps<F>, H: Host<F>>(
    _: &mut P,
    _: u8,
    _: u8,
    _: &mut M,
    _: &mut H,
    _: bool,
) -> Verdict {
    Verdict::pass(Outcome::NotBalanced)
}
