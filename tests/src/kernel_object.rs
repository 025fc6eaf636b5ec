//! The BPF objects as `cargo xtask build-ebpf` left them, and the programs and maps in the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{CgroupAttachMode, CgroupSock, CgroupSockAddr, ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use lb_common::{
    Backend, Device, DeviceFlags, FilterBit, Frontend, FrontendKey, Outcome, SLOTS_PER_LINE,
    SOURCE_SERVICE_BITS, Settings, SlotLine, SourceKey, maps,
};
use lb_ebpf::Family;
use lb_ebpf::memory::{MemoryMaps, Tables};

use crate::net::{PINS, sweep, unique};
use lb_ebpf::memory::network::{INGRESS, OTHER, SOURCE};

/// The bytes of an object: `weir.bpf.o` or `weir-bench.bpf.o`. `WEIR_BPF_DIR` names another directory than `target/bpf`.
pub fn bytes(name: &str) -> Result<Vec<u8>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf");
    let path = PathBuf::from(std::env::var_os("WEIR_BPF_DIR").unwrap_or_else(|| default.into())).join(name);
    fs::read(&path).with_context(|| format!("no {}: run `cargo xtask build-ebpf`", path.display()))
}

/// weir's programs and maps in the kernel, pinned nowhere that outlives this value.
#[derive(Debug)]
pub struct KernelObject {
    ebpf: Ebpf,
    pins: PathBuf,
}

/// Sizes of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Slots.
    pub slots: u32,
    /// Entries of each flow table.
    pub flows: u32,
    /// Backends of each family; where that is more than the default of frontends or Services, these too.
    pub backends: u32,
}

impl KernelObject {
    /// Loads the maps; a program is loaded when it is first asked for.
    pub fn load(sizes: Sizes) -> Result<Self> {
        Self::load_for(sizes, true)
    }

    /// The same; `sets_errors` says whether the kernel is to be taken for one whose programs choose the errors of calls.
    pub fn load_for(sizes: Sizes, sets_errors: bool) -> Result<Self> {
        sweep();
        let pins = PathBuf::from(PINS).join(unique());
        fs::create_dir_all(&pins)
            .with_context(|| format!("cannot create {}: are you root?", pins.display()))?;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("AYA_LOG_LEVEL", &0_u8, true)
            .override_global("WEIR_SET_RETVAL", if sets_errors { &1_u8 } else { &0_u8 }, true)
            .default_map_pin_directory(&pins)
            .map_max_entries("SLOTS", sizes.slots.div_ceil(SLOTS_PER_LINE));
        for (flows, backends) in [("FLOWS4", "BACKENDS4"), ("FLOWS6", "BACKENDS6")] {
            loader.map_max_entries(flows, sizes.flows).map_max_entries(backends, sizes.backends);
        }
        for (name, default) in [
            ("FRONTENDS4", maps::FRONTENDS),
            ("FRONTENDS6", maps::FRONTENDS),
            ("SERVICE_STATS", maps::SERVICES),
        ] {
            loader.map_max_entries(name, default.max(sizes.backends));
        }
        let loaded = bytes("weir.bpf.o").and_then(|object| Ok(loader.load(&object)?));
        match loaded {
            Ok(ebpf) => Ok(Self { ebpf, pins }),
            Err(error) => {
                let _removed = fs::remove_dir_all(&pins);
                Err(error)
            }
        }
    }

    /// Loads and gives an XDP program.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program: &mut Xdp = self.ebpf.program_mut(name).context("no such program")?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }

    /// Loads and gives a tc program.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(name).context("no such program")?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }

    /// Attaches the program for connect(2) with an IPv4 address to a control group, for as long as this value lives.
    pub fn attach_connect4(&mut self, cgroup: &Path) -> Result<()> {
        let program: &mut CgroupSockAddr =
            self.ebpf.program_mut("weir_connect4").context("no such program")?.try_into()?;
        program.load()?;
        program.attach(fs::File::open(cgroup)?, CgroupAttachMode::Single)?;
        Ok(())
    }

    /// Loads the programs for calls on sockets.
    pub fn load_calls(&mut self) -> Result<()> {
        for (_, program) in self.ebpf.programs_mut() {
            if let Ok(program) = <&mut CgroupSockAddr>::try_from(&mut *program) {
                program.load()?;
            } else if let Ok(program) = <&mut CgroupSock>::try_from(program) {
                program.load()?;
            }
        }
        Ok(())
    }

    /// What the kernel says of the programs that are loaded: instructions that the verifier walked, and bytes of
    /// instructions after verification.
    pub fn statistics(&self) -> Result<Vec<(String, ProgramInfo)>> {
        let loaded = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| program.info().ok().map(|info| (name.to_owned(), info)));
        Ok(loaded.collect())
    }

    /// Bytes that the kernel says each map takes (`memlock` in `/proc/self/fdinfo`), by name.
    pub fn memory(&self) -> Result<BTreeMap<String, u64>> {
        let mut bytes = BTreeMap::new();
        for entry in fs::read_dir(&self.pins)? {
            let entry = entry?;
            let map = MapData::from_pin(entry.path())?;
            let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
            let text = fs::read_to_string(path)?;
            let memlock = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
            let name = entry.file_name().to_string_lossy().into_owned();
            bytes.insert(name, memlock.context("a map without memlock")?);
        }
        Ok(bytes)
    }

    /// A hash map by name.
    pub fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, V>> {
        Ok(HashMap::try_from(self.map(name)?)?)
    }

    /// An array by name.
    pub fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        Ok(Array::try_from(self.map(name)?)?)
    }

    /// Where a map is pinned.
    pub fn pin(&self, name: &str) -> PathBuf {
        self.pins.join(name)
    }

    /// Packets that left by an outcome, of all CPUs.
    pub fn count(&mut self, outcome: Outcome) -> Result<u64> {
        let counters = PerCpuArray::<_, u64>::try_from(self.map("COUNTERS")?)?;
        Ok(counters.get(&outcome.index(), 0)?.iter().sum())
    }

    /// All outcomes that were counted, for messages.
    pub fn counts(&mut self) -> Result<String> {
        let mut text = Vec::new();
        for outcome in Outcome::ALL {
            let count = self.count(*outcome)?;
            if count > 0 {
                text.push(format!("{} {count}", outcome.name()));
            }
        }
        Ok(text.join(", "))
    }

    /// Writes all that the agent would.
    pub fn fill(&mut self, memory: &MemoryMaps) -> Result<()> {
        let mut words = BTreeMap::new();
        // Bits before frontends, in the agent's order.
        let settings = memory.settings.unwrap_or_default();
        for bit in filter_bits(&memory.v4, settings).chain(filter_bits(&memory.v6, settings)) {
            *words.entry(bit.word).or_default() |= bit.mask;
        }
        let mut filter = self.array::<u64>("FILTER")?;
        words.iter().try_for_each(|(word, bits)| filter.set(*word, bits, 0))?;
        self.fill_family("FRONTENDS4", "BACKENDS4", &memory.v4)?;
        self.fill_family("FRONTENDS6", "BACKENDS6", &memory.v6)?;
        self.fill_sources("SOURCES4", &memory.v4)?;
        self.fill_sources("SOURCES6", &memory.v6)?;
        let mut slots = self.array::<SlotLine>("SLOTS")?;
        for (index, chunk) in memory.slots.chunks(SLOTS_PER_LINE as usize).enumerate() {
            let mut line = SlotLine { backends: [0; SLOTS_PER_LINE as usize] };
            line.backends.iter_mut().zip(chunk).for_each(|(slot, backend)| *slot = *backend);
            slots.set(index as u32, &line, 0)?;
        }
        let mut devices = self.array::<Device>("DEVICES")?;
        for ifindex in [INGRESS, OTHER] {
            devices.set(ifindex, &Device { flags: DeviceFlags::XDP_SENDS, mac: SOURCE }, 0)?;
        }
        if let Some(settings) = memory.settings {
            self.array("SETTINGS")?.set(0, &settings, 0)?;
        }
        Ok(())
    }

    fn fill_family<F: Family>(&mut self, frontends: &str, backends: &str, tables: &Tables<F>) -> Result<()>
    where
        FrontendKey<F::Address>: Pod,
        Backend<F::Address>: Pod,
    {
        let mut map = self.hash::<FrontendKey<F::Address>, Frontend>(frontends)?;
        for (key, frontend) in &tables.frontends {
            map.insert(key, frontend, 0)?;
        }
        let mut map = self.array::<Backend<F::Address>>(backends)?;
        for (id, backend) in tables.backends.iter().enumerate() {
            map.set(id as u32, backend, 0)?;
        }
        Ok(())
    }

    fn fill_sources<F: Family>(&mut self, name: &str, tables: &Tables<F>) -> Result<()>
    where
        SourceKey<F::Address>: Pod,
    {
        let mut map = LpmTrie::<_, SourceKey<F::Address>, u32>::try_from(self.map(name)?)?;
        for (key, bits) in &tables.sources {
            map.insert(&Key::new(SOURCE_SERVICE_BITS + bits, *key), &1_u32, 0)?;
        }
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))
    }
}

impl Drop for KernelObject {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.pins) {
            eprintln!("cannot remove {}: {error}", self.pins.display());
        }
    }
}

/// The bits of all frontends: one of the port at the node's own address, which serves others too, and of the address
/// elsewhere.
fn filter_bits<F: Family>(tables: &Tables<F>, settings: Settings) -> impl Iterator<Item = FilterBit> {
    tables.frontends.keys().map(move |key| {
        if key.address == F::snat(&settings) {
            FilterBit::of_port(&key.address, key.port, key.protocol)
        } else {
            FilterBit::of_address(&key.address)
        }
    })
}

/// The context of an XDP program: `struct xdp_md` of `linux/bpf.h`, for a frame of `length` bytes on a device.
pub fn xdp_context(length: usize, ifindex: u32) -> [u8; 24] {
    let words: [u32; 6] = [0, length as u32, 0, ifindex, 0, 0];
    zerocopy::transmute!(words)
}

/// The context of a tc program: the first fields of `struct __sk_buff` of `linux/bpf.h`, of which only the device is
/// given.
pub fn tc_context(ifindex: u32) -> [u8; 44] {
    // `ifindex` is the eleventh of the words that the structure is made of.
    let words = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ifindex];
    zerocopy::transmute!(words)
}
