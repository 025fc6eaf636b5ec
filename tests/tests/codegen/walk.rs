//! Reads the instructions of an object, as RFC 9669 describes them.

use std::collections::{BTreeMap, BTreeSet};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind, SymbolKind};

/// Bytes of an instruction; one with a 64-bit immediate value takes two.
const INSTRUCTION_BYTES: usize = 8;

/// What the tests look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// An atomic operation with a result.
    Atomic,
    /// A call of another function of the object.
    Call(String),
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) ops: Vec<Op>,
    /// Bytes of its own stack.
    stack: u32,
    instructions: usize,
}

/// All functions of an object.
pub(crate) struct Object {
    pub(crate) functions: Vec<Function>,
}

impl Object {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let file = object::File::parse(bytes).expect("an ELF object");
        let symbols = Symbols::of(&file);
        let mut functions = Vec::new();
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let code = section.data().expect("the section is in the file");
            let relocations = relocations(&file, &section);
            for (&(index, start), (name, size)) in &symbols.0 {
                if index == section.index().0 {
                    let code = &code[start as usize..(start + size) as usize];
                    functions.push(walk(name, code, (index, start), &relocations, &symbols));
                }
            }
        }
        assert!(functions.len() > 3, "the object has functions");
        Self { functions }
    }

    fn function(&self, name: &str) -> &Function {
        self.functions.iter().find(|function| function.name == name).expect("a function of this name")
    }

    /// Instructions of a function and all that it calls, each counted once.
    pub(crate) fn instructions(&self, name: &str) -> usize {
        let (mut seen, mut wanted) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(name) = wanted.pop() {
            if seen.insert(name.clone()) {
                wanted.extend(self.callees(&name));
            }
        }
        seen.iter().map(|name| self.function(name).instructions).sum()
    }

    /// The call chain with the most stack, and how much that is. Each frame is rounded up as the verifier does.
    pub(crate) fn deepest(&self, name: &str, open: &mut BTreeSet<String>) -> (u32, Vec<String>) {
        assert!(open.insert(name.to_owned()), "{name} calls itself");
        let below = self.callees(name).map(|callee| self.deepest(&callee, open)).max().unwrap_or_default();
        open.remove(name);
        let frame = self.function(name).stack.max(1).next_multiple_of(32);
        (below.0 + frame, [vec![readable(name)], below.1].concat())
    }

    fn callees(&self, name: &str) -> impl Iterator<Item = String> {
        self.function(name).ops.iter().filter_map(|op| match op {
            Op::Call(callee) => Some(callee.clone()),
            Op::Atomic => None,
        })
    }
}

/// Functions by section and offset: name and length.
struct Symbols(BTreeMap<(usize, u64), (String, u64)>);

impl Symbols {
    fn of(file: &object::File<'_>) -> Self {
        let functions =
            file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        Self(
            functions
                .map(|symbol| {
                    let section = symbol.section_index().expect("a function has a place").0;
                    let name = symbol.name().expect("a function has a name").to_owned();
                    ((section, symbol.address()), (name, symbol.size()))
                })
                .collect(),
        )
    }

    fn name(&self, place: (usize, u64)) -> String {
        self.0.get(&place).expect("a call reaches a function").0.clone()
    }
}

/// Relocated instructions of a section: offset to the section and address of the symbol.
type Relocations = BTreeMap<u64, (usize, u64)>;

fn relocations(file: &object::File<'_>, section: &object::Section<'_, '_>) -> Relocations {
    let symbol_of = |target| match target {
        RelocationTarget::Symbol(index) => file.symbol_by_index(index).ok(),
        _ => None,
    };
    section
        .relocations()
        .filter_map(|(offset, relocation)| {
            let symbol = symbol_of(relocation.target())?;
            Some((offset, (symbol.section_index()?.0, symbol.address())))
        })
        .collect()
}

fn walk(
    name: &str,
    code: &[u8],
    place: (usize, u64),
    relocations: &Relocations,
    symbols: &Symbols,
) -> Function {
    let (mut ops, mut stack, mut at) = (Vec::new(), 0, 0);
    // Registers that hold the frame pointer.
    let mut frame_copies = BTreeSet::new();
    while let Some(&[opcode, registers, low, high, a, b, c, d]) = code.get(at..).and_then(<[u8]>::first_chunk)
    {
        let (to, from) = (registers & 15, registers >> 4);
        let offset = i16::from_le_bytes([low, high]);
        let immediate = i32::from_le_bytes([a, b, c, d]);
        match opcode {
            // STX with mode ATOMIC, of words and double words, with the flag that asks for the old value (BPF_FETCH).
            0xc3 | 0xdb if immediate & 1 != 0 => ops.push(Op::Atomic),
            // CALL with source 1: a function of this object.
            0x85 if from == 1 => {
                ops.push(Op::Call(callee(place, at as u64, immediate, relocations, symbols)));
            }
            // Loads, then stores, by way of the frame pointer.
            0x61 | 0x69 | 0x71 | 0x79 if from == 10 => stack = stack.max(depth(offset.into())),
            0x62 | 0x63 | 0x6a | 0x6b | 0x72 | 0x73 | 0x7a | 0x7b if to == 10 => {
                stack = stack.max(depth(offset.into()));
            }
            // MOV of the frame pointer, then ADD of a distance.
            0xbf if from == 10 => {
                frame_copies.insert(to);
            }
            0x07 if frame_copies.remove(&to) => stack = stack.max(depth(immediate)),
            _ => {}
        }
        at += if opcode == 0x18 { 2 * INSTRUCTION_BYTES } else { INSTRUCTION_BYTES };
    }
    Function { name: name.to_owned(), ops, stack, instructions: code.len() / INSTRUCTION_BYTES }
}

/// The function that a call at `at` in the function at `place` reaches.
fn callee(
    place: (usize, u64),
    at: u64,
    immediate: i32,
    relocations: &Relocations,
    symbols: &Symbols,
) -> String {
    let site = place.1 + at;
    let distance = (i64::from(immediate) + 1) * INSTRUCTION_BYTES as i64;
    match relocations.get(&site) {
        // The distance is from the symbol: zero for a function, the function's offset for its section.
        Some((section, address)) => symbols.name((*section, address.wrapping_add_signed(distance))),
        None => symbols.name((place.0, site.wrapping_add_signed(distance))),
    }
}

fn depth(offset: i32) -> u32 {
    offset.min(0).unsigned_abs()
}

/// A readable form of a mangled name.
fn readable(name: &str) -> String {
    let demangled = format!("{:#}", rustc_demangle::demangle(name));
    let path = demangled.split("::<").next().unwrap_or_default();
    path.rsplit("::").next().unwrap_or_default().to_owned()
}
