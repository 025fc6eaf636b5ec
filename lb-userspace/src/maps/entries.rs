//! What the maps hold, as people and programs read it. Needs no running agent.

use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::net::{IpAddr, SocketAddr};

use aya::Pod;
use aya::maps::{HashMap, MapData, MapError};
use lb_common::{
    Address, Backend, BackendState, Flow, FlowFlags, FlowKey, FlowState, Frontend, FrontendFlags, Run,
    ServiceStats,
};

use crate::layout::{FrontendId, PortLayout};
use crate::plan::PortKey;

use super::kernel::{open, socket_address};
use super::stats::sum;
use super::{MapsError, Pins, Tables, load};

/// A backend with its place in the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendView {
    /// The service port it belongs to.
    pub service: PortKey,
    /// Index in `BACKENDS4` or `BACKENDS6`.
    pub id: u32,
    /// Address and port.
    pub at: SocketAddr,
    /// Whether it runs on this node.
    pub local: bool,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// Generation of its id.
    pub generation: u32,
    /// Slots that it has of the run for traffic from inside, and how many that run has.
    pub inside: (u32, u32),
    /// The same for traffic from outside.
    pub outside: (u32, u32),
}

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination as the packet arrives.
    pub from: (SocketAddr, SocketAddr),
    /// Source and destination as it leaves.
    pub to: (SocketAddr, SocketAddr),
    /// From the client to the backend.
    pub forward: bool,
    /// The backend runs on this node.
    pub local: bool,
    /// How far it has come.
    pub state: FlowState,
    /// Backend id.
    pub backend: u32,
    /// The service port, while it exists.
    pub service: Option<PortKey>,
    /// The backend has lost its endpoint since the flow was made.
    pub stale: bool,
    /// Seconds since the latest packet.
    pub idle_s: u32,
}

/// Everything but the flows, at one time.
pub struct Snapshot {
    tables: Tables,
    ports: BTreeMap<PortKey, PortLayout>,
}

impl Snapshot {
    /// Reads the pinned maps.
    ///
    /// # Errors
    ///
    /// When weir has no maps here, or the kernel refuses.
    pub fn read(pins: &Pins) -> Result<Self, MapsError> {
        let tables = Tables::open(pins)?;
        let ports = load(&tables)?.state.ports().clone();
        Ok(Self { tables, ports })
    }

    /// Service ports.
    pub const fn ports(&self) -> &BTreeMap<PortKey, PortLayout> {
        &self.ports
    }

    /// Backends, by service port and address.
    pub fn backends(&self) -> Vec<BackendView> {
        let mut views = Vec::new();
        for (key, port) in &self.ports {
            let (inside, outside) = (counts(port, inside(port)), counts(port, outside(port)));
            let of = |counts: &(StdHashMap<u32, u32>, u32), id| {
                (counts.0.get(&id).copied().unwrap_or(0), counts.1)
            };
            views.extend(port.backends.iter().map(|(at, backend)| BackendView {
                service: key.clone(),
                id: backend.id,
                at: *at,
                local: backend.is_local(),
                state: backend.state,
                generation: backend.generation,
                inside: of(&inside, backend.id),
                outside: of(&outside, backend.id),
            }));
        }
        views
    }

    /// The figures of a service id.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn stats(&self, service: u32) -> Result<ServiceStats, MapsError> {
        sum(&self.tables.stats, service).map_err(|source| MapsError::Read { name: "SERVICE_STATS", source })
    }

    /// Both directions of every flow of both families, at `now_s` seconds since boot.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn flows(&self, pins: &Pins, now_s: u32) -> Result<Vec<FlowView>, MapsError> {
        let names: StdHashMap<u32, &PortKey> =
            self.ports.iter().map(|(key, port)| (port.service, key)).collect();
        let view4 = &self.tables.backend_view4;
        let view6 = &self.tables.backend_view6;
        let (flows4, _) = open(pins, "FLOWS4", HashMap::try_from)?;
        let (flows6, _) = open(pins, "FLOWS6", HashMap::try_from)?;
        let mut views = Vec::new();
        collect::<[u8; 4]>("FLOWS4", &flows4, &names, &|id| view4.get(id), now_s, &mut views)?;
        collect::<[u8; 16]>("FLOWS6", &flows6, &names, &|id| view6.get(id), now_s, &mut views)?;
        Ok(views)
    }
}

/// The run for traffic from inside: where a policy keeps it on the node, that one.
fn inside(port: &PortLayout) -> Run {
    preferred(port, FrontendFlags::INSIDE_LOCAL, 0).map(|frontend| frontend.inside).unwrap_or_default()
}

/// The run for traffic from outside, likewise; a frontend that is not for it says nothing of it.
fn outside(port: &PortLayout) -> Run {
    let frontend = preferred(port, FrontendFlags::OUTSIDE_LOCAL, FrontendFlags::INSIDE_ONLY);
    frontend.map(|frontend| frontend.outside).unwrap_or_default()
}

fn preferred(port: &PortLayout, wanted: u32, without: u32) -> Option<&Frontend> {
    let ports = port.frontends.iter().filter(|(id, _)| matches!(id, FrontendId::Port { .. }));
    let usable = ports.map(|(_, frontend)| frontend).filter(|frontend| frontend.flags & without == 0);
    // Of equals the last would be the maximum; any of them is as good.
    usable.max_by_key(|frontend| frontend.flags & wanted)
}

/// Slots by backend id in a run, and its length.
fn counts(port: &PortLayout, run: Run) -> (StdHashMap<u32, u32>, u32) {
    let mut counts = StdHashMap::new();
    for id in port.runs.iter().filter(|held| held.run == run).flat_map(|held| held.slots.iter()) {
        *counts.entry(*id).or_insert(0) += 1;
    }
    (counts, run.length)
}

fn collect<A: Address + Into<IpAddr>>(
    name: &'static str,
    flows: &HashMap<MapData, FlowKey<A>, Flow<A>>,
    names: &StdHashMap<u32, &PortKey>,
    backend: &impl Fn(u32) -> Option<Backend<A>>,
    now_s: u32,
    views: &mut Vec<FlowView>,
) -> Result<(), MapsError>
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    for entry in flows {
        let (key, flow) = match entry {
            Ok(entry) => entry,
            // The table changes while it is read: an entry may go between its key and its value.
            Err(MapError::KeyNotFound) => continue,
            Err(source) => return Err(MapsError::Read { name, source }),
        };
        let current = backend(flow.backend);
        views.push(FlowView {
            protocol: key.protocol,
            from: (
                socket_address(key.source, key.source_port),
                socket_address(key.destination, key.destination_port),
            ),
            to: (
                socket_address(flow.source, flow.source_port),
                socket_address(flow.destination, flow.destination_port),
            ),
            forward: flow.flags & FlowFlags::FORWARD != 0,
            local: flow.flags & FlowFlags::LOCAL != 0,
            state: FlowState::from_u8(flow.state),
            backend: flow.backend,
            service: names.get(&flow.service).map(|key| (*key).clone()),
            stale: current.is_none_or(|backend| {
                backend.generation != flow.generation || backend.service != flow.service
            }),
            idle_s: now_s.saturating_sub(flow.last_seen_s),
        });
    }
    Ok(())
}
