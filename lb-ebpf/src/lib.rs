//! The packet engine: bytes in, verdict and bytes out.
//!
//! The modules follow a packet: [`headers`] and [`parse`] read it, [`flow`] looks for what it became last time,
//! [`unusual`] reads what [`parse`] does not, [`select`] chooses a backend when there is nothing to look back on, [`record`] remembers both directions,
//! [`rewrite`] changes the bytes, [`forward`] finds the way out, and [`engine`] is the order of these steps.
//!
//! What differs between hooks, and between the kernel and the host, is behind three traits: [`Packet`], [`Maps`]
//! and [`Host`]. [`socket`] is the engine of sockets: the address that an application asks for in, that of a backend
//! out. Nothing here allocates, loops without a bound, or panics.
#![cfg_attr(not(any(test, feature = "memory")), no_std)]
#![forbid(unsafe_code)]

mod checksum;
mod describe;
mod engine;
mod family;
mod flow;
mod forward;
pub mod headers;
mod host;
pub mod icmp;
pub mod lifetime;
mod maps;
#[cfg(feature = "memory")]
pub mod memory;
mod packet;
mod parse;
mod record;
mod rewrite;
pub mod select;
pub mod socket;
mod unusual;
mod verdict;
mod work;

pub use describe::{describe, put_address, service};
pub use engine::{egress, ingress};
pub use family::{Family, IpFields, Part, V4, V6};
pub use host::{AnswerKind, Host, Route, RouteQuery};
pub use maps::Maps;
pub use packet::{L4Update, Packet};
pub use rewrite::update_complete;
pub use verdict::{Action, Verdict};
pub use work::{NO_EVENT, Scratch};
