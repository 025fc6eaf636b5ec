//! What is in the kernel: the pinned maps, read and written.

#[expect(unsafe_code, reason = "edge file: memory shared with the kernel")]
mod arena;
#[expect(unsafe_code, reason = "edge file: system calls")]
mod bpf;
mod entries;
mod excluded;
mod kernel;
mod load;
mod pins;
mod sources;
mod stats;

pub use arena::MappedArray;
pub use bpf::{Cursor, Entries, detach_link, run_program};
pub use entries::{BackendView, FlowView, Snapshot};
pub use kernel::{MapsError, Tables, open_data};
pub(crate) use kernel::{open, port_key};
pub use load::{Loaded, load};
pub use pins::Pins;
