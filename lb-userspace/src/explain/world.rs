//! Maps in memory, and the agent's changes written into them: what is explained has passed the very steps that the
//! agent takes.

use std::collections::BTreeMap;

use lb_common::{Backend, FrontendKey, SourceKey};
use lb_ebpf::memory::MemoryMaps;
use lb_ebpf::{V4, V6};

use super::ServiceName;
use super::family::Family;
use crate::apply::{WriteError, Writer};
use crate::diff::{BackendEntry, Change, SourceEntry};
use crate::layout::FrontendId;
use crate::model::IpFamily;

/// Maps in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// What the engine reads.
    pub(super) maps: MemoryMaps,
    /// `SERVICES`.
    pub(super) services: BTreeMap<u32, ServiceName>,
    /// Seconds since boot.
    pub(super) now_s: u32,
}

impl Writer for World {
    fn write(&mut self, change: &Change) -> Result<(), WriteError> {
        match change {
            Change::DropFrontend(id) => {
                frontend_key::<V4>(id).map(|key| self.maps.v4.frontends.remove(&key));
                frontend_key::<V6>(id).map(|key| self.maps.v6.frontends.remove(&key));
            }
            Change::PutService { id, key, port } => {
                self.services.insert(*id, ServiceName { key: key.clone(), port: *port });
            }
            Change::ClearStats(id) => {
                self.maps.stats.remove(id);
            }
            Change::PutSource(entry) => {
                put_source::<V4>(entry, &mut self.maps);
                put_source::<V6>(entry, &mut self.maps);
            }
            Change::DropSource(entry) => {
                drop_source::<V4>(entry, &mut self.maps);
                drop_source::<V6>(entry, &mut self.maps);
            }
            Change::PutBackend(entry) => {
                put_backend::<V4>(entry, &mut self.maps);
                put_backend::<V6>(entry, &mut self.maps);
            }
            Change::PutSlots { start, ids } => {
                let start = *start as usize;
                let end = start.saturating_add(ids.len());
                if self.maps.slots.len() < end {
                    self.maps.slots.resize(end, 0);
                }
                for (slot, id) in self.maps.slots.iter_mut().skip(start).zip(ids) {
                    *slot = *id;
                }
            }
            Change::PutFrontend(id, frontend) => {
                frontend_key::<V4>(id).map(|key| self.maps.v4.frontends.insert(key, *frontend));
                frontend_key::<V6>(id).map(|key| self.maps.v6.frontends.insert(key, *frontend));
            }
            Change::DropBackend { family, id, generation } => match family {
                IpFamily::V4 => {
                    let free = Backend { generation: *generation, ..Backend::FREE };
                    place::<V4>(*id, free, &mut self.maps);
                }
                IpFamily::V6 => {
                    let free = Backend { generation: *generation, ..Backend::FREE };
                    place::<V6>(*id, free, &mut self.maps);
                }
            },
            Change::DropService(id) => {
                self.services.remove(id);
            }
        }
        Ok(())
    }
}

/// The key, if the frontend is of this family.
fn frontend_key<F: Family>(id: &FrontendId) -> Option<FrontendKey<F::Address>> {
    Some(FrontendKey::new(F::address(id.ip())?, id.port(), id.protocol_number()))
}

/// Writes the backend, if it is of this family.
fn put_backend<F: Family>(entry: &BackendEntry, maps: &mut MemoryMaps) {
    let Some(address) = F::address(entry.at.ip()) else { return };
    let backend = Backend {
        address,
        port: entry.at.port().to_be_bytes(),
        state: entry.state.to_u8(),
        flags: entry.flags,
        service: entry.service,
        generation: entry.generation,
    };
    place::<F>(entry.id, backend, maps);
}

/// The key and the bits of the address that count, if the prefix is of this family.
fn source_key<F: Family>(entry: &SourceEntry) -> Option<(SourceKey<F::Address>, u32)> {
    let address = F::address(entry.prefix.address())?;
    Some((SourceKey { service: entry.service, address }, u32::from(entry.prefix.length())))
}

/// Writes the prefix, if it is of this family.
pub(super) fn put_source<F: Family>(entry: &SourceEntry, maps: &mut MemoryMaps) {
    drop_source::<F>(entry, maps);
    F::tables(maps).sources.extend(source_key::<F>(entry));
}

fn drop_source<F: Family>(entry: &SourceEntry, maps: &mut MemoryMaps) {
    let key = source_key::<F>(entry);
    F::tables(maps).sources.retain(|held| Some(*held) != key);
}

/// Writes an element of `BACKENDS4` or `BACKENDS6`.
pub(super) fn place<F: Family>(id: u32, backend: Backend<F::Address>, maps: &mut MemoryMaps) {
    let (index, backends) = (id as usize, &mut F::tables(maps).backends);
    if backends.len() <= index {
        backends.resize(index + 1, Backend::FREE);
    }
    if let Some(element) = backends.get_mut(index) {
        *element = backend;
    }
}
