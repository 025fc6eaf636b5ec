//! What the engine asks of the maps of one address family.

use lb_common::{Backend, Flow, FlowKey, Frontend, FrontendKey, Settings};

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

    /// Settings of the data path; `None` until the agent has written them.
    fn settings(&mut self) -> Option<Settings>;
}
