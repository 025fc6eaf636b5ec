//! The tables for people and the values for programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Case, Figure, ROUNDS, Ratio, Result, Services, SocketCase, SocketFigure, Through};

/// Parts of the report, as JSON names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Nanoseconds per packet with one Service.
    Packets,
    /// Nanoseconds per packet with few and with many.
    Services,
    /// Transfers and connections through namespaces.
    Through,
    /// Calls on sockets.
    Sockets,
    /// Memory of the maps.
    Memory,
}

impl Section {
    const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Services => "services",
            Self::Through => "through",
            Self::Sockets => "sockets",
            Self::Memory => "memory",
        }
    }

    fn title(self) -> String {
        match self {
            Self::Packets => format!(
                "XDP, nanoseconds per packet: median (fastest..slowest) of {ROUNDS} rounds, less the wrapper; route \
                 look-up included\n{:<24}{:<7}{:<6}{:>9}{:>9}  {:<14}aim",
                "packets", "family", "over", "flows", "ns", "range"
            ),
            Self::Services => format!(
                "\nThe same for IPv4/TCP by the number of Services; the ratio is to the fewest\n\
                 {:<24}{:<9}{:>9}{:>10}{:>9}{:>9}  range",
                "packets", "to", "flows", "services", "ns", "ratio"
            ),
            Self::Through => format!(
                "\nTCP through a node of its own namespace, medians; the ratio is to plain routing in the same round\n\
                 {:<24}{:<9}{:>16}{:>9}",
                "what", "way", "", "ratio"
            ),
            Self::Sockets => format!(
                "\nCalls on sockets, nanoseconds: medians; ratios are of the same turn, with those of the lowest and the highest round\n\
                 {:<15}{:<7}{:<6}{:>10}{:>9}{:>9}  {:<22}Service/direct",
                "calls", "family", "in", "unhooked", "direct", "Service", "direct/unhooked"
            ),
            Self::Memory => {
                format!("\nMemory of the empty maps at their default sizes\n{:<24}{:>9}", "map", "KiB")
            }
        }
    }
}

/// What is printed: lines as they come, or JSON at the end.
#[derive(Debug)]
pub struct Report {
    as_json: bool,
    sections: BTreeMap<Section, Vec<Value>>,
    /// Nanoseconds with the fewest Services, by what else the line says.
    fewest: BTreeMap<(&'static str, bool), u64>,
}

impl Report {
    /// An empty one.
    pub const fn new(as_json: bool) -> Self {
        Self { as_json, sections: BTreeMap::new(), fewest: BTreeMap::new() }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// A line of nanoseconds per packet.
    pub fn packets(&mut self, case: &Case, result: &Result) {
        if let Some(services) = case.services {
            return self.services(case, services, result);
        }
        let (fastest, slowest) = result.range_ns;
        let (kind, family, protocol, flows, ns) =
            (case.kind.name(), case.family(), case.protocol_name(), case.flows, result.ns);
        let value = json!({
            "packets": kind, "family": family, "protocol": protocol, "flows": flows,
            "ns": ns, "fastest_ns": fastest, "slowest_ns": slowest, "wrapper_ns": result.wrapper_ns,
            "rounds": ROUNDS, "aim_ns": case.aim_ns(),
        });
        let range = format!("{fastest}..{slowest}");
        let aim = case.aim_ns().map_or(String::new(), |aim| aim_text(aim, ns));
        let text = format!("{kind:<24}{family:<7}{protocol:<6}{flows:>9}{ns:>9}  {range:<14}{aim}");
        self.add(Section::Packets, text.trim_end(), value);
    }

    /// The same for many Services.
    fn services(&mut self, case: &Case, services: Services, result: &Result) {
        let (fastest, slowest) = result.range_ns;
        let (kind, to, flows, count, ns) =
            (case.kind.name(), services.target(), case.flows, services.count, result.ns);
        let fewest = *self.fewest.entry((kind, services.spread)).or_insert(ns);
        let ratio = ns as f64 / fewest.max(1) as f64;
        let value = json!({
            "packets": kind, "to": to, "flows": flows, "services": count,
            "ns": ns, "fastest_ns": fastest, "slowest_ns": slowest, "wrapper_ns": result.wrapper_ns,
            "rounds": ROUNDS, "ratio": ratio,
        });
        let text = format!("{kind:<24}{to:<9}{flows:>9}{count:>10}{ns:>9}{ratio:>9.2}  {fastest}..{slowest}");
        self.add(Section::Services, &text, value);
    }

    /// A line of what went through namespaces.
    pub fn through(&mut self, through: Through, figure: &Figure) {
        let (what, unit, scale) = match through {
            Through::Transfer { mtu } => (format!("transfer, MTU {mtu}"), "Gbit/s", 1e-9),
            Through::Connections => ("connections".to_owned(), "a second", 1.0),
        };
        let text = match figure.median {
            Some((value, ratio)) => {
                let decimals = if scale < 1.0 { 2 } else { 0 };
                format!("{:>9.decimals$}{:>9}{ratio:>7.2}", value * scale, format!(" {unit}"))
            }
            None => format!("{:>9}", "n/a"),
        };
        let value = json!({
            "what": through.columns().join("/"),
            "way": figure.way.name(),
            "per_second": figure.median.map(|(value, _)| value),
            "ratio": figure.median.map(|(_, ratio)| ratio),
        });
        self.add(Section::Through, &format!("{what:<24}{:<9}{text}", figure.way.name()), value);
    }

    /// A line of calls on sockets.
    pub fn sockets(&mut self, case: &SocketCase, figure: &SocketFigure) {
        let SocketFigure { without_ns, direct_ns, vip_ns, hooks, service } = figure;
        let ratio =
            |ratio: &Ratio| json!({"median": ratio.median, "lowest": ratio.lowest, "highest": ratio.highest});
        let text = |ratio: &Ratio| format!("{:.3} ({:.2}..{:.2})", ratio.median, ratio.lowest, ratio.highest);
        let (calls, family, place) = (case.calls.name(), case.family_name(), case.place.name());
        let value = json!({
            "calls": calls, "family": family, "in": place,
            "unhooked_ns": without_ns, "direct_ns": direct_ns, "service_ns": vip_ns,
            "direct_to_unhooked": ratio(hooks), "service_to_direct": ratio(service),
        });
        let line = format!(
            "{calls:<15}{family:<7}{place:<6}{without_ns:>10.0}{direct_ns:>9.0}{vip_ns:>9.0}  {:<22}{}",
            text(hooks),
            text(service)
        );
        self.add(Section::Sockets, &line, value);
    }

    /// A line for each map, and their sum.
    pub fn memory(&mut self, maps: &BTreeMap<String, u64>) {
        for (name, bytes) in maps {
            let text = format!("{name:<24}{:>9}", bytes / 1024);
            self.add(Section::Memory, &text, json!({"map": name, "bytes": bytes}));
        }
        let sum: u64 = maps.values().sum();
        self.add(
            Section::Memory,
            &format!("{:<24}{:>9}", "all", sum / 1024),
            json!({"map": null, "bytes": sum}),
        );
    }

    /// Prints what only the end can.
    pub fn end(self) {
        if self.as_json {
            let sections =
                self.sections.into_iter().map(|(section, lines)| (section.name().to_owned(), lines.into()));
            println!("{:#}", Value::from(Map::from_iter(sections)));
        }
    }

    fn add(&mut self, section: Section, text: &str, value: Value) {
        if !self.as_json {
            if !self.sections.contains_key(&section) {
                println!("{}", section.title());
            }
            println!("{text}");
        }
        self.sections.entry(section).or_default().push(value);
    }
}

fn aim_text(aim_ns: u64, ns: u64) -> String {
    if ns <= aim_ns { format!("{aim_ns}: reached") } else { format!("{aim_ns}: missed by {}", ns - aim_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_reached_by_the_very_number() {
        assert_eq!(aim_text(69, 69), "69: reached");
        assert_eq!(aim_text(69, 70), "69: missed by 1");
    }
}
