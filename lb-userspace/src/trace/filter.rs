//! Which Service a trace is about.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::explain::ServiceName;

/// `namespace/name`, or `namespace/name:port` with the number or the name of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFilter {
    namespace: String,
    name: String,
    port: Option<String>,
}

/// A text that names no Service.
#[derive(Debug, thiserror::Error)]
#[error("not a Service; write NAMESPACE/NAME, or NAMESPACE/NAME:PORT with the number or name of a port")]
pub struct WrongFilter;

impl FromStr for ServiceFilter {
    type Err = WrongFilter;

    fn from_str(text: &str) -> Result<Self, WrongFilter> {
        let (namespace, rest) = text.split_once('/').ok_or(WrongFilter)?;
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (rest, None),
        };
        let wrong = |part: &str| part.is_empty() || part.contains(['/', ':', ' ']);
        if [Some(namespace), Some(name), port].into_iter().flatten().any(wrong) {
            return Err(WrongFilter);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), port: port.map(str::to_owned) })
    }
}

impl ServiceFilter {
    /// Whether a service port is of this Service.
    pub fn admits(&self, service: &ServiceName) -> bool {
        let key = &service.key;
        let port = |wanted: &String| *wanted == key.port_name || *wanted == service.port.to_string();
        (&key.service.namespace, &key.service.name) == (&self.namespace, &self.name)
            && self.port.as_ref().is_none_or(port)
    }

    /// The ids of the service ports of this Service: one for each port and family.
    pub fn ids<'a>(&self, services: impl IntoIterator<Item = (u32, &'a ServiceName)>) -> BTreeSet<u32> {
        services.into_iter().filter(|(_, service)| self.admits(service)).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IpFamily, ObjectKey, Protocol};
    use crate::plan::PortKey;

    fn service(name: &str, port_name: &str, port: u16) -> ServiceName {
        let key = PortKey {
            service: ObjectKey::new("shop", name),
            port_name: port_name.to_owned(),
            protocol: Protocol::Tcp,
            family: IpFamily::V4,
        };
        ServiceName { key, port }
    }

    #[test]
    fn a_service_is_named_whole_or_by_a_port() {
        let services =
            [service("web", "http", 80), service("web", "https", 443), service("webs", "http", 80)];
        let numbered = || (1..).zip(&services);
        for (text, expected) in [
            ("shop/web", vec![1, 2]),
            ("shop/web:443", vec![2]),
            ("shop/web:http", vec![1]),
            ("shop/web:8080", vec![]),
            ("other/web", vec![]),
            ("shop/webs", vec![3]),
        ] {
            let filter: ServiceFilter = text.parse().unwrap();
            assert_eq!(Vec::from_iter(filter.ids(numbered())), expected, "{text}");
        }
        for wrong in ["", "web", "shop/", "/web", "shop/web:", "shop/web/x", "shop/web:80:81", "a b/c"] {
            assert!(wrong.parse::<ServiceFilter>().is_err(), "{wrong}");
        }
    }
}
