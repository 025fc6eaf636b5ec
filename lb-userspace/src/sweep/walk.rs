//! One walk through one table.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use aya::maps::{MapData, MapError};
use lb_common::{SWEEP_RECORDS_MAX, SweepHeader, SweepTable};
use zerocopy::IntoBytes as _;

use crate::maps::{Cursor, Entries, run_program};

use super::expiry::{affinity, flow, pod_affinity, socket_flow};
use super::{STEP_ENTRIES, Swept};

/// A table and how far the walk through it has come.
#[derive(Debug)]
pub(super) struct Walk {
    table: u8,
    name: &'static str,
    entries: Entries,
    cursor: Cursor,
    /// Entries of this walk, and the most that it may have: a walk that begins anew in its middle ends by this.
    seen: u64,
    size: u64,
    /// How long affinities last, by service id, as it was when the walk began.
    timeouts_s: BTreeMap<u32, u32>,
    /// Whether the kernel reads many entries by one call.
    batches: bool,
}

impl Walk {
    pub(super) fn new(table: u8, name: &'static str, map: MapData) -> Result<Self, MapError> {
        let size = map.info()?.max_entries();
        let entries = Entries::new(map, STEP_ENTRIES.min(size))?;
        Ok(Self {
            table,
            name,
            entries,
            cursor: Cursor::Start,
            seen: 0,
            size: u64::from(size),
            timeouts_s: BTreeMap::new(),
            batches: true,
        })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Looks at the next entries and has the expired ones deleted; also answers whether the walk is at its end.
    pub(super) fn step(
        &mut self,
        program: BorrowedFd<'_>,
        now_s: u32,
        timeouts_s: impl FnOnce() -> BTreeMap<u32, u32>,
    ) -> io::Result<(Swept, bool)> {
        let affine =
            matches!(self.table, SweepTable::AFFINITY4 | SweepTable::AFFINITY6 | SweepTable::POD_AFFINITY);
        if affine && self.cursor == Cursor::Start {
            self.timeouts_s = timeouts_s();
        }
        // Should anything fail, the next walk begins at the beginning.
        let cursor = std::mem::replace(&mut self.cursor, Cursor::Start);
        let cursor = self.read(cursor)?;
        let mut swept = Swept::default();
        let mut records = Records::new(self.table);
        for (key, value) in self.entries.iter() {
            swept.seen += 1;
            if let Some(used_s) = self.expired(key, value, now_s) {
                records.add(key, used_s);
                if records.is_full() {
                    swept.deleted += records.delete(program)?;
                }
            }
        }
        swept.deleted += records.delete(program)?;
        self.seen += swept.seen;
        let at_end = cursor == Cursor::End || self.seen >= self.size;
        (self.cursor, self.seen) = if at_end { (Cursor::Start, 0) } else { (cursor, self.seen) };
        Ok((swept, at_end))
    }

    fn read(&mut self, cursor: Cursor) -> io::Result<Cursor> {
        if self.batches {
            match self.entries.read_batch(cursor) {
                // A cursor of batches means nothing to the other way of reading.
                Err(error) if cursor == Cursor::Start && is_unknown(&error) => self.batches = false,
                other => return other,
            }
        }
        self.entries.read_singly(cursor)
    }

    /// When an entry was last used, if it is over.
    fn expired(&self, key: &[u8], value: &[u8], now_s: u32) -> Option<u32> {
        match self.table {
            SweepTable::FLOWS4 => flow::<[u8; 4]>(key, value, now_s),
            SweepTable::FLOWS6 => flow::<[u8; 16]>(key, value, now_s),
            SweepTable::AFFINITY4 => affinity::<[u8; 4]>(key, value, now_s, &self.timeouts_s),
            SweepTable::AFFINITY6 => affinity::<[u8; 16]>(key, value, now_s, &self.timeouts_s),
            SweepTable::SOCKET_FLOWS4 => socket_flow::<[u8; 4]>(key, value, now_s),
            SweepTable::SOCKET_FLOWS6 => socket_flow::<[u8; 16]>(key, value, now_s),
            SweepTable::POD_AFFINITY => pod_affinity(key, value, now_s, &self.timeouts_s),
            _ => None,
        }
    }
}

/// `EINVAL`, or `ENOTSUPP` of the kernel, which has no name outside of it.
fn is_unknown(error: &io::Error) -> bool {
    const ENOTSUPP: i32 = 524;
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(ENOTSUPP)
}

/// What the program is told to delete.
struct Records {
    header: SweepHeader,
    bytes: Vec<u8>,
}

impl Records {
    fn new(table: u8) -> Self {
        Self { header: SweepHeader { ethernet: [0; 14], table, count: 0 }, bytes: Vec::new() }
    }

    fn add(&mut self, key: &[u8], used_s: u32) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(&used_s.to_ne_bytes());
        self.header.count += 1;
    }

    fn is_full(&self) -> bool {
        u32::from(self.header.count) >= SWEEP_RECORDS_MAX
    }

    /// Deletes those that are unused since; answers how many.
    fn delete(&mut self, program: BorrowedFd<'_>) -> io::Result<u64> {
        if self.header.count == 0 {
            return Ok(0);
        }
        let packet = [self.header.as_bytes(), &self.bytes].concat();
        self.header.count = 0;
        self.bytes.clear();
        run_program(program, &packet).map(u64::from)
    }
}
