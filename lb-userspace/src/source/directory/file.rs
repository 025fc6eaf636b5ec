//! One file of manifests: read when it changes, and kept in its last good version.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::Object;
use crate::source::error::ParseError;
use crate::source::parse::{Parsed, parse};
use crate::source::problem::{Problem, Severity};

/// The largest file that is read, in bytes.
pub const FILE_SIZE_MAX: u64 = 64 << 20;

/// A change this long ago cannot hide behind an equal time stamp: the coarsest file systems count in 2 s.
const STAMP_AGE_MIN: Duration = Duration::from_secs(3);

/// What is known of a file.
#[derive(Debug, Default)]
pub(super) struct ManifestFile {
    state: State,
    /// The objects of the last good version, with their lines.
    objects: Vec<(u64, Arc<Object>)>,
    problems: Vec<Problem>,
}

#[derive(Debug, Default)]
enum State {
    /// Not read yet, or not readable: the next reading tries again.
    #[default]
    Unread,
    /// Removed between the listing of the directory and the reading.
    Gone,
    /// Read; a file with this stamp, if there is one, has this content.
    Read { stamp: Option<Stamp>, content: u64 },
}

/// What the kernel changes with the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file, unless it was changed so lately that the next change may get an equal one.
    fn of(metadata: &fs::Metadata) -> Option<Self> {
        let changed = u64::try_from(metadata.ctime()).ok().map(Duration::from_secs)?;
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).ok()?;
        (age >= STAMP_AGE_MIN).then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl ManifestFile {
    /// The objects of the last good version, with their lines.
    pub(super) fn objects(&self) -> &[(u64, Arc<Object>)] {
        &self.objects
    }

    /// What is wrong with the file as it is now.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The file was removed.
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Reads the file if it may have changed.
    pub(super) fn refresh(&mut self, path: &Path) -> &Self {
        if let Err(error) = self.try_refresh(path) {
            // A link that leads nowhere is still there: only its target is missing.
            self.state = if fs::symlink_metadata(path).is_err() { State::Gone } else { State::Unread };
            let reason = match error.kind() {
                io::ErrorKind::InvalidData => error.to_string(),
                _ => format!("cannot read the file: {error}"),
            };
            self.problems = vec![problem(path, None, Severity::Error, &reason)];
        }
        self
    }

    fn try_refresh(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            // A directory, a pipe or a device is not a manifest, whatever its name.
            *self = Self { state: State::Read { stamp: None, content: 0 }, ..Self::default() };
            return Ok(());
        }
        if metadata.len() > FILE_SIZE_MAX {
            let reason = format!("the file has more than {FILE_SIZE_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        // Taken before the content, so that a change in between leaves a stamp that is no longer equal.
        let stamp = Stamp::of(&metadata);
        if let State::Read { stamp: Some(before), .. } = &self.state
            && stamp.as_ref() == Some(before)
        {
            return Ok(());
        }
        let bytes = fs::read(path)?;
        let content = digest(&bytes);
        let unchanged = matches!(self.state, State::Read { content: before, .. } if before == content);
        self.state = State::Read { stamp, content };
        if !unchanged {
            self.take_over(path, &bytes);
        }
        Ok(())
    }

    /// Whether the file has an error and no version of it was good.
    pub(super) fn never_was_good(&self) -> bool {
        self.objects.is_empty() && self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Takes over a new content if it is well-formed.
    fn take_over(&mut self, path: &Path, bytes: &[u8]) {
        if bytes.is_empty() && !self.objects.is_empty() {
            // Who rewrites a file in place truncates it first; to end service, the file is removed.
            let reason = "the file is empty; what it held is served until it is removed or written again";
            self.problems = vec![problem(path, None, Severity::Warning, reason)];
            return;
        }
        match parse_bytes(path, bytes) {
            Ok(parsed) => {
                let warnings = parsed.iter().flat_map(|parsed| &parsed.warnings);
                self.problems = warnings
                    .map(|warning| problem(path, Some(warning.line), Severity::Warning, &warning.reason))
                    .collect();
                let object = |parsed: Parsed| Some((parsed.line, Arc::new(parsed.object?)));
                self.objects = parsed.into_iter().filter_map(object).collect();
            }
            Err(ParseError { line, reason }) => {
                let kept =
                    if self.objects.is_empty() { "" } else { "; its last good version is still served" };
                let reason = format!("{reason}{kept}");
                self.problems = vec![problem(path, Some(line), Severity::Error, &reason)];
            }
        }
    }
}

fn parse_bytes(path: &Path, bytes: &[u8]) -> Result<Vec<Parsed>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.iter().take(error.valid_up_to());
        let line = good.filter(|byte| **byte == b'\n').count() as u64 + 1;
        ParseError { line, reason: "not UTF-8 text".to_owned() }
    })?;
    parse(&path.to_string_lossy(), text)
}

fn problem(path: &Path, line: Option<u64>, severity: Severity, reason: &str) -> Problem {
    Problem { file: path.to_owned(), line, severity, reason: reason.to_owned() }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
