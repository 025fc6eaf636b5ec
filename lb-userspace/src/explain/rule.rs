//! The rule that decided about a packet: stable names, each with a sentence.

use lb_common::Outcome;

use crate::trace::{Fate, fate, reason};

/// How a service port's endpoints were narrowed before one was chosen by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Every ready endpoint that the policy admits.
    #[default]
    All,
    /// Topology hints: those for this node.
    SameNode,
    /// Topology hints: those for this zone.
    SameZone,
    /// None is ready: those that terminate and still serve.
    Terminating,
}

/// What is known of a decision beside its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The packet counts as from inside the cluster.
    pub inside: bool,
    /// A flow entry of this very 5-tuple decided.
    pub established: bool,
    /// What the client got last time decided.
    pub affinity: bool,
    /// The endpoints for packets of this origin are those of this node.
    pub local: bool,
    /// The endpoints for packets from outside are those of this node.
    pub outside_local: bool,
    /// How the endpoints were narrowed.
    pub choice: Choice,
}

/// The rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The packet goes where the first of its flow went.
    EstablishedFlow,
    /// The client gets the backend that it had.
    SessionAffinity,
    /// A backend was chosen by weight, and nothing narrowed the choice.
    Weights,
    /// From inside, an external policy of `Local` does not count.
    ShortCircuit,
    /// Endpoints of this node only, from outside.
    ExternalLocal,
    /// Endpoints of this node only, from inside.
    InternalLocal,
    /// Endpoints that the hints assign to this node.
    HintsNode,
    /// Endpoints that the hints assign to this zone.
    HintsZone,
    /// No endpoint is ready.
    ServingTerminating,
    /// No endpoint takes new flows.
    NoEndpoints,
    /// The source is not allowed.
    SourceRanges,
    /// The address is for the cluster only.
    ClusterIpFromOutside,
    /// The address is a Service's, the port is not.
    UnusedPort,
    /// The address and port are no Service's.
    NotAService,
    /// What else can become of a packet.
    Other(Outcome),
}

impl Rule {
    /// Every rule that has a name of its own.
    pub const NAMED: [Self; 14] = [
        Self::EstablishedFlow,
        Self::SessionAffinity,
        Self::Weights,
        Self::ShortCircuit,
        Self::ExternalLocal,
        Self::InternalLocal,
        Self::HintsNode,
        Self::HintsZone,
        Self::ServingTerminating,
        Self::NoEndpoints,
        Self::SourceRanges,
        Self::ClusterIpFromOutside,
        Self::UnusedPort,
        Self::NotAService,
    ];

    /// The rule behind an outcome.
    pub const fn of(outcome: Outcome, circumstances: &Circumstances) -> Self {
        match outcome {
            Outcome::NoBackend => Self::NoEndpoints,
            Outcome::NoLocalBackend => circumstances.policy(),
            Outcome::SourceRefused => Self::SourceRanges,
            Outcome::FromOutside => Self::ClusterIpFromOutside,
            Outcome::UnusedPort => Self::UnusedPort,
            Outcome::NotOurs => Self::NotAService,
            outcome if matches!(fate(outcome), Fate::Forward) => circumstances.chosen_by(),
            outcome => Self::Other(outcome),
        }
    }

    /// The name in JSON and text, which does not change.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EstablishedFlow => "established flow",
            Self::SessionAffinity => "session affinity",
            Self::Weights => "weights",
            Self::ShortCircuit => "short-circuit",
            Self::ExternalLocal => "externalTrafficPolicy: Local",
            Self::InternalLocal => "internalTrafficPolicy: Local",
            Self::HintsNode | Self::HintsZone => "topology hints",
            Self::ServingTerminating => "serving terminating fall-back",
            Self::NoEndpoints => "no endpoints",
            Self::SourceRanges => "loadBalancerSourceRanges",
            Self::ClusterIpFromOutside => "cluster IP from outside",
            Self::UnusedPort => "unused port of a virtual IP",
            Self::NotAService => "not a Service address",
            Self::Other(outcome) => outcome.name(),
        }
    }

    /// The rule in words.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::EstablishedFlow => "a packet of a known flow goes where the first one went",
            Self::SessionAffinity => {
                "sessionAffinity: ClientIP gives a client the endpoint that it had, while its time-out lasts"
            }
            Self::Weights => "a hash of addresses and ports chooses among the endpoints, by their weights",
            Self::ShortCircuit => {
                "from inside the cluster, externalTrafficPolicy: Local does not count: every endpoint is as near"
            }
            Self::ExternalLocal => {
                "externalTrafficPolicy: Local keeps traffic from outside on the node where it arrives"
            }
            Self::InternalLocal => {
                "internalTrafficPolicy: Local keeps traffic from inside on the node where it starts"
            }
            Self::HintsNode => "the hints of the EndpointSlices assign these endpoints to this node",
            Self::HintsZone => "the hints of the EndpointSlices assign these endpoints to this node's zone",
            Self::ServingTerminating => {
                "no endpoint is ready, so those that are terminating and still serve are used"
            }
            Self::NoEndpoints => reason(Outcome::NoBackend),
            Self::SourceRanges => reason(Outcome::SourceRefused),
            Self::ClusterIpFromOutside => reason(Outcome::FromOutside),
            Self::UnusedPort => reason(Outcome::UnusedPort),
            Self::NotAService => "no Service has this address, port and protocol on this node",
            Self::Other(outcome) => reason(outcome),
        }
    }
}

impl Circumstances {
    /// The policy that keeps a packet of this origin on the node.
    const fn policy(&self) -> Rule {
        if self.inside { Rule::InternalLocal } else { Rule::ExternalLocal }
    }

    const fn chosen_by(&self) -> Rule {
        if self.established {
            return Rule::EstablishedFlow;
        }
        if self.affinity {
            return Rule::SessionAffinity;
        }
        match self.choice {
            Choice::Terminating => Rule::ServingTerminating,
            Choice::SameNode => Rule::HintsNode,
            Choice::SameZone => Rule::HintsZone,
            Choice::All if self.local => self.policy(),
            Choice::All if self.inside && self.outside_local => Rule::ShortCircuit,
            Choice::All => Rule::Weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_rule_is_told() {
        let plain = Circumstances::default();
        let inside = Circumstances { inside: true, ..plain };
        let local = Circumstances { local: true, outside_local: true, ..plain };
        let inside_local = Circumstances { local: true, ..inside };
        let terminating = Circumstances { choice: Choice::Terminating, ..local };
        let known = Circumstances { established: true, affinity: true, ..terminating };
        let cases = [
            (Outcome::Redirected, plain, "weights"),
            (Outcome::Local, inside, "weights"),
            (Outcome::Local, local, "externalTrafficPolicy: Local"),
            (Outcome::Local, inside_local, "internalTrafficPolicy: Local"),
            (Outcome::Resolved, Circumstances { outside_local: true, ..inside }, "short-circuit"),
            (Outcome::Transmitted, Circumstances { choice: Choice::SameZone, ..plain }, "topology hints"),
            (Outcome::Transmitted, Circumstances { choice: Choice::SameNode, ..plain }, "topology hints"),
            (Outcome::Local, terminating, "serving terminating fall-back"),
            (Outcome::Local, Circumstances { affinity: true, ..terminating }, "session affinity"),
            (Outcome::Local, known, "established flow"),
            (Outcome::NoBackend, known, "no endpoints"),
            (Outcome::NoLocalBackend, local, "externalTrafficPolicy: Local"),
            (Outcome::NoLocalBackend, inside_local, "internalTrafficPolicy: Local"),
            (Outcome::SourceRefused, plain, "loadBalancerSourceRanges"),
            (Outcome::FromOutside, plain, "cluster IP from outside"),
            (Outcome::UnusedPort, plain, "unused port of a virtual IP"),
            (Outcome::NotOurs, plain, "not a Service address"),
            (Outcome::PortsExhausted, plain, "ports_exhausted"),
            (Outcome::NoSourceAddress, plain, "no_source_address"),
        ];
        for (outcome, circumstances, expected) in cases {
            assert_eq!(Rule::of(outcome, &circumstances).name(), expected, "{outcome:?} {circumstances:?}");
        }
    }
}
