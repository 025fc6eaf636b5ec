//! A directory of manifests: its files, their last good versions, and what changed since the last reading.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use file::FILE_SIZE_MAX;

use file::ManifestFile;

use super::SourceError;
use super::format::Format;
use super::problem::{Problem, Severity};
use crate::model::{Event, Object, ObjectKey};

/// A directory of manifests.
///
/// Files named `*.yaml`, `*.yml` and `*.json` are read, through symbolic links too, so that a mounted
/// ConfigMap works; other files, hidden ones and directories are not.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    files: BTreeMap<OsString, ManifestFile>,
    served: BTreeMap<ObjectId, Arc<Object>>,
    reported: BTreeSet<Problem>,
}

/// What a reading found.
#[derive(Debug, Default)]
pub struct Reading {
    /// The differences to the reading before; to nothing for the first.
    pub events: Vec<Event>,
    /// The problems that the reading before did not have.
    pub problems: Vec<Problem>,
}

/// Which object is meant. Services come before EndpointSlices, so that these find theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ObjectId {
    Service(ObjectKey),
    EndpointSlice(ObjectKey),
}

impl ObjectId {
    fn of(object: &Object) -> Self {
        match object {
            Object::Service(service) => Self::Service(service.key.clone()),
            Object::EndpointSlice(slice) => Self::EndpointSlice(slice.key.clone()),
        }
    }

    fn delete(&self) -> Event {
        match self {
            Self::Service(key) => Event::DeleteService(key.clone()),
            Self::EndpointSlice(key) => Event::DeleteEndpointSlice(key.clone()),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Service(key) => format!("Service {key}"),
            Self::EndpointSlice(key) => format!("EndpointSlice {key}"),
        }
    }
}

impl Directory {
    /// A source that reads this directory; an error if it cannot be read now.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref().to_owned();
        manifest_names(&path).map_err(|reason| SourceError::Unreadable { path: path.clone(), reason })?;
        Ok(Self { path, files: BTreeMap::new(), served: BTreeMap::new(), reported: BTreeSet::new() })
    }

    /// Reads what changed in the directory.
    ///
    /// What cannot be read goes on as it last was: a malformed file, and all files while the directory is away.
    pub fn read(&mut self) -> Reading {
        let names = match manifest_names(&self.path) {
            Ok(names) => names,
            Err(error) => {
                let reason =
                    format!("cannot read the manifest directory: {error}; what it held is still served");
                let file = self.path.clone();
                let problem = Problem { file, line: None, severity: Severity::Error, reason };
                return Reading { events: Vec::new(), problems: self.report(BTreeSet::from([problem])) };
            }
        };
        self.files.retain(|name, _| names.contains(name));
        for name in names {
            let path = self.path.join(&name);
            let file = self.files.entry(name).or_default();
            if file.refresh(&path).is_gone() {
                self.files.retain(|_, file| !file.is_gone());
            }
        }
        let mut problems: BTreeSet<_> =
            self.files.values().flat_map(ManifestFile::problems).cloned().collect();
        let desired = self.desired(&mut problems);
        let events = differences(&self.served, &desired);
        self.served = desired;
        Reading { events, problems: self.report(problems) }
    }

    /// Whether every file has been read well at least once: what no file names is then known to be gone.
    pub fn is_complete(&self) -> bool {
        self.files.values().all(|file| !file.never_was_good())
    }

    /// The objects of all files; one that is in two places is taken from the first in the order of file names.
    fn desired(&self, problems: &mut BTreeSet<Problem>) -> BTreeMap<ObjectId, Arc<Object>> {
        let mut desired: BTreeMap<ObjectId, (Arc<Object>, &OsString)> = BTreeMap::new();
        for (name, file) in &self.files {
            for (line, object) in file.objects() {
                let id = ObjectId::of(object);
                if let Some((_, first)) = desired.get(&id) {
                    let first = Path::new(first).display();
                    let reason = format!("ignored: {} is in {first} already", id.describe());
                    let (file, line) = (self.path.join(name), Some(*line));
                    problems.insert(Problem { file, line, severity: Severity::Warning, reason });
                } else {
                    desired.insert(id, (Arc::clone(object), name));
                }
            }
        }
        desired.into_iter().map(|(id, (object, _))| (id, object)).collect()
    }

    /// The problems that are new.
    fn report(&mut self, problems: BTreeSet<Problem>) -> Vec<Problem> {
        let new = problems.difference(&self.reported).cloned().collect();
        self.reported = problems;
        new
    }
}

/// Names of the files of a directory that may be manifests.
fn manifest_names(path: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with('.') && Format::of(&text).is_some() {
            names.insert(name);
        }
    }
    Ok(names)
}

fn differences(
    served: &BTreeMap<ObjectId, Arc<Object>>,
    desired: &BTreeMap<ObjectId, Arc<Object>>,
) -> Vec<Event> {
    let unchanged = |id: &ObjectId, object: &Arc<Object>| {
        // A file that was not read again still has the same allocation: no need to compare its content.
        served.get(id).is_some_and(|before| Arc::ptr_eq(before, object) || before == object)
    };
    let applied = desired
        .iter()
        .filter(|(id, object)| !unchanged(id, object))
        .map(|(_, object)| Event::Apply(Object::clone(object)));
    let deleted = served.keys().filter(|id| !desired.contains_key(id)).map(ObjectId::delete);
    applied.chain(deleted).collect()
}
