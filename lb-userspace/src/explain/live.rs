//! Maps in memory from the kernel's: a copy of the few entries that one packet meets.

use std::net::IpAddr;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use lb_common::{
    Address, Affinity, AffinityKey, Backend, CLUSTER_SOURCES, Flow, FlowKey, Frontend, FrontendKey, Run,
    SLOTS_PER_LINE, SOURCE_SERVICE_BITS, ServiceInfo, Settings, SettingsFlags, SlotLine, SourceKey,
};
use lb_ebpf::{V4, V6};

use super::family::Family;
use super::judge::{Narrowed, judge};
use super::run::{key, looked_up, run};
use super::world::{World, place};
use super::{Answer, Origin, Question, ServiceName};
use crate::maps::{MapsError, Pins, open, port_key};

/// Longest chain of source ports that other flows have and the engine passes by: it tries each of sixteen twice.
const TAKEN_MAX: usize = 33;

/// Answers from the pinned maps, at `now_s` seconds since boot. `None` when source and destination are not of one
/// family.
///
/// # Errors
///
/// When weir has no maps here, or the kernel refuses to read them.
pub fn from_maps(question: &Question, pins: &Pins, now_s: u32) -> Result<Option<Answer>, MapsError> {
    match question.destination.ip() {
        IpAddr::V4(_) => answer::<V4>(question, pins, now_s),
        IpAddr::V6(_) => answer::<V6>(question, pins, now_s),
    }
}

fn answer<F: Family>(question: &Question, pins: &Pins, now_s: u32) -> Result<Option<Answer>, MapsError>
where
    FrontendKey<F::Address>: Pod,
    Backend<F::Address>: Pod,
    FlowKey<F::Address>: Pod,
    Flow<F::Address>: Pod,
    AffinityKey<F::Address>: Pod,
    SourceKey<F::Address>: Pod,
{
    let kernel = Kernel::<F>::open(pins)?;
    let settings = kernel.settings.get(&0, 0).map_err(failed("SETTINGS"))?;
    let loopback = match question.destination.ip() {
        IpAddr::V4(_) => SettingsFlags::LOOPBACK4,
        IpAddr::V6(_) => SettingsFlags::LOOPBACK6,
    };
    let looked_up = looked_up(question, settings.flags & loopback != 0);
    let Some(key) = key::<F>(&looked_up) else { return Ok(None) };
    let mut world = World { now_s, ..World::default() };
    world.maps.settings = Some(settings);
    kernel.frontends(&key, &mut world)?;
    if let Some(flow) = kernel.flow(&key, &mut world)? {
        kernel.flow(&key.opposite_key(&flow), &mut world)?;
        kernel.backend(flow.backend, &mut world)?;
        kernel.service(flow.service, &mut world)?;
    }
    kernel.source(CLUSTER_SOURCES, key.source, &mut world)?;
    // A new flow passes source ports by that other flows have: each of these is an entry that decides.
    for _ in 0..TAKEN_MAX {
        let mut after = run::<F>(key, question.origin, &world).after;
        let Some(flow) = F::tables(&mut after).flows.get(&key).copied() else { break };
        let reply = key.opposite_key(&flow);
        if F::tables(&mut world.maps).flows.contains_key(&reply) || kernel.flow(&reply, &mut world)?.is_none()
        {
            break;
        }
    }
    let mut answer = judge::<F>(question, key, &world, |_, _| Narrowed::default());
    if question.origin == Origin::Host && settings.netns_cookie == 0 {
        answer.remarks.push(
            "but weir was started without programs on sockets: what the node itself sends is not served"
                .to_owned(),
        );
    }
    Ok(Some(answer))
}

/// The kernel's maps of one family.
struct Kernel<F: Family>
where
    FrontendKey<F::Address>: Pod,
    Backend<F::Address>: Pod,
    FlowKey<F::Address>: Pod,
    Flow<F::Address>: Pod,
    AffinityKey<F::Address>: Pod,
    SourceKey<F::Address>: Pod,
{
    frontends: HashMap<MapData, FrontendKey<F::Address>, Frontend>,
    backends: Array<MapData, Backend<F::Address>>,
    slots: Array<MapData, SlotLine>,
    flows: HashMap<MapData, FlowKey<F::Address>, Flow<F::Address>>,
    affinity: HashMap<MapData, AffinityKey<F::Address>, Affinity>,
    sources: LpmTrie<MapData, SourceKey<F::Address>, u32>,
    services: HashMap<MapData, u32, ServiceInfo>,
    settings: Array<MapData, Settings>,
}

impl<F: Family> Kernel<F>
where
    FrontendKey<F::Address>: Pod,
    Backend<F::Address>: Pod,
    FlowKey<F::Address>: Pod,
    Flow<F::Address>: Pod,
    AffinityKey<F::Address>: Pod,
    SourceKey<F::Address>: Pod,
{
    fn open(pins: &Pins) -> Result<Self, MapsError> {
        Ok(Self {
            frontends: open_map(pins, F::MAPS.frontends, HashMap::try_from)?,
            backends: open_map(pins, F::MAPS.backends, Array::try_from)?,
            slots: open_map(pins, "SLOTS", Array::try_from)?,
            flows: open_map(pins, F::MAPS.flows, HashMap::try_from)?,
            affinity: open_map(pins, F::MAPS.affinity, HashMap::try_from)?,
            sources: open_map(pins, F::MAPS.sources, LpmTrie::try_from)?,
            services: open_map(pins, "SERVICES", HashMap::try_from)?,
            settings: open_map(pins, "SETTINGS", Array::try_from)?,
        })
    }

    /// Copies the frontend of a packet with all that it leads to, and that of the address itself.
    fn frontends(&self, key: &FlowKey<F::Address>, world: &mut World) -> Result<(), MapsError> {
        let port = u16::from_be_bytes(key.destination_port);
        let address = FrontendKey::new(key.destination, 0, 0);
        if let Some(found) = some(F::MAPS.frontends, self.frontends.get(&address, 0))? {
            F::tables(&mut world.maps).frontends.insert(address, found);
            self.service(found.service, world)?;
        }
        let at = FrontendKey::new(key.destination, port, key.protocol);
        let Some(mut frontend) = some(F::MAPS.frontends, self.frontends.get(&at, 0))? else { return Ok(()) };
        let (inside, outside) = (frontend.inside, frontend.outside);
        frontend.inside = self.run(inside, world)?;
        frontend.outside = if outside == inside { frontend.inside } else { self.run(outside, world)? };
        F::tables(&mut world.maps).frontends.insert(at, frontend);
        self.service(frontend.service, world)?;
        self.source(frontend.service, key.source, world)?;
        let client = AffinityKey { client: key.source, service: frontend.service };
        if let Some(had) = some(F::MAPS.affinity, self.affinity.get(&client, 0))? {
            F::tables(&mut world.maps).affinity.insert(client, had);
            self.backend(had.backend, world)?;
        }
        Ok(())
    }

    /// Copies the slots of a run and their backends, and says where in memory they are: a run is the same wherever it
    /// lies.
    fn run(&self, run: Run, world: &mut World) -> Result<Run, MapsError> {
        let start = u32::try_from(world.maps.slots.len()).unwrap_or(u32::MAX);
        let mut line: Option<(u32, SlotLine)> = None;
        for slot in run.start..run.start.saturating_add(run.length) {
            let index = slot / SLOTS_PER_LINE;
            let held = match line {
                Some((known, held)) if known == index => held,
                _ => self.slots.get(&index, 0).map_err(failed("SLOTS"))?,
            };
            line = Some((index, held));
            world.maps.slots.extend(held.backends.get((slot % SLOTS_PER_LINE) as usize));
        }
        let copied = world.maps.slots.get(start as usize..).unwrap_or_default();
        let ids: std::collections::BTreeSet<u32> = copied.iter().copied().collect();
        ids.into_iter().try_for_each(|id| self.backend(id, world))?;
        Ok(Run { start, length: run.length })
    }

    fn backend(&self, id: u32, world: &mut World) -> Result<(), MapsError> {
        match self.backends.get(&id, 0) {
            Ok(backend) => place::<F>(id, backend, &mut world.maps),
            Err(MapError::OutOfBounds { .. }) => {}
            Err(source) => return Err(MapsError::Read { name: F::MAPS.backends, source }),
        }
        Ok(())
    }

    /// Copies the flow entry of a 5-tuple, and gives it.
    fn flow(
        &self,
        key: &FlowKey<F::Address>,
        world: &mut World,
    ) -> Result<Option<Flow<F::Address>>, MapsError> {
        let Some(mut flow) = some(F::MAPS.flows, self.flows.get(key, 0))? else { return Ok(None) };
        // As if it was not looked at for a while: its age counts, and its way out is looked up.
        flow.tick = !world.now_s;
        flow.ifindex = 0;
        F::tables(&mut world.maps).flows.insert(*key, flow);
        Ok(Some(flow))
    }

    fn service(&self, id: u32, world: &mut World) -> Result<(), MapsError> {
        if let Some(info) = some("SERVICES", self.services.get(&id, 0))?
            && let Some(key) = port_key(&info)
        {
            world.services.insert(id, ServiceName { key, port: info.port });
        }
        Ok(())
    }

    /// Copies whether a Service allows a source, as an entry for this source alone.
    fn source(&self, service: u32, address: F::Address, world: &mut World) -> Result<(), MapsError> {
        let bits = F::Address::WORDS as u32 * 32;
        let key = SourceKey { service, address };
        if some(F::MAPS.sources, self.sources.get(&Key::new(SOURCE_SERVICE_BITS + bits, key), 0))?.is_some() {
            F::tables(&mut world.maps).sources.push((key, bits));
        }
        Ok(())
    }
}

fn open_map<M>(
    pins: &Pins,
    name: &'static str,
    typed: impl FnOnce(Map) -> Result<M, MapError>,
) -> Result<M, MapsError> {
    open(pins, name, typed).map(|(map, _)| map)
}

fn failed(name: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| MapsError::Read { name, source }
}

/// What is there; nothing for a key that is not.
fn some<T>(name: &'static str, looked_up: Result<T, MapError>) -> Result<Option<T>, MapsError> {
    match looked_up {
        Ok(found) => Ok(Some(found)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(MapsError::Read { name, source }),
    }
}
