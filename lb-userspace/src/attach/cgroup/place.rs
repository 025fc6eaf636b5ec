//! Control groups by their directories: the one that programs attach to, and those that are left alone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{fstatfs, statfs};

use super::CgroupError;
use super::mount::{cgroup2_mounts, root_of};

/// `CGROUP2_SUPER_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Id, and inode number, of the root of the cgroup2 hierarchy (`cgroup_setup_root` in the kernel's
/// `kernel/cgroup/cgroup.c`). The kernel shows a container the root of what it sees as `/`, but never with this number.
const ROOT_ID: u64 = 1;

const MOUNTS: &str = "/proc/self/mountinfo";

/// A control group, open.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    id: u64,
    pub(super) directory: File,
}

impl Cgroup {
    /// The root of the hierarchy.
    ///
    /// # Errors
    ///
    /// When it is not mounted here, or only a part of it.
    pub fn root() -> Result<Self, CgroupError> {
        let point = root_mount()?;
        Self::open("the root of the cgroup2 hierarchy", &point, String::new)
    }

    /// The directory that `--cgroup-path` names.
    ///
    /// # Errors
    ///
    /// When it is none, or not one of a cgroup2 hierarchy.
    pub fn at(path: &Path) -> Result<Self, CgroupError> {
        Self::open("--cgroup-path", path, || mount_point().display().to_string())
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id: the inode number of its directory. No other control group gets it before the next boot.
    pub const fn id(&self) -> u64 {
        self.id
    }

    fn open(option: &'static str, path: &Path, example: impl Fn() -> String) -> Result<Self, CgroupError> {
        let missing =
            |reason| CgroupError::Missing { option, path: path.to_owned(), example: example(), reason };
        let directory = File::open(path).map_err(missing)?;
        let metadata = directory.metadata().map_err(missing)?;
        if !metadata.is_dir() {
            return Err(missing(io::ErrorKind::NotADirectory.into()));
        }
        let held = fstatfs(&directory).map_err(|error| missing(error.into()))?;
        if held.f_type as u64 != CGROUP2_MAGIC {
            return Err(CgroupError::NotCgroup2 { option, path: path.to_owned(), example: example() });
        }
        Ok(Self { path: path.to_owned(), id: metadata.ino(), directory })
    }
}

/// Id of a control group that `--exclude-cgroup` names, and how far below the root of the hierarchy it is.
///
/// A name is a directory of a mounted hierarchy, or a path below its root as `/proc/PID/cgroup` shows it.
pub(super) fn place(name: &Path) -> Result<(u64, u32), CgroupError> {
    const OPTION: &str = "--exclude-cgroup";
    let example = || {
        let slice = mount_point().join("system.slice");
        format!("{}, or /system.slice as /proc/PID/cgroup shows it", slice.display())
    };
    let unrooted = || CgroupError::Unrooted(name.to_owned());
    let group = match Cgroup::open(OPTION, name, example) {
        Ok(group) => group,
        Err(refusal) => {
            let below = name.strip_prefix("/").unwrap_or(name);
            match root_mount() {
                Ok(root) => Cgroup::open(OPTION, &root.join(below), example).map_err(|_| refusal)?,
                Err(CgroupError::Part(_)) => return Err(unrooted()),
                Err(_) => return Err(refusal),
            }
        }
    };
    // Without symbolic links and dots each part of the path is one level.
    let path = fs::canonicalize(group.path()).map_err(|_| unrooted())?;
    for (level, above) in (0..).zip(path.ancestors()) {
        match id_of(above) {
            Some(ROOT_ID) => return Ok((group.id(), level)),
            Some(_) => {}
            None => break,
        }
    }
    Err(unrooted())
}

/// The id of the control group whose directory this is, if it is one.
fn id_of(path: &Path) -> Option<u64> {
    let held = statfs(path).ok()?;
    let metadata = fs::metadata(path).ok()?;
    (held.f_type as u64 == CGROUP2_MAGIC).then(|| metadata.ino())
}

/// The same for an example: where it usually is, if it is nowhere.
fn mount_point() -> PathBuf {
    root_mount().unwrap_or_else(|_| PathBuf::from("/sys/fs/cgroup"))
}

/// Where the hierarchy is mounted from its root.
fn root_mount() -> Result<PathBuf, CgroupError> {
    let mountinfo = fs::read(MOUNTS).map_err(|reason| CgroupError::Mounts { path: MOUNTS, reason })?;
    let mounts = cgroup2_mounts(&mountinfo);
    let root = root_of(&mounts, |point| id_of(point) == Some(ROOT_ID))?;
    Ok(root.point.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_file_system_is_no_control_group() {
        let directory = tempfile::tempdir().unwrap();
        let error = Cgroup::at(directory.path()).unwrap_err();
        assert!(matches!(error, CgroupError::NotCgroup2 { .. }), "{error}");
        assert!(error.to_string().starts_with("--cgroup-path "), "{error}");
        let error = Cgroup::at(&directory.path().join("none")).unwrap_err();
        assert!(matches!(error, CgroupError::Missing { .. }), "{error}");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cgroup::at(&file).unwrap_err().to_string();
        assert!(error.contains("not a directory"), "{error}");
        let error = place(directory.path()).unwrap_err();
        assert!(error.to_string().starts_with("--exclude-cgroup "), "{error}");
    }
}
