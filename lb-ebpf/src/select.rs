//! Third step: choose a backend for a flow that has none.

use lb_common::{
    Address, Affinity, AffinityKey, BackendFlags, CLUSTER_SOURCES, FlowKey, Frontend, FrontendFlags,
    FrontendKey, Outcome, Run, SettingsFlags,
};

use crate::work::Work;
use crate::{Family, Host, Maps};

/// Looks up the frontend of the packet, applies the policies of its Service, and fills in a backend, selected by weight.
///
/// The agent may free a run of slots and give it to another Service between the two look-ups. The backend then
/// belongs to the wrong Service, and one fresh look at the frontend finds the new run.
///
/// Not inlined, for its stack.
#[inline(never)]
pub(crate) fn select<F, M, H>(work: &mut Work<F>, maps: &mut M, host: &mut H) -> Result<(), Outcome>
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let inside = host.inside() || from_cluster::<F, M>(&work.parsed.key.source, maps);
    for _ in 0..2 {
        let Some(frontend) = maps.frontend(&frontend_key(&work.parsed.key)) else {
            return Err(without_frontend::<F, M>(work.parsed.key.destination, inside, maps));
        };
        let (run, local) = admit::<F, M>(&frontend, inside, &work.parsed.key, maps)?;
        let wanted = if local { BackendFlags::IN_LOCAL } else { BackendFlags::IN_CLUSTER };
        if frontend.affinity_timeout_s != 0 && remembered::<F, M, H>(work, &frontend, wanted, maps, host) {
            return Ok(());
        }
        work.backend_id = maps.slot(slot_index(run, hash(&work.parsed.key))).unwrap_or(0);
        if let Some(backend) = maps.backend(work.backend_id)
            && backend.service == frontend.service
        {
            work.backend = backend;
            if frontend.affinity_timeout_s != 0 {
                remember::<F, M, H>(work, maps, host);
            }
            return Ok(());
        }
    }
    Err(Outcome::Changing)
}

/// Whether the source is one of the cluster's own pods, on whichever node.
#[inline(always)]
fn from_cluster<F: Family, M: Maps<F>>(source: &F::Address, maps: &mut M) -> bool {
    maps.settings().is_some_and(|settings| settings.flags & SettingsFlags::CLUSTER_SOURCES != 0)
        && maps.allows(CLUSTER_SOURCES, source)
}

/// What a packet is whose destination no Service has a port for. What is from inside may be for another machine that has the
/// address too: only a cluster IP nobody else has.
#[inline(always)]
pub(crate) fn without_frontend<F: Family, M: Maps<F>>(
    destination: F::Address,
    inside: bool,
    maps: &mut M,
) -> Outcome {
    let wanted = FrontendFlags::ADDRESS | if inside { FrontendFlags::CLUSTER_IP } else { 0 };
    let address = maps.frontend(&FrontendKey::new(destination, 0, 0));
    if address.is_some_and(|address| address.flags & wanted == wanted) {
        Outcome::UnusedPort
    } else {
        Outcome::NotOurs
    }
}

/// Whether an address belongs to Services, and to nothing else.
#[inline(always)]
pub(crate) fn is_virtual<F: Family, M: Maps<F>>(address: F::Address, maps: &mut M) -> bool {
    maps.frontend(&FrontendKey::new(address, 0, 0))
        .is_some_and(|frontend| frontend.flags & FrontendFlags::ADDRESS != 0)
}

/// The run of slots for a packet, and whether its endpoints are those of this node; or why there is none.
#[inline(always)]
fn admit<F: Family, M: Maps<F>>(
    frontend: &Frontend,
    inside: bool,
    key: &FlowKey<F::Address>,
    maps: &mut M,
) -> Result<(Run, bool), Outcome> {
    let has = |flag: u32| frontend.flags & flag != 0;
    if has(FrontendFlags::INSIDE_ONLY) && !inside {
        return Err(Outcome::FromOutside);
    }
    if has(FrontendFlags::SOURCE_RANGES) && !maps.allows(frontend.service, &key.source) {
        return Err(Outcome::SourceRefused);
    }
    run(frontend, inside)
}

/// The run of slots for traffic from inside or outside, and whether its endpoints are those of this node; or why there is
/// none.
#[inline(always)]
pub(crate) const fn run(frontend: &Frontend, inside: bool) -> Result<(Run, bool), Outcome> {
    use FrontendFlags as Flags;
    let (run, local, drops) = if inside {
        (frontend.inside, frontend.flags & Flags::INSIDE_LOCAL, frontend.flags & Flags::INSIDE_DROPS)
    } else {
        (frontend.outside, frontend.flags & Flags::OUTSIDE_LOCAL, frontend.flags & Flags::OUTSIDE_DROPS)
    };
    match run.length {
        0 if drops != 0 => Err(Outcome::NoLocalBackend),
        0 => Err(Outcome::NoBackend),
        _ => Ok((run, local != 0)),
    }
}

/// Fills in the backend that the client got last time, while its time is not over and the backend takes new flows of this
/// scope. Not inlined, for its stack.
#[inline(never)]
fn remembered<F, M, H>(
    work: &mut Work<F>,
    frontend: &Frontend,
    wanted: u8,
    maps: &mut M,
    host: &mut H,
) -> bool
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let now_s = host.now_s();
    let key = AffinityKey { client: work.parsed.key.source, service: frontend.service };
    let Some(affinity) = maps.affinity(&key) else { return false };
    if now_s.saturating_sub(affinity.last_used_s) > frontend.affinity_timeout_s {
        return false;
    }
    affinity.last_used_s = now_s;
    let (id, generation) = (affinity.backend, affinity.generation);
    let Some(backend) = maps.backend(id) else { return false };
    if backend.generation != generation || backend.service != frontend.service || backend.flags & wanted == 0
    {
        return false;
    }
    work.backend_id = id;
    work.backend = backend;
    true
}

/// Notes the selected backend for the client's next flow. Not inlined, for its stack.
#[inline(never)]
fn remember<F: Family, M: Maps<F>, H: Host<F>>(work: &mut Work<F>, maps: &mut M, host: &mut H) {
    let key = AffinityKey { client: work.parsed.key.source, service: work.backend.service };
    let affinity =
        Affinity { backend: work.backend_id, generation: work.backend.generation, last_used_s: host.now_s() };
    maps.remember_affinity(&key, &affinity);
}

/// What a packet for a Service is looked up by.
#[inline(always)]
pub(crate) const fn frontend_key<A: Address>(key: &FlowKey<A>) -> FrontendKey<A> {
    FrontendKey { address: key.destination, port: key.destination_port, protocol: key.protocol, pad: 0 }
}

/// The slot of `run` that `hash` falls on: the hash as a fraction of 2^32, times the length (no division).
#[inline(always)]
pub const fn slot_index(run: Run, hash: u32) -> u32 {
    run.start.wrapping_add(((hash as u64 * run.length as u64) >> 32) as u32)
}

/// The hash that selects a slot: the same on every node and at every hook.
#[inline(always)]
pub fn hash<A: Address>(key: &FlowKey<A>) -> u32 {
    (hash_wide(key) >> 32) as u32
}

/// A hash of the 5-tuple whose halves do not depend on each other: the upper one selects the slot. The source port
/// comes from the lower one, for else each backend would be left with its own share of the ports only.
///
/// Each step is a multiplication by an odd constant and a shift (the finaliser of MurmurHash3), so every bit of the
/// tuple reaches every bit of the hash.
#[inline(always)]
pub(crate) fn hash_wide<A: Address>(key: &FlowKey<A>) -> u64 {
    hash_from(key, key.source_port)
}

/// The same for a packet from another port.
#[inline(always)]
pub(crate) fn hash_from<A: Address>(key: &FlowKey<A>, source_port: [u8; 2]) -> u64 {
    let mut hash: u64 = SEED;
    for index in 0..A::WORDS {
        let pair = (u64::from(key.source.word(index).to_be()) << 32)
            | u64::from(key.destination.word(index).to_be());
        hash = mix(hash ^ pair);
    }
    let ports = (u64::from(u16::from_be_bytes(source_port)) << 32)
        | (u64::from(u16::from_be_bytes(key.destination_port)) << 8)
        | u64::from(key.protocol);
    mix(hash ^ ports)
}

/// Where every hash begins: 2^64 over the golden ratio.
pub(crate) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of a hash.
#[inline(always)]
pub(crate) const fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> FlowKey<[u8; 4]> {
        FlowKey {
            source: [192, 0, 2, 1],
            destination: [198, 51, 100, 1],
            source_port: port.to_be_bytes(),
            destination_port: [0, 80],
            protocol: 6,
            pad: 0,
            pad_end: 0,
        }
    }

    #[test]
    fn every_slot_of_a_run_is_reached_and_none_outside() {
        let run = Run { start: 100, length: 7 };
        let hits: std::collections::BTreeSet<u32> =
            (0..1000).map(|port| slot_index(run, hash(&key(port)))).collect();
        assert_eq!(hits.into_iter().collect::<Vec<_>>(), (100..107).collect::<Vec<_>>());
        assert_eq!(slot_index(run, 0), 100);
        assert_eq!(slot_index(run, u32::MAX), 106);
    }

    #[test]
    fn neighbouring_ports_spread_evenly() {
        let (slots, flows) = (64, 65_536_u32);
        let mut counts = vec![0_u32; slots];
        for port in 0..=u16::MAX {
            counts[slot_index(Run { start: 0, length: 64 }, hash(&key(port))) as usize] += 1;
        }
        let expected = f64::from(flows) / slots as f64;
        let chi_square: f64 = counts.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        // 63 degrees of freedom: 103.4 is exceeded once in a thousand.
        assert!(chi_square < 103.4, "chi-square {chi_square}");
    }

    #[test]
    fn the_hash_is_fixed_because_nodes_must_agree() {
        // Computed by another implementation of the same steps.
        assert_eq!((hash(&key(1)), hash(&key(2))), (1008181990, 5532793));
    }
}
