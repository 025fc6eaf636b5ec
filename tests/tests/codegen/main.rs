//! What the compiler made of the programs: rules that no source line shows.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod walk;

use std::collections::BTreeSet;

use tests::kernel_object::bytes;

use crate::walk::{Object, Op};

/// Stack of a call chain, `MAX_BPF_STACK` of `linux/filter.h`, bytes.
const STACK_MAX: u32 = 512;

fn object() -> Object {
    Object::read(&bytes("weir.bpf.o").expect("the object"))
}

/// A relaxed atomic addition whose result is used may be compiled to the form without a result (LLVM issue 210280).
/// The programs need none that has a result: counters are per CPU, and flows are whole words. Those for calls on sockets add
/// to counters atomically, for a process may be put aside for another one.
#[test]
fn there_are_no_atomic_operations_with_a_result() {
    let found = object().functions.into_iter().filter(|function| function.ops.contains(&Op::Atomic));
    assert_eq!(found.map(|function| function.name).collect::<Vec<_>>(), Vec::<String>::new());
}

/// `memcpy` and its kin are loops over bytes on this target: a value that grew until it is copied by a call shows here.
#[test]
fn nothing_is_copied_by_a_call() {
    for function in object().functions {
        for op in &function.ops {
            let Op::Call(target) = op else { continue };
            assert!(
                !["memcpy", "memmove", "memset", "memcmp"].contains(&target.as_str()),
                "{}",
                function.name
            );
        }
    }
}

#[test]
fn every_call_chain_fits_the_stack() {
    let object = object();
    for entry in
        ["weir_xdp", "weir_tc_ingress", "weir_tc_egress", "weir_connect6", "weir_sendmsg6", "weir_release"]
    {
        let (bytes, chain) = object.deepest(entry, &mut BTreeSet::new());
        println!(
            "{entry}: {} instructions, {bytes} bytes of stack by {}",
            object.instructions(entry),
            chain.join(" > ")
        );
        assert!(bytes <= STACK_MAX, "{bytes}: {chain:?}");
    }
}
