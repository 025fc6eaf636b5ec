//! What the machine must have before BPF programs can be loaded and tried on it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::step::step;

/// The oldest kernel that weir supports.
const KERNEL_MIN: (u32, u32) = (5, 15);
const BPFFS: &str = "/sys/fs/bpf";
/// Programs that tests call, the argument that proves they run, and the Debian packages that have them, best first.
const TOOLS: [(&str, &str, &[&str]); 3] = [
    ("ip", "-Version", &["iproute2"]),
    ("ethtool", "--version", &["ethtool"]),
    ("bpftool", "version", &["bpftool", "linux-tools-generic linux-tools-common"]),
];

/// Checks this machine, and sets up what root can set up. `what` is the command that needs it.
pub(crate) fn prepare(what: &str) -> Result<()> {
    require_root(what)?;
    step("kernel and tools", || {
        check_kernel(&fs::read_to_string("/proc/sys/kernel/osrelease")?)?;
        mount_bpffs()?;
        TOOLS.iter().try_for_each(|(tool, proof, packages)| ensure_tool(tool, proof, packages))
    })
}

/// `PATH` with the directories of system tools, which the path of a user who became root may not have.
pub(crate) fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn require_root(what: &str) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("who runs this program is unknown")?;
    if effective_user(&status) == Some(0) {
        return Ok(());
    }
    let mut message = format!(
        "`cargo xtask {what}` needs root: it loads BPF programs, creates network namespaces and attaches XDP.\n  \
         as root:       sudo -E env \"PATH=$PATH\" cargo xtask {what}"
    );
    if what == "test" {
        message.push_str("\n  without root:  cargo xtask test --host   (all tests that need no kernel)");
    }
    bail!(message)
}

/// The effective user id in the text of `/proc/self/status`.
fn effective_user(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

fn check_kernel(release: &str) -> Result<()> {
    let release = release.trim();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("the kernel calls itself `{release}`, which is not a version");
    };
    if (major, minor) < KERNEL_MIN {
        bail!("this kernel is {release}, but weir needs Linux {}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1);
    }
    Ok(())
}

fn mount_bpffs() -> Result<()> {
    if is_bpffs(&fs::read_to_string("/proc/mounts")?) {
        return Ok(());
    }
    eprintln!("xtask: mounting {BPFFS}, which is absent");
    if !Path::new(BPFFS).exists() {
        bail!("{BPFFS} does not exist: this kernel is built without BPF, or /sys is not mounted");
    }
    process::run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]).env("PATH", path()))
}

/// Whether the text of `/proc/mounts` has the BPF file system at its place.
fn is_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(BPFFS) && words.next() == Some("bpf")
    })
}

fn ensure_tool(tool: &str, proof: &str, packages: &[&str]) -> Result<()> {
    let check = || process::output(Command::new(tool).arg(proof).env("PATH", path()));
    if check().is_ok() {
        return Ok(());
    }
    let names = packages.join(" or ");
    if process::output(Command::new("apt-get").arg("--version")).is_err() {
        bail!("`{tool}` is missing: install the package that has it (Debian and Ubuntu: {names})");
    }
    eprintln!("xtask: `{tool}` is missing; installing it by apt-get ({names})");
    process::output(apt().arg("update"))?;
    let mut problems = Vec::new();
    for choice in packages {
        let mut install = apt();
        install.args(["install", "--yes", "--no-install-recommends"]).args(choice.split(' '));
        match process::output(&mut install).and_then(|_| check()) {
            Ok(_) => return Ok(()),
            Err(error) => problems.push(error.to_string()),
        }
    }
    bail!("`{tool}` could not be installed:\n{}", problems.join("\n"))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Another installation may be at work, as on a machine that has just started.
    command
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("PATH", path());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_below_the_floor_are_refused() {
        for release in ["5.15.0-91-generic\n", "6.12.0", "10.0-rc1", "5.15+"] {
            check_kernel(release).unwrap_or_else(|error| panic!("{release}: {error}"));
        }
        for release in ["5.14.9", "5.4.0", "4.19.0-25-amd64", "five", ""] {
            assert!(check_kernel(release).is_err(), "{release}");
        }
    }

    #[test]
    fn only_the_bpf_file_system_at_its_place_counts() {
        assert!(is_bpffs("sysfs /sys sysfs rw 0 0\nnone /sys/fs/bpf bpf rw,mode=700 0 0\n"));
        assert!(!is_bpffs("bpf /mnt/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
    }

    #[test]
    fn the_effective_user_decides() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t1000\t1000\n"), Some(0));
        assert_eq!(effective_user("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_user("Gid:\t0\t0\t0\t0\n"), None);
    }

    #[test]
    fn a_tool_that_runs_is_not_installed() {
        ensure_tool("true", "--version", &["no-such-package"]).expect("`true` is on every machine");
    }
}
