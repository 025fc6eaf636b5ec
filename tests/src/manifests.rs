//! A directory of manifests that a test writes and changes.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::net::{
    BackendHost, CLUSTER4, CLUSTER6, DNS_NODE_PORT, DNS_PORT, DNS_TARGET_PORT, Family, HTTP_NODE_PORT,
    HTTP_PORT, HTTP_TARGET_PORT, NODE_NAME, VIP4, VIP6, unique,
};

/// The directory, removed when this goes out of scope.
#[derive(Debug)]
pub struct Manifests {
    directory: TempDir,
}

impl Manifests {
    /// An empty one, which everybody may read: one test runs weir as another user.
    pub fn empty() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(&format!("{}-", unique())).tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { directory })
    }

    /// One with the Service `default/echo`, and slices of `backends` with these weights.
    pub fn echo(backends: &[(&BackendHost, u16)]) -> Result<Self> {
        let manifests = Self::empty()?;
        manifests.write("10-service.yaml", &service())?;
        manifests.endpoints(backends)?;
        Ok(manifests)
    }

    /// Writes the slices of `default/echo` anew, IPv4 last: whoever waits for IPv4 waits for both.
    pub fn endpoints(&self, backends: &[(&BackendHost, u16)]) -> Result<()> {
        self.write("21-endpoints-v6.yaml", &slice(Family::V6, backends))?;
        self.write("20-endpoints-v4.yaml", &slice(Family::V4, backends))
    }

    /// Copies the manifests of a directory, and no other file.
    pub fn copy_of(from: &Path) -> Result<Self> {
        let manifests = Self::empty()?;
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let name =
                    path.file_name().and_then(|name| name.to_str()).context("a file name that is no text")?;
                manifests.write(name, &fs::read_to_string(&path)?)?;
            }
        }
        Ok(manifests)
    }

    /// Writes one file whole: a reader sees the old or the new text.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let hidden = self.directory.path().join(format!(".{name}"));
        fs::write(&hidden, text)?;
        fs::rename(&hidden, self.file(name)).with_context(|| format!("cannot write {name}"))
    }

    /// Reads one file.
    pub fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.file(name)).with_context(|| format!("cannot read {name}"))
    }

    /// Removes one file.
    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.file(name)).with_context(|| format!("cannot remove {name}"))
    }

    /// Names of the files, in order.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path())? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The Service `default/echo`: dual stack, with external IPs and node ports.
pub fn service() -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: default}}
spec:
  type: NodePort
  clusterIP: {CLUSTER4}
  clusterIPs: [\"{CLUSTER4}\", \"{CLUSTER6}\"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: [\"{VIP4}\", \"{VIP6}\"]
  ports:
    - {{name: http, protocol: TCP, port: {HTTP_PORT}, targetPort: {HTTP_TARGET_PORT}, nodePort: {HTTP_NODE_PORT}}}
    - {{name: dns, protocol: UDP, port: {DNS_PORT}, targetPort: {DNS_TARGET_PORT}, nodePort: {DNS_NODE_PORT}}}
"
    )
}

/// The EndpointSlice of one family of `default/echo`.
pub fn slice(family: Family, backends: &[(&BackendHost, u16)]) -> String {
    let address_type = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let (mut weights, mut endpoints) = (Vec::new(), String::new());
    for (backend, weight) in backends {
        let address = backend.address(family);
        let node = if backend.local { NODE_NAME } else { "other" };
        weights.push(format!("\"{address}\": {weight}"));
        // Writing to a string cannot fail.
        let _written = writeln!(
            endpoints,
            "  - {{addresses: [\"{address}\"], nodeName: {node}, conditions: {{ready: true}}}}"
        );
    }
    let endpoints = if endpoints.is_empty() { " []".to_owned() } else { format!("\n{endpoints}") };
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-{suffix}
  namespace: default
  labels: {{kubernetes.io/service-name: echo}}
  annotations: {{weir.dev/endpoint-weights: '{{{weights}}}'}}
addressType: {address_type}
ports:
  - {{name: http, protocol: TCP, port: {HTTP_TARGET_PORT}}}
  - {{name: dns, protocol: UDP, port: {DNS_TARGET_PORT}}}
endpoints:{endpoints}",
        suffix = address_type.to_lowercase(),
        weights = weights.join(", "),
    )
}
