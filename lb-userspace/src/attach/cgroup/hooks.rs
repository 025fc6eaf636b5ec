//! Links of the programs on sockets to a control group: pinned, so that they outlive the agent, and given the new
//! programs by the next one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use aya::Ebpf;
use aya::programs::cgroup_sock_addr::CgroupSockAddrLink;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{CgroupAttachMode, CgroupSock, CgroupSockAddr, ProgramError, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported, is_program_supported};
use tracing::{debug, warn};

use crate::attach::links::Attacher;
use crate::attach::object::{chain, program};
use crate::attach::pin::remove;
use crate::attach::{AttachError, Programs};
use crate::maps::detach_link;

use super::Cgroup;
use super::pin::{Hook, HookPin, hook_pins_of};

/// Links take part beside those of others, whatever the mode says; no flag may be given for one.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

const EPERM: i32 = 1;

/// What becomes of programs on sockets that an earlier start attached, when this one attaches none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// There are none that translate.
    None,
    /// They go on.
    Serve,
    /// They had maps that nobody writes any more, and are taken off.
    Stale,
}

/// Loads the programs. The error is why this kernel does not run them.
pub(in crate::attach) fn load(ebpf: &mut Ebpf) -> Result<(), String> {
    for hook in Hook::ALL {
        let name = hook.program();
        let loaded = match hook {
            Hook::Release => program::<CgroupSock>(ebpf, &name).map(CgroupSock::load),
            _ => program::<CgroupSockAddr>(ebpf, &name).map(CgroupSockAddr::load),
        };
        loaded.map_err(|error| error.to_string())?.map_err(|error| {
            if matches!(is_program_supported(ProgramType::CgroupSockAddr), Ok(false)) {
                return "this kernel has no programs on control groups (CONFIG_CGROUP_BPF)".to_owned();
            }
            debug!("{name}: {}", chain(&error));
            format!("the kernel refuses program {name}: {}", refusal(&error))
        })?;
    }
    Ok(())
}

/// The kernel's answer on one line; the verifier's log has many.
fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => {
            format!("{io_error} (WEIR_LOG=debug shows the verifier's log)")
        }
        other => chain(other),
    }
}

/// Whether programs may choose the error that a call ends with (`bpf_set_retval`, Linux 6.1); without, it is always the
/// same one. Where that cannot be found out they do not try.
pub(in crate::attach) fn set_retval() -> bool {
    is_helper_supported(ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_set_retval).unwrap_or(false)
}

impl Attacher {
    /// Attaches the programs on sockets to a control group, or gives those that are attached there the new code; links to
    /// another control group are taken off. Maps and settings must be written before.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; nothing is attached then that was not before.
    pub fn attach_hooks(&mut self, cgroup: &Cgroup) -> Result<(), AttachError> {
        self.programs.check_sockets()?;
        let attached = self.try_attach_hooks(cgroup);
        if attached.is_err() {
            self.undo_hooks();
        }
        attached
    }

    fn try_attach_hooks(&mut self, cgroup: &Cgroup) -> Result<(), AttachError> {
        let (translating, others): (Vec<Hook>, Vec<Hook>) =
            Hook::ALL.into_iter().partition(|hook| hook.translates());
        self.attach_each(cgroup, others)?;
        // Where one group is above the other, both programs would see a call: the second one sees the backend that the
        // first has chosen, and forgets the Service. That calls pass untranslated for a moment is the lesser evil.
        self.take_off_others(cgroup, Hook::translates)?;
        self.attach_each(cgroup, translating)?;
        self.take_off_others(cgroup, |_| true)
    }

    fn attach_each(&mut self, cgroup: &Cgroup, hooks: Vec<Hook>) -> Result<(), AttachError> {
        for hook in hooks {
            self.made_hooks.extend(attach(&mut self.programs, cgroup, hook, &self.directory)?);
        }
        Ok(())
    }

    /// Takes off links to other control groups, and those that were to take the place of another and did not.
    fn take_off_others(&self, cgroup: &Cgroup, which: impl Fn(Hook) -> bool) -> Result<(), AttachError> {
        for pin in hook_pins_of(&self.directory)? {
            if (pin.next || pin.cgroup != cgroup.id()) && which(pin.hook) {
                take_off(&pin.path(&self.directory))?;
            }
        }
        Ok(())
    }

    /// Sees to the programs on sockets of earlier starts, when this one has attached none. When the maps are new, theirs are
    /// of another layout.
    ///
    /// # Errors
    ///
    /// When pins cannot be read or removed.
    pub fn earlier_hooks(&self) -> Result<Earlier, AttachError> {
        if self.programs.new_maps {
            return Ok(if take_off_hooks(&self.directory)? { Earlier::Stale } else { Earlier::None });
        }
        // Of others that are left, sockets that are translated already have the use.
        let serves = hook_pins_of(&self.directory)?.iter().any(|pin| pin.hook.translates());
        Ok(if serves { Earlier::Serve } else { Earlier::None })
    }

    /// Takes off those that were not attached before this process.
    pub(in crate::attach) fn undo_hooks(&mut self) {
        for pin in std::mem::take(&mut self.made_hooks).into_iter().rev() {
            if let Err(error) = take_off(&pin.path(&self.directory)) {
                warn!("{error}");
            }
        }
    }
}

/// Takes the programs on sockets off; answers whether there were any.
///
/// # Errors
///
/// When a pin cannot be removed.
pub fn take_off_hooks(directory: &Path) -> Result<bool, AttachError> {
    let pins = hook_pins_of(directory)?;
    for pin in &pins {
        take_off(&pin.path(directory))?;
    }
    Ok(!pins.is_empty())
}

/// Detaches what is pinned, and removes the pin.
fn take_off(path: &Path) -> Result<(), AttachError> {
    if let Err(error) = detach_link(path)
        && error.kind() != ErrorKind::NotFound
    {
        // It goes with its pin, some time later.
        debug!("{}: {error}", path.display());
    }
    remove(path)
}

/// Attaches one program; gives the pin if there was none.
fn attach(
    programs: &mut Programs,
    cgroup: &Cgroup,
    hook: Hook,
    directory: &Path,
) -> Result<Option<HookPin>, AttachError> {
    let name = hook.program();
    let refused = |error: ProgramError| AttachError::Other {
        what: format!("attach {name} to control group {}", cgroup.path().display()),
        reason: format!("{}{}", chain(&error), if is_exclusive(&error) { EXCLUSIVE } else { "" }),
    };
    let pin = HookPin { hook, cgroup: cgroup.id(), next: false };
    let path = pin.path(directory);
    let link: Result<FdLink, ProgramError> = if hook == Hook::Release {
        let program: &mut CgroupSock = program(&mut programs.ebpf, &name)?;
        let id = program.attach(&cgroup.directory, MODE).map_err(refused)?;
        program.take_link(id).and_then(|link| Ok(FdLink::try_from(link)?))
    } else {
        let program: &mut CgroupSockAddr = program(&mut programs.ebpf, &name)?;
        if renew(program, &path) {
            return Ok(None);
        }
        // One that cannot be given the program goes first: two would both translate.
        take_off(&path)?;
        let id = program.attach(&cgroup.directory, MODE).map_err(refused)?;
        program.take_link(id).and_then(|link| Ok(FdLink::try_from(link)?))
    };
    put(link.map_err(refused)?, pin, directory)
}

/// Gives the program to the link that is pinned, without a call in between; answers whether there was one that lives. The
/// link stays as it is when it cannot be given the program.
fn renew(program: &mut CgroupSockAddr, path: &Path) -> bool {
    if path.exists()
        && let Ok(pinned) = PinnedLink::from_pin(path)
        && let Ok(pinned) = CgroupSockAddrLink::try_from(FdLink::from(pinned))
        && let Ok(id) = program.attach_to_link(pinned)
    {
        // The pin alone holds it, so that removing the pin detaches.
        drop(program.take_link(id));
        return true;
    }
    false
}

/// Pins a new link, in the place of the one that is pinned. For a moment both run, which is harmless for the release of a
/// socket only: to delete what is deleted changes nothing. Gives the pin if there was none.
fn put(link: FdLink, pin: HookPin, directory: &Path) -> Result<Option<HookPin>, AttachError> {
    let path = pin.path(directory);
    if !path.exists() {
        link.pin(&path).map_err(|error| AttachError::path("pin", &path, &error))?;
        return Ok(Some(pin));
    }
    let next = HookPin { next: true, ..pin }.path(directory);
    // A start that was killed may have left it.
    remove(&next)?;
    link.pin(&next).map_err(|error| AttachError::path("pin", &next, &error))?;
    fs::rename(&next, &path).map_err(|error| AttachError::path("rename", &next, &error))?;
    Ok(None)
}

/// What to do about the one refusal that has nothing to do with this program.
const EXCLUSIVE: &str =
    " (another program may be attached there for itself alone: see `bpftool cgroup tree`)";

fn is_exclusive(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(EPERM))
}
