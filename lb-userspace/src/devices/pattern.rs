//! Names of devices with the wildcards of a shell.

use std::fmt;
use std::str::FromStr;

/// Longest device name in bytes: `IFNAMSIZ` of the kernel's `include/uapi/linux/if.h`, less its final zero.
const NAME_MAX: usize = 15;

/// A device name in which `*` stands for any text and `?` for any one letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Whether it names one device only.
    pub fn is_name(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether `name` is one of those it stands for.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }
}

/// At a mismatch the latest `*` takes one byte more: earlier ones never need to. Time: length times length at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("an empty name is no device".to_owned());
        }
        if text.contains(['/', ':']) || text.contains(char::is_whitespace) {
            return Err(format!("`{text}` can be no device: a name has no blank, `/` or `:`"));
        }
        let pattern = Self(text.to_owned());
        if pattern.is_name() && text.len() > NAME_MAX {
            return Err(format!("`{text}` can be no device: a name has at most {NAME_MAX} bytes"));
        }
        Ok(pattern)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, yes, no) in [
            ("eth0", ["eth0", "eth0"], ["eth1", "eth00"]),
            ("eth?", ["eth0", "eth9"], ["eth", "eth10"]),
            ("eth*", ["eth", "eth0.100"], ["veth0", "et"]),
            ("*", ["lo", "x"], ["", ""]),
            ("*.1?0", ["eth0.110", "a.1.190"], ["eth0.10", "eth0.1100"]),
            ("e*h*0", ["eth0", "enh00"], ["eth1", "et0"]),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            for name in yes {
                assert!(pattern.matches(name), "{pattern} {name}");
            }
            for name in no.into_iter().filter(|name| !name.is_empty()) {
                assert!(!pattern.matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_can_be_no_device_is_refused() {
        for wrong in ["", " ", "a/b", "eth0:1", "et h", "a-name-of-16-byte"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
        assert!("enp129s0f0np*.4?".parse::<Pattern>().is_ok());
    }
}
