//! A reader of the programs' records: while it lives, packets are recorded for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use aya::maps::{Array, HashMap, MapData, MapError, RingBuf};
use lb_common::{Event, ServiceInfo, Trace, TraceFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open as open_file};
use rustix::io::Errno;
use zerocopy::FromBytes as _;

use super::time::now_s;
use crate::explain::ServiceName;
use crate::maps::{MapsError, Pins, open, port_key};

/// After so many seconds the programs forget a reader that has died. It says every second that it lives.
const FORGOTTEN_AFTER_S: u32 = 3;

/// Packets cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Somebody else looks.
    #[error("another `weir trace` runs with {}: end it first; there is one at a time", .0.display())]
    Taken(PathBuf),
    /// The directory of the maps cannot be opened.
    #[error(
        "no maps in {}, or no right to read them: start `weir run` first, name its --pin-path, or be root",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// A map cannot be opened or read.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// Waiting for records failed.
    #[error("cannot wait for records")]
    Wait(#[source] io::Error),
}

/// The one reader of `EVENTS`. No packet is recorded any more when it goes out of scope.
pub struct Session {
    trace: Array<MapData, Trace>,
    events: RingBuf<MapData>,
    services: HashMap<MapData, u32, ServiceInfo>,
    wanted: Trace,
    // Released last: another reader may then begin.
    _lock: OwnedFd,
}

impl Session {
    /// Opens the pinned maps; nothing is recorded before the first [`Session::renew`]. `per_second_max` packets are
    /// recorded in a second and on a CPU, at most.
    ///
    /// # Errors
    ///
    /// When another reader is there, or the maps cannot be opened.
    pub fn open(pins: &Pins, drops_only: bool, per_second_max: u32) -> Result<Self, TraceError> {
        let path = pins.maps();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = open_file(&path, flags, Mode::empty())
            .map_err(|source| TraceError::Directory { path: path.clone(), source })?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(TraceError::Taken(pins.root().to_owned())),
            Err(source) => return Err(TraceError::Directory { path, source }),
        }
        let (trace, _) = open(pins, "TRACE", Array::try_from)?;
        let (events, _) = open(pins, "EVENTS", RingBuf::try_from)?;
        let (services, _) = open(pins, "SERVICES", HashMap::try_from)?;
        let flags = if drops_only { TraceFlags::DROPS } else { 0 };
        let wanted = Trace { until_s: 0, service: 0, flags, per_second_max };
        let mut session = Self { trace, events, services, wanted, _lock: lock };
        // What a reader that died has left is not news.
        while session.next_event().is_some() {}
        Ok(session)
    }

    /// Asks for records of a service id, zero for all, for the next three seconds.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn renew(&mut self, service: u32) -> Result<(), TraceError> {
        self.wanted.service = service;
        self.wanted.until_s = now_s().saturating_add(FORGOTTEN_AFTER_S);
        Ok(self.write(&self.wanted.clone()).map_err(|source| MapsError::Read { name: "TRACE", source })?)
    }

    /// Waits until there is a record, a signal came, or the time is over.
    ///
    /// # Errors
    ///
    /// When the kernel cannot wait.
    pub fn wait(&self, milliseconds: u32) -> Result<(), TraceError> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(milliseconds) * 1_000_000 };
        let mut watched = [PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(TraceError::Wait(error.into())),
        }
    }

    /// The next record that is there.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(record) = self.events.next() {
            // A record that is too short is another program's, of a layout that this build does not know.
            if let Ok((event, _)) = Event::read_from_prefix(&record) {
                return Some(event);
            }
        }
        None
    }

    /// The Services at present.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn services(&self) -> Result<BTreeMap<u32, ServiceName>, TraceError> {
        let mut services = BTreeMap::new();
        for entry in &self.services {
            match entry {
                Ok((id, info)) => {
                    services.extend(port_key(&info).map(|key| (id, ServiceName { key, port: info.port })));
                }
                // The table changes while it is read: an entry may go between its key and its value.
                Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(MapsError::Read { name: "SERVICES", source }.into()),
            }
        }
        Ok(services)
    }

    fn write(&mut self, trace: &Trace) -> Result<(), MapError> {
        self.trace.set(0, trace, 0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where this fails the programs forget the reader after three seconds.
        let _cleared = self.write(&Trace::default());
    }
}
