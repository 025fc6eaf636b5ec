//! An XDP program that passes everything, assembled by hand so that it owes nothing to weir.

use std::ffi::CString;
use std::fmt;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

use super::Namespace;

/// `r0 = XDP_PASS; exit`.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const NAME: &str = "pass";

/// The program, in the driver of a device until this goes out of scope.
pub struct PassProgram {
    // Owns the program and its link.
    _loaded: Ebpf,
}

impl PassProgram {
    /// Attaches it.
    pub fn attach(namespace: &Namespace, device: &str) -> Result<Self> {
        let name = CString::new(device)?;
        let mut loaded = Ebpf::load(&elf()?)?;
        let program: &mut Xdp = loaded.program_mut(NAME).context("no such program")?.try_into()?;
        program.load()?;
        let _link = namespace
            .within(|| program.attach(name.as_c_str(), XdpMode::Driver))?
            .with_context(|| format!("cannot attach an XDP program to {device} of {}", namespace.name()))?;
        Ok(Self { _loaded: loaded })
    }
}

impl fmt::Debug for PassProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassProgram")
    }
}

fn elf() -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let section = object.add_section(Vec::new(), b"xdp".to_vec(), SectionKind::Text);
    object.append_section_data(section, &PASS, 8);
    object.add_symbol(Symbol {
        name: NAME.as_bytes().to_vec(),
        value: 0,
        size: PASS.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"Dual MIT/GPL\0", 1);
    Ok(object.write()?)
}
