//! What the engine asks of the maps of one address family.

use lb_common::{
    Affinity, AffinityKey, Backend, Flow, FlowKey, Fragment, FragmentKey, Frontend, FrontendKey, Settings,
};

use crate::Family;

/// Verbs on the maps of family `F`.
pub trait Maps<F: Family> {
    /// The Service at an address and port.
    fn frontend(&mut self, key: &FrontendKey<F::Address>) -> Option<Frontend>;

    /// The backend id in a slot; `None` beyond the arena.
    fn slot(&mut self, index: u32) -> Option<u32>;

    /// The backend with an id; `None` beyond the table.
    fn backend(&mut self, id: u32) -> Option<Backend<F::Address>>;

    /// What packets of a 5-tuple become. The entry may be changed in place.
    fn flow(&mut self, key: &FlowKey<F::Address>) -> Option<&mut Flow<F::Address>>;

    /// Writes an entry. With `only_new` an existing one stays. Answers whether it was written.
    fn remember(&mut self, key: &FlowKey<F::Address>, flow: &Flow<F::Address>, only_new: bool) -> bool;

    /// Deletes an entry, if it is there.
    fn forget(&mut self, key: &FlowKey<F::Address>);

    /// Whether a packet of this 5-tuple may be for a Service, or of a translated flow. `false` is certain.
    fn may_concern(&mut self, key: &FlowKey<F::Address>) -> bool;

    /// The backend that a client got last time. The entry may be changed in place.
    fn affinity(&mut self, key: &AffinityKey<F::Address>) -> Option<&mut Affinity>;

    /// Writes an entry. When there is no room for it the client's next flow selects anew.
    fn remember_affinity(&mut self, key: &AffinityKey<F::Address>, affinity: &Affinity);

    /// Whether the prefixes of a service id contain an address.
    fn allows(&mut self, service: u32, address: &F::Address) -> bool;

    /// The ports of a datagram of which the first fragment was seen.
    fn fragment(&mut self, key: &FragmentKey<F::Address>) -> Option<Fragment>;

    /// Writes an entry. When there is no room for it the later fragments are dropped.
    fn remember_fragment(&mut self, key: &FragmentKey<F::Address>, fragment: &Fragment);

    /// Adds a packet to the figures of a service: its length from the IP header on, and whether it is a reply.
    fn account(&mut self, service: u32, bytes: u16, reply: bool);

    /// Adds a flow that begins to the figures of a service.
    fn account_new(&mut self, service: u32);

    /// Settings of the data path; `None` until the agent has written them.
    fn settings(&mut self) -> Option<Settings>;
}
