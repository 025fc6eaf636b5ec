//! Last step of the control path: the only writer of the agent's maps.

mod pass;

pub use pass::{Pass, Programmer};

use crate::diff::Change;

/// Where changes are written.
pub trait Writer {
    /// Writes one change.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it; it is then not written.
    fn write(&mut self, change: &Change) -> Result<(), WriteError>;
}

/// A write that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {change}: map {map}: {source}")]
pub struct WriteError {
    /// What was to be written.
    pub change: String,
    /// The map.
    pub map: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Writes changes in their order and stops at the first that is refused.
///
/// # Errors
///
/// The refusal. Everything before it is written and, by the order, consistent.
pub fn apply(changes: &[Change], writer: &mut impl Writer) -> Result<(), WriteError> {
    changes.iter().try_for_each(|change| writer.write(change))
}
