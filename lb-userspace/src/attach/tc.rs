//! The tc programs on a device: by links where the kernel has tcx, else by filters of a clsact queueing discipline.

use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttach, TcError, TcHandle, qdisc_add_clsact};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use tracing::debug;

use crate::devices::{Link, Role, remove_clsact};

use super::links::Attacher;
use super::mode::{Tc, TcMode};
use super::object::{chain, program};
use super::pin::{Pin, Slot, remove};
use super::{AttachError, Programs};

/// Handle of weir's filters, by which they are known again: `weir` in ASCII.
const HANDLE: TcHandle = TcHandle::new(0x7765, 0x6972);

/// Filters run by ascending priority: what arrives is weir's first, what leaves is weir's last, so that programs of
/// others see a packet as it is inside the node.
const fn priority(side: TcAttachType) -> u16 {
    match side {
        TcAttachType::Ingress => 0x77,
        TcAttachType::Egress => 0xbf77,
    }
}

const EEXIST: i32 = 17;

const fn side_name(side: TcAttachType) -> &'static str {
    match side {
        TcAttachType::Ingress => "ingress",
        TcAttachType::Egress => "egress",
    }
}

/// The program for a side of a device.
const fn program_name(side: TcAttachType, role: Role) -> &'static str {
    match (side, role) {
        (TcAttachType::Ingress, Role::Node) => "weir_tc_ingress",
        (TcAttachType::Ingress, Role::Workload) => "weir_tc_workload",
        (TcAttachType::Egress, _) => "weir_tc_egress",
    }
}

fn classifier(
    programs: &mut Programs,
    side: TcAttachType,
    role: Role,
) -> Result<&mut SchedClassifier, AttachError> {
    program(&mut programs.ebpf, program_name(side, role))
}

const fn tcx_slot(side: TcAttachType) -> Slot {
    match side {
        TcAttachType::Ingress => Slot::TcxIngress,
        TcAttachType::Egress => Slot::TcxEgress,
    }
}

const fn clsact_slot(side: TcAttachType) -> Slot {
    match side {
        TcAttachType::Ingress => Slot::ClsactIngress,
        TcAttachType::Egress => Slot::ClsactEgress,
    }
}

impl Attacher {
    /// Attaches both tc programs, or gives those that are attached the new code.
    pub(super) fn attach_tc(&mut self, link: &Link, role: Role) -> Result<Tc, AttachError> {
        // Replies first: a translated packet whose reply nobody translates is a broken connection.
        let sides = [TcAttachType::Egress, TcAttachType::Ingress];
        if self.modes.tc != TcMode::Clsact {
            let tried = sides.into_iter().try_for_each(|side| self.attach_tcx(link, role, side));
            match tried {
                Ok(()) => {
                    // The queueing discipline stays until the device is left: to remove one, as to add one, stops the
                    // device for a moment (`qdisc_graft` in the kernel's `net/sched/sch_api.c`).
                    for slot in [Slot::ClsactIngress, Slot::ClsactEgress] {
                        self.drop_pin(&pin(slot, link))?;
                    }
                    return Ok(Tc::Tcx);
                }
                Err(error) if self.modes.tc == TcMode::Tcx => return Err(error),
                Err(error) => debug!("{error}; trying clsact"),
            }
        }
        for side in sides {
            self.attach_clsact(link, role, side)?;
        }
        for side in sides {
            self.drop_pin(&pin(tcx_slot(side), link))?;
        }
        Ok(Tc::Clsact)
    }

    fn attach_tcx(&mut self, link: &Link, role: Role, side: TcAttachType) -> Result<(), AttachError> {
        let pin = pin(tcx_slot(side), link);
        let path = pin.path(&self.directory);
        let program = classifier(&mut self.programs, side, role)?;
        // The link that the pin holds stays as it is when it cannot be given the program.
        if path.exists()
            && let Ok(pinned) = PinnedLink::from_pin(&path)
            && let Ok(pinned) = SchedClassifierLink::try_from(FdLink::from(pinned))
            && let Ok(id) = program.attach_to_link(pinned)
        {
            // The pin alone holds it, so that removing the pin detaches.
            drop(program.take_link(id));
            return Ok(());
        }
        remove(&path)?;
        let order = match side {
            TcAttachType::Ingress => LinkOrder::first(),
            TcAttachType::Egress => LinkOrder::last(),
        };
        let refused = |error: ProgramError| AttachError::Other {
            what: format!("attach to tcx {} of {}", side_name(side), link.name),
            reason: format!("{} (tcx needs Linux 6.6)", chain(&error)),
        };
        let attach = TcAttach::Tcx { attach_type: side, order };
        let id = program.attach(link.ifindex, attach).map_err(refused)?;
        let made = program.take_link(id).map_err(refused)?;
        let made =
            FdLink::try_from(made).map_err(|error| AttachError::path("pin the link to", &path, &error))?;
        made.pin(&path).map_err(|error| AttachError::path("pin", &path, &error))?;
        self.made.push(pin);
        Ok(())
    }

    /// The filter is known by its parent, priority and handle. One that is there gets the new program in its place, so
    /// that there is one at all times.
    fn attach_clsact(&mut self, link: &Link, role: Role, side: TcAttachType) -> Result<(), AttachError> {
        let refused = |reason: String| AttachError::Other {
            what: format!("attach a tc filter to the {} of {}", side_name(side), link.name),
            reason,
        };
        let pin = pin(clsact_slot(side), link);
        let path = pin.path(&self.directory);
        let program = classifier(&mut self.programs, side, role)?;
        let parent = TcHandle::from(side);
        let known = SchedClassifierLink::attached(link.ifindex, parent, priority(side), HANDLE, None)
            .map_err(|error| refused(error.to_string()))?;
        match program.attach_to_link(known) {
            Ok(id) if path.exists() => return keep(program, id).map_err(|error| refused(chain(&error))),
            Ok(id) => keep(program, id).map_err(|error| refused(chain(&error)))?,
            // No such filter, or no queueing discipline that could hold one.
            Err(_) => {
                self.make_clsact(link, role, side).map_err(|error| refused(chain(&error)))?;
            }
        }
        if !path.exists() {
            let program = classifier(&mut self.programs, side, role)?;
            program.pin(&path).map_err(|error| AttachError::path("pin", &path, &error))?;
            self.made.push(pin);
        }
        Ok(())
    }

    fn make_clsact(&mut self, link: &Link, role: Role, side: TcAttachType) -> Result<(), AttachError> {
        let other = |error: &dyn std::error::Error| AttachError::Other {
            what: format!("make a clsact filter on {}", link.name),
            reason: chain(error),
        };
        let program = classifier(&mut self.programs, side, role)?;
        match qdisc_add_clsact(link.ifindex) {
            Ok(()) => {
                let pin = pin(Slot::Qdisc, link);
                let path = pin.path(&self.directory);
                remove(&path)?;
                program.pin(&path).map_err(|error| AttachError::path("pin", &path, &error))?;
                self.made.push(pin);
            }
            Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(EEXIST) => {}
            Err(error) => return Err(other(&error)),
        }
        let options = NlOptions { priority: priority(side), handle: HANDLE, classid: None };
        let attach = TcAttach::Netlink { parent: side.into(), options };
        let id = program.attach(link.ifindex, attach).map_err(|error| other(&error))?;
        keep(program, id).map_err(|error| other(&error))
    }
}

/// Leaves a filter where it is: dropped, aya's note of it would remove it.
fn keep(
    program: &mut SchedClassifier,
    id: aya::programs::tc::SchedClassifierLinkId,
) -> Result<(), ProgramError> {
    program.take_link(id).map(std::mem::forget)
}

fn pin(slot: Slot, link: &Link) -> Pin {
    Pin { slot, ifindex: link.ifindex, device: link.name.clone() }
}

/// Takes off what is no link: the filter, or the queueing discipline that weir made and nobody else uses.
pub(super) fn take_off(pin: &Pin) {
    let side = match pin.slot {
        Slot::ClsactIngress => TcAttachType::Ingress,
        Slot::ClsactEgress => TcAttachType::Egress,
        Slot::Qdisc => {
            if let Err(error) = remove_clsact(pin.ifindex) {
                debug!("{}: {error}", pin.device);
            }
            return;
        }
        Slot::XdpNative | Slot::XdpGeneric | Slot::TcxIngress | Slot::TcxEgress => return,
    };
    // Dropped, it is removed from the device. Where the device is gone there is nothing to remove.
    drop(SchedClassifierLink::attached(pin.ifindex, side.into(), priority(side), HANDLE, None));
}
