//! The test network: a client, a node, two remote backends, and one backend on the node.
//!
//! ```text
//! one arm                                 two arms
//!
//!        client                           client          backend-1   backend-2
//!          |                                |                 |           |
//!   -------+--------+------+---- fabric    -+- fabric        -+-----------+-+- fabric
//!          |        |      |                |                               |
//!         eth0  backend-1 backend-2        eth0 ---------- node --------- eth1
//!         node                                              |
//!          |                                            backend-3
//!       backend-3
//! ```
//!
//! With one arm the node sends packets back out of the device that they came in by (`XDP_TX`); with two it
//! redirects them. All is dual stack.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::lay;
use super::sweep::{sweep, unique};
use super::{Family, NODE4, NODE6, Namespace, PassProgram};

/// How long the network may take to settle.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// A port of the node that nobody serves.
const UNUSED_PORT: u16 = 9;

/// How many devices the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arms {
    /// `eth0` for clients and remote backends.
    One,
    /// `eth0` for clients, `eth1` for remote backends.
    Two,
}

impl Arms {
    /// Both.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    /// The node's devices, as `--device` takes them.
    pub const fn devices(self) -> &'static str {
        match self {
            Self::One => "eth0",
            Self::Two => "eth0,eth1",
        }
    }
}

/// A backend and the namespace that it runs in.
#[derive(Debug)]
pub struct BackendHost {
    /// How its servers call themselves.
    pub name: &'static str,
    /// Whether it runs on the node.
    pub local: bool,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Where it runs.
    pub namespace: Namespace,
}

impl BackendHost {
    /// Its address of a family.
    pub const fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4),
            Family::V6 => IpAddr::V6(self.v6),
        }
    }
}

/// The whole network. Removed when it goes out of scope.
#[derive(Debug)]
pub struct Network {
    /// Unique: other things of the same test may be named after it.
    pub name: String,
    /// How the node is connected.
    pub arms: Arms,
    /// Sends the traffic.
    pub client: Namespace,
    /// Runs weir.
    pub node: Namespace,
    /// `backend-1` and `backend-2` are remote, `backend-3` runs on the node.
    pub backends: Vec<BackendHost>,
    /// Holds the bridges.
    pub(super) fabric: Namespace,
    /// See [`lay::receive_from_xdp`].
    receivers: Vec<PassProgram>,
}

impl Network {
    /// Lays it. Needs root.
    pub fn lay(arms: Arms) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "network namespaces and BPF programs need root: run `sudo -E env PATH=$PATH cargo xtask test`, or \
                 `cargo xtask test --host` for the part that needs no root"
            );
        }
        sweep();
        let name = unique();
        let namespace = |role: &str| Namespace::create(format!("{name}-{role}"));
        let mut network = Self {
            arms,
            client: namespace("client")?,
            node: namespace("node")?,
            backends: vec![
                remote("backend-1", 11, namespace("backend-1")?),
                remote("backend-2", 12, namespace("backend-2")?),
                BackendHost {
                    name: "backend-3",
                    local: true,
                    v4: Ipv4Addr::new(10, 1, 2, 13),
                    v6: Ipv6Addr::new(0xfd00, 1, 2, 0, 0, 0, 0, 0x13),
                    namespace: namespace("backend-3")?,
                },
            ],
            fabric: namespace("fabric")?,
            receivers: Vec::new(),
            name,
        };
        lay::lay(&network)?;
        network.receivers = lay::receive_from_xdp(&network)?;
        Ok(network)
    }

    /// The backend of a name that a server answered with.
    pub fn backend(&self, name: &str) -> Option<&BackendHost> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Waits until the client and the node hear each other: a device that gets its first XDP program is set up anew by
    /// its driver, and loses what arrives meanwhile.
    pub fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        for node in [IpAddr::V4(NODE4), IpAddr::V6(NODE6)] {
            let unused = SocketAddr::new(node, UNUSED_PORT);
            let attempt = || TcpStream::connect_timeout(&unused, Duration::from_millis(100));
            while !self
                .client
                .within(|| matches!(attempt(), Err(e) if e.kind() == ErrorKind::ConnectionRefused))?
            {
                ensure!(Instant::now() < deadline, "the client does not reach {node}");
            }
        }
        Ok(())
    }

    /// Makes the node forget every neighbour, as after a restart.
    pub fn forget_neighbours(&self) -> Result<()> {
        self.node.ip("neigh flush all").map(|_| ())
    }
}

fn remote(name: &'static str, last: u8, namespace: Namespace) -> BackendHost {
    BackendHost {
        name,
        local: false,
        v4: Ipv4Addr::new(10, 1, 1, last),
        // Written as it reads: `::11` for 10.1.1.11.
        v6: Ipv6Addr::new(0xfd00, 1, 1, 0, 0, 0, 0, u16::from(last) + 6),
        namespace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_of_a_backend_end_alike() {
        for last in [11_u8, 12] {
            let v6 = Ipv6Addr::new(0xfd00, 1, 1, 0, 0, 0, 0, u16::from(last) + 6);
            assert_eq!(v6.to_string(), format!("fd00:1:1::{last}"));
        }
    }
}
