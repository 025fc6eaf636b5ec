//! Options that size the maps.

use clap::Args;

use crate::layout::Capacity;

/// Sizes of the maps.
#[derive(Debug, Args)]
pub(super) struct SizeArgs {
    /// Frontends (addresses and ports) in each family.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().frontends, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    frontends_max: u32,
    /// Endpoints of all service ports in each family.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().backends, value_parser = clap::value_parser!(u32).range(2..=16_777_216))]
    backends_max: u32,
    /// Slots of all service ports: at least 100 for each endpoint.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().slots, value_parser = clap::value_parser!(u32).range(16..=1_073_741_824))]
    slots_max: u32,
    /// Entries of the flow table in each family; a flow has two.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().flows, value_parser = clap::value_parser!(u32).range(64..=67_108_864))]
    flows_max: u32,
    /// Service ports in both families together.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().services, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    services_max: u32,
    /// Clients of session affinity in each family, one for each service port that a client uses; and as many for pods.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().affinity, value_parser = clap::value_parser!(u32).range(64..=67_108_864))]
    affinity_max: u32,
    /// Prefixes of `loadBalancerSourceRanges` of all service ports, and of --cluster-cidr, in each family.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().sources, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    sources_max: u32,
    /// Entries for UDP sockets that are not connected, in each family: two for each address that such a socket sends to.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().socket_flows, value_parser = clap::value_parser!(u32).range(64..=67_108_864))]
    socket_flows_max: u32,
}

impl SizeArgs {
    pub(super) const fn capacity(&self) -> Capacity {
        Capacity {
            frontends: self.frontends_max,
            services: self.services_max,
            backends: self.backends_max,
            slots: self.slots_max,
            flows: self.flows_max,
            affinity: self.affinity_max,
            sources: self.sources_max,
            socket_flows: self.socket_flows_max,
        }
    }
}
