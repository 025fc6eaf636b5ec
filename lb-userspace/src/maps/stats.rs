//! `SERVICE_STATS`: figures of service ports, of which each CPU has its own.

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use lb_common::ServiceStats;

/// The figures of a service id over all CPUs.
pub(super) fn sum(map: &PerCpuArray<MapData, ServiceStats>, service: u32) -> Result<ServiceStats, MapError> {
    let mut all = ServiceStats::default();
    for one in map.get(&service, 0)?.iter() {
        all.packets = all.packets.saturating_add(one.packets);
        all.bytes = all.bytes.saturating_add(one.bytes);
        all.reply_packets = all.reply_packets.saturating_add(one.reply_packets);
        all.reply_bytes = all.reply_bytes.saturating_add(one.reply_bytes);
        all.new_flows = all.new_flows.saturating_add(one.new_flows);
    }
    Ok(all)
}

/// Sets the figures of a service id to zero on every CPU.
pub(super) fn clear(map: &mut PerCpuArray<MapData, ServiceStats>, service: u32) -> Result<(), MapError> {
    let cpus = nr_cpus().map_err(|(_, error)| error)?;
    map.set(service, PerCpuValues::try_from(vec![ServiceStats::default(); cpus.get() as usize])?, 0)
}
