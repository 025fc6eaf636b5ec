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

/// Bits of [`Device::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFlags;

impl DeviceFlags {
    /// The XDP program may send to it: its driver runs XDP itself. A driver that cannot send what another device's XDP
    /// program gives it drops it without a word.
    pub const XDP_SENDS: u16 = 1;
    /// It leads to a workload: what arrives by it comes from inside.
    pub const WORKLOAD: u16 = 2;
}

const _: () = assert!(size_of::<Device>() == 8);
