//! Memory that a packet is worked on in, beside the stack.
//!
//! A chain of BPF functions has 512 bytes of stack. What is too large for it is here, once for each CPU and program:
//! a packet is handled from its first step to its last without another one in between.

use lb_common::{Backend, Event, Flow, Tuple};

use crate::parse::Parsed;
use crate::{Family, V4, V6, Verdict};

/// The work on one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<F: Family> {
    /// What the packet says.
    pub(crate) parsed: Parsed<F>,
    /// What packets of its flow become.
    pub(crate) flow: Flow<F::Address>,
    /// Whether the flow table had an entry for the packet, valid or not.
    pub(crate) has_entry: u32,
    /// Id of the selected backend.
    pub(crate) backend_id: u32,
    /// The selected backend.
    pub(crate) backend: Backend<F::Address>,
}

impl<F: Family> Work<F> {
    /// No work yet.
    pub(crate) const EMPTY: Self = Self {
        parsed: Parsed::EMPTY,
        flow: Flow::EMPTY,
        has_entry: 0,
        backend_id: 0,
        backend: Backend::FREE,
    };
}

const NO_TUPLE: Tuple = Tuple {
    source: [0; 16],
    destination: [0; 16],
    source_port: [0; 2],
    destination_port: [0; 2],
    protocol: 0,
    ip_version: 0,
    tcp_flags: 0,
    pad: 0,
};

/// An event that tells nothing.
pub const NO_EVENT: Event = Event {
    time_ns: 0,
    ifindex: 0,
    out_ifindex: 0,
    service: 0,
    length: 0,
    cpu: 0,
    outcome: 0,
    hook: 0,
    action: 0,
    before: NO_TUPLE,
    after: NO_TUPLE,
};

/// The same for a packet of either family.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    /// For IPv4.
    pub(crate) v4: Work<V4>,
    /// For IPv6.
    pub(crate) v6: Work<V6>,
    /// What those who watch are told.
    pub event: Event,
    /// For what a hook puts aside, so that the verifier forgets what it is: it would walk what follows once for each value.
    pub aside: u32,
    /// The same for the verdict.
    pub verdict: Verdict,
}

impl Scratch {
    /// No work yet.
    pub const EMPTY: Self =
        Self { v4: Work::EMPTY, v6: Work::EMPTY, event: NO_EVENT, aside: 0, verdict: Verdict::FIRST };
}
