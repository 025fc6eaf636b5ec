//! The devices of the running agent: looked at, chosen, told to the programs, and attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clap::Args;
use lb_common::DeviceFlags;
use tracing::{error, info, warn};

use crate::attach::{AttachError, Attacher, Modes, Refused, TcMode, Wants, Xdp, XdpMode};
use crate::devices::{Listing, Pattern, Role, Selection, Wanted, addresses, list};
use crate::maps::{MapsError, Tables};

/// Options that say where weir attaches.
#[derive(Debug, Clone, Args)]
pub(super) struct DeviceArgs {
    /// Devices to serve on, separated by commas, with the wildcards `*` and `?` [default: all that carry an address of
    /// this node].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    device: Vec<Pattern>,
    /// Devices that lead to workloads of this node, such as `veth*,cali*`: what arrives by them comes from inside.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload_device: Vec<Pattern>,
    /// Where XDP runs: in the driver (native), in the stack (generic), nowhere (off: tc does all), the first of these that a
    /// device can do (prefer), or that on hardware only (auto).
    #[arg(long, value_name = "MODE", default_value = "auto")]
    xdp_mode: XdpMode,
    /// How the tc programs attach: by links (tcx, Linux 6.6), by filters (clsact), or auto: by links where possible.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    tc_mode: TcMode,
    /// Log every packet that the programs handle: for the development of weir, and only where there are few packets.
    #[arg(long)]
    kernel_log: bool,
}

impl DeviceArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection { nodes: self.device.clone(), workloads: self.workload_device.clone() }
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            xdp: self.xdp_mode != XdpMode::Off,
            workloads: !self.workload_device.is_empty(),
            sockets: false,
            log: self.kernel_log,
        }
    }

    pub(super) const fn modes(&self) -> Modes {
        Modes { xdp: self.xdp_mode, tc: self.tc_mode }
    }
}

/// The devices at one time.
pub(super) struct View {
    pub(super) wanted: Vec<Wanted>,
    listing: Listing,
}

impl View {
    /// Addresses of the node.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        addresses(&self.wanted, &self.listing)
    }

    /// Every address of this machine, on whichever device.
    pub(super) fn own(&self) -> BTreeSet<IpAddr> {
        self.listing.links.iter().flat_map(|link| &link.addresses).copied().collect()
    }
}

/// Which devices to look for, and what was said of those that are missing.
pub(super) struct Watcher {
    selection: Selection,
    told: BTreeSet<Pattern>,
}

impl Watcher {
    /// Looks for the first time.
    ///
    /// A device that was named and is not here is an error then; later it may come and go.
    pub(super) fn new(selection: Selection) -> anyhow::Result<(Self, View)> {
        let mut watcher = Self { selection, told: BTreeSet::new() };
        let missing = watcher.selection.missing(&list()?.links).first().copied().cloned();
        if let Some(name) = missing.filter(Pattern::is_name) {
            return Err(AttachError::NoDevice(name.to_string()).into());
        }
        let view = watcher.look()?;
        Ok((watcher, view))
    }

    /// Lists the devices anew.
    pub(super) fn look(&mut self) -> anyhow::Result<View> {
        let listing = list()?;
        let missing: BTreeSet<Pattern> =
            self.selection.missing(&listing.links).into_iter().cloned().collect();
        for pattern in missing.difference(&self.told) {
            warn!("no device is named {pattern}: it is served when there is one");
        }
        self.told = missing;
        let wanted = self.selection.choose(&listing.links, &listing.preferred);
        Ok(View { wanted, listing })
    }
}

/// What is attached, and what the programs were told of devices.
pub(super) struct Devices {
    attacher: Attacher,
    told: Option<BTreeMap<u32, lb_common::Device>>,
    /// Somebody knows that the map of devices is too small.
    told_of_size: bool,
}

impl Devices {
    pub(super) const fn new(attacher: Attacher) -> Self {
        Self { attacher, told: None, told_of_size: false }
    }

    /// What attaches the programs, those on sockets too.
    pub(super) const fn attacher(&mut self) -> &mut Attacher {
        &mut self.attacher
    }

    /// Serves on the devices that are wanted, and on no other. Of `all` of them it is seen whether what is attached is
    /// still there, else only of those that changed.
    pub(super) fn serve(&mut self, view: &View, tables: &mut Tables, all: bool) -> anyhow::Result<()> {
        report(&self.round(view, tables, all)?);
        Ok(())
    }

    /// As [`Self::serve`] for the first time: a device that was named and cannot be served is an error. After an error
    /// nothing is attached, to devices and to sockets, that was not before.
    pub(super) fn start(&mut self, view: &View, tables: &mut Tables) -> anyhow::Result<()> {
        let started = self.try_start(view, tables);
        if started.is_err() {
            self.attacher.undo();
            // A failure here is less than the one that is reported.
            let _told = self.tell(&view.wanted, &self.staying(view), tables);
        }
        started
    }

    fn try_start(&mut self, view: &View, tables: &mut Tables) -> anyhow::Result<()> {
        let refused = self.round(view, tables, true)?;
        let (named, others): (Vec<Refused>, Vec<Refused>) =
            refused.into_iter().partition(|refused| refused.named);
        if let Some(refused) = named.into_iter().next() {
            return Err(refused.error.into());
        }
        report(&others);
        if view.wanted.is_empty() {
            warn!("no device to serve on yet: see the options --device and --workload-device");
        }
        Ok(())
    }

    /// The programs know of a device before they run there; that its driver takes what XDP sends they learn when it
    /// does, and that it does no more before it stops.
    fn round(&mut self, view: &View, tables: &mut Tables, all: bool) -> anyhow::Result<Vec<Refused>> {
        self.tell(&view.wanted, &self.staying(view), tables)?;
        let refused = self.attacher.round(&view.wanted, all)?;
        let native = self.attacher.served().filter(|(_, attached)| attached.xdp == Xdp::Native);
        let after = native.map(|(ifindex, _)| ifindex).collect();
        self.tell(&view.wanted, &after, tables)?;
        Ok(refused)
    }

    /// Devices whose drivers run XDP already, and whatever comes.
    fn staying(&self, view: &View) -> BTreeSet<u32> {
        let stays = view.wanted.iter().filter(|wanted| self.attacher.stays_native(wanted));
        stays.map(|wanted| wanted.link.ifindex).collect()
    }

    /// What is attached, for people.
    pub(super) fn describe(&self) -> String {
        let each: Vec<String> = self
            .attacher
            .served()
            .map(|(_, one)| format!("{} ({} XDP, {})", one.device, one.xdp, one.tc))
            .collect();
        each.join(", ")
    }

    /// Writes what the programs must know of devices.
    fn tell(
        &mut self,
        wanted: &[Wanted],
        native: &BTreeSet<u32>,
        tables: &mut Tables,
    ) -> Result<(), MapsError> {
        let of = |wanted: &Wanted| {
            let sends = if native.contains(&wanted.link.ifindex) { DeviceFlags::XDP_SENDS } else { 0 };
            let workload = if wanted.role == Role::Workload { DeviceFlags::WORKLOAD } else { 0 };
            lb_common::Device { flags: sends | workload, mac: wanted.link.mac }
        };
        let known: BTreeMap<u32, lb_common::Device> =
            wanted.iter().map(|wanted| (wanted.link.ifindex, of(wanted))).collect();
        if self.told.as_ref() == Some(&known) {
            return Ok(());
        }
        let size = tables.devices_max();
        if let Some((ifindex, _)) = known.range(size..).next()
            && !self.told_of_size
        {
            self.told_of_size = true;
            let device = wanted.iter().find(|wanted| wanted.link.ifindex == *ifindex);
            let name = device.map_or("", |wanted| wanted.link.name.as_str());
            warn!(
                "device {name} has index {ifindex}, and the map DEVICES ends at {size}: packets to such devices take \
                 the way through the stack"
            );
        }
        tables.write_devices(&known)?;
        self.told = Some(known);
        Ok(())
    }
}

/// Says which devices are not served, each time for another reason.
fn report(refused: &[Refused]) {
    for Refused { device, error, .. } in refused.iter().filter(|refused| !refused.known) {
        error!(device, "not served: {error}");
    }
}

/// Says what the node's addresses are now.
pub(super) fn tell_addresses(addresses: &[IpAddr]) {
    if addresses.is_empty() {
        warn!(
            "no device of this node has an address: NodePorts are not served and flows to other nodes not translated \
             until one has, or --node-ip gives one"
        );
    } else {
        info!(?addresses, "addresses of this node");
    }
}
