//! What the benchmark and its wrapper program share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Length of every frame that is measured.
pub const FRAME_BYTES: usize = 80;
/// Offset of the lower half of an IPv4 source address in a frame.
pub const HOST_OFFSET4: usize = 28;
/// Offset of the source port in an IPv4 frame without options.
pub const PORT_OFFSET4: usize = 34;
/// Offset of the last two bytes of an IPv6 source address in a frame.
pub const HOST_OFFSET6: usize = 36;
/// Offset of the source port in an IPv6 frame.
pub const PORT_OFFSET6: usize = 54;

/// The one value of the wrapper's `TEMPLATE`. Flow `n` has source port `n % 65536` and host `1 + n / 65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct Template {
    /// The frame that every run starts from.
    pub frame: [u8; FRAME_BYTES],
    /// The first flow.
    pub first: u32,
    /// The last flow, after which the first follows.
    pub last: u32,
    /// The flow of the next run.
    pub next: u32,
    /// 1 for IPv6, 0 for IPv4.
    pub ipv6: u32,
}

const _: () = assert!(size_of::<Template>() == FRAME_BYTES + 16);
