//! Services: the names behind the numbers, for people and for the agent after a restart.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest name in bytes: a DNS label (RFC 1123) has at most 63, and a zero ends it.
pub const NAME_BYTES: usize = 64;

/// A name, padded with zeros. Its elements are `i8` so that BTF can say "characters".
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable
)]
#[repr(transparent)]
pub struct Text {
    /// The characters.
    pub text: [i8; NAME_BYTES],
}

impl Text {
    /// The name as stored, or `None` when it is longer than 63 bytes and so cannot be a DNS label.
    pub fn new(name: &str) -> Option<Self> {
        if name.len() >= NAME_BYTES {
            return None;
        }
        let mut text = [0; NAME_BYTES];
        for (to, from) in text.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        Some(Self { text })
    }

    /// The name up to its first zero; a byte sequence that is not UTF-8 reads as empty.
    pub fn as_str(&self) -> &str {
        let bytes = self.as_bytes();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.get(..end).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or("")
    }
}

/// Value of `SERVICES`: one service port in one address family. The key is the service id, never zero.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable
)]
#[repr(C)]
pub struct ServiceInfo {
    /// Namespace of the Service.
    pub namespace: Text,
    /// Name of the Service.
    pub name: Text,
    /// Name of the port; empty for the only port of a Service.
    pub port_name: Text,
    /// Service port, host byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip_version: u8,
}

const _: () = assert!(size_of::<ServiceInfo>() == 3 * NAME_BYTES + 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_and_a_long_one_is_refused() {
        let longest = core::str::from_utf8(&[b'a'; 63]).unwrap();
        assert_eq!(Text::new("coredns").unwrap().as_str(), "coredns");
        assert_eq!(Text::new(longest).unwrap().as_str(), longest);
        assert!(Text::new(core::str::from_utf8(&[b'a'; 64]).unwrap()).is_none());
    }
}
