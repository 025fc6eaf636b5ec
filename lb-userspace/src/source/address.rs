//! IP addresses as Kubernetes reads them.

use std::net::{IpAddr, Ipv4Addr};

/// An address, with the leading zeros in IPv4 octets that `ParseIPSloppy` of `k8s.io/utils/net` still accepts
/// (`010.0.0.1` is `10.0.0.1`), and with an IPv4-mapped IPv6 address taken for the IPv4 address that it is.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => parse_octets(text).map(IpAddr::V4),
    }
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
}
