//! Weighted Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016).
//!
//! Every endpoint walks the slots in an order of its own and takes the next free one whenever it is its turn. Here
//! turns are given by weight, and each endpoint stops at its exact share: the whole number of slots just below or
//! just above `size * weight / sum of weights`. The result depends on addresses and weights alone, so every node
//! fills its slots alike.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};

/// Slots for each endpoint, at least: one slot more or less is then at most one percent of a share.
const SLOTS_PER_ENDPOINT: u64 = 100;
/// Up to this size a table grows so that the lightest endpoint too has its hundred slots.
const LIGHT_LIMIT: u64 = 32_768;

/// Services of up to five endpoints have tables of one size, so that scaling them moves little.
const SIZE_MIN: u64 = 512;

/// The number of slots for endpoints with these weights, none of them zero: a prime of at least 100 for each, or
/// one when there is no choice. It is the next prime after a power of two, because a table of another size shares
/// little with the one before: most changes of the number of endpoints do not change it.
pub fn table_size(weights: impl Iterator<Item = u16> + Clone) -> u32 {
    let (count, sum) =
        weights.clone().fold((0_u64, 0_u64), |(count, sum), w| (count + 1, sum + u64::from(w)));
    if count <= 1 {
        return u32::try_from(count).unwrap_or(1);
    }
    let lightest = weights.min().map_or(1, u64::from).max(1);
    let by_weight = (SLOTS_PER_ENDPOINT * sum).div_ceil(lightest).min(LIGHT_LIMIT);
    let wanted = by_weight.max(SLOTS_PER_ENDPOINT * count).next_power_of_two().max(SIZE_MIN);
    u32::try_from((wanted..).find(|size| is_prime(*size)).unwrap_or(wanted)).unwrap_or(u32::MAX)
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

/// The number of slots of each endpoint in a table of `size`: its exact share, rounded down, and one more for those
/// with the largest remainders, the first in order where they are equal. Every endpoint gets one, if there are
/// enough.
pub fn counts(weights: &[u16], size: u32) -> Vec<u32> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let share = |weight: u16| u64::from(size) * u64::from(weight);
    let mut counts: Vec<u32> =
        weights.iter().map(|weight| u32::try_from(share(*weight) / sum).unwrap_or(u32::MAX)).collect();
    let given: u32 = counts.iter().sum();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| Reverse(weights.get(*index).map_or(0, |weight| share(*weight) % sum)));
    for index in order.into_iter().take((size - given) as usize) {
        if let Some(count) = counts.get_mut(index) {
            *count += 1;
        }
    }
    spare_one_for_each(weights, &mut counts);
    counts
}

/// Takes a slot from the largest for each endpoint whose share rounds to none.
fn spare_one_for_each(weights: &[u16], counts: &mut [u32]) {
    let starved: Vec<usize> = (0..counts.len())
        .filter(|index| counts.get(*index) == Some(&0) && weights.get(*index) > Some(&0))
        .collect();
    for index in starved {
        let largest =
            counts.iter().enumerate().max_by_key(|(at, count)| (**count, Reverse(*at))).map(|(at, _)| at);
        if let Some(most) = largest.and_then(|at| counts.get_mut(at))
            && *most > 1
        {
            *most -= 1;
            if let Some(count) = counts.get_mut(index) {
                *count = 1;
            }
        }
    }
}

/// One endpoint's way through the table.
struct Walk {
    next: u64,
    skip: u64,
    left: u32,
    taken: u64,
    weight: u64,
}

/// Fills a table of `size` slots; each holds an index of `endpoints`. Empty when all weights are zero.
pub fn fill(endpoints: &[(SocketAddr, u16)], size: u32) -> Vec<u32> {
    let weights: Vec<u16> = endpoints.iter().map(|(_, weight)| *weight).collect();
    let counts = counts(&weights, size);
    if counts.iter().all(|count| *count == 0) {
        return Vec::new();
    }
    let mut walks: Vec<Walk> = endpoints
        .iter()
        .zip(&counts)
        .map(|((at, weight), count)| walk(*at, u64::from(*weight), *count, u64::from(size)))
        .collect();
    let mut table = vec![u32::MAX; size as usize];
    // The endpoint whose next turn is earliest: turn k of weight w is due at (k + 1) / w.
    let mut turns: BinaryHeap<Reverse<(u64, u32)>> = (0_u32..)
        .zip(&walks)
        .filter(|(_, walk)| walk.left > 0)
        .map(|(index, walk)| Reverse((due(walk), index)))
        .collect();
    while let Some(Reverse((_, index))) = turns.pop() {
        let Some(walk) = walks.get_mut(index as usize) else { continue };
        while let Some(slot) = table.get_mut(walk.next as usize) {
            walk.next = (walk.next + walk.skip) % u64::from(size);
            if *slot == u32::MAX {
                *slot = index;
                break;
            }
        }
        walk.taken += 1;
        walk.left -= 1;
        if walk.left > 0 {
            turns.push(Reverse((due(walk), index)));
        }
    }
    table
}

fn due(walk: &Walk) -> u64 {
    ((walk.taken + 1) << 32) / walk.weight
}

fn walk(at: SocketAddr, weight: u64, count: u32, size: u64) -> Walk {
    let (first, second) = hashes(at);
    let skip = if size > 1 { second % (size - 1) + 1 } else { 0 };
    Walk { next: first % size, skip, left: count, taken: 0, weight }
}

/// Two hashes of an endpoint (FNV-1a, finished as MurmurHash3 does); fixed, because nodes of different versions
/// must fill alike.
fn hashes(at: SocketAddr) -> (u64, u64) {
    let octets: [u8; 16] = match at.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let hash = octets.iter().chain(&at.port().to_be_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (finish(hash), finish(hash ^ 0x9e37_79b9_7f4a_7c15))
}

const fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
#[path = "maglev_tests.rs"]
mod tests;
