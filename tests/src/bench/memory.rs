//! Memory of the maps at their default sizes.

use std::collections::BTreeMap;

use anyhow::Result;
use lb_common::maps;

use crate::kernel_object::{KernelObject, Sizes};

/// Bytes that the kernel says each map takes when it is made with the defaults, empty. What is allocated with entries
/// (frontends, names of Services) comes with them.
pub fn memory() -> Result<BTreeMap<String, u64>> {
    let sizes = Sizes { slots: maps::SLOTS, flows: maps::FLOWS, backends: maps::BACKENDS };
    KernelObject::load(sizes)?.memory()
}
