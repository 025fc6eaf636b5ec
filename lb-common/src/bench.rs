//! What the benchmark and its wrapper program share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Length of an IPv4 frame that is measured.
pub const FRAME_BYTES4: usize = 64;
/// Length of an IPv6 frame that is measured: its headers alone are longer than the other.
pub const FRAME_BYTES6: usize = 80;
/// Offset of the lower half of an IPv4 source address in a frame.
pub const HOST_OFFSET4: usize = 28;
/// Offset of the IPv4 destination address in a frame.
pub const VIP_OFFSET4: usize = 30;
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
    /// The frame that every run starts from; an IPv4 frame leaves the rest unused.
    pub frame: [u8; FRAME_BYTES6],
    /// The first flow.
    pub first: u32,
    /// The last flow, after which the first follows.
    pub last: u32,
    /// The flow of the next run.
    pub next: u32,
    /// 1 for IPv6, 0 for IPv4.
    pub ipv6: u32,
    /// IPv4: flow `n` goes to [`vip4`] number `vip_first + n % vips`. Zero leaves the frame's destination.
    pub vips: u32,
    /// See `vips`.
    pub vip_first: u32,
}

/// An address of `11.0.0.0/8` for each number below 2^24: all differ, and neighbours lie far apart.
#[inline(always)]
pub const fn vip4(number: u32) -> [u8; 4] {
    // An odd factor makes a permutation of the lower 24 bits.
    let [_, high, middle, low] = number.wrapping_mul(0x009e_3779).to_be_bytes();
    [11, high, middle, low]
}

const _: () = assert!(size_of::<Template>() == FRAME_BYTES6 + 24);

#[cfg(test)]
mod tests {
    use super::vip4;

    #[test]
    fn addresses_differ_and_are_scattered() {
        let mut all: Vec<_> = (0..200_000).map(vip4).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200_000);
        assert!(vip4(0)[1].abs_diff(vip4(1)[1]) > 16, "neighbours lie close together");
    }
}
