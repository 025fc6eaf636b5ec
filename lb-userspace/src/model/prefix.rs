//! Prefixes of addresses, as CIDR notation writes them (RFC 4632, RFC 4291).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::IpFamily;

/// A prefix; the bits behind its length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no prefix of addresses; write ADDRESS/LENGTH, such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct PrefixError(String);

impl Prefix {
    /// The first `length` bits of an address; `None` when it has fewer.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let behind = Ipv4Addr::BITS.checked_sub(u32::from(length))?;
                IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into())
            }
            IpAddr::V6(v6) => {
                let behind = Ipv6Addr::BITS.checked_sub(u32::from(length))?;
                IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into())
            }
        };
        Some(Self { address, length })
    }

    /// The prefix that one address alone has.
    pub const fn of(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, length }
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Its family.
    pub const fn family(&self) -> IpFamily {
        IpFamily::of(self.address)
    }

    /// Whether an address begins with it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.length) == Some(*self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parsed = text
            .split_once('/')
            .and_then(|(address, length)| Self::new(address.parse().ok()?, length.parse().ok()?));
        parsed.ok_or_else(|| PrefixError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_prefix_contains() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/127", "2001:db8::2", false),
            ("::/0", "2001:db8::2", true),
            ("::/0", "10.0.0.1", false),
        ];
        for (prefix, address, contained) in cases {
            let prefix: Prefix = prefix.parse().unwrap();
            assert_eq!(prefix.contains(address.parse().unwrap()), contained, "{prefix} {address}");
        }
    }

    #[test]
    fn bits_behind_the_length_are_cleared_and_nonsense_is_refused() {
        assert_eq!("10.1.2.3/20".parse::<Prefix>().unwrap().to_string(), "10.1.0.0/20");
        assert_eq!("2001:db8::ffff/112".parse::<Prefix>().unwrap().to_string(), "2001:db8::/112");
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "a/8", "10.0.0.0/8/8"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }
}
