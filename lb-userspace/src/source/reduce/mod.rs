//! API objects, reduced at the door to the parts that can change what is programmed.

mod endpoint_slice;
mod service;
mod weight;

use serde_saphyr::Spanned;

pub(super) use endpoint_slice::endpoint_slice;
pub(super) use service::service;

use super::manifest::ObjectMeta;
use crate::model::ObjectKey;

/// A place in a document and what is wrong there; whether as an error or a warning, the receiver says.
#[derive(Debug)]
pub(super) struct Fault {
    /// The line, from 1; 0 where the format does not tell it.
    pub(super) line: u64,
    pub(super) reason: String,
}

/// An object that is being reduced, for messages that name it.
struct Subject {
    kind: &'static str,
    key: ObjectKey,
    line: u64,
}

impl Subject {
    fn new(kind: &'static str, line: u64, meta: &ObjectMeta) -> Result<Self, Fault> {
        if meta.name.is_empty() {
            return Err(Fault { line, reason: format!("{kind}: metadata.name is empty") });
        }
        let namespace = if meta.namespace.is_empty() { "default" } else { &meta.namespace };
        Ok(Self { kind, key: ObjectKey::new(namespace, &meta.name), line })
    }

    /// A fault of the object as a whole.
    fn fault(&self, reason: &str) -> Fault {
        Fault { line: self.line, reason: format!("{} {}: {reason}", self.kind, self.key) }
    }

    /// A fault of one value of the object.
    fn value_fault(&self, field: &str, value: &Spanned<String>, reason: &str) -> Fault {
        let line = if value.defined.line() == 0 { self.line } else { value.defined.line() };
        let reason = format!("{} {}: {field}: {} {reason}", self.kind, self.key, quoted(&value.value));
        Fault { line, reason }
    }
}

/// A value of a manifest for a message of one line and bounded length.
fn quoted(value: &str) -> String {
    const CHARS_MAX: usize = 64;
    match value.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", value.get(..end).unwrap_or_default()),
        None => format!("{value:?}"),
    }
}
