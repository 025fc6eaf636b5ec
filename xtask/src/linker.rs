//! bpf-linker, built against the LLVM that the nightly itself ships, so that both speak the same bitcode.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tool::Tool;
use crate::toolchain::{self, NIGHTLY};
use crate::workspace::Workspace;

const BPF_LINKER: Tool<'_> = Tool { name: "bpf-linker", version: "0.13.0", built_with: NIGHTLY };

/// Returns the path of the linker that matches the nightly with this sysroot.
pub(crate) fn ensure(workspace: &Workspace, sysroot: &Path) -> Result<PathBuf> {
    BPF_LINKER.ensure(workspace, |scratch| {
        let library = llvm_library(&sysroot.join("lib"))?;
        // The build of bpf-linker looks for a plain `libLLVM.so`, a name that the toolchain does not have.
        let prefix = scratch.join("llvm");
        fs::create_dir_all(prefix.join("lib"))?;
        std::os::unix::fs::symlink(library, prefix.join("lib/libLLVM.so"))?;

        let mut search_path = OsString::from("-Clink-arg=-Wl,-rpath,");
        search_path.push(sysroot.join("lib"));
        let mut cargo = toolchain::nightly_cargo(workspace);
        cargo.env("LLVM_PREFIX", prefix).env("CARGO_ENCODED_RUSTFLAGS", search_path);
        Ok(cargo)
    })
}

/// The one shared library of LLVM in a toolchain, `libLLVM.so.<version>-rust-<release>`.
fn llvm_library(directory: &Path) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("libLLVM.so.") {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no libLLVM.so.* in {}: this toolchain cannot link for BPF", directory.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_by_its_versioned_name() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("libLLVM-23-rust.so"), "").expect("writable");
        let error = llvm_library(directory.path()).expect_err("only the linker script is there");
        assert!(error.to_string().contains("libLLVM.so.*"), "{error}");
        let library = directory.path().join("libLLVM.so.23.1-rust-1.101.0-nightly");
        fs::write(&library, "").expect("writable");
        assert_eq!(llvm_library(directory.path()).expect("it is there"), library);
    }
}
