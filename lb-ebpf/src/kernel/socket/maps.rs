//! Edge file: the maps of sockets, who writes each, and the engine's view of them.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, SkStorage};
use aya_ebpf::helpers::bpf_sk_storage_get;
use aya_ebpf::macros::btf_map;
use lb_common::{
    Affinity, ExcludedCgroup, Outcome, PodAffinityKey, Socket, SocketFlow, SocketFlowKey, maps as sizes,
};
use lb_ebpf::socket::SocketMaps;
use lb_ebpf::{V4, V6};

use crate::kernel::maps::{Tables, stats};

const SOCKET_FLOWS: usize = sizes::SOCKET_FLOWS as usize;

/// Socket to what it believes. Written by the programs; it is gone with the socket.
#[btf_map(pin_by_name)]
static SOCKETS4: SkStorage<Socket<[u8; 4]>> = SkStorage::new();
/// As `SOCKETS4`.
#[btf_map(pin_by_name)]
static SOCKETS6: SkStorage<Socket<[u8; 16]>> = SkStorage::new();

/// Destination, or source, of a UDP socket that is not connected, to what it becomes. Written by the programs. No LRU
/// table: it would forget what a socket still waits for, and the socket would be deaf to the answer.
#[btf_map(pin_by_name)]
pub(crate) static SOCKET_FLOWS4: HashMap<
    SocketFlowKey<[u8; 4]>,
    SocketFlow<[u8; 4]>,
    SOCKET_FLOWS,
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
/// As `SOCKET_FLOWS4`.
#[btf_map(pin_by_name)]
pub(crate) static SOCKET_FLOWS6: HashMap<
    SocketFlowKey<[u8; 16]>,
    SocketFlow<[u8; 16]>,
    SOCKET_FLOWS,
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// Network namespace and service to the backend that it got. Written by the programs, the whole entry by one update.
#[btf_map(pin_by_name)]
pub(crate) static POD_AFFINITY: LruHashMap<PodAffinityKey, Affinity, { sizes::AFFINITY as usize }> =
    LruHashMap::new();

/// Control groups that are left alone. Written by the agent.
#[btf_map(pin_by_name)]
static EXCLUDED_CGROUPS: Array<ExcludedCgroup, { sizes::EXCLUDED_CGROUPS as usize }> = Array::new();

/// Calls by outcome. Written by the programs, each CPU its own.
#[btf_map(pin_by_name)]
static SOCKET_COUNTERS: PerCpuArray<u64, { sizes::COUNTERS as usize }> = PerCpuArray::new();

/// Adds one, in one step: a process may be put aside in the middle of two.
#[inline(always)]
fn increment(counter: *mut u64) {
    // SAFETY: the callers' pointers are to values of maps, aligned and valid while the program runs.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1_u64, options(nostack));
    }
}

/// Counts a call.
#[inline(always)]
pub(super) fn count_call(outcome: Outcome) {
    if let Some(counter) = SOCKET_COUNTERS.get_ptr_mut(outcome.index()) {
        increment(counter);
    }
}

/// An element of the list.
#[inline(always)]
pub(super) fn excluded_cgroup(index: u32) -> Option<&'static ExcludedCgroup> {
    EXCLUDED_CGROUPS.get(index)
}

macro_rules! storage {
    ($name:ident, $map:ident, $address:ty) => {
        /// What is kept with a socket; made if it is not there and `create` says so.
        #[inline(always)]
        pub(super) fn $name<'a>(sock: *mut c_void, create: bool) -> Option<&'a mut Socket<$address>> {
            let map = (&raw const $map).cast_mut().cast::<c_void>();
            let flags = if create { BPF_SK_STORAGE_GET_F_CREATE } else { 0 };
            // SAFETY: `sock` is the socket of the running program, and a null value stands for one of zeros. The answer is
            // null or valid while the program runs; another thread that uses the socket may write it too, of which each word
            // is old or new.
            unsafe {
                bpf_sk_storage_get(map, sock, core::ptr::null_mut(), flags.into())
                    .cast::<Socket<$address>>()
                    .as_mut()
            }
        }
    };
}

storage!(socket4, SOCKETS4, [u8; 4]);
storage!(socket6, SOCKETS6, [u8; 16]);

macro_rules! socket_maps {
    ($family:ty, $address:ty, $flows:ident) => {
        impl SocketMaps<$family> for Tables {
            #[inline(always)]
            fn pod_affinity(&mut self, key: &PodAffinityKey) -> Option<&mut Affinity> {
                // SAFETY: the pointer is valid while the program runs. Another CPU may write the same entry, of which each
                // word is old or new.
                POD_AFFINITY.get_ptr_mut(key).map(|affinity| unsafe { &mut *affinity })
            }

            #[inline(always)]
            fn remember_pod_affinity(&mut self, key: &PodAffinityKey, affinity: &Affinity) {
                // An LRU table has room, but for a moment in which every entry is in use.
                let _written = POD_AFFINITY.insert(key, affinity, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn socket_flow(&mut self, key: &SocketFlowKey<$address>) -> Option<&mut SocketFlow<$address>> {
                // SAFETY: as above; the map does not reuse an entry before a grace period (BPF_F_NO_PREALLOC).
                $flows.get_ptr_mut(key).map(|flow| unsafe { &mut *flow })
            }

            #[inline(always)]
            fn remember_socket_flow(
                &mut self,
                key: &SocketFlowKey<$address>,
                flow: &SocketFlow<$address>,
            ) -> bool {
                $flows.insert(key, flow, u64::from(BPF_ANY)).is_ok()
            }

            #[inline(always)]
            fn forget_socket_flow(&mut self, key: &SocketFlowKey<$address>) {
                // It fails only for an entry that is gone already.
                let _removed = $flows.remove(key);
            }

            #[inline(always)]
            fn account_socket(&mut self, service: u32) {
                if let Some(stats) = stats(service) {
                    increment(&raw mut stats.new_flows);
                }
            }
        }
    };
}

socket_maps!(V4, [u8; 4], SOCKET_FLOWS4);
socket_maps!(V6, [u8; 16], SOCKET_FLOWS6);
