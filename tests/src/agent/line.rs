//! An agent for the node of a [`Line`].

use std::path::Path;

use super::Agent;
use crate::manifests::Manifests;
use crate::net::{Line, NODE_NAME, NODE4, NODE6, PINS};

impl<'net> Agent<'net> {
    /// Prepares an agent without starting it. `mode` is what `--xdp-mode` takes.
    pub fn on_line(line: &'net Line, manifests: &Manifests, mode: &str, more: &[&str]) -> Self {
        let pin_path = Path::new(PINS).join(&line.name);
        let (manifests, pins) = (manifests.path().display().to_string(), pin_path.display().to_string());
        let (node4, node6) = (NODE4.to_string(), NODE6.to_string());
        let usual = [
            ["--manifests", &manifests],
            ["--device", line.devices()],
            ["--node-name", NODE_NAME],
            ["--node-ip", &node4],
            ["--node-ip", &node6],
            ["--pin-path", &pins],
            ["--xdp-mode", mode],
        ];
        let mut arguments = vec!["run"];
        arguments.extend(usual.as_flattened());
        if !more.contains(&"--flows-max") {
            arguments.extend(["--flows-max", "65536"]);
        }
        arguments.extend(more);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Self { node: &line.node, pin_path, arguments, running: None }
    }
}
