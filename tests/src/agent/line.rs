//! An agent for the node of a [`Line`].

use std::path::Path;

use super::{Agent, defaults};
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
        let usual = ["run"].iter().chain(usual.as_flattened()).map(|argument| (*argument).to_owned());
        let arguments = usual.chain(defaults(more)).collect();
        Self { node: &line.node, pin_path, arguments, running: None }
    }
}
