//! The smallest network: a node, and one other machine that is both client and backend.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::lay::{address, cable, default_routes, node_settings};
use super::sweep::{sweep, unique};
use super::{BackendHost, CLIENT4, CLIENT6, NODE4, NODE6, Namespace, PassProgram};

/// A node and a peer, connected by `eth0` on both. Removed when it goes out of scope.
#[derive(Debug)]
pub struct Pair {
    /// Unique: other things of the same test may be named after it.
    pub name: String,
    /// Runs weir.
    pub node: Namespace,
    /// Sends the traffic, with the addresses of the client, and answers it as a remote backend.
    pub peer: BackendHost,
    /// See [`PassProgram`]: the peer takes what XDP of the node sends.
    _receiver: PassProgram,
}

impl Pair {
    /// Lays it. Needs root.
    pub fn lay() -> Result<Self> {
        sweep();
        let name = unique();
        let node = Namespace::create(format!("{name}-node"))?;
        let namespace = Namespace::create(format!("{name}-peer"))?;
        cable(&namespace, "eth0", &node, "eth0")?;
        address(&node, "eth0", &[&NODE4.to_string(), &NODE6.to_string()])?;
        node_settings(&node)?;
        let peer = BackendHost {
            name: "backend-1",
            local: false,
            v4: Ipv4Addr::new(10, 1, 0, 11),
            v6: Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11),
            namespace,
        };
        // The first is what connections come from.
        let addresses = [CLIENT4.to_string(), CLIENT6.to_string(), peer.v4.to_string(), peer.v6.to_string()];
        address(&peer.namespace, "eth0", &addresses.each_ref().map(String::as_str))?;
        default_routes(&peer.namespace, &[&NODE4.to_string(), &NODE6.to_string()])?;
        let receiver = PassProgram::attach(&peer.namespace, "eth0")?;
        Ok(Self { name, node, peer, _receiver: receiver })
    }

    /// One more cable between the two, without addresses. The program at the peer's end lives as long as the answer.
    pub fn connect(&self, node_device: &str, peer_device: &str) -> Result<PassProgram> {
        cable(&self.peer.namespace, peer_device, &self.node, node_device)?;
        PassProgram::attach(&self.peer.namespace, peer_device)
    }
}
