//! The packet engine in the kernel and on the host: the same packets and maps give the same verdicts, bytes,
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]
//! counters and flow tables. Needs root.

mod random;
mod world;

use std::collections::BTreeMap;

use aya::programs::{TestRun as _, TestRunOptions};
use lb_common::Outcome;
use lb_ebpf::memory::network::{INGRESS, SOURCE};
use lb_ebpf::memory::{BufferPacket, MemoryMaps, TableHost};
use lb_ebpf::{Action, Scratch, Verdict, egress, ingress};
use tests::kernel_network::{lay, ways};
use tests::kernel_object::{KernelObject, Sizes, tc_context, xdp_context};

use crate::random::Random;
use crate::world::{Hook, World};

const SIZES: Sizes = Sizes { slots: 1024, flows: 65_536, backends: 256 };
const PACKETS: u32 = 20_000;
/// Instructions that the verifier may walk of a program: older ones walk more than this kernel's for the same.
const WALKED_MAX: u32 = 400_000;

/// Return values of programs, `linux/bpf.h` and `linux/pkt_cls.h`.
const XDP_ACTIONS: [(Action, u32); 5] = [
    (Action::Drop, 1),
    (Action::Pass, 2),
    (Action::Resolve, 2),
    (Action::Transmit, 3),
    (Action::Redirect, 4),
];
const TC_ACTIONS: [(Action, u32); 5] = [
    (Action::Drop, 2),
    (Action::Pass, u32::MAX),
    (Action::Resolve, 7),
    (Action::Transmit, 7),
    (Action::Redirect, 7),
];

/// Both sides of the comparison.
struct Both {
    kernel: KernelObject,
    maps: MemoryMaps,
    device: TableHost<false>,
    stack: TableHost<true>,
    workload: TableHost<true>,
}

#[test]
fn the_kernel_and_the_host_agree() {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    let namespace = lay().expect("a network namespace: are you root?");
    namespace.within(|| compare(seed)).expect("the namespace can be entered");
}

fn compare(seed: u64) {
    println!("WEIR_SEED={seed}");
    let mut world = World::new(Random::new(seed));
    let mut both = Both {
        kernel: KernelObject::load(SIZES).expect("the object loads"),
        maps: world.maps.clone(),
        device: TableHost { mac: Some(SOURCE), ..TableHost::new(INGRESS, ways()) },
        stack: TableHost { mac: Some(SOURCE), ..TableHost::new(INGRESS, ways()) },
        workload: TableHost { inside: true, ..TableHost::new(INGRESS, ways()) },
    };
    both.kernel.fill(&both.maps).expect("the maps take what the world has");
    let (mut outcomes, mut errors) =
        (BTreeMap::<(Hook, Outcome), u64>::new(), BTreeMap::<Outcome, u64>::new());
    for number in 0..PACKETS {
        if world.changes() {
            world.change_backends(&mut both.maps);
            both.kernel.fill(&both.maps).expect("the maps take the change");
        }
        let (hook, packet) = world.packet();
        let Some((verdict, after)) = both.run(hook, &packet, number) else { continue };
        *outcomes.entry((hook, verdict.outcome())).or_default() += 1;
        if World::is_icmp(&packet) && verdict.is_translated() {
            *errors.entry(verdict.outcome()).or_default() += 1;
        }
        world.learn(verdict, &after);
    }
    report(&both.kernel, &outcomes);
    check_totals(&mut both.kernel, &outcomes);
    world::check_flows(&mut both.kernel, &both.maps);
    check_variety(&outcomes);
    for outcome in
        [Outcome::Local, Outcome::Transmitted, Outcome::Redirected, Outcome::Resolved, Outcome::Replied]
    {
        assert!(errors.contains_key(&outcome), "no ICMP error was {}: {errors:?}", outcome.name());
    }
}

impl Both {
    /// Gives `packet` to both sides. `None` for a packet that the test facility of this hook refuses.
    fn run(&mut self, hook: Hook, packet: &BufferPacket, number: u32) -> Option<(Verdict, BufferPacket)> {
        let mut out = vec![0; packet.bytes().len() + 64];
        let context: &[u8] = match hook {
            Hook::Device => &xdp_context(packet.bytes().len(), INGRESS),
            Hook::Ingress | Hook::Workload | Hook::Egress => &tc_context(INGRESS),
        };
        let options = TestRunOptions {
            data_in: Some(packet.bytes()),
            data_out: Some(&mut out),
            ctx_in: Some(context),
            ..TestRunOptions::default()
        };
        let kernel = &mut self.kernel;
        let result = match hook {
            Hook::Device => kernel.xdp("weir_xdp").expect("it loads").test_run(options).expect("it runs"),
            Hook::Ingress | Hook::Workload | Hook::Egress => {
                let name = match hook {
                    Hook::Ingress => "weir_tc_ingress",
                    Hook::Workload => "weir_tc_workload",
                    _ => "weir_tc_egress",
                };
                // The kernel makes no socket buffer of less than an IP header.
                kernel.classifier(name).expect("it loads").test_run(options).ok()?
            }
        };
        out.truncate(result.data_size_out as usize);

        let mut after = packet.clone();
        let verdict = match hook {
            Hook::Device => {
                ingress(&mut after, &mut self.maps, &mut self.device, &mut Scratch::EMPTY.clone())
            }
            Hook::Ingress => {
                ingress(&mut after, &mut self.maps, &mut self.stack, &mut Scratch::EMPTY.clone())
            }
            Hook::Workload => {
                ingress(&mut after, &mut self.maps, &mut self.workload, &mut Scratch::EMPTY.clone())
            }
            Hook::Egress => egress(&mut after, &mut self.maps, &mut self.stack, &mut Scratch::EMPTY.clone()),
        };
        let actions = if hook == Hook::Device { XDP_ACTIONS } else { TC_ACTIONS };
        let expected =
            actions.iter().find(|(action, _)| *action == verdict.action()).map(|(_, value)| *value);
        assert_eq!(Some(result.return_value), expected, "packet {number} {hook:?} {packet:?}: {verdict:?}");
        assert_eq!(BufferPacket::new(&out), after, "packet {number} {hook:?} {packet:?}: {verdict:?}");
        Some((verdict, after))
    }
}

fn report(kernel: &KernelObject, outcomes: &BTreeMap<(Hook, Outcome), u64>) {
    for ((hook, outcome), count) in outcomes {
        println!("{hook:?} {}: {count}", outcome.name());
    }
    for (name, info) in kernel.statistics().expect("the kernel describes its programs") {
        let walked = info.verified_instruction_count().map_or("?".to_owned(), |count| count.to_string());
        println!("{name}: {walked} instructions walked by the verifier");
        let under = info.verified_instruction_count().is_none_or(|count| count < WALKED_MAX);
        assert!(under, "{name}: {walked} instructions are too near to the million that the verifier allows");
    }
}

/// Every packet was counted once, by the outcome that the host names.
fn check_totals(kernel: &mut KernelObject, outcomes: &BTreeMap<(Hook, Outcome), u64>) {
    let all = |counts: &mut dyn FnMut(Outcome) -> u64| -> Vec<(&str, u64)> {
        Outcome::ALL.iter().map(|outcome| (outcome.name(), counts(*outcome))).collect()
    };
    let expected = all(&mut |outcome| {
        outcomes.iter().filter(|((_, of), _)| *of == outcome).map(|(_, count)| count).sum()
    });
    assert_eq!(all(&mut |outcome| kernel.count(outcome).expect("a counter")), expected);
}

/// The packets reached what they were made to reach: without this, agreement would say little.
fn check_variety(outcomes: &BTreeMap<(Hook, Outcome), u64>) {
    use Outcome::{
        Changing, Deferred, ExtensionHeader, Fragment, HopLimit, Local, Malformed, NoBackend, NoRoute,
        NotBalanced, NotIp, NotOurs, Redirected, Replied, ResetWithoutFlow, Resolved, Transmitted,
    };
    let wanted = [
        Changing,
        Deferred,
        ExtensionHeader,
        Fragment,
        HopLimit,
        Local,
        Malformed,
        NoBackend,
        NoRoute,
        NotBalanced,
        NotIp,
        NotOurs,
        Redirected,
        ResetWithoutFlow,
        Transmitted,
    ];
    for outcome in wanted {
        assert!(outcomes.contains_key(&(Hook::Device, outcome)), "no packet was {}", outcome.name());
    }
    for outcome in [Outcome::SourceRefused, Outcome::FromOutside, Outcome::NoLocalBackend] {
        assert!(outcomes.contains_key(&(Hook::Device, outcome)), "no packet was {}", outcome.name());
    }
    assert!(outcomes.contains_key(&(Hook::Workload, Local)));
    assert!(outcomes.contains_key(&(Hook::Ingress, Resolved)));
    assert!(outcomes.contains_key(&(Hook::Egress, Replied)));
    for hook in [Hook::Device, Hook::Ingress] {
        assert!(outcomes.contains_key(&(hook, Outcome::Echo)), "no echo request was answered at {hook:?}");
    }
}
