//! Memory that a packet is worked on in, beside the stack.
//!
//! A chain of BPF functions has 512 bytes of stack. What is too large for it is here, once for each CPU and program:
//! a packet is handled from its first step to its last without another one in between.

use lb_common::{Backend, Flow};

use crate::parse::Parsed;
use crate::{Family, V4, V6};

/// The work on one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<F: Family> {
    /// What the packet says.
    pub(crate) parsed: Parsed<F>,
    /// What packets of its flow become.
    pub(crate) flow: Flow<F::Address>,
    /// Id of the selected backend.
    pub(crate) backend_id: u32,
    /// The selected backend.
    pub(crate) backend: Backend<F::Address>,
}

impl<F: Family> Work<F> {
    /// No work yet.
    pub(crate) const EMPTY: Self =
        Self { parsed: Parsed::EMPTY, flow: Flow::EMPTY, backend_id: 0, backend: Backend::FREE };
}

/// The same for a packet of either family.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    /// For IPv4.
    pub(crate) v4: Work<V4>,
    /// For IPv6.
    pub(crate) v6: Work<V6>,
}

impl Scratch {
    /// No work yet.
    pub const EMPTY: Self = Self { v4: Work::EMPTY, v6: Work::EMPTY };
}
