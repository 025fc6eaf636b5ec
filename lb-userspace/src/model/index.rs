//! The index: Services with their EndpointSlices, and which Services must be planned again.

use std::collections::{BTreeMap, BTreeSet};

use super::{EndpointSlice, ObjectKey, Service};

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
}

/// A change that a source has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The object is now this.
    Apply(Object),
    /// The Service is gone.
    DeleteService(ObjectKey),
    /// The EndpointSlice is gone.
    DeleteEndpointSlice(ObjectKey),
}

/// What is known of the cluster.
#[derive(Debug, Default)]
pub struct Model {
    services: BTreeMap<ObjectKey, Service>,
    slices: BTreeMap<ObjectKey, EndpointSlice>,
    slices_of: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    dirty: BTreeSet<ObjectKey>,
}

impl Model {
    /// Takes over a change; one that changes nothing marks nothing.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Apply(Object::Service(service)) => {
                let key = service.key.clone();
                if self.services.get(&key) != Some(&service) {
                    self.services.insert(key.clone(), service);
                    self.dirty.insert(key);
                }
            }
            Event::Apply(Object::EndpointSlice(slice)) => {
                if self.slices.get(&slice.key) != Some(&slice) {
                    self.remove_slice(&slice.key.clone());
                    self.dirty.insert(slice.service.clone());
                    self.slices_of.entry(slice.service.clone()).or_default().insert(slice.key.clone());
                    self.slices.insert(slice.key.clone(), slice);
                }
            }
            Event::DeleteService(key) => {
                if self.services.remove(&key).is_some() {
                    self.dirty.insert(key);
                }
            }
            Event::DeleteEndpointSlice(key) => self.remove_slice(&key),
        }
    }

    /// Marks a Service to be planned again, whether it still exists or not.
    pub fn mark(&mut self, key: ObjectKey) {
        self.dirty.insert(key);
    }

    /// The Services to plan again, which are then no longer marked.
    pub fn take_dirty(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Names of all Services.
    pub fn service_keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.services.keys()
    }

    /// A Service and its EndpointSlices in the order of their names, while the Service exists.
    pub fn service(&self, key: &ObjectKey) -> Option<(&Service, Vec<&EndpointSlice>)> {
        let service = self.services.get(key)?;
        let slices = self.slices_of.get(key).into_iter().flatten().filter_map(|key| self.slices.get(key));
        Some((service, slices.collect()))
    }

    fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(slice) = self.slices.remove(key) else { return };
        if let Some(slices) = self.slices_of.get_mut(&slice.service) {
            slices.remove(key);
            if slices.is_empty() {
                self.slices_of.remove(&slice.service);
            }
        }
        self.dirty.insert(slice.service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IpFamily, ServiceType};

    fn slice(name: &str, service: &str) -> EndpointSlice {
        EndpointSlice {
            key: ObjectKey::new("default", name),
            service: ObjectKey::new("default", service),
            family: IpFamily::V4,
            ports: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    fn service(name: &str) -> Service {
        Service {
            key: ObjectKey::new("default", name),
            service_type: ServiceType::ClusterIp,
            ip_families: BTreeSet::new(),
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            ports: Vec::new(),
            external_local: false,
            internal_local: false,
            affinity_timeout_s: None,
            weight_by_zone: BTreeMap::new(),
        }
    }

    fn keys(names: &[&str]) -> BTreeSet<ObjectKey> {
        names.iter().map(|name| ObjectKey::new("default", *name)).collect()
    }

    #[test]
    fn a_slice_may_come_before_its_service() {
        let mut model = Model::default();
        model.apply(Event::Apply(Object::EndpointSlice(slice("a-1", "a"))));
        assert!(model.service(&ObjectKey::new("default", "a")).is_none());
        model.apply(Event::Apply(Object::Service(service("a"))));
        assert_eq!(model.take_dirty(), keys(&["a"]));
        assert_eq!(model.service(&ObjectKey::new("default", "a")).unwrap().1.len(), 1);
    }

    #[test]
    fn an_equal_object_marks_nothing() {
        let mut model = Model::default();
        model.apply(Event::Apply(Object::EndpointSlice(slice("a-1", "a"))));
        model.apply(Event::Apply(Object::Service(service("a"))));
        model.take_dirty();
        model.apply(Event::Apply(Object::EndpointSlice(slice("a-1", "a"))));
        model.apply(Event::Apply(Object::Service(service("a"))));
        model.apply(Event::DeleteService(ObjectKey::new("default", "unknown")));
        model.apply(Event::DeleteEndpointSlice(ObjectKey::new("default", "unknown")));
        assert_eq!(model.take_dirty(), BTreeSet::new());
    }

    #[test]
    fn a_slice_that_moves_marks_both_services() {
        let mut model = Model::default();
        model.apply(Event::Apply(Object::EndpointSlice(slice("s", "a"))));
        model.take_dirty();
        model.apply(Event::Apply(Object::EndpointSlice(slice("s", "b"))));
        assert_eq!(model.take_dirty(), keys(&["a", "b"]));
    }
}
