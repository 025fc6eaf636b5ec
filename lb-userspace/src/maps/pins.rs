//! Where things are pinned below the pin path.

use std::path::{Path, PathBuf};

use lb_common::maps::LAYOUT;

/// The directories of one weir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Where weir pins unless told otherwise.
    pub const DEFAULT: &'static str = "/sys/fs/bpf/weir";

    /// Pins below `root`, a directory of a BPF file system.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Maps of the layout that this build knows.
    pub fn maps(&self) -> PathBuf {
        self.root.join(LAYOUT)
    }

    /// One map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Links of programs to devices.
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }
}
