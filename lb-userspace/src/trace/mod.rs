//! Shows packets as they leave weir.

mod reason;

pub use reason::{Fate, fate, reason};
