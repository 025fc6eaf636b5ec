//! The pinned maps as the agent writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use lb_common::{
    Address, AffinityKey, Backend, Device, ExcludedCgroup, FilterBit, FlowKey, Frontend, FrontendKey,
    SLOTS_PER_LINE, ServiceInfo, ServiceStats, Settings, SocketFlow, SocketFlowKey, Text,
};

use crate::apply::{WriteError, Writer};
use crate::diff::{BackendEntry, Change};
use crate::layout::{Capacity, FrontendId};
use crate::model::{IpFamily, Prefix, Protocol};
use crate::plan::PortKey;

use super::excluded::Excluded;
use super::sources::Sources;
use super::stats::clear;
use super::{MappedArray, Pins};

/// The maps cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// A pin is not there, or is no map.
    #[error("cannot open map {}", path.display())]
    Open {
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
    /// A map is not what this build expects.
    #[error("map {name} is not of the kind that this build of weir uses: {source}; run `weir cleanup` first")]
    Kind {
        /// Its name.
        name: &'static str,
        /// What differs.
        #[source]
        source: MapError,
    },
    /// A map cannot be shared as memory.
    #[error("cannot map {name} into memory: {source}")]
    Memory {
        /// Its name.
        name: &'static str,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Writing an entry failed.
    #[error("cannot write map {name}: {source}")]
    Write {
        /// Its name.
        name: &'static str,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
    /// Reading an entry failed.
    #[error("cannot read map {name}: {source}")]
    Read {
        /// Its name.
        name: &'static str,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
}

/// The agent's maps, open.
pub struct Tables {
    pub(super) frontends4: HashMap<MapData, FrontendKey<[u8; 4]>, Frontend>,
    pub(super) frontends6: HashMap<MapData, FrontendKey<[u8; 16]>, Frontend>,
    pub(super) services: HashMap<MapData, u32, ServiceInfo>,
    pub(super) sources: Sources,
    pub(super) stats: PerCpuArray<MapData, ServiceStats>,
    filter: MappedArray<u64>,
    backends4: Array<MapData, Backend<[u8; 4]>>,
    backends6: Array<MapData, Backend<[u8; 16]>>,
    pub(super) settings: Array<MapData, Settings>,
    pub(super) excluded: Excluded,
    devices: Array<MapData, Device>,
    pub(super) backend_view4: MappedArray<Backend<[u8; 4]>>,
    pub(super) backend_view6: MappedArray<Backend<[u8; 16]>>,
    pub(super) slots: MappedArray<u32>,
    /// Sizes of the maps, as they are.
    pub capacity: Capacity,
}

impl Tables {
    /// Opens the pinned maps.
    ///
    /// # Errors
    ///
    /// When one is missing or not as this build expects it.
    pub fn open(pins: &Pins) -> Result<Self, MapsError> {
        let (frontends4, frontends) = open(pins, "FRONTENDS4", HashMap::try_from)?;
        let (frontends6, _) = open(pins, "FRONTENDS6", HashMap::try_from)?;
        let (services, service_entries) = open(pins, "SERVICES", HashMap::try_from)?;
        let (backends4, backends) = open(pins, "BACKENDS4", Array::try_from)?;
        let (backends6, _) = open(pins, "BACKENDS6", Array::try_from)?;
        let (settings, _) = open(pins, "SETTINGS", Array::try_from)?;
        let (devices, _) = open(pins, "DEVICES", Array::try_from)?;
        let (_, flows) = open(pins, "FLOWS4", |map| {
            HashMap::<MapData, FlowKey<[u8; 4]>, lb_common::Flow<[u8; 4]>>::try_from(map)
        })?;
        let (_, affinity) = open(pins, "AFFINITY4", |map| {
            HashMap::<MapData, AffinityKey<[u8; 4]>, lb_common::Affinity>::try_from(map)
        })?;
        let (_, socket_flows) = open(pins, "SOCKET_FLOWS4", |map| {
            HashMap::<MapData, SocketFlowKey<[u8; 4]>, SocketFlow<[u8; 4]>>::try_from(map)
        })?;
        let (sources, source_entries) = Sources::open(pins)?;
        let excluded = Excluded::open(pins)?;
        let (stats, _) = open(pins, "SERVICE_STATS", PerCpuArray::try_from)?;
        let (filter, _) = share(pins, "FILTER", 1, true)?;
        let (backend_view4, _) = share(pins, "BACKENDS4", 1, false)?;
        let (backend_view6, _) = share(pins, "BACKENDS6", 1, false)?;
        let (slots, slot_count) = share(pins, "SLOTS", SLOTS_PER_LINE, true)?;
        let capacity = Capacity {
            frontends,
            services: service_entries,
            backends,
            slots: slot_count,
            flows,
            affinity,
            sources: source_entries,
            socket_flows,
        };
        Ok(Self {
            frontends4,
            frontends6,
            services,
            sources,
            stats,
            filter,
            backends4,
            backends6,
            settings,
            excluded,
            devices,
            backend_view4,
            backend_view6,
            slots,
            capacity,
        })
    }

    /// Writes the settings of the data path, the prefixes of the cluster's pods and the control groups that are left alone,
    /// as far as they are not there already; answers how many writes it took. While the settings ask for prefixes or control
    /// groups, all of them are there.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn write_settings(
        &mut self,
        settings: &Settings,
        cluster: &BTreeSet<Prefix>,
        excluded: &[ExcludedCgroup],
    ) -> Result<usize, MapsError> {
        let failed = |source| MapsError::Read { name: "SETTINGS", source };
        let mut writes = self.sources.add_cluster(cluster)? + self.excluded.write(excluded)?;
        let held = self.settings.get(&0, 0).map_err(failed)?;
        if held != *settings {
            self.keep_replies(&held, settings).map_err(failed)?;
            self.settings.set(0, settings, 0).map_err(failed)?;
            writes += 1;
        }
        Ok(writes + self.sources.keep_cluster(cluster)?)
    }

    /// Flows that were made with another source address or other ports live on: from now on whatever comes to that address
    /// is compared with the flow table.
    fn keep_replies(&mut self, held: &Settings, next: &Settings) -> Result<(), MapError> {
        let ports = |settings: &Settings| (settings.snat_port_first, settings.snat_port_last);
        let other_ports = ports(held) != ports(next);
        if held.snat4 != [0; 4] && (other_ports || held.snat4 != next.snat4) {
            self.set_filter_bit(FilterBit::of_address(&held.snat4))?;
        }
        if held.snat6 != [0; 16] && (other_ports || held.snat6 != next.snat6) {
            self.set_filter_bit(FilterBit::of_address(&held.snat6))?;
        }
        Ok(())
    }

    /// Devices with this index or a larger one have no place in the map.
    pub fn devices_max(&self) -> u32 {
        self.devices.len()
    }

    /// Says what the programs must know of devices, and that they know nothing of others.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn write_devices(&mut self, known: &BTreeMap<u32, Device>) -> Result<(), MapsError> {
        let failed = |source| MapsError::Read { name: "DEVICES", source };
        for ifindex in 0..self.devices.len() {
            let wanted = known.get(&ifindex).copied().unwrap_or_default();
            if self.devices.get(&ifindex, 0).map_err(failed)? != wanted {
                self.devices.set(ifindex, &wanted, 0).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn put_backend(&mut self, entry: &BackendEntry) -> Result<(), MapError> {
        match entry.at.ip() {
            IpAddr::V4(ip) => self.backends4.set(entry.id, &backend(ip.octets(), entry), 0),
            IpAddr::V6(ip) => self.backends6.set(entry.id, &backend(ip.octets(), entry), 0),
        }
    }

    fn drop_backend(&mut self, family: IpFamily, id: u32, generation: u32) -> Result<(), MapError> {
        match family {
            IpFamily::V4 => self.backends4.set(id, &Backend { generation, ..Backend::FREE }, 0),
            IpFamily::V6 => self.backends6.set(id, &Backend { generation, ..Backend::FREE }, 0),
        }
    }

    fn drop_frontend(&mut self, id: &FrontendId) -> Result<(), MapError> {
        let gone = match id.ip() {
            IpAddr::V4(ip) => self.frontends4.remove(&frontend_key(ip.octets(), id)),
            IpAddr::V6(ip) => self.frontends6.remove(&frontend_key(ip.octets(), id)),
        };
        ignore_missing(gone)
    }

    fn put_frontend(&mut self, id: &FrontendId, value: &Frontend) -> Result<(), MapError> {
        self.set_filter_bit(id.filter_bit())?;
        match id.ip() {
            IpAddr::V4(ip) => self.frontends4.insert(&frontend_key(ip.octets(), id), value, 0),
            IpAddr::V6(ip) => self.frontends6.insert(&frontend_key(ip.octets(), id), value, 0),
        }
    }

    /// A bit is never cleared: others may share it, and one too many costs a packet a look-up, no more.
    fn set_filter_bit(&mut self, bit: FilterBit) -> Result<(), MapError> {
        let beyond = || MapError::OutOfBounds { index: bit.word, max_entries: self.filter.len() };
        let word = self.filter.get(bit.word).ok_or_else(beyond)?;
        if !bit.is_in(word) {
            self.filter.set(bit.word, word | bit.mask);
        }
        Ok(())
    }

    fn put_slots(&mut self, start: u32, ids: &[u32]) -> Result<(), MapError> {
        for (slot, id) in (start..).zip(ids) {
            if !self.slots.set(slot, *id) {
                return Err(MapError::OutOfBounds { index: slot, max_entries: self.slots.len() });
            }
        }
        Ok(())
    }
}

impl Writer for Tables {
    fn write(&mut self, change: &Change) -> Result<(), WriteError> {
        let (map, written) = match change {
            Change::DropFrontend(id) => ("FRONTENDS", self.drop_frontend(id)),
            Change::PutService { id, key, port } => {
                ("SERVICES", self.services.insert(id, &service_info(key, *port), 0))
            }
            Change::ClearStats(id) => ("SERVICE_STATS", clear(&mut self.stats, *id)),
            Change::PutSource(entry) => ("SOURCES", self.sources.put(entry)),
            Change::DropSource(entry) => ("SOURCES", ignore_missing(self.sources.remove(entry))),
            Change::PutBackend(entry) => ("BACKENDS", self.put_backend(entry)),
            Change::PutSlots { start, ids } => ("SLOTS", self.put_slots(*start, ids)),
            Change::PutFrontend(id, value) => ("FRONTENDS", self.put_frontend(id, value)),
            Change::DropBackend { family, id, generation } => {
                ("BACKENDS", self.drop_backend(*family, *id, *generation))
            }
            Change::DropService(id) => ("SERVICES", ignore_missing(self.services.remove(id))),
        };
        written.map_err(|source| WriteError { change: change.to_string(), map, source: source.into() })
    }
}

/// What is already gone need not be deleted.
pub(super) fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(2) => Ok(()),
        other => other,
    }
}

fn backend<A: Address>(address: A, entry: &BackendEntry) -> Backend<A> {
    Backend {
        address,
        port: entry.at.port().to_be_bytes(),
        state: entry.state.to_u8(),
        flags: entry.flags,
        service: entry.service,
        generation: entry.generation,
    }
}

fn frontend_key<A: Address>(address: A, id: &FrontendId) -> FrontendKey<A> {
    FrontendKey::new(address, id.port(), id.protocol_number())
}

/// Names that no API object can have are stored empty; the source refuses them before.
fn service_info(key: &PortKey, port: u16) -> ServiceInfo {
    let text = |name: &str| Text::new(name).unwrap_or(Text { text: [0; lb_common::NAME_BYTES] });
    ServiceInfo {
        namespace: text(&key.service.namespace),
        name: text(&key.service.name),
        port_name: text(&key.port_name),
        port,
        protocol: key.protocol.number(),
        ip_version: match key.family {
            IpFamily::V4 => 4,
            IpFamily::V6 => 6,
        },
    }
}

/// The service port that an entry of `SERVICES` names, or `None` for one that weir did not write.
pub(crate) fn port_key(info: &ServiceInfo) -> Option<PortKey> {
    Some(PortKey {
        service: crate::model::ObjectKey::new(info.namespace.as_str(), info.name.as_str()),
        port_name: info.port_name.as_str().to_owned(),
        protocol: Protocol::from_number(info.protocol)?,
        family: match info.ip_version {
            4 => IpFamily::V4,
            6 => IpFamily::V6,
            _ => return None,
        },
    })
}

/// Address and port as the standard library has them.
pub(super) fn socket_address<A: Into<IpAddr>>(address: A, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(address.into(), u16::from_be_bytes(port))
}

/// Opens a pinned map of any kind.
///
/// # Errors
///
/// When it is missing.
pub fn open_data(pins: &Pins, name: &str) -> Result<MapData, MapsError> {
    let path = pins.map(name);
    MapData::from_pin(&path).map_err(|source| MapsError::Open { path, source })
}

pub(crate) fn open<M>(
    pins: &Pins,
    name: &'static str,
    typed: impl FnOnce(Map) -> Result<M, MapError>,
) -> Result<(M, u32), MapsError> {
    let data = open_data(pins, name)?;
    let size = data.info().map_err(|source| MapsError::Read { name, source })?.max_entries();
    let map = Map::from_map_data(data).map_err(|source| MapsError::Kind { name, source })?;
    Ok((typed(map).map_err(|source| MapsError::Kind { name, source })?, size))
}

/// Maps an array into memory; each of its elements holds `parts` of what is wanted.
fn share<T: Pod>(
    pins: &Pins,
    name: &'static str,
    parts: u32,
    writable: bool,
) -> Result<(MappedArray<T>, u32), MapsError> {
    let data = open_data(pins, name)?;
    let info = data.info().map_err(|source| MapsError::Read { name, source })?;
    let length = info.max_entries().saturating_mul(parts);
    let mapped = MappedArray::new(data.fd().as_fd(), length, writable)
        .map_err(|source| MapsError::Memory { name, source })?;
    Ok((mapped, length))
}
