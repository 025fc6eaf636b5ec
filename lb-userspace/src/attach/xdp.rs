//! The XDP program on a device.

use std::time::{Duration, Instant};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpError, XdpLink, XdpMode as KernelMode};
use aya::programs::{ProgramError, Xdp as Program};

use crate::devices::Link;

use super::AttachError;
use super::links::Attacher;
use super::mode::Xdp;
use super::object::{chain, program};
use super::pin::{Pin, Slot, remove};

/// How long the kernel may take to detach a link that was removed.
const DETACH_MAX: Duration = Duration::from_secs(2);

const EBUSY: i32 = 16;
const EEXIST: i32 = 17;

const fn slot(xdp: Xdp) -> Option<Slot> {
    match xdp {
        Xdp::Native => Some(Slot::XdpNative),
        Xdp::Generic => Some(Slot::XdpGeneric),
        Xdp::None => None,
    }
}

impl Attacher {
    /// Whether the link of a driver's XDP program is pinned and will be kept.
    pub(super) fn keeps_native(&self, link: &Link) -> bool {
        self.modes.xdp.attempts(link).contains(&Xdp::Native) && self.xdp_pin(link, Slot::XdpNative).1.exists()
    }

    fn xdp_pin(&self, link: &Link, slot: Slot) -> (Pin, std::path::PathBuf) {
        let pin = Pin { slot, ifindex: link.ifindex, device: link.name.clone() };
        let path = pin.path(&self.directory);
        (pin, path)
    }

    /// Takes XDP off a device; answers whether it was there.
    pub(super) fn remove_xdp(&self, link: &Link) -> Result<bool, AttachError> {
        let mut was_there = false;
        for slot in [Slot::XdpNative, Slot::XdpGeneric] {
            let (_, path) = self.xdp_pin(link, slot);
            was_there |= path.exists();
            remove(&path)?;
        }
        Ok(was_there)
    }

    /// Attaches the XDP program in the best of the ways that are allowed, or gives the attached one the new code.
    pub(super) fn attach_xdp(&mut self, link: &Link) -> Result<Xdp, AttachError> {
        let attempts = self.modes.xdp.attempts(link);
        if let Some(reason) = self.programs.xdp_missing.clone().filter(|_| !attempts.is_empty()) {
            self.remove_xdp(link)?;
            return Err(AttachError::XdpMode { device: link.name.clone(), mode: Xdp::Native, reason });
        }
        for xdp in attempts {
            if self.renew_xdp(link, *xdp)? {
                return Ok(*xdp);
            }
        }
        // A link in a mode that is not wanted, or to a device that is gone. The kernel detaches it a little later.
        let leaving = self.remove_xdp(link)?;
        let deadline = Instant::now() + DETACH_MAX;
        let mut refusal = None;
        for xdp in attempts {
            let attached = loop {
                match self.make_xdp(link, *xdp) {
                    Err(AttachError::ForeignXdp(_)) if leaving && Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    attached => break attached,
                }
            };
            match attached {
                Ok(()) => return Ok(*xdp),
                Err(error @ AttachError::XdpMode { .. }) => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        refusal.map_or(Ok(Xdp::None), Err)
    }

    /// Gives the program to a pinned link, without a packet in between; answers whether there was one that lives.
    fn renew_xdp(&mut self, link: &Link, xdp: Xdp) -> Result<bool, AttachError> {
        let Some(slot) = slot(xdp) else { return Ok(false) };
        let (_, path) = self.xdp_pin(link, slot);
        let program: &mut Program = program(&mut self.programs.ebpf, "weir_xdp")?;
        // The link that the pin holds stays as it is when it cannot be given the program.
        if path.exists()
            && let Ok(pinned) = PinnedLink::from_pin(&path)
            && let Ok(pinned) = XdpLink::try_from(FdLink::from(pinned))
            && let Ok(id) = program.attach_to_link(pinned)
        {
            // The pin alone holds it, so that removing the pin detaches.
            drop(program.take_link(id));
            return Ok(true);
        }
        Ok(false)
    }

    fn make_xdp(&mut self, link: &Link, xdp: Xdp) -> Result<(), AttachError> {
        let (mode, slot) = match xdp {
            Xdp::Native => (KernelMode::Driver, Slot::XdpNative),
            Xdp::Generic => (KernelMode::Skb, Slot::XdpGeneric),
            Xdp::None => return Ok(()),
        };
        let (pin, path) = self.xdp_pin(link, slot);
        let program: &mut Program = program(&mut self.programs.ebpf, "weir_xdp")?;
        let id = program.attach(link.ifindex, mode).map_err(|error| {
            if is_busy(&error) {
                AttachError::ForeignXdp(link.name.clone())
            } else {
                AttachError::XdpMode { device: link.name.clone(), mode: xdp, reason: chain(&error) }
            }
        })?;
        let made =
            program.take_link(id).map_err(|error| AttachError::path("take the link of", &path, &error))?;
        // Without a link there is nothing to pin: the program would end with the agent.
        let made = FdLink::try_from(made).map_err(|_| AttachError::XdpMode {
            device: link.name.clone(),
            mode: xdp,
            reason: "the kernel knows only the older way, which cannot outlive the agent".to_owned(),
        })?;
        made.pin(&path).map_err(|error| AttachError::path("pin", &path, &error))?;
        self.made.push(pin);
        Ok(())
    }
}

/// EBUSY: another link. EEXIST: another mode or a program without a link.
fn is_busy(error: &ProgramError) -> bool {
    let code = match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    };
    matches!(code, Some(EBUSY | EEXIST))
}
