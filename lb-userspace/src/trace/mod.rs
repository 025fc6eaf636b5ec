//! Shows packets as they leave weir, and calls on sockets: asks the programs for records, reads them, and puts them into words.

mod filter;
mod line;
mod names;
mod reason;
mod session;
mod time;

pub use filter::{ServiceFilter, WrongFilter};
pub use line::Line;
pub use names::Names;
pub use reason::{Fate, fate, reason};
pub use session::{Session, TraceError};
