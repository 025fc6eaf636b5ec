//! Names of the devices and Services that records have numbers for.

use std::collections::BTreeMap;

use super::ServiceFilter;
use super::time::boot_ns;
use crate::explain::ServiceName;

/// What numbers mean at present. It is short-lived: devices and Services come and go.
#[derive(Clone, Debug, Default)]
pub struct Names {
    services: BTreeMap<u32, ServiceName>,
    devices: BTreeMap<u32, String>,
    pub(super) boot_ns: i128,
}

impl Names {
    /// Names of these Services, by id, and of the devices of this network namespace.
    pub fn new(services: BTreeMap<u32, ServiceName>) -> Self {
        // Without names their numbers are shown.
        let links = crate::devices::list().map(|listing| listing.links).unwrap_or_default();
        let devices = links.into_iter().map(|link| (link.ifindex, link.name));
        Self { services, devices: devices.collect(), boot_ns: boot_ns() }
    }

    /// The ids of a Service.
    pub fn ids(&self, filter: &ServiceFilter) -> std::collections::BTreeSet<u32> {
        filter.ids(self.services.iter().map(|(id, name)| (*id, name)))
    }

    pub(super) fn service(&self, id: u32) -> Option<&ServiceName> {
        self.services.get(&id)
    }

    /// The name of a device; its number where it has none, as in another network namespace.
    pub(super) fn device(&self, ifindex: u32) -> String {
        self.devices.get(&ifindex).cloned().unwrap_or_else(|| ifindex.to_string())
    }
}

#[cfg(test)]
impl Names {
    /// Names that a test gives.
    pub(super) fn given(
        services: BTreeMap<u32, ServiceName>,
        devices: &[(u32, &str)],
        boot_ns: i128,
    ) -> Self {
        let devices = devices.iter().map(|(index, name)| (*index, (*name).to_owned())).collect();
        Self { services, devices, boot_ns }
    }
}
