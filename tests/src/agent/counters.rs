//! What the programs of a running agent have counted.

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::{Outcome, maps};

use super::Agent;

impl Agent<'_> {
    /// Packets that left by an outcome so far, of all CPUs and hooks.
    pub fn count(&self, outcome: Outcome) -> Result<u64> {
        let path = self.pin_path.join(maps::LAYOUT).join("COUNTERS");
        let pinned = MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let counters = PerCpuArray::<_, u64>::try_from(Map::PerCpuArray(pinned))?;
        Ok(counters.get(&outcome.index(), 0)?.iter().sum())
    }
}
