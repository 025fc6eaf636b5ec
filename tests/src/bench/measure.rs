//! How it is measured.

use anyhow::{Context as _, Result as Anyhow, ensure};
use aya::maps::{Array, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::bench::{FRAME_BYTES, Template};
use lb_common::{Outcome, Settings};
use lb_ebpf::memory::Segment;
use lb_ebpf::memory::network::{CLIENTS, INGRESS, LOCAL, Net, Node, PORT, REMOTE, key};
use lb_ebpf::{V4, V6};

use super::{Case, Kind};
use crate::kernel_object::{KernelObject, Sizes, bytes, xdp_context};

/// Rounds of every measurement, of which the median counts.
pub const ROUNDS: usize = 7;
/// Packets of a round of established flows, at least.
const PACKETS: u32 = 1_000_000;
/// New flows of a round.
const NEW_FLOWS: u32 = 16_384;
/// The only Service.
const SERVICE: u16 = 1;

/// What came out.
#[derive(Clone, Copy, Debug)]
pub struct Result {
    /// Nanoseconds per packet, less the wrapper's.
    pub ns: u64,
    /// The same of the fastest and the slowest round.
    pub range_ns: (u64, u64),
    /// The wrapper's own.
    pub wrapper_ns: u64,
}

/// Measures one case. The calling thread is in the network of [`crate::kernel_network`].
pub fn measure(case: &Case) -> Anyhow<Result> {
    let flows = match case.kind {
        // Two entries for each flow, and half as much again, so that nothing is evicted.
        Kind::Established | Kind::Redirected | Kind::Local | Kind::New | Kind::NotOurs => {
            (case.flows + NEW_FLOWS * ROUNDS as u32) * 3
        }
        Kind::Evicting => case.flows * 2,
    };
    let mut kernel = KernelObject::load(Sizes { slots: 1024, flows, backends: 256 })?;
    kernel.fill(&node(case).maps)?;
    let engine = kernel.xdp("weir_xdp")?.fd()?.try_clone()?;
    let mut wrapper = Wrapper::load(template(case))?;

    wrapper.call_nothing()?;
    let wrapper_ns = wrapper.rounds(rounds_of(case))?.1;
    wrapper.call(&engine)?;
    // The flows that there shall be; for an evicting table, more than it takes.
    let fill = if case.kind == Kind::Evicting { case.flows * 2 } else { case.flows };
    wrapper.rewind(0, fill - 1)?;
    wrapper.run(fill)?;
    if matches!(case.kind, Kind::New | Kind::Evicting) {
        wrapper.rewind(fill, u32::MAX)?;
    }
    let outcome = outcome(case.kind);
    let before = kernel.count(outcome)?;
    let (fastest, median, slowest) = wrapper.rounds(rounds_of(case))?;
    let packets = u64::from(rounds_of(case)) * (ROUNDS as u64 + 1);
    let counted = kernel.count(outcome)? - before;
    ensure!(
        counted == packets,
        "{counted} of {packets} packets were {}: {}",
        outcome.name(),
        kernel.counts()?
    );
    let less = |ns: u64| ns.saturating_sub(wrapper_ns);
    Ok(Result { ns: less(median), range_ns: (less(fastest), less(slowest)), wrapper_ns })
}

/// Packets of a round.
fn rounds_of(case: &Case) -> u32 {
    match case.kind {
        Kind::New | Kind::Evicting => NEW_FLOWS,
        Kind::Established | Kind::Redirected | Kind::Local | Kind::NotOurs => PACKETS.max(case.flows),
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
    node
}

fn template(case: &Case) -> Template {
    let frame = if case.ipv6 { frame::<V6>(case) } else { frame::<V4>(case) };
    Template { frame, first: 0, last: 0, next: 0, ipv6: case.ipv6.into() }
}

fn frame<F: Net>(case: &Case) -> [u8; FRAME_BYTES] {
    let mut segment = Segment::<F>::new(key::<F>(case.protocol, (1, 0), SERVICE), &[]);
    if case.kind == Kind::NotOurs {
        segment.key.destination_port = (PORT + 1).to_be_bytes();
    }
    let headers = segment.build().bytes().len();
    segment.payload = vec![0; FRAME_BYTES.saturating_sub(headers)];
    let mut frame = [0; FRAME_BYTES];
    frame.iter_mut().zip(segment.build().bytes()).for_each(|(to, from)| *to = *from);
    frame
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
        let mut wrapper = Self { ebpf, template };
        wrapper.rewind(0, 0)?;
        Ok(wrapper)
    }

    fn call(&mut self, program: &ProgramFd) -> Anyhow<()> {
        let mut measured = ProgramArray::try_from(self.ebpf.map_mut("MEASURED").context("no map MEASURED")?)?;
        Ok(measured.set(0, program, 0)?)
    }

    fn call_nothing(&mut self) -> Anyhow<()> {
        let nothing: &mut Xdp =
            self.ebpf.program_mut("weir_bench_nothing").context("no program")?.try_into()?;
        let nothing = nothing.fd()?.try_clone()?;
        self.call(&nothing)
    }

    /// The next packets are of the flows from `first` to `last`, again and again.
    fn rewind(&mut self, first: u32, last: u32) -> Anyhow<()> {
        (self.template.first, self.template.last, self.template.next) = (first, last, first);
        let mut map = Array::try_from(self.ebpf.map_mut("TEMPLATE").context("no map TEMPLATE")?)?;
        Ok(map.set(0, &self.template, 0)?)
    }

    /// Nanoseconds per packet of the fastest, the median and the slowest round, after one that does not count.
    fn rounds(&mut self, packets: u32) -> Anyhow<(u64, u64, u64)> {
        self.run(packets)?;
        let mut times = (0..ROUNDS).map(|_| self.run(packets)).collect::<Anyhow<Vec<_>>>()?;
        times.sort_unstable();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        Ok((at(0), at(ROUNDS / 2), at(ROUNDS - 1)))
    }

    fn run(&mut self, packets: u32) -> Anyhow<u64> {
        let program: &Xdp = self.ebpf.program("weir_bench").context("no program weir_bench")?.try_into()?;
        let options = TestRunOptions {
            data_in: Some(&self.template.frame),
            ctx_in: Some(&xdp_context(FRAME_BYTES, INGRESS)),
            repeat: packets,
            ..TestRunOptions::default()
        };
        Ok(program.test_run(options)?.duration.as_nanos() as u64)
    }
}
