//! The BPF programs: compiled by the nightly, finished by [`crate::btf`], put into `target/bpf`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::step::step;
use crate::workspace::Workspace;
use crate::{btf, linker, process, toolchain};

/// weir supports little-endian machines, as Kubernetes does in practice.
const TARGET: &str = "bpfel-unknown-none";

/// Binaries of `lb-ebpf`, and the objects that are made of them.
const OBJECTS: [(&str, &str); 2] = [("weir-ebpf", "weir.bpf.o"), ("weir-bench-ebpf", "weir-bench.bpf.o")];

/// Installs what is missing, compiles the programs, and puts the objects into `target/bpf`.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let sysroot = step("nightly toolchain", toolchain::ensure_nightly)?;
    let linker = step("bpf-linker", || linker::ensure(workspace, &sysroot))?;
    step("compile the BPF programs", || {
        let mut build = cargo(workspace, "build");
        process::run(build.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker))
    })?;
    step("finish the BPF objects", || {
        OBJECTS.iter().try_for_each(|(binary, object)| finish(workspace, binary, object))
    })
}

/// A cargo command for the programs: `build`, `clippy`. It needs the nightly, and the linker only to build.
pub(crate) fn cargo(workspace: &Workspace, command: &str) -> Command {
    let flags = [
        // `aya-ebpf` chooses the layout of the kernel's `pt_regs` by it.
        &format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        // BTF is made from debug information.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // bpf-linker's default keeps the loads and stores of a copy in order, for which LLVM gives up expanding
        // the filling and moving of memory in place: each would be a call of a loop over bytes.
        "-Clink-arg=--disable-expand-memcpy-in-order",
        // Version 3 of the instruction set (kernel 5.12): 32-bit jumps, and atomics that return a value.
        "-Ctarget-cpu=v3",
    ];
    let mut cargo = toolchain::nightly_cargo(workspace);
    cargo.args([command, "--package", "lb-ebpf", "--bins", "--features", "kernel", "--release"]);
    cargo.args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"]);
    // Its own directory: the cargo around this program may hold the lock of the other one.
    cargo.arg(workspace.target().join("bpf-build"));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo
}

fn finish(workspace: &Workspace, binary: &str, name: &str) -> Result<()> {
    let built = workspace.target().join("bpf-build").join(TARGET).join("release").join(binary);
    let mut object = fs::read(&built).with_context(|| format!("{} cannot be read", built.display()))?;
    btf::mark_text(&mut object).with_context(|| built.display().to_string())?;
    let directory = workspace.target().join("bpf");
    fs::create_dir_all(&directory)?;
    replace_if_changed(&directory.join(name), &object)
}

/// An unchanged object keeps its time, so that cargo does not build the agent again.
fn replace_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    // A reader sees the old object or the new one, never a part.
    let partial = path.with_extension("partial");
    fs::write(&partial, content)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_object_keeps_its_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("object.o");
        let modified = || fs::metadata(&path).and_then(|data| data.modified()).expect("it was written");
        replace_if_changed(&path, b"one").expect("written");
        let before = modified();
        replace_if_changed(&path, b"one").expect("left alone");
        assert_eq!(modified(), before);
        replace_if_changed(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
    }
}
