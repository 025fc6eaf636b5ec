//! The programs for calls on sockets, as the verifier sees them.
#![forbid(unsafe_code)]

use tests::kernel_object::{KernelObject, Sizes};

/// Most instructions that the verifier may walk for a program: it gives up at a million.
const WALKED_MAX: u32 = 200_000;

#[test]
fn every_program_loads_within_bounds() {
    let sizes = Sizes { slots: 1024, flows: 1024, backends: 64 };
    let mut object = KernelObject::load(sizes).expect("maps");
    object.load_calls().expect("programs");
    let mut calls = 0;
    for (name, info) in object.statistics().expect("statistics") {
        let walked = info.verified_instruction_count().expect("a kernel that tells");
        println!("{name}: {walked} instructions walked");
        assert!(walked <= WALKED_MAX, "{name}: {walked}");
        calls += 1;
    }
    assert_eq!(calls, 11);
}
