//! What the agent asks of the sweeping program: to delete entries that nothing has used since it read them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Records of one run: with the longest keys they fit in what the kernel takes as the packet of a test run, a page less
/// its own needs.
pub const SWEEP_RECORDS_MAX: u32 = 64;

/// What a run of the program `weir_sweep` begins with; records follow without gaps. A record is a key of the table and
/// the second (four bytes, byte order of the machine) at which the entry was last used when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SweepHeader {
    /// Always zero: a test run takes the first bytes for an Ethernet header.
    pub ethernet: [u8; 14],
    /// See [`SweepTable`].
    pub table: u8,
    /// Number of records, at most [`SWEEP_RECORDS_MAX`].
    pub count: u8,
}

/// Which table the records are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepTable;

impl SweepTable {
    /// `FLOWS4`, by `last_seen_s`.
    pub const FLOWS4: u8 = 1;
    /// `FLOWS6`, likewise.
    pub const FLOWS6: u8 = 2;
    /// `AFFINITY4`, by `last_used_s`.
    pub const AFFINITY4: u8 = 3;
    /// `AFFINITY6`, likewise.
    pub const AFFINITY6: u8 = 4;
    /// `SOCKET_FLOWS4`, by `last_used_s`.
    pub const SOCKET_FLOWS4: u8 = 5;
    /// `SOCKET_FLOWS6`, likewise.
    pub const SOCKET_FLOWS6: u8 = 6;
    /// `POD_AFFINITY`, by `last_used_s`.
    pub const POD_AFFINITY: u8 = 7;
}

const _: () = assert!(size_of::<SweepHeader>() == 16);
