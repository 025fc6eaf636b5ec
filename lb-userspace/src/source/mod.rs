//! First step of the control path: a directory of manifests becomes changes for the model.
//!
//! ```text
//! files ─▶ parse (format, manifest) ─▶ reduce ─▶ directory (last good version, differences) ─▶ events
//!   └──── watch wakes the reader
//! ```
//!
//! A file plays the part of the API server here, so what that fills in is filled in at this door too: the
//! namespace, the protocol, the name of an unnamed port, the time-out of session affinity.

mod address;
mod directory;
mod error;
mod format;
mod fuzz;
mod manifest;
mod parse;
mod problem;
mod reduce;
mod watch;

use std::io;
use std::path::{Path, PathBuf};

pub use directory::{Directory, FILE_SIZE_MAX, Reading};
pub use error::ParseError;
pub use fuzz::check as fuzz_check;
pub use parse::{Parsed, Warning, parse};
pub use problem::{Problem, Severity};
pub use watch::Watch;

use crate::model::Model;

/// Why a directory of manifests cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It does not exist, is no directory, or may not be read.
    #[error("cannot read the manifest directory {}: {reason}; create it or name another one", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
    /// Its changes cannot be watched.
    #[error("cannot watch the manifest directory {} for changes: {reason}", path.display())]
    Unwatchable {
        /// The directory.
        path: PathBuf,
        /// What the watcher said, such as an exhausted `fs.inotify.max_user_watches`.
        reason: notify::Error,
    },
}

/// Reads a directory once, for commands that do not follow its changes.
pub fn read_once(path: impl AsRef<Path>) -> Result<(Model, Vec<Problem>), SourceError> {
    let reading = Directory::open(path)?.read();
    let mut model = Model::default();
    for event in reading.events {
        model.apply(event);
    }
    Ok((model, reading.problems))
}
