//! An answer for people.

use std::fmt::Write as _;

use crate::explain::{Answer, KnownFlow};
use crate::trace::fate;

use super::super::output::{flow_state, percent};
use super::document::origin;

/// The lines of an answer: a name, and what there is to say.
pub(super) fn text(answer: &Answer) -> String {
    let mut lines = vec![
        ("packet", packet(answer)),
        ("verdict", fate(answer.outcome).name().to_owned()),
        ("rule", answer.rule.name().to_owned()),
        ("", answer.rule.sentence().to_owned()),
    ];
    if let Some(service) = &answer.service {
        let name = &service.key.port_name;
        let port = if name.is_empty() { String::new() } else { format!(" ({name})") };
        lines.push(("service", format!("{service}{port}")));
    }
    if answer.affinity_timeout_s != 0 {
        lines.push(("affinity", format!("by client address, for {}s", answer.affinity_timeout_s)));
    }
    lines.extend(answer.flow.map(|flow| ("flow", known(flow))));
    if let Some(chosen) = answer.chosen {
        lines.push(("backend", format!("{}, {}", chosen.at, place(chosen.local))));
    }
    if let Some((source, destination)) = answer.becomes {
        let kept = if source == answer.question.source { "kept" } else { "translated" };
        lines.push(("leaves as", format!("{source} -> {destination} (source {kept})")));
    }
    let mut name = "backends";
    for one in &answer.backends {
        let share = percent(one.slots, one.of);
        lines.push((name, format!("{share:>7}  {}, {}", one.at, place(one.local))));
        name = "";
    }
    lines.extend(answer.remarks.iter().map(|remark| ("remark", remark.clone())));
    let mut text = String::new();
    for (name, what) in lines {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{name:<10} {what}");
    }
    text
}

fn packet(answer: &Answer) -> String {
    let question = &answer.question;
    let from = origin(question.origin);
    let inside = if answer.inside && from == "outside" { ", which counts as inside" } else { "" };
    format!("{} {} -> {}, from {from}{inside}", question.protocol, question.source, question.destination)
}

const fn place(local: bool) -> &'static str {
    if local { "on this node" } else { "on another node" }
}

fn known(flow: KnownFlow) -> String {
    let direction = if flow.forward { "to" } else { "reply of" };
    let state = flow_state(flow.state);
    let mut text = format!("{direction} {}, {state}, idle for {}s", flow.backend, flow.idle_s);
    for (holds, what) in [
        (flow.over, ", expired"),
        (flow.stale, ", stale: its endpoint is gone"),
        (!flow.whole, ", other direction missing"),
    ] {
        text.push_str(if holds { what } else { "" });
    }
    text
}
