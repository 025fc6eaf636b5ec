//! Links of programs to devices: pinned, so that they outlive the agent, and replaced at once by the next one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttach};
use aya::programs::xdp::{XdpLink, XdpMode as KernelMode};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp};
use tracing::info;

use crate::maps::Pins;

use super::environment::check_pin_path;
use super::object::{MAPS, chain, program};
use super::{AttachError, Device, Programs, XdpMode};

/// What is attached to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The device.
    pub device: String,
    /// `native` or `generic`.
    pub xdp: &'static str,
}

/// Links made by one call, removed again unless all could be made.
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            // The pin is the only thing that holds the link; there is nothing more to do when it cannot be removed.
            let _removed = fs::remove_file(path);
        }
    }
}

/// Attaches all programs to all devices. Links that are pinned already get the new programs at once, without a
/// packet in between; links to devices that are not named any more go.
///
/// # Errors
///
/// The first refusal; what this call made is then removed again.
pub fn attach(
    programs: &mut Programs,
    devices: &[Device],
    mode: XdpMode,
    pins: &Pins,
) -> Result<Vec<Attached>, AttachError> {
    let directory = pins.links();
    fs::create_dir_all(&directory).map_err(|error| other("make", &directory, &error))?;
    let mut made = Made(Vec::new());
    let mut attached = Vec::new();
    for device in devices {
        // Replies first: a translated packet whose reply nobody translates is a broken connection.
        attach_tc(programs, device, TcAttachType::Egress, &directory, &mut made)?;
        attach_tc(programs, device, TcAttachType::Ingress, &directory, &mut made)?;
        let xdp = attach_xdp(programs, device, mode, &directory, &mut made)?;
        info!(device = device.name, xdp, "attached");
        attached.push(Attached { device: device.name.clone(), xdp });
    }
    made.0.clear();
    forget_others(&directory, devices)?;
    Ok(attached)
}

fn attach_tc(
    programs: &mut Programs,
    device: &Device,
    hook: TcAttachType,
    directory: &Path,
    made: &mut Made,
) -> Result<(), AttachError> {
    let (name, side) = match hook {
        TcAttachType::Ingress => ("weir_tc_ingress", "ingress"),
        TcAttachType::Egress => ("weir_tc_egress", "egress"),
    };
    let path = directory.join(format!("tc-{side}-{}", device.name));
    let program: &mut SchedClassifier = program(&mut programs.ebpf, name)?;
    if let Some(link) = pinned(&path)
        && let Ok(link) = SchedClassifierLink::try_from(link)
        && program.attach_to_link(link).is_ok()
    {
        return Ok(());
    }
    remove_stale(&path)?;
    // Outermost on both ways, so that programs of others see a packet as it is inside the node.
    let order = match hook {
        TcAttachType::Ingress => LinkOrder::first(),
        TcAttachType::Egress => LinkOrder::last(),
    };
    let refused = |error: ProgramError| AttachError::Other {
        what: format!("attach to tc {side} of {}", device.name),
        reason: format!("{} (tcx needs Linux 6.6)", chain(&error)),
    };
    let id = program.attach(device.ifindex, TcAttach::Tcx { attach_type: hook, order }).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    let link = FdLink::try_from(link).map_err(|error| other("pin the link to", &path, &error))?;
    pin(link, path, made)
}

fn attach_xdp(
    programs: &mut Programs,
    device: &Device,
    mode: XdpMode,
    directory: &Path,
    made: &mut Made,
) -> Result<&'static str, AttachError> {
    let modes: &[(&'static str, KernelMode)] = match mode {
        XdpMode::Auto => &[("native", KernelMode::Driver), ("generic", KernelMode::Skb)],
        XdpMode::Native => &[("native", KernelMode::Driver)],
        XdpMode::Generic => &[("generic", KernelMode::Skb)],
    };
    let path_of = |name: &str| directory.join(format!("xdp-{name}-{}", device.name));
    let program: &mut Xdp = program(&mut programs.ebpf, "weir_xdp")?;
    for (name, _) in modes {
        if let Some(link) = pinned(&path_of(name))
            && let Ok(link) = XdpLink::try_from(link)
            && program.attach_to_link(link).is_ok()
        {
            return Ok(name);
        }
    }
    // A link in a mode that is not wanted, or to a device that is gone. The kernel detaches it a little later.
    let mut leaving = false;
    for name in ["native", "generic"] {
        leaving |= path_of(name).exists();
        remove_stale(&path_of(name))?;
    }
    let deadline = Instant::now() + DETACH_MAX;
    let mut reason = String::new();
    for (name, kernel_mode) in modes {
        let attached = loop {
            match program.attach(device.ifindex, *kernel_mode) {
                Err(error) if leaving && is_busy(&error) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                attached => break attached,
            }
        };
        match attached {
            Ok(id) => {
                let link = program
                    .take_link(id)
                    .map_err(|error| other("take the link of", &path_of(name), &error))?;
                // Without a link there is nothing to pin: the program would end with the agent.
                let link = FdLink::try_from(link).map_err(|_| AttachError::Other {
                    what: format!("attach XDP to {} by a link", device.name),
                    reason: "the kernel knows only the older way, which cannot outlive the agent".to_owned(),
                })?;
                pin(link, path_of(name), made)?;
                return Ok(name);
            }
            Err(error) if is_busy(&error) => return Err(AttachError::ForeignXdp(device.name.clone())),
            Err(error) => reason = chain(&error),
        }
    }
    let mode = modes.last().map_or("native", |(name, _)| *name);
    Err(AttachError::XdpMode { device: device.name.clone(), mode, reason })
}

/// How long the kernel may take to detach a link that was removed.
const DETACH_MAX: Duration = Duration::from_secs(2);

/// EBUSY: another link. EEXIST: another mode or a program without a link.
fn is_busy(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else { return false };
    matches!(error.io_error.raw_os_error(), Some(code) if code == EBUSY || code == EEXIST)
}

const EBUSY: i32 = 16;
const EEXIST: i32 = 17;

fn pinned(path: &Path) -> Option<FdLink> {
    path.exists().then(|| PinnedLink::from_pin(path).ok().map(FdLink::from)).flatten()
}

fn pin(link: FdLink, path: PathBuf, made: &mut Made) -> Result<(), AttachError> {
    link.pin(&path).map_err(|error| other("pin", &path, &error))?;
    made.0.push(path);
    Ok(())
}

fn remove_stale(path: &Path) -> Result<(), AttachError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(other("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Removes links to devices that are not named.
fn forget_others(directory: &Path, devices: &[Device]) -> Result<(), AttachError> {
    let kept = |file: &str| {
        devices
            .iter()
            .any(|device| LINKS.iter().any(|prefix| file.strip_prefix(prefix) == Some(&device.name)))
    };
    for entry in fs::read_dir(directory).map_err(|error| other("read", directory, &error))? {
        let entry = entry.map_err(|error| other("read", directory, &error))?;
        if !kept(&entry.file_name().to_string_lossy()) {
            remove_stale(&entry.path())?;
        }
    }
    Ok(())
}

/// Takes everything of weir off this machine: links first, so that no program is without its maps. Answers whether
/// there was anything. Nothing that weir did not pin is touched.
///
/// # Errors
///
/// When the path is on no BPF file system, something cannot be removed, or there is something of somebody else.
pub fn cleanup(pins: &Pins) -> Result<bool, AttachError> {
    if !pins.root().exists() {
        return Ok(false);
    }
    check_pin_path(pins.root())?;
    remove_files(&pins.links(), |name| LINKS.iter().any(|prefix| name.starts_with(prefix)))?;
    remove_files(&pins.maps(), |name| MAPS.contains(&name))?;
    for directory in [pins.links(), pins.maps(), pins.root().to_owned()] {
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|error| other("remove", &directory, &error))?,
        }
    }
    Ok(true)
}

/// How links are named, before the device.
const LINKS: [&str; 4] = ["tc-ingress-", "tc-egress-", "xdp-native-", "xdp-generic-"];

/// Removes the files of a directory that are weir's.
fn remove_files(directory: &Path, ours: impl Fn(&str) -> bool) -> Result<(), AttachError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| other("read", directory, &error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| other("read", directory, &error))?;
        if ours(&entry.file_name().to_string_lossy()) {
            remove_stale(&entry.path())?;
        }
    }
    Ok(())
}

fn other(what: &str, path: &Path, error: &dyn std::error::Error) -> AttachError {
    AttachError::Other { what: format!("{what} {}", path.display()), reason: chain(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleanup_touches_nothing_that_is_on_no_bpf_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("links/xdp-native-eth0");
        fs::create_dir(directory.path().join("links")).unwrap();
        fs::write(&file, "somebody's").unwrap();
        let error = cleanup(&Pins::new(directory.path())).unwrap_err();
        assert!(matches!(error, AttachError::NoBpfFs(_)), "{error}");
        assert!(file.exists());
    }

    #[test]
    fn only_files_with_names_of_weir_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["SLOTS", "SLOTS2", "mine"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        remove_files(directory.path(), |name| MAPS.contains(&name)).unwrap();
        let exists = |name: &str| directory.path().join(name).exists();
        assert_eq!((exists("SLOTS"), exists("SLOTS2"), exists("mine")), (false, true, true));
    }
}
