//! Shares and stability of the filled table.

use proptest::prelude::*;

use super::*;

fn endpoints(count: usize, weight: impl Fn(usize) -> u16) -> Vec<(SocketAddr, u16)> {
    (0..count)
        .map(|index| {
            let [_, b, c, d] = u32::try_from(index + 1).unwrap().to_be_bytes();
            (SocketAddr::from(([10, b, c, d], 8080)), weight(index))
        })
        .collect()
}

fn size_of(endpoints: &[(SocketAddr, u16)]) -> u32 {
    table_size(endpoints.iter().map(|(_, weight)| *weight))
}

fn observed(table: &[u32], count: usize) -> Vec<u32> {
    let mut observed = vec![0; count];
    for index in table {
        observed[*index as usize] += 1;
    }
    observed
}

#[test]
fn every_share_is_within_one_percent_of_its_weight() {
    for count in [3, 100, 319, 320, 1_000, 5_000] {
        for weight in [|_: usize| 1_u16, |index: usize| 1 + (index % 4) as u16] {
            let endpoints = endpoints(count, weight);
            let size = size_of(&endpoints);
            assert!(size as usize >= 100 * count && is_prime(u64::from(size)));
            let sum: f64 = endpoints.iter().map(|(_, weight)| f64::from(*weight)).sum();
            let table = fill(&endpoints, size);
            for ((_, weight), slots) in endpoints.iter().zip(observed(&table, count)) {
                let exact = f64::from(*weight) / sum;
                let share = f64::from(slots) / f64::from(size);
                assert!((share - exact).abs() < 1.0 / f64::from(size), "{count}: {share} for {exact}");
                if size_allows_a_percent(&endpoints, size) {
                    assert!((share / exact - 1.0).abs() <= 0.01, "{count}: {share} for {exact}");
                }
            }
        }
    }
}

/// Whether the lightest endpoint has its hundred slots, so that one slot is a percent.
fn size_allows_a_percent(endpoints: &[(SocketAddr, u16)], size: u32) -> bool {
    let sum: u64 = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
    endpoints.iter().all(|(_, weight)| u64::from(size) * u64::from(*weight) >= 100 * sum)
}

#[test]
fn when_one_endpoint_goes_few_slots_move_beyond_its_own() {
    for count in [3, 100, 319, 320, 1_000, 5_000] {
        let before = endpoints(count, |_| 1);
        let size = size_of(&before);
        for gone in [0, count / 2, count - 1] {
            let mut after = before.clone();
            after.remove(gone);
            assert_eq!(size_of(&after), size, "{count}");
            let (old, new) = (fill(&before, size), fill(&after, size));
            let moved =
                old.iter().zip(&new).filter(|(old, new)| before[**old as usize].0 != after[**new as usize].0);
            let necessary = old.iter().filter(|index| **index as usize == gone).count();
            let beyond = moved.count() - necessary;
            assert!(
                beyond as f64 <= 0.02 * f64::from(size),
                "{count}: {beyond} of {size} slots moved for nothing"
            );
        }
    }
}

#[test]
fn removing_one_of_many_keeps_the_size() {
    for (count, size) in
        [(3, 521), (10, 1_031), (100, 16_411), (319, 32_771), (320, 32_771), (5_000, 524_309)]
    {
        assert_eq!(table_size(std::iter::repeat_n(1, count)), size);
    }
    assert_eq!((table_size(std::iter::empty()), table_size(std::iter::once(9))), (0, 1));
}

#[test]
fn the_table_is_the_same_everywhere() {
    // Nodes of different versions must agree: a change here needs a reason and a line in the change log.
    let endpoints = endpoints(5, |index| 1 + index as u16);
    let digest = fill(&endpoints, 101)
        .iter()
        .fold(0_u64, |digest, index| (digest ^ u64::from(*index)).wrapping_mul(0x0100_0000_01b3));
    assert_eq!(digest, EXPECTED_DIGEST);
}

const EXPECTED_DIGEST: u64 = 3_606_032_645_673_316_312;

proptest! {
    #[test]
    fn counts_are_exact_shares(weights in prop::collection::vec(1_u16.., 1..40)) {
        let size = table_size(weights.iter().copied());
        let counts = counts(&weights, size);
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        prop_assert_eq!(counts.iter().sum::<u32>(), size);
        for (weight, count) in weights.iter().zip(&counts) {
            let exact = f64::from(size) * f64::from(*weight) / sum as f64;
            prop_assert!(*count >= 1);
            // The largest may have given a slot to each that would have had none.
            let given = weights.len() as f64;
            prop_assert!(f64::from(*count) < exact + 1.0 && f64::from(*count) > exact - 1.0 - given, "{} {}", count, exact);
        }
    }

    #[test]
    fn any_order_of_turns_fills_the_table(weights in prop::collection::vec(0_u16..2_000, 0..30)) {
        let endpoints = endpoints(weights.len(), |index| weights[index]);
        let live = weights.iter().filter(|weight| **weight > 0);
        let size = table_size(live.clone().copied());
        let table = fill(&endpoints, size);
        prop_assert_eq!(table.len(), size as usize);
        let expected = counts(&weights, size);
        prop_assert_eq!(observed(&table, weights.len()), expected);
    }
}
