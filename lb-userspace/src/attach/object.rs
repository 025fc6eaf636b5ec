//! The BPF object inside this binary, loaded.

use std::fs;

use aya::maps::MapError;
use aya::programs::{ProgramFd, ProgramType, SchedClassifier, Xdp};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Ebpf, EbpfError, EbpfLoader};
use lb_common::SLOTS_PER_LINE;

use crate::layout::Capacity;
use crate::maps::Pins;

use super::{AttachError, cgroup, kernel_log};

/// The object that `cargo xtask build-ebpf` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEIR_BPF_OBJECT"));

/// The loaded programs; their maps are pinned.
pub struct Programs {
    pub(super) ebpf: Ebpf,
    /// Whether the maps were made by this load.
    pub new_maps: bool,
    /// Why this kernel does not run the XDP program, when it does not.
    pub(super) xdp_missing: Option<String>,
    /// Why this kernel does not run the programs on sockets, when it does not.
    sockets_missing: Option<String>,
}

/// Which programs are wanted. To load one that nobody attaches would cost the verifier's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Those for XDP.
    pub xdp: bool,
    /// Those for devices that lead to workloads.
    pub workloads: bool,
    /// Those for sockets.
    pub sockets: bool,
    /// That they log every packet.
    pub log: bool,
}

/// The constant that says whether programs on sockets may choose the error of a call.
const SET_RETVAL: &str = "WEIR_SET_RETVAL";

/// The program that deletes expired entries.
const SWEEP: &str = "weir_sweep";

impl Programs {
    /// Whether the programs on sockets were loaded, if they are wanted.
    ///
    /// # Errors
    ///
    /// When this kernel does not run them.
    pub(super) fn check_sockets(&self) -> Result<(), AttachError> {
        self.sockets_missing.clone().map_or(Ok(()), |reason| Err(AttachError::Sockets(reason)))
    }

    /// The program that deletes expired entries, for [`crate::sweep`].
    ///
    /// # Errors
    ///
    /// When this process has no room for another file.
    pub fn sweep(&mut self) -> Result<ProgramFd, AttachError> {
        let refused = |reason: String| AttachError::Other { what: format!("keep program {SWEEP}"), reason };
        let program = program::<SchedClassifier>(&mut self.ebpf, SWEEP)?;
        let fd = program.fd().map_err(|error| refused(error.to_string()))?;
        fd.try_clone().map_err(|error| refused(error.to_string()))
    }
}

/// Makes the maps, or takes those that are pinned, and loads the programs with them.
///
/// # Errors
///
/// When the kernel refuses, or a pinned map has another size; maps that were made are removed again. That it runs no XDP
/// program, or none on sockets, is not an error yet.
pub fn load_programs(pins: &Pins, capacity: &Capacity, wants: Wants) -> Result<Programs, AttachError> {
    let new_maps = !pins.maps().exists();
    let loaded = try_load(pins, capacity, wants);
    if loaded.is_err() && new_maps {
        // Nothing else has them yet. A failure here is less than the one that is reported.
        let _removed = fs::remove_dir_all(pins.maps());
        let _empty = fs::remove_dir(pins.root());
    }
    let (mut ebpf, xdp_missing) = loaded?;
    let sockets_missing = if wants.sockets { cgroup::load(&mut ebpf).err() } else { None };
    if wants.log {
        kernel_log::follow(&mut ebpf)?;
    }
    Ok(Programs { ebpf, new_maps, xdp_missing, sockets_missing })
}

fn try_load(pins: &Pins, capacity: &Capacity, wants: Wants) -> Result<(Ebpf, Option<String>), AttachError> {
    let directory = pins.maps();
    fs::create_dir_all(&directory).map_err(|error| AttachError::Other {
        what: format!("make {}", directory.display()),
        reason: error.to_string(),
    })?;
    let level = if wants.log { kernel_log::DEBUG } else { kernel_log::OFF };
    let set_retval = u8::from(wants.sockets && cgroup::set_retval());
    let mut loader = EbpfLoader::new();
    loader.override_global(kernel_log::LEVEL, &level, true);
    loader.override_global(SET_RETVAL, &set_retval, true);
    loader.default_map_pin_directory(&directory);
    for (name, _) in SIZES {
        loader.map_max_entries(name, entries(capacity, name));
    }
    let mut ebpf = loader.load(OBJECT).map_err(explain)?;
    let refused = |name: &str, error: aya::programs::ProgramError| {
        AttachError::Load(format!("{name}: {}", chain(&error)))
    };
    let workload = wants.workloads.then_some("weir_tc_workload");
    for name in ["weir_tc_ingress", "weir_tc_egress", SWEEP].into_iter().chain(workload) {
        program::<SchedClassifier>(&mut ebpf, name)?.load().map_err(|error| refused(name, error))?;
    }
    if !wants.xdp {
        return Ok((ebpf, None));
    }
    let xdp_missing = match program::<Xdp>(&mut ebpf, "weir_xdp")?.load() {
        Ok(()) => None,
        Err(_) if !runs_xdp() => Some("the program needs Linux 5.18 or later".to_owned()),
        Err(error) => return Err(refused("weir_xdp", error)),
    };
    Ok((ebpf, xdp_missing))
}

/// Whether the kernel can run the XDP program: the helper came with frames that lie in pieces, which the program is
/// marked to take. A kernel without them serves by tc.
fn runs_xdp() -> bool {
    is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len).unwrap_or(true)
}

/// All maps, by the names that they are pinned by.
pub(super) const MAPS: [&str; 28] = [
    "AFFINITY4",
    "AFFINITY6",
    "BACKENDS4",
    "BACKENDS6",
    "COUNTERS",
    "DEVICES",
    "EVENTS",
    "EXCLUDED_CGROUPS",
    "FILTER",
    "FLOWS4",
    "FLOWS6",
    "FRAGMENTS4",
    "FRAGMENTS6",
    "FRONTENDS4",
    "FRONTENDS6",
    "POD_AFFINITY",
    "SERVICES",
    "SERVICE_STATS",
    "SETTINGS",
    "SLOTS",
    "SOCKETS4",
    "SOCKETS6",
    "SOCKET_COUNTERS",
    "SOCKET_FLOWS4",
    "SOCKET_FLOWS6",
    "SOURCES4",
    "SOURCES6",
    "TRACE",
];

/// The maps whose size is an option.
const SIZES: [(&str, &str); 16] = [
    ("FRONTENDS4", "--frontends-max"),
    ("FRONTENDS6", "--frontends-max"),
    ("BACKENDS4", "--backends-max"),
    ("BACKENDS6", "--backends-max"),
    ("FLOWS4", "--flows-max"),
    ("FLOWS6", "--flows-max"),
    ("SERVICES", "--services-max"),
    ("SERVICE_STATS", "--services-max"),
    ("SLOTS", "--slots-max"),
    ("AFFINITY4", "--affinity-max"),
    ("AFFINITY6", "--affinity-max"),
    ("POD_AFFINITY", "--affinity-max"),
    ("SOCKET_FLOWS4", "--socket-flows-max"),
    ("SOCKET_FLOWS6", "--socket-flows-max"),
    ("SOURCES4", "--sources-max"),
    ("SOURCES6", "--sources-max"),
];

fn entries(capacity: &Capacity, name: &str) -> u32 {
    match name {
        "FRONTENDS4" | "FRONTENDS6" => capacity.frontends,
        "BACKENDS4" | "BACKENDS6" => capacity.backends,
        "FLOWS4" | "FLOWS6" => capacity.flows,
        "SERVICES" => capacity.services,
        // Ids begin at one.
        "SERVICE_STATS" => capacity.services.saturating_add(1),
        "AFFINITY4" | "AFFINITY6" | "POD_AFFINITY" => capacity.affinity,
        "SOCKET_FLOWS4" | "SOCKET_FLOWS6" => capacity.socket_flows,
        "SOURCES4" | "SOURCES6" => capacity.sources,
        _ => capacity.slots.div_ceil(SLOTS_PER_LINE),
    }
}

/// A program of the object by its name and kind.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, AttachError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    let missing = || AttachError::Load(format!("the BPF object of this build has no program {name}"));
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or_else(missing)
}

fn explain(error: EbpfError) -> AttachError {
    match error {
        EbpfError::MapError(MapError::IncompatiblePinnedMap { name, property: _, expected, actual }) => {
            let option = SIZES.iter().find(|(map, _)| *map == name).map_or("its size", |(_, option)| option);
            AttachError::Size { name, actual, expected, option }
        }
        other => AttachError::Load(chain(&other)),
    }
}

/// An error with all its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
