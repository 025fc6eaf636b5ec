//! IP addresses as Kubernetes reads them.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::Prefix;

/// An address, with the leading zeros in IPv4 octets that `ParseIPSloppy` of `k8s.io/utils/net` still accepts
/// (`010.0.0.1` is `10.0.0.1`), and with an IPv4-mapped IPv6 address taken for the IPv4 address that it is.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => parse_octets(text).map(IpAddr::V4),
    }
}

/// A prefix with blanks around it, as kube-proxy trims them, and an address that `ParseCIDRSloppy` still accepts.
pub(super) fn parse_prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.trim().split_once('/')?;
    let mapped = address.parse::<IpAddr>().is_ok_and(|written| written != written.to_canonical());
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|_| digits)?;
    Prefix::new(parse_ip(address)?, if mapped { length.checked_sub(96)? } else { length })
}

fn parse_octets(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_as_kubernetes_does() {
        let cases = [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.000.00.001", Some("10.0.0.1")),
            ("099.0.0.1", Some("99.0.0.1")),
            ("fd00::1", Some("fd00::1")),
            ("FD00:0:0::1", Some("fd00::1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("256.0.0.1", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("+1.2.3.4", None),
            ("1..2.3", None),
            ("10.0.0.1/32", None),
            ("10.0.0.1:80", None),
            ("fe80::1%eth0", None),
            (" 10.0.0.1", None),
            ("example.org", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|address| address.parse::<IpAddr>().unwrap());
            assert_eq!(parse_ip(text), expected, "{text:?}");
        }
    }

    #[test]
    fn reads_prefixes_as_kubernetes_does() {
        let cases = [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            (" 10.1.2.3/8\t", Some("10.0.0.0/8")),
            ("010.0.0.0/08", Some("10.0.0.0/8")),
            ("2001:DB8::1/32", Some("2001:db8::/32")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.0", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("::ffff:10.0.0.0/8", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_prefix(text).map(|prefix| prefix.to_string()).as_deref(), expected, "{text:?}");
        }
    }
}
