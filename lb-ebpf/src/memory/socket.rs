//! A socket and the process that uses it, in memory.

use lb_common::{Affinity, PodAffinityKey, Settings, Socket, SocketFlow, SocketFlowKey};

use crate::Family;
use crate::memory::{InMemory, MemoryMaps};
use crate::select::{SEED, mix};
use crate::socket::{Caller, Kept, SocketMaps};

/// A socket, and what the kernel says of it.
#[derive(Clone, Debug)]
pub struct MemorySocket<F: Family> {
    /// Its number.
    pub cookie: u64,
    /// Number of its network namespace.
    pub netns_cookie: u64,
    /// What the next random number is made from.
    pub seed: u64,
    /// The address that it is bound to; unspecified if to none.
    pub source: F::Address,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it is left alone.
    pub excluded: bool,
    /// Seconds since boot.
    pub now_s: u32,
    /// Whether there is memory to keep anything with it.
    pub has_memory: bool,
    /// What is kept with it.
    pub kept: Option<Socket<F::Address>>,
}

impl<F: Family> MemorySocket<F> {
    /// A new socket in a network namespace.
    pub const fn new(cookie: u64, netns_cookie: u64) -> Self {
        Self {
            cookie,
            netns_cookie,
            seed: cookie,
            source: <F::Address as lb_common::Address>::UNSPECIFIED,
            connected: false,
            excluded: false,
            now_s: 1,
            has_memory: true,
            kept: None,
        }
    }
}

impl<F: Family> Kept<F> for MemorySocket<F> {
    fn cookie(&mut self) -> u64 {
        self.cookie
    }

    fn socket(&mut self) -> Option<&mut Socket<F::Address>> {
        self.kept.as_mut()
    }
}

impl<F: Family> Caller<F> for MemorySocket<F> {
    fn is_excluded(&mut self, _: &Settings) -> bool {
        self.excluded
    }

    fn random(&mut self) -> u32 {
        self.seed = mix(self.seed ^ SEED);
        (self.seed >> 32) as u32
    }

    fn netns_cookie(&mut self) -> u64 {
        self.netns_cookie
    }

    fn source(&mut self) -> F::Address {
        self.source
    }

    fn is_connected(&mut self) -> bool {
        self.connected
    }

    fn now_s(&mut self) -> u32 {
        self.now_s
    }

    fn socket_or_new(&mut self) -> Option<&mut Socket<F::Address>> {
        if self.has_memory { Some(self.kept.get_or_insert(Socket::EMPTY)) } else { self.kept.as_mut() }
    }
}

impl<F: InMemory> SocketMaps<F> for MemoryMaps {
    fn pod_affinity(&mut self, key: &PodAffinityKey) -> Option<&mut Affinity> {
        self.pod_affinity.get_mut(key)
    }

    fn remember_pod_affinity(&mut self, key: &PodAffinityKey, affinity: &Affinity) {
        self.pod_affinity.insert(*key, *affinity);
    }

    fn socket_flow(&mut self, key: &SocketFlowKey<F::Address>) -> Option<&mut SocketFlow<F::Address>> {
        F::tables(self).socket_flows.get_mut(key)
    }

    fn remember_socket_flow(
        &mut self,
        key: &SocketFlowKey<F::Address>,
        flow: &SocketFlow<F::Address>,
    ) -> bool {
        let tables = F::tables(self);
        if tables.socket_flows.len() >= tables.socket_flows_max && !tables.socket_flows.contains_key(key) {
            return false;
        }
        tables.socket_flows.insert(*key, *flow);
        true
    }

    fn forget_socket_flow(&mut self, key: &SocketFlowKey<F::Address>) {
        F::tables(self).socket_flows.remove(key);
    }

    fn account_socket(&mut self, service: u32) {
        self.stats.entry(service).or_default().new_flows += 1;
    }
}
