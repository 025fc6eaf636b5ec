//! The demo: one Service from its manifests to its packets, each step with a line that says what happens.

mod drain;
mod interrupt;
mod maps;
mod shares;
mod steps;
mod weights;

pub use interrupt::Interrupt;
pub use steps::run;
