//! Loads the programs into the kernel and attaches them to devices and a control group, and takes them off again.

mod cgroup;
mod cleanup;
mod environment;
mod kernel_log;
mod links;
mod mode;
#[expect(unsafe_code, reason = "edge file: a system call")]
mod netns;
mod object;
mod pin;
mod tc;
mod xdp;

pub use cgroup::{Cgroup, CgroupError, Earlier, Exclusions, SocketMode, take_off_hooks};
pub use cleanup::cleanup;
pub use environment::{check, check_pin_path};
pub use links::{Attached, Attacher, Refused};
pub use mode::{Modes, Tc, TcMode, Xdp, XdpMode};
pub use netns::netns_cookie;
pub use object::{Programs, Wants, load_programs};

use std::path::{Path, PathBuf};

/// Something stands in the way. Each says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The agent may not do what it must.
    #[error(
        "missing {0}: weir loads BPF programs and attaches them to devices; run it as root, or with the capabilities \
         CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (in a pod: securityContext.capabilities)"
    )]
    Privileges(String),
    /// The kernel is too old.
    #[error("kernel {found} is too old: weir needs Linux 5.15 or later")]
    Kernel {
        /// Its release.
        found: String,
    },
    /// The pin path is on no BPF file system.
    #[error(
        "{} is not on a BPF file system: mount one with `mount -t bpf bpf /sys/fs/bpf`, or name another place with \
         --pin-path", .0.display()
    )]
    NoBpfFs(PathBuf),
    /// There is no such device.
    #[error(
        "there is no device {0} here: see `ip link` for the devices of this network namespace (options --device and \
         --workload-device; a pattern waits for devices to come)"
    )]
    NoDevice(String),
    /// Another program is where XDP must be.
    #[error(
        "device {0} has an XDP program of somebody else, and a device runs only one: find it with `bpftool net`, take \
         it off with `ip link set dev {0} xdp off` (or end the program that attached it); until then only --xdp-mode \
         auto or off serve on the device, by tc alone"
    )]
    ForeignXdp(String),
    /// The mode that was asked for cannot be had.
    #[error("device {device} cannot run XDP in {mode} mode: {reason}; --xdp-mode auto takes what it can")]
    XdpMode {
        /// The device.
        device: String,
        /// What was asked for.
        mode: Xdp,
        /// What the kernel says.
        reason: String,
    },
    /// The kernel refused a program or map.
    #[error("cannot load the BPF programs: {0}")]
    Load(String),
    /// A pinned map has another size than asked for.
    #[error(
        "map {name} exists with {actual} entries, and {expected} were asked for: keep the old value of {option}, or run \
         `weir cleanup` first, which ends what weir serves until the next start"
    )]
    Size {
        /// The map.
        name: String,
        /// Its size.
        actual: u64,
        /// The size of the options.
        expected: u64,
        /// The option.
        option: &'static str,
    },
    /// The kernel does not run the programs on sockets.
    #[error("no programs on sockets: {0}")]
    Sockets(String),
    /// A control group will not do.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A pin or attachment failed.
    #[error("cannot {what}: {reason}")]
    Other {
        /// What was tried.
        what: String,
        /// What the kernel says.
        reason: String,
    },
}

impl AttachError {
    /// Something that was to be done with a file failed.
    fn path(what: &str, path: &Path, error: &dyn std::error::Error) -> Self {
        Self::Other { what: format!("{what} {}", path.display()), reason: object::chain(error) }
    }
}
