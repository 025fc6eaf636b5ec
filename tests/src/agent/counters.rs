//! What the programs of a running agent have counted, and what they keep of sockets.

use anyhow::{Context as _, Result};
use aya::Pod;
use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use lb_common::{Address, Outcome, SocketFlow, SocketFlowKey, maps};

use super::Agent;
use crate::net::Family;

impl Agent<'_> {
    /// Packets that left by an outcome so far, of all CPUs and hooks.
    pub fn count(&self, outcome: Outcome) -> Result<u64> {
        self.counted("COUNTERS", outcome)
    }

    /// Calls on sockets that ended by an outcome so far.
    pub fn count_calls(&self, outcome: Outcome) -> Result<u64> {
        self.counted("SOCKET_COUNTERS", outcome)
    }

    /// Entries for UDP sockets that are not connected: two for each of their destinations.
    pub fn socket_flows(&self, family: Family) -> Result<usize> {
        match family {
            Family::V4 => self.entries::<[u8; 4]>("SOCKET_FLOWS4"),
            Family::V6 => self.entries::<[u8; 16]>("SOCKET_FLOWS6"),
        }
    }

    fn counted(&self, name: &str, outcome: Outcome) -> Result<u64> {
        let counters = PerCpuArray::<_, u64>::try_from(self.pinned(name)?)?;
        Ok(counters.get(&outcome.index(), 0)?.iter().sum())
    }

    fn entries<A: Address>(&self, name: &str) -> Result<usize>
    where
        SocketFlowKey<A>: Pod,
        SocketFlow<A>: Pod,
    {
        let map = HashMap::<_, SocketFlowKey<A>, SocketFlow<A>>::try_from(self.pinned(name)?)?;
        map.keys().try_fold(0, |count, key| Ok(key.map(|_| count + 1)?))
    }

    fn pinned(&self, name: &str) -> Result<Map> {
        let path = self.pin_path.join(maps::LAYOUT).join(name);
        let pinned = MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Map::from_map_data(pinned)?)
    }
}
