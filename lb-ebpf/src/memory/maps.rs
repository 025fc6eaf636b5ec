//! The maps as collections in memory.

use std::collections::BTreeMap;

use lb_common::{
    Affinity, AffinityKey, Backend, Flow, FlowFlags, FlowKey, Fragment, FragmentKey, Frontend, FrontendKey,
    PodAffinityKey, ServiceStats, Settings, SocketFlow, SocketFlowKey, SourceKey,
};

use crate::memory::InMemory;
use crate::memory::host::contains;
use crate::{Family, Maps, V4, V6};

/// What a flow table does with a new entry that it has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuses it.
    Refuse,
    /// Evicts the entry that was used least recently.
    EvictOldest,
}

/// The maps of one family.
#[derive(Clone, Debug)]
pub struct Tables<F: Family> {
    /// `FRONTENDS4` or `FRONTENDS6`.
    pub frontends: BTreeMap<FrontendKey<F::Address>, Frontend>,
    /// `BACKENDS4` or `BACKENDS6`; the index is the id.
    pub backends: Vec<Backend<F::Address>>,
    /// `FLOWS4` or `FLOWS6`.
    pub flows: BTreeMap<FlowKey<F::Address>, Flow<F::Address>>,
    /// `AFFINITY4` or `AFFINITY6`.
    pub affinity: BTreeMap<AffinityKey<F::Address>, Affinity>,
    /// `SOURCES4` or `SOURCES6`: keys with their prefix lengths, bits of the address only.
    pub sources: Vec<(SourceKey<F::Address>, u32)>,
    /// `FRAGMENTS4` or `FRAGMENTS6`.
    pub fragments: BTreeMap<FragmentKey<F::Address>, Fragment>,
    /// `SOCKET_FLOWS4` or `SOCKET_FLOWS6`.
    pub socket_flows: BTreeMap<SocketFlowKey<F::Address>, SocketFlow<F::Address>>,
    /// Most entries in `socket_flows`.
    pub socket_flows_max: usize,
    /// Most entries in `flows`.
    pub flows_max: usize,
    /// What happens beyond that.
    pub when_full: WhenFull,
}

impl<F: Family> Default for Tables<F> {
    fn default() -> Self {
        Self {
            frontends: BTreeMap::new(),
            backends: Vec::new(),
            flows: BTreeMap::new(),
            affinity: BTreeMap::new(),
            sources: Vec::new(),
            fragments: BTreeMap::new(),
            socket_flows: BTreeMap::new(),
            socket_flows_max: lb_common::maps::SOCKET_FLOWS as usize,
            flows_max: lb_common::maps::FLOWS as usize,
            when_full: WhenFull::EvictOldest,
        }
    }
}

/// All maps that the engine reads or writes.
#[derive(Clone, Debug, Default)]
pub struct MemoryMaps {
    /// The tables of IPv4.
    pub v4: Tables<V4>,
    /// The tables of IPv6.
    pub v6: Tables<V6>,
    /// `SLOTS`, shared by both families.
    pub slots: Vec<u32>,
    /// `POD_AFFINITY`.
    pub pod_affinity: BTreeMap<PodAffinityKey, Affinity>,
    /// `SERVICE_STATS`, by service id.
    pub stats: BTreeMap<u32, ServiceStats>,
    /// `SETTINGS`, once written.
    pub settings: Option<Settings>,
}

impl<F: InMemory> Maps<F> for MemoryMaps {
    fn frontend(&mut self, key: &FrontendKey<F::Address>) -> Option<Frontend> {
        F::tables(self).frontends.get(key).copied()
    }

    fn slot(&mut self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn backend(&mut self, id: u32) -> Option<Backend<F::Address>> {
        F::tables(self).backends.get(id as usize).copied()
    }

    fn flow(&mut self, key: &FlowKey<F::Address>) -> Option<&mut Flow<F::Address>> {
        F::tables(self).flows.get_mut(key)
    }

    fn remember(&mut self, key: &FlowKey<F::Address>, flow: &Flow<F::Address>, only_new: bool) -> bool {
        let tables = F::tables(self);
        match tables.flows.get_mut(key) {
            Some(_) if only_new => return false,
            Some(entry) => *entry = *flow,
            None => {
                if tables.flows.len() >= tables.flows_max && !tables.make_room() {
                    return false;
                }
                tables.flows.insert(*key, *flow);
            }
        }
        true
    }

    /// Exactly what the filter of the kernel says nearly: whether the destination has a frontend, or replies come to it.
    fn may_concern(&mut self, key: &FlowKey<F::Address>) -> bool {
        let first = FrontendKey::new(key.destination, 0, 0);
        let next = F::tables(self).frontends.range(first..).next();
        // A bit of the filter outlives its frontend.
        next.is_some_and(|(frontend, _)| frontend.address == key.destination)
            || F::tables(self).flows.get(key).is_some_and(|flow| flow.flags & FlowFlags::FORWARD != 0)
            || self.settings.is_some_and(|settings| {
                F::snat(&settings) == key.destination
                    && settings.is_reply_port(u16::from_be_bytes(key.destination_port), key.protocol)
            })
    }

    fn affinity(&mut self, key: &AffinityKey<F::Address>) -> Option<&mut Affinity> {
        F::tables(self).affinity.get_mut(key)
    }

    fn remember_affinity(&mut self, key: &AffinityKey<F::Address>, affinity: &Affinity) {
        F::tables(self).affinity.insert(*key, *affinity);
    }

    fn allows(&mut self, service: u32, address: &F::Address) -> bool {
        let address = F::ip(address);
        let sources = &F::tables(self).sources;
        sources
            .iter()
            .any(|(key, bits)| key.service == service && contains(F::ip(&key.address), *bits, address))
    }

    fn fragment(&mut self, key: &FragmentKey<F::Address>) -> Option<Fragment> {
        F::tables(self).fragments.get(key).copied()
    }

    fn remember_fragment(&mut self, key: &FragmentKey<F::Address>, fragment: &Fragment) {
        F::tables(self).fragments.insert(*key, *fragment);
    }

    fn account(&mut self, service: u32, bytes: u16, reply: bool) {
        let stats = self.stats.entry(service).or_default();
        if reply {
            stats.reply_packets += 1;
            stats.reply_bytes += u64::from(bytes);
        } else {
            stats.packets += 1;
            stats.bytes += u64::from(bytes);
        }
    }

    fn account_new(&mut self, service: u32) {
        self.stats.entry(service).or_default().new_flows += 1;
    }

    fn forget(&mut self, key: &FlowKey<F::Address>) {
        F::tables(self).flows.remove(key);
    }

    fn settings(&mut self) -> Option<Settings> {
        self.settings
    }
}

impl<F: Family> Tables<F> {
    /// Answers whether an entry could be evicted.
    fn make_room(&mut self) -> bool {
        if self.when_full == WhenFull::Refuse {
            return false;
        }
        let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last_seen_s).map(|(key, _)| *key);
        oldest.is_some_and(|key| self.flows.remove(&key).is_some())
    }
}
