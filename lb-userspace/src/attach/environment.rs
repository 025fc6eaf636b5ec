//! What the machine must offer before anything is touched.

use std::path::{Path, PathBuf};

use rustix::system::uname;
use rustix::thread::{CapabilitySet, capabilities};

use super::AttachError;

/// `BPF_FS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The oldest kernel that weir supports. What came later is probed for where it is used: XDP on frames in pieces (5.18),
/// tcx (6.6).
const FLOOR: (u32, u32) = (5, 15);

/// Looks at privileges, kernel and BPF file system.
///
/// # Errors
///
/// The first thing that stands in the way.
pub fn check(pin_path: &Path) -> Result<(), AttachError> {
    check_privileges()?;
    check_kernel(&uname().release().to_string_lossy())?;
    check_pin_path(pin_path)
}

fn check_privileges() -> Result<(), AttachError> {
    let held = capabilities(None)
        .map_err(|error| AttachError::Privileges(format!("knowledge of its capabilities ({error})")))?
        .effective;
    let all = CapabilitySet::SYS_ADMIN;
    let needed = [
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
    ];
    let missing: Vec<&str> = needed
        .into_iter()
        .filter(|(needed, _)| {
            let covered = *needed != CapabilitySet::NET_ADMIN && held.contains(all);
            !held.contains(*needed) && !covered
        })
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(AttachError::Privileges(missing.join(", "))) }
}

fn check_kernel(release: &str) -> Result<(), AttachError> {
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= FLOOR => Ok(()),
        _ => Err(AttachError::Kernel { found: release.to_owned() }),
    }
}

/// Whether the pin path, or the nearest directory above it that exists, is on a BPF file system.
///
/// # Errors
///
/// When it is not.
pub fn check_pin_path(pin_path: &Path) -> Result<(), AttachError> {
    let existing: PathBuf =
        pin_path.ancestors().find(|path| path.exists()).map_or_else(PathBuf::new, Path::to_path_buf);
    let is_bpf = rustix::fs::statfs(&existing).is_ok_and(|stat| stat.f_type as u64 == BPF_FS_MAGIC);
    if is_bpf { Ok(()) } else { Err(AttachError::NoBpfFs(pin_path.to_path_buf())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_below_the_floor_are_refused() {
        for good in ["5.15.0", "5.15", "6.12.0-13-amd64", "6.18.44-custom", "10.0.1"] {
            assert!(check_kernel(good).is_ok(), "{good}");
        }
        for bad in ["5.14.99", "5.4.0", "4.19.0-25-amd64", "", "linux"] {
            assert!(check_kernel(bad).unwrap_err().to_string().contains("5.15"), "{bad}");
        }
    }

    #[test]
    fn an_ordinary_directory_is_no_place_for_pins() {
        let error = check_pin_path(&std::env::temp_dir().join("weir")).unwrap_err();
        assert!(error.to_string().contains("mount -t bpf"));
    }
}
