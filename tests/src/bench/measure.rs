//! How it is measured.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result as Anyhow, ensure};
use aya::maps::{Array, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::bench::{FRAME_BYTES4, FRAME_BYTES6, Template, vip4};
use lb_common::{
    Backend, BackendFlags, BackendState, Frontend, FrontendKey, Outcome, Run, Settings, protocol,
};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::memory::Segment;
use lb_ebpf::memory::network::{CLIENTS, INGRESS, LOCAL, NODE, Net, Node, PORT, REMOTE, key};
use lb_ebpf::{V4, V6};

use super::{Case, Kind};
use crate::kernel_object::{KernelObject, Sizes, bytes, xdp_context};

/// Rounds of every measurement, of which the median counts.
pub const ROUNDS: usize = 7;
/// Packets of a round of established flows, at least.
const PACKETS: u32 = 1_000_000;
/// The same with `quick`.
const PACKETS_QUICK: u32 = 200_000;
/// New flows of a round.
const NEW_FLOWS: u32 = 16_384;
/// The same where each evicts another: the table need not grow for more of them.
const EVICTING_FLOWS: u32 = 131_072;
/// The usual Service.
const SERVICE: u16 = 1;
/// Numbers of `vip4` from here on are addresses of no Service.
const STRANGERS: u32 = 1 << 23;

/// What came out.
#[derive(Clone, Copy, Debug)]
pub struct Result {
    /// Nanoseconds per packet, less the wrapper's in the same round.
    pub ns: u64,
    /// The same of the fastest and the slowest round.
    pub range_ns: (u64, u64),
    /// The wrapper's own.
    pub wrapper_ns: u64,
}

/// Measures one case. The calling thread is in the network of [`crate::kernel_network`].
pub fn measure(case: &Case, quick: bool) -> Anyhow<Result> {
    let flows = match case.kind {
        // Two entries for each flow, and half as much again, so that nothing is evicted.
        Kind::Established | Kind::Redirected | Kind::Local | Kind::New | Kind::NotOurs => {
            (case.flows + NEW_FLOWS * ROUNDS as u32) * 3
        }
        Kind::Evicting => case.flows * 2,
    };
    let services = case.services.map_or(0, |services| services.count);
    let mut kernel = KernelObject::load(Sizes { slots: 1024 + services, flows, backends: 256 + services })?;
    kernel.fill(&node(case).maps)?;
    let engine = kernel.xdp("weir_xdp")?.fd()?.try_clone()?;
    let mut wrapper = Wrapper::load(template(case))?;
    let nothing = wrapper.nothing()?;
    let packets = round_of(case, quick);
    // The flows that there shall be; for an evicting table, more than it takes.
    let fill = if case.kind == Kind::Evicting { case.flows * 2 } else { case.flows };
    wrapper.run(&engine, 0..=fill - 1, fill)?;
    let outcome = outcome(case.kind);
    let before = kernel.count(outcome)?;
    let (mut times, mut wrapper_times) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS as u32 {
        let flows = match case.kind {
            Kind::New | Kind::Evicting => fill + round * packets..=u32::MAX,
            Kind::Established | Kind::Redirected | Kind::Local | Kind::NotOurs => 0..=case.flows - 1,
        };
        // In turn, so that both meet the same machine.
        let own = wrapper.run(&nothing, flows.clone(), packets)?;
        let both = wrapper.run(&engine, flows, packets)?;
        // The first round fills the caches.
        if round > 0 {
            times.push(both.saturating_sub(own));
            wrapper_times.push(own);
        }
    }
    let expected = u64::from(packets) * (ROUNDS as u64 + 1);
    let counted = kernel.count(outcome)? - before;
    ensure!(
        counted == expected,
        "{counted} of {expected} packets were {}: {}",
        outcome.name(),
        kernel.counts()?
    );
    times.sort_unstable();
    wrapper_times.sort_unstable();
    let at = |times: &[u64], index: usize| times.get(index).copied().unwrap_or_default();
    Ok(Result {
        ns: at(&times, ROUNDS / 2),
        range_ns: (at(&times, 0), at(&times, ROUNDS - 1)),
        wrapper_ns: at(&wrapper_times, ROUNDS / 2),
    })
}

/// Packets of a round.
fn round_of(case: &Case, quick: bool) -> u32 {
    match case.kind {
        Kind::New => NEW_FLOWS,
        Kind::Evicting => EVICTING_FLOWS,
        Kind::Established | Kind::Redirected | Kind::Local | Kind::NotOurs => {
            (if quick { PACKETS_QUICK } else { PACKETS }).max(case.flows)
        }
    }
}

fn outcome(kind: Kind) -> Outcome {
    match kind {
        Kind::Established | Kind::New | Kind::Evicting => Outcome::Transmitted,
        Kind::Redirected => Outcome::Redirected,
        Kind::Local => Outcome::Local,
        Kind::NotOurs => Outcome::NotOurs,
    }
}

/// A node with one Service, whose backend is behind the device that clients are behind, or where the case wants it.
fn node(case: &Case) -> Node {
    let backend = match case.kind {
        Kind::Redirected => (REMOTE, 1),
        Kind::Local => (LOCAL, 1),
        Kind::Established | Kind::New | Kind::Evicting | Kind::NotOurs => (CLIENTS, u16::MAX),
    };
    // Sixty-four endpoints, as one has few free ports for half a million flows.
    let backends: Vec<_> = (0..64).map(|number| (backend.0, backend.1 ^ (number << 8))).collect();
    let mut node = if case.ipv6 {
        Node::new().with_service::<V6>(SERVICE.into(), case.protocol, &backends)
    } else {
        Node::new().with_service::<V4>(SERVICE.into(), case.protocol, &backends)
    };
    let ports = Settings {
        snat_port_first: 1024,
        snat_port_last: u16::MAX,
        ..node.maps.settings.unwrap_or_default()
    };
    node.maps.settings = Some(ports);
    if let Some(services) = case.services {
        (0..services.count).for_each(|number| add_service(&mut node, number));
    }
    node
}

/// Adds the Service of `vip4(number)`, with an endpoint of its own.
fn add_service(node: &mut Node, number: u32) {
    let service = u32::from(SERVICE) + 1 + number;
    let tables = &mut node.maps.v4;
    let run = Run { start: node.maps.slots.len() as u32, length: 1 };
    node.maps.slots.push(tables.backends.len() as u32);
    tables.backends.push(Backend {
        address: V4::address(CLIENTS, !(number as u16)),
        // So that those beyond 65,536 differ, too.
        port: (8080 + (number >> 16) as u16).to_be_bytes(),
        state: BackendState::Active.to_u8(),
        flags: BackendFlags::IN_CLUSTER,
        service,
        generation: 1,
    });
    let frontend = Frontend { service, inside: run, outside: run, ..Frontend::default() };
    tables.frontends.insert(FrontendKey::new(vip4(number), PORT, protocol::TCP), frontend);
}

fn template(case: &Case) -> Template {
    let frame = if case.ipv6 { frame::<V6>(case) } else { frame::<V4>(case) };
    let (vips, vip_first) = match case.services {
        None => (0, 0),
        Some(services) => {
            match (case.kind == Kind::NotOurs, services.spread) {
                // As many strangers, however many Services there are.
                (true, true) => (case.flows, STRANGERS),
                (true, false) => (1, STRANGERS),
                (false, true) => (services.count, 0),
                (false, false) => (1, services.count / 2),
            }
        }
    };
    Template { frame, first: 0, last: 0, next: 0, ipv6: case.ipv6.into(), vips, vip_first }
}

fn frame<F: Net>(case: &Case) -> [u8; FRAME_BYTES6] {
    let mut segment = Segment::<F>::new(key::<F>(case.protocol, (1, 0), SERVICE), &[]);
    if matches!(case.kind, Kind::New | Kind::Evicting) {
        segment.flags = TcpFlags::SYN;
    }
    if case.kind == Kind::NotOurs {
        // What a node sees most of beside its Services: packets for itself.
        segment.key.destination = F::address(NODE, 1);
    }
    let headers = segment.build().bytes().len();
    segment.payload = vec![0; length(case.ipv6).saturating_sub(headers)];
    let mut frame = [0; FRAME_BYTES6];
    frame.iter_mut().zip(segment.build().bytes()).for_each(|(to, from)| *to = *from);
    frame
}

/// Bytes of a frame.
const fn length(ipv6: bool) -> usize {
    if ipv6 { FRAME_BYTES6 } else { FRAME_BYTES4 }
}

/// The wrapper program in the kernel.
struct Wrapper {
    ebpf: Ebpf,
    template: Template,
}

impl Wrapper {
    fn load(template: Template) -> Anyhow<Self> {
        let mut ebpf = EbpfLoader::new().load(&bytes("weir-bench.bpf.o")?)?;
        for name in ["weir_bench", "weir_bench_nothing"] {
            let program: &mut Xdp = ebpf.program_mut(name).context("no such program")?.try_into()?;
            program.load()?;
        }
        Ok(Self { ebpf, template })
    }

    /// The program that does nothing.
    fn nothing(&mut self) -> Anyhow<ProgramFd> {
        let nothing: &mut Xdp =
            self.ebpf.program_mut("weir_bench_nothing").context("no program")?.try_into()?;
        Ok(nothing.fd()?.try_clone()?)
    }

    /// Gives a program so many packets of these flows, again and again; answers with nanoseconds per packet.
    fn run(&mut self, program: &ProgramFd, flows: RangeInclusive<u32>, packets: u32) -> Anyhow<u64> {
        let (first, last) = flows.into_inner();
        (self.template.first, self.template.last, self.template.next) = (first, last, first);
        Array::try_from(self.ebpf.map_mut("TEMPLATE").context("no map TEMPLATE")?)?.set(
            0,
            &self.template,
            0,
        )?;
        let mut measured = ProgramArray::try_from(self.ebpf.map_mut("MEASURED").context("no map MEASURED")?)?;
        measured.set(0, program, 0)?;
        let program: &Xdp = self.ebpf.program("weir_bench").context("no program weir_bench")?.try_into()?;
        let length = length(self.template.ipv6 != 0);
        let options = TestRunOptions {
            data_in: self.template.frame.get(..length),
            ctx_in: Some(&xdp_context(length, INGRESS)),
            repeat: packets,
            ..TestRunOptions::default()
        };
        Ok(program.test_run(options)?.duration.as_nanos() as u64)
    }
}
