//! Puts together what the engine decided, and by what it decided.

use std::collections::BTreeMap;

use lb_common::{
    Backend, CLUSTER_SOURCES, Flow, FlowFlags, FlowKey, Frontend, FrontendFlags, FrontendKey, Outcome,
    Run as Slots, SettingsFlags,
};
use lb_ebpf::Maps;
use lb_ebpf::memory::MemoryMaps;

use super::family::Family;
use super::known::{endpoint, had_backend, is_live, known_flow, still_holds};
use super::run::{Run, is_this_node, run};
use super::world::World;
use super::{Answer, Choice, ChosenBackend, Circumstances, Origin, Question, Rule, ServiceName, Share};
use crate::trace::{Fate, fate};

/// How the endpoints at a frontend were narrowed, where that is known beside the maps.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrowed {
    /// Those for packets of the origin are of this node only.
    pub(super) local: bool,
    /// Those for packets from outside are.
    pub(super) outside_local: bool,
    /// What the plan chose by.
    pub(super) choice: Choice,
    /// What is to be said besides.
    pub(super) remark: Option<String>,
}

/// Answers a question whose 5-tuple is `key`. `narrowed` is asked about the Service at the destination, and whether
/// the packet counts as from inside.
pub(super) fn judge<F: Family>(
    question: &Question,
    key: FlowKey<F::Address>,
    world: &World,
    narrowed: impl FnOnce(&ServiceName, bool) -> Narrowed,
) -> Answer {
    let Run { opens, outcome, mut after } = run::<F>(key, question.origin, world);
    let mut before = world.maps.clone();
    let inside = question.origin != Origin::Outside || from_cluster::<F>(&key, &mut before);
    let frontend = frontend::<F>(&key, &mut before);
    let flow = F::tables(&mut after).flows.get(&key).copied().filter(|_| fate(outcome) == Fate::Forward);
    let known = known_flow::<F>(&key, world, &mut before);
    let id = flow.map(|flow| flow.service).or_else(|| frontend.map(|frontend| frontend.service));
    let service = id.and_then(|id| world.services.get(&id)).cloned();
    let mut circumstances = by_flags(frontend.as_ref(), inside);
    circumstances.established =
        !opens && flow.is_some_and(|flow| still_holds::<F>(&key, &flow, known.as_ref(), &mut before));
    circumstances.affinity = frontend
        .zip(flow)
        .is_some_and(|(frontend, flow)| had_backend::<F>(&key, &frontend, &flow, world.now_s, &mut before));
    let mut remarks = remarks_of(question.origin, inside);
    if let (Some(service), Some(_)) = (&service, frontend) {
        let narrowed = narrowed(service, inside);
        circumstances.local |= narrowed.local;
        circumstances.outside_local |= narrowed.outside_local;
        circumstances.choice = narrowed.choice;
        remarks.extend(narrowed.remark);
    }
    if outcome == Outcome::NotOurs && is_this_node(question) {
        remarks.push(
            "at loopback addresses there are the node's NodePorts, if --nodeport-addresses selects loopback"
                .to_owned(),
        );
    }
    remarks.extend(known.filter(|_| !circumstances.established).map(|known| known.why_not(opens).to_owned()));
    remarks.extend(owner::<F>(&key, world, &mut before).filter(|_| outcome == Outcome::UnusedPort));
    let run = frontend
        // Who is refused may get none of them.
        .filter(|_| !matches!(outcome, Outcome::FromOutside | Outcome::SourceRefused))
        .map(|frontend| if inside { frontend.inside } else { frontend.outside });
    // A socket of the node chooses when it is used, and the kernel chooses its source.
    let of_packet = flow.filter(|_| question.origin != Origin::Host);
    Answer {
        question: *question,
        opens,
        inside,
        outcome,
        rule: Rule::of(outcome, &circumstances),
        service,
        affinity_timeout_s: frontend.map_or(0, |frontend| frontend.affinity_timeout_s),
        backends: run.map(|run| shares::<F>(run, &mut before)).unwrap_or_default(),
        chosen: of_packet.map(|flow| chosen::<F>(&flow, &key, &mut after)),
        becomes: of_packet.map(|flow| {
            let source = F::socket(flow.source, flow.source_port);
            (source, F::socket(flow.destination, flow.destination_port))
        }),
        flow: known,
        remarks,
    }
}

fn frontend<F: Family>(key: &FlowKey<F::Address>, maps: &mut MemoryMaps) -> Option<Frontend> {
    let key = FrontendKey::new(key.destination, u16::from_be_bytes(key.destination_port), key.protocol);
    F::tables(maps).frontends.get(&key).copied()
}

/// Whose address the destination is.
fn owner<F: Family>(key: &FlowKey<F::Address>, world: &World, maps: &mut MemoryMaps) -> Option<String> {
    let address = F::tables(maps).frontends.get(&FrontendKey::new(key.destination, 0, 0))?;
    let service = &world.services.get(&address.service)?.key.service;
    Some(format!("the address is one of Service {service}"))
}

/// Whether the source is one of the cluster's own prefixes.
fn from_cluster<F: Family>(key: &FlowKey<F::Address>, maps: &mut MemoryMaps) -> bool {
    maps.settings.is_some_and(|settings| settings.flags & SettingsFlags::CLUSTER_SOURCES != 0)
        && Maps::<F>::allows(maps, CLUSTER_SOURCES, &key.source)
}

/// What the frontend itself says of the runs.
fn by_flags(frontend: Option<&Frontend>, inside: bool) -> Circumstances {
    let flags = frontend.map_or(0, |frontend| frontend.flags);
    let own = if inside { FrontendFlags::INSIDE_LOCAL } else { FrontendFlags::OUTSIDE_LOCAL };
    Circumstances {
        inside,
        local: flags & own != 0,
        outside_local: flags & FrontendFlags::OUTSIDE_LOCAL != 0,
        ..Circumstances::default()
    }
}

/// The backends of a run by address, with their slots.
fn shares<F: Family>(run: Slots, maps: &mut MemoryMaps) -> Vec<Share> {
    let ids = maps.slots.iter().skip(run.start as usize).take(run.length as usize);
    let mut slots: BTreeMap<u32, u32> = BTreeMap::new();
    ids.for_each(|id| *slots.entry(*id).or_default() += 1);
    let backends = &F::tables(maps).backends;
    let mut shares: Vec<Share> = slots
        .into_iter()
        .filter_map(|(id, slots)| {
            let backend = backends.get(id as usize)?;
            let at = F::socket(backend.address, backend.port);
            Some(Share { at, local: backend.is_local(), slots, of: run.length })
        })
        .collect();
    shares.sort_by_key(|share| share.at);
    shares
}

/// The endpoint of a flow: of a reply it is where the packet comes from.
fn chosen<F: Family>(
    flow: &Flow<F::Address>,
    key: &FlowKey<F::Address>,
    maps: &mut MemoryMaps,
) -> ChosenBackend {
    let backend = F::tables(maps).backends.get(flow.backend as usize);
    let local = backend.filter(|backend| is_live(flow, backend)).map(Backend::is_local);
    // Of an endpoint that is gone only the flow still knows.
    ChosenBackend { at: endpoint::<F>(flow, key), local: local.unwrap_or(flow.flags & FlowFlags::LOCAL != 0) }
}

fn remarks_of(origin: Origin, inside: bool) -> Vec<String> {
    let remark = match origin {
        Origin::Outside if inside => {
            "the source is in a prefix of the cluster's own pods, so the packet counts as from inside"
        }
        Origin::Outside => return Vec::new(),
        Origin::Pod => {
            "this holds for packets of pods behind a device that weir serves as a workload's; a pod's socket has got an \
             endpoint before there is a packet, where weir has programs on sockets (--socket-mode)"
        }
        Origin::Host => {
            "this is what the policies ask for; programs on sockets (--socket-mode) carry it out for the node's TCP and UDP \
             sockets: each gets an endpoint when it is used, and learns of a refusal at once"
        }
    };
    vec![remark.to_owned()]
}
