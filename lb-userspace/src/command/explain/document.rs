//! An answer as JSON: `docs/explain.md` is its description, and fields are added, not changed.

use serde::Serialize;

use crate::explain::{Answer, KnownFlow, Origin, ServiceName, Share};
use crate::trace::{Fate, fate};

use super::super::output::{flow_state, share};

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    verdict: &'static str,
    rule: RuleDocument,
    outcome: Option<&'static str>,
    packet: PacketDocument,
    service: Option<ServiceDocument<'a>>,
    backend: Option<BackendDocument>,
    source_translated: bool,
    new_source: Option<String>,
    new_destination: Option<String>,
    backends: Vec<ShareDocument>,
    flow: Option<FlowDocument>,
    remarks: &'a [String],
    problems: &'a [String],
}

#[derive(Debug, Serialize)]
struct RuleDocument {
    name: &'static str,
    sentence: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PacketDocument {
    protocol: String,
    source: String,
    destination: String,
    from: &'static str,
    inside: bool,
    opens: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDocument<'a> {
    namespace: &'a str,
    name: &'a str,
    port_name: &'a str,
    port: u16,
    affinity_timeout_seconds: u32,
}

#[derive(Debug, Serialize)]
struct BackendDocument {
    address: String,
    port: u16,
    local: bool,
}

#[derive(Debug, Serialize)]
struct ShareDocument {
    address: String,
    port: u16,
    local: bool,
    slots: u32,
    share: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowDocument {
    direction: &'static str,
    state: &'static str,
    idle_seconds: u32,
    expired: bool,
    stale: bool,
    backend: String,
    both_directions: bool,
}

/// The document of an answer.
pub(super) fn document<'a>(answer: &'a Answer, problems: &'a [String]) -> Document<'a> {
    let fate = fate(answer.outcome);
    Document {
        verdict: fate.name(),
        rule: RuleDocument { name: answer.rule.name(), sentence: answer.rule.sentence() },
        // Which of the ways out a forwarded packet takes was not asked for.
        outcome: (fate != Fate::Forward).then(|| answer.outcome.name()),
        packet: PacketDocument {
            protocol: answer.question.protocol.to_string(),
            source: answer.question.source.to_string(),
            destination: answer.question.destination.to_string(),
            from: origin(answer.question.origin),
            inside: answer.inside,
            opens: answer.opens,
        },
        service: answer.service.as_ref().map(|name| service(name, answer.affinity_timeout_s)),
        backend: answer.chosen.map(|chosen| BackendDocument {
            address: chosen.at.ip().to_string(),
            port: chosen.at.port(),
            local: chosen.local,
        }),
        source_translated: answer.becomes.is_some_and(|(source, _)| source != answer.question.source),
        new_source: answer.becomes.map(|(source, _)| source.to_string()),
        new_destination: answer.becomes.map(|(_, destination)| destination.to_string()),
        backends: answer.backends.iter().map(share_document).collect(),
        flow: answer.flow.map(flow),
        remarks: &answer.remarks,
        problems,
    }
}

pub(super) const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Outside => "outside",
        Origin::Pod => "pod",
        Origin::Host => "host",
    }
}

fn service(name: &ServiceName, affinity_timeout_seconds: u32) -> ServiceDocument<'_> {
    ServiceDocument {
        namespace: &name.key.service.namespace,
        name: &name.key.service.name,
        port_name: &name.key.port_name,
        port: name.port,
        affinity_timeout_seconds,
    }
}

fn share_document(one: &Share) -> ShareDocument {
    ShareDocument {
        address: one.at.ip().to_string(),
        port: one.at.port(),
        local: one.local,
        slots: one.slots,
        share: share(one.slots, one.of),
    }
}

fn flow(flow: KnownFlow) -> FlowDocument {
    FlowDocument {
        direction: if flow.forward { "forward" } else { "reply" },
        state: flow_state(flow.state),
        idle_seconds: flow.idle_s,
        expired: flow.over,
        stale: flow.stale,
        backend: flow.backend.to_string(),
        both_directions: flow.whole,
    }
}
