//! The programs on sockets: attached to a control group, they see the calls of the processes there and below.

mod exclude;
mod hooks;
mod mount;
mod pin;
mod place;

pub use exclude::Exclusions;
pub use hooks::{Earlier, take_off_hooks};
pub use place::Cgroup;

pub(super) use hooks::{load, set_retval};
pub(super) use pin::HookPin;

use std::path::PathBuf;
use std::str::FromStr;

/// Whether calls on sockets are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketMode {
    /// Where there is a cgroup2 hierarchy and the kernel can.
    #[default]
    Auto,
    /// As `Auto`, but that they cannot be is an error.
    On,
    /// Not.
    Off,
}

impl FromStr for SocketMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            other => Err(format!("`{other}` is none of auto, on, off")),
        }
    }
}

/// A control group is not there, or not one that will do.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing to attach to.
    #[error(
        "no cgroup2 hierarchy is mounted, to which programs on sockets attach: mount it at a directory of its own, beside what \
         /sys/fs/cgroup may hold (`mount -t cgroup2 none DIR`; in a pod: a hostPath volume of the host's), or name one with \
         --cgroup-path"
    )]
    NoHierarchy,
    /// What is mounted ends at this container.
    #[error(
        "{} shows a part of the cgroup2 hierarchy only, as in a container, and programs there would see the sockets of \
         that part alone: mount the host's (in a pod: a hostPath volume of /sys/fs/cgroup); where the node is itself a \
         container (as with kind) and this is all of it, say so with --cgroup-path {}", .0.display(), .0.display()
    )]
    Part(PathBuf),
    /// The mounts cannot be read.
    #[error("cannot read {path}: {reason}; name a directory of a cgroup2 hierarchy with --cgroup-path")]
    Mounts {
        /// Where they are listed.
        path: &'static str,
        /// What the kernel says.
        reason: std::io::Error,
    },
    /// The directory of an option cannot be opened.
    #[error("{option} {}: {reason}; name a directory that is there, such as {example}", path.display())]
    Missing {
        /// The option.
        option: &'static str,
        /// The directory.
        path: PathBuf,
        /// What it should be like.
        example: String,
        /// What the kernel says.
        reason: std::io::Error,
    },
    /// The directory of an option is on another file system.
    #[error(
        "{option} {} is not in a cgroup2 hierarchy: `findmnt -t cgroup2` shows where there is one; name a directory \
         there, such as {example}", path.display()
    )]
    NotCgroup2 {
        /// The option.
        option: &'static str,
        /// The directory.
        path: PathBuf,
        /// What it should be like.
        example: String,
    },
    /// How far below the root a control group is cannot be seen.
    #[error(
        "--exclude-cgroup {} cannot be excluded: programs know a control group by its place below the root of the \
         hierarchy, and what is mounted there shows a part of it only; mount the host's (in a pod: a hostPath volume of \
         /sys/fs/cgroup), and name the directory there; a node that is itself a container (as with kind) has no such \
         root, and can exclude by --socket-mark only", .0.display()
    )]
    Unrooted(PathBuf),
    /// The programs look at so many, no more.
    #[error(
        "--exclude-cgroup names {named} control groups, and at most {most} can be: name one above several of them"
    )]
    TooMany {
        /// How many there are.
        named: usize,
        /// How many there may be.
        most: usize,
    },
}
