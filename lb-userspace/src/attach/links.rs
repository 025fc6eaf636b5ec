//! What is attached to each device, and to sockets, kept as it should be: pinned, so that it outlives the agent, and
//! replaced at once by the next one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tracing::{info, warn};

use crate::devices::{Link, Role, Wanted};
use crate::maps::Pins;

use super::cgroup::HookPin;
use super::mode::{Modes, Tc, Xdp};
use super::pin::{Pin, pins_of, remove};
use super::tc::take_off;
use super::{AttachError, Programs};

/// What is attached to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The device.
    pub device: String,
    /// What it leads to.
    pub role: Role,
    /// Where XDP runs.
    pub xdp: Xdp,
    /// How the tc programs are attached.
    pub tc: Tc,
    /// Why there is no XDP although the mode allows it.
    without_xdp: Option<String>,
}

/// A device that cannot be served.
#[derive(Debug)]
pub struct Refused {
    /// The device.
    pub device: String,
    /// Whether the latest round found the same.
    pub known: bool,
    /// Whether somebody named it, and it alone.
    pub named: bool,
    /// What stands in the way.
    pub error: AttachError,
}

/// Attaches the programs to devices, and to sockets, and takes them off again.
pub struct Attacher {
    pub(super) programs: Programs,
    pub(super) modes: Modes,
    pub(super) directory: PathBuf,
    /// Pins that the latest round made.
    pub(super) made: Vec<Pin>,
    /// Pins of programs on sockets that this process made.
    pub(super) made_hooks: Vec<HookPin>,
    /// By device index, with the device as it was.
    served: BTreeMap<u32, (Link, Attached)>,
    /// What stands in the way, by device index.
    refused: BTreeMap<u32, String>,
}

impl Attacher {
    /// For loaded programs; touches no device yet.
    ///
    /// # Errors
    ///
    /// When the directory of pins cannot be made.
    pub fn new(programs: Programs, modes: Modes, pins: &Pins) -> Result<Self, AttachError> {
        let directory = pins.links();
        fs::create_dir_all(&directory).map_err(|error| AttachError::path("make", &directory, &error))?;
        let (made, made_hooks) = (Vec::new(), Vec::new());
        let (served, refused) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { programs, modes, directory, made, made_hooks, served, refused })
    }

    /// What is attached, by device index.
    pub fn served(&self) -> impl Iterator<Item = (u32, &Attached)> {
        self.served.iter().map(|(ifindex, (_, attached))| (*ifindex, attached))
    }

    /// Whether the driver of a device runs XDP, and will go on doing so through the next round.
    pub fn stays_native(&self, wanted: &Wanted) -> bool {
        wanted.role == Role::Node && self.keeps_native(&wanted.link)
    }

    /// Takes the programs off all other devices, follows renamed ones, and attaches to those that are wanted. A device
    /// that is as it was is looked at only when `all` are to be. Links that are pinned already get the programs at
    /// once, without a packet in between; one that has them is left alone by the kernel.
    ///
    /// # Errors
    ///
    /// When pins cannot be read or removed. That a device refuses is not one: the others are served.
    pub fn round(&mut self, wanted: &[Wanted], all: bool) -> Result<Vec<Refused>, AttachError> {
        self.made.clear();
        self.forget_others(wanted)?;
        let mut refused = Vec::new();
        for wanted in wanted {
            let Wanted { link, role, named } = wanted;
            if !all && self.served.get(&link.ifindex).is_some_and(|served| is_as_it_was(served, wanted)) {
                continue;
            }
            match self.attach(link, *role) {
                Ok(attached) => {
                    self.refused.remove(&link.ifindex);
                    self.tell(link, &attached);
                    self.served.insert(link.ifindex, (link.clone(), attached));
                }
                Err(error) => {
                    self.served.remove(&link.ifindex);
                    let text = error.to_string();
                    let known = self.refused.insert(link.ifindex, text.clone()) == Some(text);
                    refused.push(Refused { device: link.name.clone(), known, named: *named, error });
                }
            }
        }
        Ok(refused)
    }

    /// Takes off what the latest round made, and the programs on sockets that were not attached before this process.
    pub fn undo(&mut self) {
        self.undo_hooks();
        for pin in std::mem::take(&mut self.made) {
            if let Err(error) = self.drop_pin(&pin) {
                warn!("{error}");
            }
        }
    }

    fn attach(&mut self, link: &Link, role: Role) -> Result<Attached, AttachError> {
        let tc = self.attach_tc(link, role)?;
        let (xdp, without_xdp) = match role {
            Role::Workload => {
                self.remove_xdp(link)?;
                (Xdp::None, None)
            }
            Role::Node => match self.attach_xdp(link) {
                Ok(xdp) => (xdp, None),
                Err(error @ (AttachError::ForeignXdp(_) | AttachError::XdpMode { .. }))
                    if !self.modes.xdp.is_forced() =>
                {
                    (Xdp::None, Some(error.to_string()))
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Attached { device: link.name.clone(), role, xdp, tc, without_xdp })
    }

    /// Says what is attached when it is not what was said before.
    fn tell(&self, link: &Link, attached: &Attached) {
        if self.served.get(&link.ifindex).is_some_and(|(_, before)| before == attached) {
            return;
        }
        let Attached { device, role, xdp, tc, without_xdp } = attached;
        let leads_to = match role {
            Role::Node => "the network",
            Role::Workload => "a workload",
        };
        info!(device, leads_to, %xdp, %tc, "attached");
        if let Some(reason) = without_xdp {
            warn!(device, "served by tc alone: {reason}");
        }
    }

    /// Removes what is attached to devices that are not wanted or gone, and renames the pins of renamed ones.
    fn forget_others(&mut self, wanted: &[Wanted]) -> Result<(), AttachError> {
        let links: BTreeMap<u32, &Link> = wanted.iter().map(|one| (one.link.ifindex, &one.link)).collect();
        for pin in pins_of(&self.directory)? {
            match links.get(&pin.ifindex) {
                None => self.drop_pin(&pin)?,
                Some(link) if link.name != pin.device => {
                    let (from, to) = (
                        pin.path(&self.directory),
                        Pin { device: link.name.clone(), ..pin }.path(&self.directory),
                    );
                    fs::rename(&from, &to).map_err(|error| AttachError::path("rename", &from, &error))?;
                }
                Some(_) => {}
            }
        }
        for (ifindex, (link, _)) in &self.served {
            if !links.contains_key(ifindex) {
                info!(device = link.name, "not served any more");
            }
        }
        self.served.retain(|ifindex, _| links.contains_key(ifindex));
        self.refused.retain(|ifindex, _| links.contains_key(ifindex));
        Ok(())
    }

    /// Takes off what a pin stands for, and removes it.
    pub(super) fn drop_pin(&self, pin: &Pin) -> Result<(), AttachError> {
        let path = pin.path(&self.directory);
        if path.exists() {
            take_off(pin);
            remove(&path)?;
        }
        Ok(())
    }
}

/// Whether nothing happened to a device that concerns what is attached to it.
fn is_as_it_was((link, attached): &(Link, Attached), wanted: &Wanted) -> bool {
    let now = &wanted.link;
    attached.role == wanted.role
        && Link { addresses: Vec::new(), ..link.clone() } == Link { addresses: Vec::new(), ..now.clone() }
}
