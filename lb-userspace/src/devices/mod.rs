//! The network devices of this machine: found and followed by rtnetlink, and which of them weir serves on.

mod choose;
mod link;
mod monitor;
mod netlink;
mod pattern;

pub use choose::{Role, Selection, Wanted, addresses};
pub use link::{Kind, Link};
pub use monitor::monitor;
pub use netlink::{DeviceError, Listing, list, remove_clsact};
pub use pattern::Pattern;
