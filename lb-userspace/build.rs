//! Finds the BPF object that goes into the binary.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=WEIR_BPF_OBJECT");
    let object = env::var_os("WEIR_BPF_OBJECT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/weir.bpf.o"),
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    match object.canonicalize() {
        Ok(path) => println!("cargo::rustc-env=WEIR_BPF_OBJECT={}", path.display()),
        Err(_) => println!(
            "cargo::error=the BPF object {} is missing: run `cargo xtask build-ebpf` first",
            object.display()
        ),
    }
}
