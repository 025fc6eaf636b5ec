//! Deletes expired flows and affinities, those of packets and those of sockets, from the tables, at a bounded cost per
//! second.
//!
//! The programs look over expired entries by themselves, and the kernel evicts old ones when a table is full; but which
//! ones are old it knows only roughly, and a flow that is over should not cost the place of one that is not.

mod expiry;
mod walk;

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use aya::programs::ProgramFd;
use lb_common::SweepTable;
use tracing::{debug, warn};

use crate::layout::Ports;
use crate::maps::{MapsError, Pins, open_data};

use walk::Walk;

/// Entries that are looked at in one step.
pub const STEP_ENTRIES: u32 = 4096;
/// Shortest time from one step to the next.
const STEP_INTERVAL: Duration = Duration::from_millis(100);
/// Time from the beginning of one round through all tables to that of the next; a round of large tables takes longer.
const ROUND_INTERVAL: Duration = Duration::from_secs(60);

/// The tables in the order in which they are walked.
const TABLES: [(u8, &str); 7] = [
    (SweepTable::FLOWS4, "FLOWS4"),
    (SweepTable::FLOWS6, "FLOWS6"),
    (SweepTable::AFFINITY4, "AFFINITY4"),
    (SweepTable::AFFINITY6, "AFFINITY6"),
    (SweepTable::SOCKET_FLOWS4, "SOCKET_FLOWS4"),
    (SweepTable::SOCKET_FLOWS6, "SOCKET_FLOWS6"),
    (SweepTable::POD_AFFINITY, "POD_AFFINITY"),
];

/// Walks the tables, a step at a time.
#[derive(Debug)]
pub struct Sweeper {
    program: ProgramFd,
    walks: Vec<Walk>,
    /// Which of them is on its way.
    current: usize,
    began: Instant,
    due: Instant,
    /// What this round has looked at and deleted.
    round: Swept,
    /// An error was told since the last round without one.
    told: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries that were looked at.
    pub seen: u64,
    /// Entries that were deleted.
    pub deleted: u64,
}

impl Sweeper {
    /// Opens the pinned tables; `program` is `weir_sweep`.
    ///
    /// # Errors
    ///
    /// When a table is missing.
    pub fn open(pins: &Pins, program: ProgramFd) -> Result<Self, MapsError> {
        let walks = TABLES
            .into_iter()
            .map(|(table, name)| {
                let failed = |source| MapsError::Kind { name, source };
                Walk::new(table, name, open_data(pins, name)?).map_err(failed)
            })
            .collect::<Result<_, _>>()?;
        let now = Instant::now();
        Ok(Self { program, walks, current: 0, began: now, due: now, round: Swept::default(), told: false })
    }

    /// When [`Sweeper::step`] is to be called.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Looks at up to [`STEP_ENTRIES`] entries, `now_s` seconds after boot; answers whether a round through all tables is
    /// complete. `ports` say how long affinities last.
    pub fn step(&mut self, now_s: u32, ports: &Ports) -> bool {
        let now = Instant::now();
        let Some(walk) = self.walks.get_mut(self.current) else { return self.finish(now) };
        let timeouts = || affinity_timeouts(ports);
        let at_end = match walk.step(self.program.as_fd(), now_s, timeouts) {
            Ok((swept, at_end)) => {
                self.round.seen += swept.seen;
                self.round.deleted += swept.deleted;
                at_end
            }
            Err(error) => {
                if !self.told {
                    warn!(
                        "cannot sweep {}: {error}; expired entries stay until the table is full",
                        walk.name()
                    );
                }
                self.told = true;
                true
            }
        };
        if at_end {
            self.current += 1;
        }
        if self.current >= self.walks.len() {
            return self.finish(now);
        }
        self.due = now + STEP_INTERVAL;
        false
    }

    fn finish(&mut self, now: Instant) -> bool {
        debug!(seen = self.round.seen, deleted = self.round.deleted, "swept");
        self.current = 0;
        self.round = Swept::default();
        self.due = (self.began + ROUND_INTERVAL).max(now + STEP_INTERVAL);
        self.began = self.due;
        true
    }
}

/// The affinity time-out of each service id in seconds; none without affinity.
fn affinity_timeouts(ports: &Ports) -> BTreeMap<u32, u32> {
    let of = |port: &crate::layout::PortLayout| {
        let timeouts = port.frontends.values().map(|frontend| frontend.affinity_timeout_s);
        timeouts.max().filter(|timeout| *timeout > 0)
    };
    ports.values().filter_map(|port| Some((port.service, of(port)?))).collect()
}
