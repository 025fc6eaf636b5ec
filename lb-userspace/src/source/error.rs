//! Why a manifest is refused.

/// Why a file is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}
