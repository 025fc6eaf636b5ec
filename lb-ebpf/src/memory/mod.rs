//! The traits of both engines over ordinary memory: for tests, fuzzing and explaining what would happen to a packet.

mod family;
mod host;
mod icmp;
pub mod invariants;
mod maps;
pub mod network;
mod packet;
mod segment;
mod socket;

pub use family::InMemory;
pub use host::{TableHost, Way};
pub use icmp::Message;
pub use maps::{MemoryMaps, Tables, WhenFull};
pub use packet::BufferPacket;
pub use segment::Segment;
pub use socket::MemorySocket;
