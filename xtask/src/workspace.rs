//! Where the sources are, and where results go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root directory of the workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace that cargo runs this program for.
    pub(crate) fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let manifest = manifest.context("start this program as `cargo xtask`")?;
        let root = manifest.parent().context("the directory of xtask has no parent")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// The directory that holds the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that is built is below this directory.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }
}
