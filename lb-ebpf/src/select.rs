//! Third step: choose a backend for a flow that has none.

use lb_common::{Address, Backend, FlowKey, FrontendKey, Outcome, Run};

use crate::{Family, Maps};

/// A selected backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection<A: Address> {
    /// Its id.
    pub(crate) id: u32,
    /// Its entry.
    pub(crate) backend: Backend<A>,
}

/// Looks up the frontend of a packet from outside and fills in a backend, selected by weight.
///
/// The agent may free a run of slots and give it to another Service between the two look-ups. The backend then
/// belongs to the wrong Service, and one fresh look at the frontend finds the new run.
///
/// Not inlined, for its stack.
#[inline(never)]
pub(crate) fn select<F, M>(
    key: &FlowKey<F::Address>,
    maps: &mut M,
    selection: &mut Selection<F::Address>,
) -> Result<(), Outcome>
where
    F: Family,
    M: Maps<F>,
{
    let frontend_key = frontend_key(key);
    let hash = hash(key);
    for _ in 0..2 {
        let Some(frontend) = maps.frontend(&frontend_key) else {
            return Err(Outcome::NotOurs);
        };
        if frontend.outside.length == 0 {
            return Err(Outcome::NoBackend);
        }
        selection.id = maps.slot(slot_index(frontend.outside, hash)).unwrap_or(0);
        if let Some(backend) = maps.backend(selection.id)
            && backend.service == frontend.service
        {
            selection.backend = backend;
            return Ok(());
        }
    }
    Err(Outcome::Changing)
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
    let mut hash: u64 = 0x9e37_79b9_7f4a_7c15;
    for index in 0..A::WORDS {
        let pair = (u64::from(key.source.word(index).to_be()) << 32)
            | u64::from(key.destination.word(index).to_be());
        hash = mix(hash ^ pair);
    }
    let ports = (u64::from(u16::from_be_bytes(key.source_port)) << 32)
        | (u64::from(u16::from_be_bytes(key.destination_port)) << 8)
        | u64::from(key.protocol);
    mix(hash ^ ports)
}

#[inline(always)]
const fn mix(mut value: u64) -> u64 {
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
