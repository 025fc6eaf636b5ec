//! Random Services, backends and packets, of which many belong together.

use std::collections::BTreeMap;

use aya::Pod;
use lb_common::{
    Affinity, AffinityKey, Backend, BackendFlags, Flow, FlowKey, Frontend, FrontendFlags, FrontendKey, Run,
    SettingsFlags, SourceKey, protocol,
};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::icmp::IcmpFamily;
use lb_ebpf::memory::network::{CLIENTS, LOCAL, Net, Node, PORT, REMOTE, VIPS};
use lb_ebpf::memory::{BufferPacket, MemoryMaps, Message, Segment, Tables};
use lb_ebpf::{Family, V4, V6, Verdict};
use tests::kernel_network::{BLACKHOLE, NARROW, NOWHERE, UNREACHABLE, UNRESOLVED};
use tests::kernel_object::KernelObject;
use zerocopy::FromBytes as _;

use crate::random::Random;

/// The programs that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    Device,
    Ingress,
    Workload,
    Egress,
}

const BACKEND_SUBNETS: [u8; 8] = [REMOTE, REMOTE, LOCAL, UNRESOLVED, UNREACHABLE, BLACKHOLE, NOWHERE, NARROW];
const CLIENT_SUBNETS: [u8; 8] =
    [CLIENTS, CLIENTS, CLIENTS, CLIENTS, UNRESOLVED, UNREACHABLE, NOWHERE, NARROW];
const VIP_COUNT: u16 = 12;
/// Slots of each VIP.
const RUN: u32 = 40;

/// What packets are made of.
pub(crate) struct World {
    random: Random,
    pub(crate) maps: MemoryMaps,
    /// The latest translated packets, to which there may be replies.
    sent: Vec<BufferPacket>,
}

impl World {
    pub(crate) fn new(mut random: Random) -> Self {
        let mut maps = Node::new().maps;
        maps.settings.iter_mut().for_each(|settings| settings.flags |= SettingsFlags::ECHO);
        maps.slots = slots(&mut random);
        fill::<V4>(&mut random, &mut maps.v4);
        fill::<V6>(&mut random, &mut maps.v6);
        allow::<V4>(&mut maps.v4);
        allow::<V6>(&mut maps.v6);
        Self { random, maps, sent: Vec::new() }
    }

    /// Whether the agent acts before the next packet.
    pub(crate) fn changes(&mut self) -> bool {
        self.random.once_in(500)
    }

    /// What happens to backends: their endpoint goes and another comes, or they drain.
    pub(crate) fn change_backends(&mut self, maps: &mut MemoryMaps) {
        change(&mut self.random, &mut maps.v4);
        change(&mut self.random, &mut maps.v6);
    }

    /// A packet and the hook that it comes to.
    pub(crate) fn packet(&mut self) -> (Hook, BufferPacket) {
        let hook = self.random.one_of(&[
            Hook::Device,
            Hook::Device,
            Hook::Device,
            Hook::Ingress,
            Hook::Workload,
            Hook::Egress,
        ]);
        let sent = self.random.below(self.sent.len().max(1));
        // A later fragment has no ports to turn round.
        let turned = self.sent.get(sent).and_then(BufferPacket::turned);
        let packet = match turned {
            _ if self.random.once_in(8) => self.message(sent),
            Some(packet) if !self.random.once_in(3) || hook == Hook::Egress => packet,
            _ if self.random.once_in(2) => self.request::<V4>(),
            _ => self.request::<V6>(),
        };
        (hook, self.damaged(packet))
    }

    /// An error about a packet that was sent, or an echo request.
    fn message(&mut self, sent: usize) -> BufferPacket {
        let quoted = self.sent.get(sent).cloned();
        match quoted {
            Some(packet) if packet.bytes()[12] == 0x08 => self.error::<V4>(&packet, 26),
            Some(packet) => self.error::<V6>(&packet, 22),
            None if self.random.once_in(2) => self.echo::<V4>(),
            None => self.echo::<V6>(),
        }
    }

    /// An error to the source of `packet`, whose address is at `at`; or an echo request.
    fn error<F: Net + IcmpFamily>(&mut self, packet: &BufferPacket, at: usize) -> BufferPacket {
        if self.random.once_in(4) {
            return self.echo::<F>();
        }
        let destination = F::Address::read_from_prefix(&packet.bytes()[at..]).expect("a header").0;
        let source = F::address(CLIENTS, 77);
        let random = &mut self.random;
        let kind = random.one_of(&[1, 2, 3, 3, 3, 4, 11, 12]);
        // Nothing that comes in is larger than the device's MTU.
        let quote = random.one_of(&[20, 28, 40, 45, 48, 57, 64, 128, 548, 1400]);
        let mut message = Message::<F>::about(packet, source, destination, kind, quote);
        message.rest = [0, 0, 5, random.below(256) as u8];
        message.ip.hop_limit = random.one_of(&[1, 2, 64, 64, 64]);
        message.ip.option_words = random.one_of(&[0, 0, 0, 1, 10]);
        message.build()
    }

    fn echo<F: Net + IcmpFamily>(&mut self) -> BufferPacket {
        let vip = F::address(VIPS, self.random.below(usize::from(VIP_COUNT) + 1) as u16);
        let body = vec![0x5a; self.random.below(80)];
        let mut message = Message::<F>::new(F::address(CLIENTS, 5), vip, F::ECHO_REQUEST, &body);
        message.ip.option_words = self.random.one_of(&[0, 0, 0, 1, 10]);
        message.build()
    }

    /// Whether an Ethernet frame without tags carries ICMP right behind its IP header.
    pub(crate) fn is_icmp(packet: &BufferPacket) -> bool {
        match packet.bytes() {
            [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0, rest @ ..] => rest.get(9) == Some(&protocol::ICMP),
            [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, rest @ ..] => {
                rest.get(6) == Some(&protocol::ICMPV6)
            }
            _ => false,
        }
    }

    /// Notes what became of a packet.
    pub(crate) fn learn(&mut self, verdict: Verdict, packet: &BufferPacket) {
        if verdict.is_translated() {
            if self.sent.len() < 64 {
                self.sent.push(packet.clone());
            } else {
                let place = self.random.below(64);
                self.sent[place] = packet.clone();
            }
        }
    }

    fn request<F: Net>(&mut self) -> BufferPacket {
        let random = &mut self.random;
        let subnet = random.one_of(&CLIENT_SUBNETS);
        let key = FlowKey {
            source: F::address(subnet, random.below(8) as u16),
            destination: F::address(VIPS, random.below(usize::from(VIP_COUNT) + 1) as u16),
            source_port: (random.below(40) as u16).to_be_bytes(),
            destination_port: (PORT + u16::from(random.once_in(20))).to_be_bytes(),
            protocol: random.one_of(&[protocol::TCP, protocol::UDP]),
            pad: 0,
            pad_end: 0,
        };
        let payload = random.one_of(&[0, 1, 2, 7, 64, 64, 1350, 1420]);
        let payload: Vec<u8> = (0..payload).map(|_| random.below(256) as u8).collect();
        let (syn, ack, fin, rst) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST);
        Segment::<F> {
            hop_limit: random.one_of(&[0, 1, 2, 63, 64, 255]).max(random.one_of(&[0, 64, 64, 64])),
            traffic_class: random.below(256) as u8,
            option_words: random.one_of(&[0, 0, 0, 1, 5, 10]),
            fragment: random.one_of(&[0x4000, 0x4000, 0x4000, 0, 0, 0x2000, 1]),
            flags: random.one_of(&[syn, syn, ack, ack, ack, fin | ack, rst, syn | ack]),
            no_checksum: random.once_in(4),
            ..Segment::new(key, &payload)
        }
        .build()
    }

    /// The packet as it is, or with changed bytes, or cut, or nothing but noise.
    fn damaged(&mut self, packet: BufferPacket) -> BufferPacket {
        let mut bytes = packet.bytes().to_vec();
        match self.random.below(16) {
            0 => bytes.truncate(14 + self.random.below(bytes.len() - 13)),
            1 | 2 => {
                // Mostly in the headers, where it matters.
                let end = if self.random.once_in(4) { bytes.len() } else { bytes.len().min(74) };
                let at = self.random.below(end);
                bytes[at] = self.random.below(256) as u8;
            }
            // Next header, protocol, and the upper half of the length.
            3 => bytes[20] = self.random.one_of(&[0, 1, 6, 17, 43, 44, 51, 58, 60]),
            4 => bytes[23] = self.random.one_of(&[1, 6, 17, 50, 132]),
            5 => bytes[16] = self.random.one_of(&[0, 4, 5, 6, 255]),
            6 if self.random.once_in(4) => {
                bytes = (0..14 + self.random.below(100)).map(|_| self.random.below(256) as u8).collect();
            }
            _ => return packet,
        }
        BufferPacket::new(&bytes)
    }
}

/// A run of slots for each VIP, mostly with backends of its Service, and some that are free or beyond the table.
fn slots(random: &mut Random) -> Vec<u32> {
    let own = |vip: u32| (1..64).filter(|id| service_of(*id) == vip).collect::<Vec<_>>();
    let slots = (0..(u32::from(VIP_COUNT) + 1) * RUN).map(|slot| match own(slot / RUN) {
        backends if backends.is_empty() || random.once_in(20) => {
            random.one_of(&[0, 1, 63, 64, 255, 256, u32::MAX])
        }
        backends => random.one_of(&backends),
    });
    slots.collect()
}

/// The Service of a backend; VIP `n` belongs to Service `n`.
fn service_of(backend: u32) -> u32 {
    1 + backend % u32::from(VIP_COUNT)
}

/// Twelve VIPs of either protocol, with backends of every kind, and slots that are not all right.
fn fill<F: Net>(random: &mut Random, tables: &mut Tables<F>) {
    for id in 1..64_u16 {
        let subnet = random.one_of(&BACKEND_SUBNETS);
        tables.backends.push(Backend {
            address: F::address(subnet, 256 + id),
            port: 8080_u16.to_be_bytes(),
            state: 1,
            flags: u8::from(subnet == LOCAL) | BackendFlags::IN_CLUSTER,
            service: service_of(u32::from(id)),
            generation: random.below(5) as u32,
        });
    }
    for vip in 1..=VIP_COUNT {
        if vip % 3 == 0 {
            let address = Frontend { flags: FrontendFlags::ADDRESS, ..Frontend::default() };
            tables.frontends.insert(FrontendKey::new(F::address(VIPS, vip), 0, 0), address);
        }
        let outside = match vip {
            1 => Run { start: 0, length: 0 },
            2 => Run { start: 5000, length: 10 },
            // Slots of other Services.
            3 => Run { start: 40, length: 40 },
            _ => Run { start: u32::from(vip) * RUN, length: RUN },
        };
        let (flags, affinity_timeout_s) = match vip {
            // Longer than the test, whatever the clocks of both sides say.
            4 => (0, u32::MAX),
            5 => (FrontendFlags::SOURCE_RANGES, 0),
            6 => (FrontendFlags::INSIDE_ONLY, 0),
            7 => (FrontendFlags::OUTSIDE_DROPS | FrontendFlags::INSIDE_DROPS, 0),
            _ => (0, 0),
        };
        let outside = if vip == 7 { Run::default() } else { outside };
        for protocol in [protocol::TCP, protocol::UDP] {
            let frontend =
                Frontend { service: u32::from(vip), affinity_timeout_s, inside: outside, outside, flags };
            tables.frontends.insert(FrontendKey::new(F::address(VIPS, vip), PORT, protocol), frontend);
        }
    }
}

/// Hosts 4 to 7 of the clients may use the fifth VIP.
fn allow<F: Net>(tables: &mut Tables<F>) {
    let width = size_of::<F::Address>() as u32 * 8;
    tables.sources.push((SourceKey { service: 5, address: F::address(CLIENTS, 4) }, width - 2));
}

fn change<F: Net>(random: &mut Random, tables: &mut Tables<F>) {
    for id in 1..tables.backends.len() {
        let backend = &mut tables.backends[id];
        match random.below(8) {
            0 => {
                backend.generation += 1;
                backend.address = F::address(random.one_of(&[REMOTE, NARROW]), 512 + id as u16);
                backend.flags = 0;
            }
            1 => backend.state = 2,
            2 => backend.state = 1,
            3 => backend.state = 0,
            _ => {}
        }
    }
}

/// The tables of both sides hold the same, but for the time of the latest packet.
pub(crate) fn check_flows(kernel: &mut KernelObject, maps: &MemoryMaps) {
    check_table(kernel, "FLOWS4", &maps.v4);
    check_table(kernel, "FLOWS6", &maps.v6);
    check_affinity(kernel, "AFFINITY4", &maps.v4);
    check_affinity(kernel, "AFFINITY6", &maps.v6);
}

fn check_affinity<F: Family>(kernel: &mut KernelObject, name: &str, tables: &Tables<F>)
where
    AffinityKey<F::Address>: Pod,
{
    let table = kernel.hash::<AffinityKey<F::Address>, Affinity>(name).expect("the table of clients");
    let held: BTreeMap<_, _> = table.iter().map(|entry| entry.expect("an entry")).collect();
    assert!(!held.is_empty(), "{name} is empty");
    let timeless = |entries: &BTreeMap<AffinityKey<F::Address>, Affinity>| -> Vec<_> {
        entries.iter().map(|(key, value)| (*key, value.backend, value.generation)).collect()
    };
    assert_eq!(timeless(&held), timeless(&tables.affinity), "{name}");
}

fn check_table<F: Family>(kernel: &mut KernelObject, name: &str, tables: &Tables<F>)
where
    FlowKey<F::Address>: Pod,
    Flow<F::Address>: Pod,
{
    let timeless = |flow: Flow<F::Address>| Flow {
        last_seen_s: 0,
        tick: 0,
        ifindex: 0,
        neighbour: [0; 6],
        mtu: 0,
        ..flow
    };
    let table = kernel.hash::<FlowKey<F::Address>, Flow<F::Address>>(name).expect("the flow table");
    let mut held = table.iter().map(|entry| entry.expect("an entry")).collect::<Vec<_>>();
    held.sort_unstable_by_key(|(key, _)| *key);
    assert!(held.len() > 100, "{name} has {} entries only", held.len());
    assert_eq!(held.len(), tables.flows.len(), "{name}");
    for ((key, flow), (expected_key, expected)) in held.into_iter().zip(&tables.flows) {
        assert_eq!((key, timeless(flow)), (*expected_key, timeless(*expected)), "{name}");
    }
}
