//! Network devices, as the programs need to know them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of `DEVICES`; the index is the index of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct Device {
    /// See [`DeviceFlags`].
    pub flags: u16,
    /// Its Ethernet address; all zero where it is not known, or the device has none.
    pub mac: [u8; 6],
}

impl Device {
    /// Whether the device has this Ethernet address, or none that is known and this one is of one machine. By halves of
    /// words, as both are aligned.
    #[inline(always)]
    pub const fn is_addressed(&self, destination: [u8; 6]) -> bool {
        const fn words([a, b, c, d, e, f]: [u8; 6]) -> (u16, u16, u16) {
            (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f]))
        }
        let (own, other) = (words(self.mac), words(destination));
        let same = (own.0 ^ other.0) | (own.1 ^ other.1) | (own.2 ^ other.2);
        let [first, ..] = destination;
        same == 0 || (own.0 | own.1 | own.2 == 0 && first & 1 == 0)
    }
}

/// Bits of [`Device::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFlags;

impl DeviceFlags {
    /// The XDP program may send to it: its driver runs XDP itself. A driver that cannot send what another device's XDP
    /// program gives it drops it without a word.
    pub const XDP_SENDS: u16 = 1;
    /// It leads to a workload. For people: the program that is attached to it, and no flag, makes its traffic one from
    /// inside.
    pub const WORKLOAD: u16 = 2;
}

const _: () = assert!(size_of::<Device>() == 8);
