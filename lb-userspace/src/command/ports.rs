//! Whether the source ports for translated flows are free of other uses.

use super::settings::PortRange;

/// Who else uses ports of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortUse {
    /// `net.ipv4.ip_local_port_range`, which holds for IPv6 too.
    pub(super) ephemeral: Option<PortRange>,
    /// `net.ipv4.ip_local_reserved_ports`: the kernel takes none of these by itself.
    pub(super) reserved: Vec<PortRange>,
    /// From which the cluster takes NodePorts.
    pub(super) node_ports: PortRange,
}

impl PortUse {
    /// Reads the sysctls of this network namespace.
    pub(super) fn read(node_ports: PortRange) -> Self {
        let read =
            |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        Self {
            ephemeral: range(&read("ip_local_port_range")),
            reserved: list(&read("ip_local_reserved_ports")),
            node_ports,
        }
    }

    /// Why weir must not use the ports, if it must not: a reply to a translated flow could not be told from a new flow
    /// to a NodePort.
    pub(super) fn refusal(&self, ports: PortRange) -> Option<String> {
        overlap(ports, self.node_ports).then(|| {
            format!(
                "source ports {ports} for translated flows overlap the NodePorts {}: choose others with --snat-ports, or \
                 say with --nodeport-range which ports the cluster takes",
                self.node_ports
            )
        })
    }

    /// Why the ports are a bad choice on this machine. Those that are reserved as a whole are the best choice.
    pub(super) fn warnings(&self, ports: PortRange) -> Vec<String> {
        let reserved =
            |port: u16| self.reserved.iter().any(|range| (range.first..=range.last).contains(&port));
        let (mut kept, mut free, mut taken) = (0, 0, 0);
        for port in ports.first..=ports.last {
            let ephemeral = self.ephemeral.is_some_and(|range| (range.first..=range.last).contains(&port));
            match (reserved(port), ephemeral) {
                (true, _) => kept += 1,
                (false, true) => taken += 1,
                (false, false) => free += 1,
            }
        }
        let mut warnings = Vec::new();
        if taken > 0
            && let Some(ephemeral) = self.ephemeral
        {
            warnings.push(format!(
                "source ports {ports} for translated flows overlap net.ipv4.ip_local_port_range ({ephemeral}), from which \
                 this node takes its own: choose others with --snat-ports, narrow the sysctl, or add {ports} to \
                 net.ipv4.ip_local_reserved_ports"
            ));
        }
        if kept > 0 && free + taken > 0 {
            warnings.push(format!(
                "{kept} of the source ports {ports} for translated flows are in net.ipv4.ip_local_reserved_ports, perhaps \
                 for another program: choose others with --snat-ports, or reserve all of them for weir"
            ));
        }
        warnings
    }
}

const fn overlap(one: PortRange, other: PortRange) -> bool {
    one.first <= other.last && other.first <= one.last
}

/// Two numbers with blanks between.
fn range(text: &str) -> Option<PortRange> {
    let mut numbers = text.split_whitespace().map(|part| part.parse::<u16>().ok());
    let (first, last) = (numbers.next()??, numbers.next()??);
    (first <= last).then_some(PortRange { first, last })
}

/// Ports and ranges with commas between, as in `80,1024-29999`.
fn list(text: &str) -> Vec<PortRange> {
    let entry = |entry: &str| {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        Some(PortRange { first: first.parse().ok()?, last: last.parse().ok()? })
    };
    text.trim().split(',').filter_map(|text| entry(text.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other_uses(ephemeral: &str, reserved: &str) -> PortUse {
        PortUse {
            ephemeral: range(ephemeral),
            reserved: list(reserved),
            node_ports: PortRange { first: 30000, last: 32767 },
        }
    }

    #[test]
    fn who_else_uses_the_ports_is_told() {
        for (ports, ephemeral, reserved, expected) in [
            ("1024-29999", "32768\t60999\n", "\n", [false, false]),
            ("61000-65535", "32768 61000", "", [true, false]),
            ("61000-65535", "32768 65535", "61000-65535\n", [false, false]),
            ("61000-65535", "32768 65535", "22,61000-63000,63001-65535", [false, false]),
            ("61000-65535", "32768 65535", "61000-61002", [true, true]),
            ("1024-29999", "32768 60999", "8080", [false, true]),
            ("1024-29999", "nonsense", "nonsense,", [false, false]),
        ] {
            let warnings = other_uses(ephemeral, reserved).warnings(ports.parse().unwrap());
            let told = ["ip_local_port_range", "perhaps"]
                .map(|text| warnings.iter().any(|line| line.contains(text)));
            assert_eq!(told, expected, "{ports} {ephemeral:?} {reserved:?}: {warnings:?}");
        }
    }

    #[test]
    fn node_ports_are_refused() {
        let uses = other_uses("32768 60999", "");
        for (ports, refused) in
            [("1024-29999", false), ("1024-30000", true), ("32767-40000", true), ("32768-40000", false)]
        {
            assert_eq!(uses.refusal(ports.parse().unwrap()).is_some(), refused, "{ports}");
        }
    }
}
