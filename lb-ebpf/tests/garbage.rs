//! Random bytes and damaged packets: no panic, and no byte written unless the packet is translated.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use lb_common::Outcome;
use lb_ebpf::memory::invariants::{check_frame, check_frames, node};
use lb_ebpf::memory::{BufferPacket, Segment};
use lb_ebpf::{V4, V6};
use proptest::prelude::*;

use crate::support::*;

fn valid<F: Net>(protocol: u8, vip: u16, client: u16, options: u8) -> Vec<u8> {
    let key = key::<F>(protocol, (client, client), vip);
    let segment = Segment::<F> { option_words: options, ..Segment::new(key, &[0; 16]) };
    segment.build().bytes().to_vec()
}

/// A packet for one of the node's Services with some bytes changed, cut somewhere or not.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let base = (any::<bool>(), prop_oneof![Just(6_u8), Just(17)], 1..=5_u16, 0..4_u16, 0..=10_u8);
    (base, changes, prop::option::weighted(0.3, any::<prop::sample::Index>())).prop_map(
        |((v6, protocol, vip, client, options), changes, cut)| {
            let build = if v6 { valid::<V6> } else { valid::<V4> };
            let mut bytes = build(protocol, vip, client, options);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn random_bytes(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_frames(&input);
    }

    #[test]
    fn damaged_packets(frames in proptest::collection::vec((damaged(), any::<bool>()), 1..16)) {
        let mut node = node();
        for (bytes, egress) in frames {
            check_frame(&mut node, &BufferPacket::new(&bytes), egress);
        }
    }
}

/// Files that fuzzing starts from, and what it found. A name ends with the outcome of the file's last frame.
#[test]
fn the_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/engine");
    let mut outcomes = BTreeSet::new();
    for entry in folder.read_dir().expect("the corpus is part of the repository") {
        let path = entry.unwrap().path();
        let outcome = check_frames(&std::fs::read(&path).unwrap()).map(Outcome::name);
        assert_eq!(outcome, path.extension().and_then(|name| name.to_str()), "{}", path.display());
        outcomes.extend(outcome);
    }
    assert!(outcomes.len() >= 10, "the corpus lost variety: {outcomes:?}");
}
