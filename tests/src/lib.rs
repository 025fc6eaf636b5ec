//! What the end-to-end tests and the demo share: networks of namespaces, traffic, and a running agent.
#![forbid(unsafe_code)]

pub mod agent;
pub mod bench;
pub mod demo;
pub mod kernel_network;
pub mod kernel_object;
pub mod manifests;
pub mod net;
pub mod traffic;
