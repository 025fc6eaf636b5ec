//! Programs that pass everything, assembled by hand so that they owe nothing to weir.

use std::ffi::CString;
use std::fmt;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::tc::{NlOptions, TcAttach};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

use super::Namespace;

/// `r0 = XDP_PASS; exit`.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// `r0 = TC_ACT_UNSPEC; exit`.
const NEXT: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];
const NAME: &str = "pass";

/// The program, in the driver of a device until this goes out of scope. It takes frames in pieces, so that the device
/// may have any MTU.
pub struct PassProgram {
    // Owns the program and its link.
    _loaded: Ebpf,
}

impl PassProgram {
    /// Attaches it.
    pub fn attach(namespace: &Namespace, device: &str) -> Result<Self> {
        let name = CString::new(device)?;
        let mut loaded = Ebpf::load(&elf(b"xdp.frags", &PASS)?)?;
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

/// Adds a filter with a program to what arrives at a device that has a clsact queueing discipline. It stays until the
/// device goes.
pub fn add_filter(namespace: &Namespace, device: &str, priority: u16) -> Result<()> {
    let name = CString::new(device)?;
    let mut loaded = Ebpf::load(&elf(b"classifier", &NEXT)?)?;
    let program: &mut SchedClassifier = loaded.program_mut(NAME).context("no such program")?.try_into()?;
    program.load()?;
    let options = NlOptions { priority, ..NlOptions::default() };
    let attach = TcAttach::Netlink { parent: TcAttachType::Ingress.into(), options };
    let link = namespace.within(|| program.attach(name.as_c_str(), attach))??;
    // Dropped, it would take the filter away, and from another namespace.
    std::mem::forget(program.take_link(link)?);
    Ok(())
}

fn elf(kind: &[u8], code: &[u8]) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let section = object.add_section(Vec::new(), kind.to_vec(), SectionKind::Text);
    object.append_section_data(section, code, 8);
    object.add_symbol(Symbol {
        name: NAME.as_bytes().to_vec(),
        value: 0,
        size: code.len() as u64,
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
