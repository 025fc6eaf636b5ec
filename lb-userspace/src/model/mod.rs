//! Second step of the control path: what is known of the cluster, as a synchronous index.

mod index;
mod object;
mod prefix;

pub use index::{Event, Model, Object};
pub use object::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, ObjectKey, Protocol, Service, ServicePort, ServiceType,
};
pub use prefix::{Prefix, PrefixError};
