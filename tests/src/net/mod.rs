//! Networks of namespaces on one machine, which take themselves down.

mod addresses;
mod cgroup;
mod lay;
mod line;
mod namespace;
mod network;
mod pair;
mod pass;
mod sweep;
mod tool;

pub use addresses::{
    CLIENT4, CLIENT6, CLUSTER4, CLUSTER6, DNS_NODE_PORT, DNS_PORT, DNS_TARGET_PORT, Family, HTTP_NODE_PORT,
    HTTP_PORT, HTTP_TARGET_PORT, NODE_NAME, NODE4, NODE6, VIP4, VIP6,
};
pub use cgroup::Cgroup;
pub use line::{Hop, Line, NARROW_MTU};
pub use namespace::Namespace;
pub use network::{Arms, BackendHost, Network};
pub use pair::Pair;
pub use pass::{PassProgram, add_filter};
pub use sweep::{PINS, PREFIX, sweep, unique};
pub use tool::{run, tool};
