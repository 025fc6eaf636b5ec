//! Reads what the maps hold, so that a started agent goes on where the last one stopped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aya::Pod;
use aya::maps::MapData;
use lb_common::{Address, Backend, CLUSTER_SOURCES, Frontend, FrontendKey, Run};

use crate::diff::{Change, SourceEntry};
use crate::layout::{BackendLayout, FrontendId, PortLayout, RunLayout, State};
use crate::model::{IpFamily, Protocol};
use crate::plan::PortKey;

use super::kernel::{port_key, socket_address};
use super::{MappedArray, MapsError, Tables};

/// What the maps hold.
#[derive(Debug)]
pub struct Loaded {
    /// Entries by service port.
    pub state: State,
    /// Deletions of entries that belong to no service port: another weir's, or those of an interrupted write.
    pub orphans: Vec<Change>,
}

/// Reads the maps.
///
/// # Errors
///
/// When the kernel refuses to read one.
pub fn load(tables: &Tables) -> Result<Loaded, MapsError> {
    let mut loading = Loading { ports: HashMap::new(), orphans: Vec::new() };
    for entry in &tables.services {
        let (id, info) = entry.map_err(|source| MapsError::Read { name: "SERVICES", source })?;
        match port_key(&info) {
            Some(key) => {
                let layout = PortLayout {
                    service: id,
                    port: info.port,
                    backends: BTreeMap::new(),
                    runs: Vec::new(),
                    frontends: BTreeMap::new(),
                    sources: BTreeSet::new(),
                };
                loading.ports.insert(id, (key, layout));
            }
            None => loading.orphans.push(Change::DropService(id)),
        }
    }
    let mut state = State::new(tables.capacity);
    loading.backends(IpFamily::V4, &tables.backend_view4, &mut state);
    loading.backends(IpFamily::V6, &tables.backend_view6, &mut state);
    loading.frontends("FRONTENDS4", &tables.frontends4, &tables.slots)?;
    loading.frontends("FRONTENDS6", &tables.frontends6, &tables.slots)?;
    loading.sources(tables.sources.entries()?);
    let Loading { ports, mut orphans } = loading;
    // In the order of ids, so that the older of two entries with one name is the one that stays.
    let ordered: BTreeMap<u32, (PortKey, PortLayout)> = ports.into_iter().collect();
    for (id, (key, layout)) in ordered {
        let (family, frontends) = (key.family, layout.frontends.clone());
        let sources = layout.sources.clone();
        let backends: Vec<BackendLayout> = layout.backends.values().copied().collect();
        if !state.load(key, layout) {
            orphans.extend(frontends.into_keys().map(Change::DropFrontend));
            orphans.extend(backends.iter().map(|backend| Change::DropBackend {
                family,
                id: backend.id,
                generation: backend.generation.wrapping_add(1),
            }));
            let source = |prefix| Change::DropSource(SourceEntry { service: id, prefix });
            orphans.extend(sources.into_iter().map(source));
            orphans.push(Change::DropService(id));
        }
    }
    Ok(Loaded { state, orphans })
}

struct Loading {
    ports: HashMap<u32, (PortKey, PortLayout)>,
    orphans: Vec<Change>,
}

impl Loading {
    fn backends<A: Address + Into<IpAddr>>(
        &mut self,
        family: IpFamily,
        view: &MappedArray<Backend<A>>,
        state: &mut State,
    ) where
        Backend<A>: Pod,
    {
        // Id 0 is never used.
        for id in 1..view.len() {
            let Some(entry) = view.get(id).filter(|entry| entry.service != 0 || entry.generation != 0) else {
                continue;
            };
            let port = self.ports.get_mut(&entry.service).filter(|(key, _)| key.family == family);
            let known = entry.service != 0;
            state.load_backend(family, id, entry.generation, known && port.is_some());
            if let Some((_, layout)) = port {
                let backend = BackendLayout {
                    id,
                    generation: entry.generation,
                    flags: entry.flags,
                    state: entry.state(),
                };
                layout.backends.insert(socket_address(entry.address, entry.port), backend);
            } else if known {
                let generation = entry.generation.wrapping_add(1);
                state.load_backend(family, id, generation, false);
                self.orphans.push(Change::DropBackend { family, id, generation });
            }
        }
    }

    fn frontends<A: Address + Into<IpAddr>>(
        &mut self,
        name: &'static str,
        map: &aya::maps::HashMap<MapData, FrontendKey<A>, Frontend>,
        slots: &MappedArray<u32>,
    ) -> Result<(), MapsError>
    where
        FrontendKey<A>: Pod,
    {
        for entry in map {
            let (key, frontend) = entry.map_err(|source| MapsError::Read { name, source })?;
            let at: SocketAddr = socket_address(key.address, key.port);
            let id = match (key.protocol, Protocol::from_number(key.protocol)) {
                (_, Some(protocol)) => FrontendId::Port { at, protocol },
                (0, None) if at.port() == 0 => FrontendId::Address(at.ip()),
                // Nothing that any weir writes.
                (_, None) => continue,
            };
            let fits = |key: &PortKey| match id {
                FrontendId::Address(_) => true,
                FrontendId::Port { protocol, .. } => key.protocol == protocol,
            };
            match self.ports.get_mut(&frontend.service) {
                Some((key, layout)) if key.family == id.family() && fits(key) => {
                    layout.frontends.insert(id, frontend);
                    for run in [frontend.inside, frontend.outside] {
                        load_run(run, &mut layout.runs, slots);
                    }
                }
                _ => self.orphans.push(Change::DropFrontend(id)),
            }
        }
        Ok(())
    }

    fn sources(&mut self, entries: BTreeSet<SourceEntry>) {
        // Those of the cluster belong to the settings.
        for entry in entries.into_iter().filter(|entry| entry.service != CLUSTER_SOURCES) {
            match self.ports.get_mut(&entry.service) {
                Some((key, layout)) if key.family == entry.prefix.family() => {
                    layout.sources.insert(entry.prefix);
                }
                _ => self.orphans.push(Change::DropSource(entry)),
            }
        }
    }
}

/// Takes over a run once; one that reaches beyond the arena is left out, so that a new one is made.
fn load_run(run: Run, runs: &mut Vec<RunLayout>, slots: &MappedArray<u32>) {
    if run.length == 0 || runs.iter().any(|known| known.run == run) {
        return;
    }
    let Some(end) = run.start.checked_add(run.length).filter(|end| *end <= slots.len()) else { return };
    let ids: Arc<[u32]> = (run.start..end).filter_map(|slot| slots.get(slot)).collect();
    runs.push(RunLayout { run, slots: ids });
}
