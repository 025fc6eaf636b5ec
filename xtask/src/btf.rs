//! A change to the type information of an object: arrays of `i8` become text.
//!
//! Rust has no type that its compiler describes as a character, so `bpftool map dump` would print names as lists
//! of numbers. In the maps of weir `i8` means a character, and this says so: it sets the encoding of that integer
//! type to `BTF_INT_CHAR`. The format is in the kernel's `Documentation/bpf/btf.rst`.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use object::{File, Object as _, ObjectSection as _};

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of the part of a type that all kinds share.
const TYPE_BYTES: usize = 12;
const KIND_INT: u32 = 1;
/// Position of the encoding in the word that follows an integer type.
const ENCODING_SHIFT: u32 = 24;
const ENCODING_MASK: u32 = 0xf << ENCODING_SHIFT;
const ENCODING_CHAR: u32 = 2;
const CHARACTER: &[u8] = b"i8";

/// Marks the `i8` type of a BPF object as a character. An object that has no such type stays as it is.
pub(crate) fn mark_text(object: &mut [u8]) -> Result<()> {
    let range = File::parse(&*object)?.section_by_name(".BTF").and_then(|section| section.file_range());
    let (start, size) = range.context("the object has no .BTF section")?;
    let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
    let end = start.checked_add(size).context("the .BTF section has no end")?;
    mark_characters(object.get_mut(start..end).context("the .BTF section is cut short")?)
}

fn mark_characters(btf: &mut [u8]) -> Result<()> {
    let (types, strings) = sections(btf)?;
    let mut at = types.start;
    while at < types.end {
        let name = usize::try_from(word(btf, at)?)?;
        let info = word(btf, at + 4)?;
        let next = at + TYPE_BYTES + trailing_bytes(info)?;
        ensure!(next <= types.end, "the type at byte {at} is cut short");
        if kind(info) == KIND_INT && string(btf, &strings, name)? == CHARACTER {
            let encoded = at + TYPE_BYTES;
            let value = word(btf, encoded)? & !ENCODING_MASK | ENCODING_CHAR << ENCODING_SHIFT;
            let bytes = btf.get_mut(encoded..encoded + 4).context("an integer type is cut short")?;
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        at = next;
    }
    Ok(())
}

/// Where the types and the strings are.
fn sections(btf: &[u8]) -> Result<(Range<usize>, Range<usize>)> {
    let head = word(btf, 0)?.to_le_bytes();
    ensure!(u16::from_le_bytes([head[0], head[1]]) == MAGIC, "the .BTF section is not little-endian BTF");
    ensure!(head[2] == VERSION, "BTF of version {}, but only version {VERSION} is known", head[2]);
    let header = word(btf, 4)?;
    let section = |at: usize| -> Result<Range<usize>> {
        let start = header.checked_add(word(btf, at)?).context("a section starts past the end")?;
        let end = start.checked_add(word(btf, at + 4)?).context("a section ends past the end")?;
        let range = usize::try_from(start)?..usize::try_from(end)?;
        ensure!(range.end <= btf.len(), "the header names {} bytes, but there are {}", range.end, btf.len());
        Ok(range)
    };
    Ok((section(8)?, section(16)?))
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes that follow the common part of a type.
fn trailing_bytes(info: u32) -> Result<usize> {
    let members = usize::try_from(info & 0xffff)?;
    Ok(match kind(info) {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        // INT, VAR, DECL_TAG
        KIND_INT | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => members * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => members * 8,
        unknown => bail!("a type of kind {unknown}, which this program does not know"),
    })
}

fn word(btf: &[u8], at: usize) -> Result<u32> {
    let bytes = btf.get(at..).and_then(|rest| rest.first_chunk()).context("the BTF is cut short")?;
    Ok(u32::from_le_bytes(*bytes))
}

/// The string at this offset, without the zero that ends it.
fn string<'a>(btf: &'a [u8], strings: &Range<usize>, offset: usize) -> Result<&'a [u8]> {
    let text = btf.get(strings.clone()).and_then(|strings| strings.get(offset..));
    let text = text.with_context(|| format!("a name is at {offset}, past the strings"))?;
    let end = text.iter().position(|byte| *byte == 0).context("the last string has no end")?;
    Ok(text.get(..end).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED_8_BITS: u32 = 1 << 24 | 8;
    const CHARACTER_8_BITS: u32 = 2 << 24 | 8;
    const STRINGS: &[u8] = b"\0i8\0u8\0pair\0a\0b\0";

    /// The words after the header: a struct of two members, `i8`, `u8`, and a pointer.
    fn types() -> Vec<u32> {
        let pair = [7, 4 << 24 | 2, 2, 12, 2, 0, 14, 3, 8];
        let i8_type = [1, 1 << 24, 1, SIGNED_8_BITS];
        let u8_type = [4, 1 << 24, 1, 8];
        let pointer = [0, 2 << 24, 2];
        [&pair[..], &i8_type, &u8_type, &pointer].concat()
    }

    fn blob(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a small blob");
        let header = [u32::from(MAGIC) | 1 << 16, 24, 0, length(&types), length(&types), length(strings)];
        let header = header.iter().flat_map(|word| word.to_le_bytes());
        header.chain(types.iter().copied()).chain(strings.iter().copied()).collect()
    }

    #[test]
    fn only_the_encoding_of_i8_changes() {
        let mut btf = blob(&types(), STRINGS);
        mark_characters(&mut btf).expect("well-formed");
        let expected: Vec<u32> = types()
            .into_iter()
            .map(|word| if word == SIGNED_8_BITS { CHARACTER_8_BITS } else { word })
            .collect();
        assert_eq!(btf, blob(&expected, STRINGS));
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let mut btf = blob(&types(), STRINGS);
        mark_characters(&mut btf).expect("well-formed");
        let once = btf.clone();
        mark_characters(&mut btf).expect("well-formed");
        assert_eq!(btf, once);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = blob(&types(), STRINGS);
        for length in 0..whole.len() {
            let mut btf = whole[..length].to_vec();
            assert!(mark_characters(&mut btf).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let cases: [(&str, Vec<u32>, &[u8]); 4] = [
            ("kind 31", vec![0, 31 << 24, 0], STRINGS),
            ("cut short", vec![7, 4 << 24 | 9, 2, 12, 2, 0], STRINGS),
            ("past the strings", vec![99, 1 << 24, 1, SIGNED_8_BITS], STRINGS),
            ("no end", vec![1, 1 << 24, 1, SIGNED_8_BITS], b"\0i8"),
        ];
        for (part, types, strings) in cases {
            let error = mark_characters(&mut blob(&types, strings)).expect_err(part);
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        let mut big_endian = blob(&types(), STRINGS);
        big_endian[..2].copy_from_slice(&MAGIC.to_be_bytes());
        let error = mark_characters(&mut big_endian).expect_err("the other byte order");
        assert!(error.to_string().contains("little-endian"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_object_are_an_error() {
        assert!(mark_text(&mut b"not an ELF file".to_vec()).is_err());
    }
}
