//! Edge file: the BPF maps, who writes each, and the engine's view of them.

use aya_ebpf::bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use lb_common::{
    Affinity, AffinityKey, Backend, Device, DeviceFlags, Event, FILTER_WORDS, FilterBit, Flow, FlowKey,
    Fragment, FragmentKey, Frontend, FrontendKey, SLOTS_PER_LINE, SOURCE_SERVICE_BITS, ServiceInfo,
    ServiceStats, Settings, SlotLine, SourceKey, Trace, maps as sizes,
};
use lb_ebpf::{AnswerKind, Family, Maps, Scratch, V4, V6, Verdict};

use crate::kernel::clock::now_s;

const FRONTENDS: usize = sizes::FRONTENDS as usize;
const BACKENDS: usize = sizes::BACKENDS as usize;
const FLOWS: usize = sizes::FLOWS as usize;
const AFFINITY: usize = sizes::AFFINITY as usize;
const SOURCES: usize = sizes::SOURCES as usize;
const FRAGMENTS: usize = sizes::FRAGMENTS as usize;
const SLOT_LINES: usize = (sizes::SLOTS / SLOTS_PER_LINE) as usize;

/// Address and port to Service. Written by the agent, one entry by one update: a packet sees the old or the new.
#[btf_map(pin_by_name)]
static FRONTENDS4: HashMap<FrontendKey<[u8; 4]>, Frontend, FRONTENDS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// As `FRONTENDS4`.
#[btf_map(pin_by_name)]
static FRONTENDS6: HashMap<FrontendKey<[u8; 16]>, Frontend, FRONTENDS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Slot to backend id. Written by the agent through a mapping; a run is written before a frontend shows it.
#[btf_map(pin_by_name)]
static SLOTS: Array<SlotLine, SLOT_LINES, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Backend id to endpoint. Written by the agent, which reads it back through a mapping; an id is written before a
/// slot shows it.
#[btf_map(pin_by_name)]
static BACKENDS4: Array<Backend<[u8; 4]>, BACKENDS, { BPF_F_MMAPABLE as usize }> = Array::new();
/// As `BACKENDS4`.
#[btf_map(pin_by_name)]
static BACKENDS6: Array<Backend<[u8; 16]>, BACKENDS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// 5-tuple to what it becomes. Written by the programs. Two CPUs may write one entry: each writes the whole of it
/// by an update, or its age and state, which any of the two may set last.
#[btf_map(pin_by_name)]
pub(crate) static FLOWS4: LruHashMap<FlowKey<[u8; 4]>, Flow<[u8; 4]>, FLOWS> = LruHashMap::new();
/// As `FLOWS4`.
#[btf_map(pin_by_name)]
pub(crate) static FLOWS6: LruHashMap<FlowKey<[u8; 16]>, Flow<[u8; 16]>, FLOWS> = LruHashMap::new();

/// Service id to its names. Written and read by the agent only; the map is where it finds its ids again.
#[btf_map(pin_by_name)]
static SERVICES: HashMap<u32, ServiceInfo, { sizes::SERVICES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Settings of the data path. Written by the agent.
#[btf_map(pin_by_name)]
static SETTINGS: Array<Settings, 1> = Array::new();

/// Device index to what the programs must know of it. Written by the agent, before it attaches a program there.
#[btf_map(pin_by_name)]
static DEVICES: Array<Device, { sizes::DEVICES as usize }> = Array::new();

/// A bit for each address and port that may concern a Service. Bits are set by the agent, before the frontend is
/// written, and never cleared.
#[btf_map(pin_by_name)]
static FILTER: Array<u64, { FILTER_WORDS as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Client and service to the backend that it got. Written by the programs, the whole entry by one update.
#[btf_map(pin_by_name)]
pub(crate) static AFFINITY4: LruHashMap<AffinityKey<[u8; 4]>, Affinity, AFFINITY> = LruHashMap::new();
/// As `AFFINITY4`.
#[btf_map(pin_by_name)]
pub(crate) static AFFINITY6: LruHashMap<AffinityKey<[u8; 16]>, Affinity, AFFINITY> = LruHashMap::new();

/// Prefixes that a Service allows, and those of the cluster's pods. Written by the agent, before a frontend asks for
/// them.
#[btf_map(pin_by_name)]
static SOURCES4: LpmTrie<SourceKey<[u8; 4]>, u32, SOURCES> = LpmTrie::new();
/// As `SOURCES4`.
#[btf_map(pin_by_name)]
static SOURCES6: LpmTrie<SourceKey<[u8; 16]>, u32, SOURCES> = LpmTrie::new();

/// Datagram to its ports. Written by the programs at the first fragment.
#[btf_map(pin_by_name)]
static FRAGMENTS4: LruHashMap<FragmentKey<[u8; 4]>, Fragment, FRAGMENTS> = LruHashMap::new();
/// As `FRAGMENTS4`.
#[btf_map(pin_by_name)]
static FRAGMENTS6: LruHashMap<FragmentKey<[u8; 16]>, Fragment, FRAGMENTS> = LruHashMap::new();

/// Figures by service id. Written by the programs, each CPU its own.
#[btf_map(pin_by_name)]
static SERVICE_STATS: PerCpuArray<ServiceStats, { sizes::SERVICES as usize }> = PerCpuArray::new();

/// Packets that somebody wants to see. Written by the programs, read by `weir trace`.
#[btf_map(pin_by_name)]
static EVENTS: RingBuf<Event, { sizes::EVENT_BYTES as usize }> = RingBuf::new();

/// Which packets somebody wants to see. Written by `weir trace`.
#[btf_map(pin_by_name)]
static TRACE: Array<Trace, 1> = Array::new();

/// Packets by outcome. Written by the programs, each CPU its own.
#[btf_map(pin_by_name)]
static COUNTERS: PerCpuArray<u64, { sizes::COUNTERS as usize }> = PerCpuArray::new();

// The agent alone uses it: without a reference the linker would drop it.
#[used]
static KEEP_SERVICES: &(dyn Sync + 'static) = &SERVICES;

/// Counts a packet.
#[inline(always)]
pub(crate) fn count(verdict: Verdict) {
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict.outcome_index()) {
        // SAFETY: the pointer is this CPU's element, valid while the program runs; programs of one CPU do not
        // interleave within a statement that matters to a counter.
        unsafe { *counter += 1 };
    }
}

/// ICMP messages sent in answer, and packets reported, in a second. Written by the programs, each CPU its own.
#[btf_map]
static RATES: PerCpuArray<Rate, 4> = PerCpuArray::new();

/// Where packets are worked on, by hook. Written by the programs, each CPU its own.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 5> = PerCpuArray::new();

/// Value of `RATES`.
#[repr(C)]
struct Rate {
    /// The second.
    now_s: u32,
    /// How many in it.
    count: u32,
}

/// Errors that a CPU sends in a second: the kernel's own limit for all (`net.ipv4.icmp_msgs_per_sec`).
const ERRORS_MAX: u32 = 1_000;
/// Echo replies that a CPU sends in a second: enough for every monitor, and no help to those who reflect floods.
const ECHOES_MAX: u32 = 10_000;

/// Whether this CPU may send one more answer.
#[inline(always)]
pub(crate) fn may_answer(kind: AnswerKind) -> bool {
    match kind {
        AnswerKind::Error => is_below(0, ERRORS_MAX),
        AnswerKind::TooBig => is_below(2, ERRORS_MAX),
        AnswerKind::Echo => is_below(3, ECHOES_MAX),
    }
}

/// Whether this CPU may report one more packet.
#[inline(always)]
pub(crate) fn may_report(per_second_max: u32) -> bool {
    is_below(1, per_second_max)
}

/// Counts one, and tells whether this second's limit is not passed.
#[inline(always)]
fn is_below(index: u32, per_second_max: u32) -> bool {
    let Some(rate) = RATES.get_ptr_mut(index) else { return false };
    // SAFETY: the pointer is this CPU's element, valid while the program runs.
    let rate = unsafe { &mut *rate };
    let now_s = now_s();
    if rate.now_s != now_s {
        *rate = Rate { now_s, count: 0 };
    }
    rate.count += 1;
    rate.count <= per_second_max
}

/// Which packets somebody wants to see.
#[inline(always)]
pub(crate) fn trace() -> Option<&'static Trace> {
    TRACE.get(0)
}

/// Sends an event to whoever reads. Without room for it there is nobody, or somebody who is too slow: it is lost.
#[inline(always)]
pub(crate) fn send_event(event: &Event) {
    let _sent = EVENTS.output(event, 0);
}

/// The figures of a service on this CPU.
#[inline(always)]
pub(crate) fn stats(service: u32) -> Option<&'static mut ServiceStats> {
    // SAFETY: as in `count`; the reference ends with the statement that asks for it.
    SERVICE_STATS.get_ptr_mut(service).map(|stats| unsafe { &mut *stats })
}

/// What the agent has written of a device.
#[inline(always)]
pub(crate) fn device(ifindex: u32) -> Option<&'static Device> {
    DEVICES.get(ifindex)
}

/// Whether the XDP program may send to a device.
#[inline(always)]
pub(crate) fn sends_by_xdp(ifindex: u32) -> bool {
    device(ifindex).is_some_and(|device| device.flags & DeviceFlags::XDP_SENDS != 0)
}

/// The place to work on a packet for a hook: see [`Scratch`].
#[inline(always)]
pub(crate) fn scratch(hook: u8) -> Option<&'static mut Scratch> {
    // SAFETY: the element is this CPU's and this hook's. A program runs to its end before another of the same hook
    // begins on the CPU: XDP and tc ingress in the receiving soft interrupt, tc egress with those switched off.
    SCRATCH.get_ptr_mut(u32::from(hook)).map(|scratch| unsafe { &mut *scratch })
}

/// The engine's view of the maps.
pub(crate) struct Tables;

macro_rules! tables {
    (
        $family:ty, $address:ty, $frontends:ident, $backends:ident, $flows:ident, $affinity:ident, $sources:ident,
        $fragments:ident
    ) => {
        impl Maps<$family> for Tables {
            #[inline(always)]
            fn frontend(&mut self, key: &FrontendKey<$address>) -> Option<Frontend> {
                // SAFETY: the map does not reuse an entry before a grace period (BPF_F_NO_PREALLOC), and the
                // reference does not outlive this statement.
                unsafe { $frontends.get(key) }.copied()
            }

            #[inline(always)]
            fn slot(&mut self, index: u32) -> Option<u32> {
                let line = SLOTS.get(index / SLOTS_PER_LINE)?;
                line.backends.get((index % SLOTS_PER_LINE) as usize).copied()
            }

            #[inline(always)]
            fn backend(&mut self, id: u32) -> Option<Backend<$address>> {
                $backends.get(id).copied()
            }

            #[inline(always)]
            fn flow(&mut self, key: &FlowKey<$address>) -> Option<&mut Flow<$address>> {
                // SAFETY: the pointer is valid while the program runs. Another CPU may write the same entry; its
                // fields are read and written as plain words, of which each is old or new.
                $flows.get_ptr_mut(key).map(|flow| unsafe { &mut *flow })
            }

            #[inline(always)]
            fn remember(&mut self, key: &FlowKey<$address>, flow: &Flow<$address>, only_new: bool) -> bool {
                let flags = if only_new { BPF_NOEXIST } else { BPF_ANY };
                $flows.insert(key, flow, u64::from(flags)).is_ok()
            }

            #[inline(always)]
            fn forget(&mut self, key: &FlowKey<$address>) {
                // It fails only for an entry that is gone already.
                let _removed = $flows.remove(key);
            }

            #[inline(always)]
            fn may_concern(&mut self, key: &FlowKey<$address>) -> bool {
                let is_set = |bit: FilterBit| FILTER.get(bit.word).is_some_and(|word| bit.is_in(*word));
                is_set(FilterBit::of_address(&key.destination))
                    || SETTINGS.get(0).is_some_and(|settings| {
                        <$family as Family>::snat(settings) == key.destination
                            && settings.is_reply_port(u16::from_be_bytes(key.destination_port), key.protocol)
                    })
                    || is_set(FilterBit::of_port(&key.destination, key.destination_port, key.protocol))
            }

            #[inline(always)]
            fn affinity(&mut self, key: &AffinityKey<$address>) -> Option<&mut Affinity> {
                // SAFETY: as in `flow`.
                $affinity.get_ptr_mut(key).map(|affinity| unsafe { &mut *affinity })
            }

            #[inline(always)]
            fn remember_affinity(&mut self, key: &AffinityKey<$address>, affinity: &Affinity) {
                // An LRU table has room, but for a moment in which every entry is in use.
                let _written = $affinity.insert(key, affinity, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn allows(&mut self, service: u32, address: &$address) -> bool {
                let bits = SOURCE_SERVICE_BITS + 8 * size_of::<$address>() as u32;
                $sources.get(&Key::new(bits, SourceKey { service, address: *address })).is_some()
            }

            #[inline(always)]
            fn fragment(&mut self, key: &FragmentKey<$address>) -> Option<Fragment> {
                // SAFETY: the entry is read at once; another CPU may give it to another datagram in between, as with
                // any table whose entries are used again, and the packet's checksum would tell.
                unsafe { $fragments.get(key) }.copied()
            }

            #[inline(always)]
            fn remember_fragment(&mut self, key: &FragmentKey<$address>, fragment: &Fragment) {
                let _written = $fragments.insert(key, fragment, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn account(&mut self, service: u32, bytes: u16, reply: bool) {
                if let Some(stats) = stats(service) {
                    let (packets, sum) = if reply {
                        (&mut stats.reply_packets, &mut stats.reply_bytes)
                    } else {
                        (&mut stats.packets, &mut stats.bytes)
                    };
                    *packets += 1;
                    *sum += u64::from(bytes);
                }
            }

            #[inline(always)]
            fn account_new(&mut self, service: u32) {
                if let Some(stats) = stats(service) {
                    stats.new_flows += 1;
                }
            }

            #[inline(always)]
            fn settings(&mut self) -> Option<Settings> {
                SETTINGS.get(0).copied()
            }
        }
    };
}

tables!(V4, [u8; 4], FRONTENDS4, BACKENDS4, FLOWS4, AFFINITY4, SOURCES4, FRAGMENTS4);
tables!(V6, [u8; 16], FRONTENDS6, BACKENDS6, FLOWS6, AFFINITY6, SOURCES6, FRAGMENTS6);
