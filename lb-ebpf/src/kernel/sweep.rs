//! Edge file: deletes entries that the agent found expired, unless they have been used since it read them.
//!
//! The agent cannot delete them itself: between its look at an entry and the deletion a packet may use it. Here only a
//! packet that another CPU handles in the same few nanoseconds can, and it writes the entry anew when it finds none.

use aya_ebpf::programs::TcContext;
use lb_common::{
    AffinityKey, FlowKey, PodAffinityKey, SWEEP_RECORDS_MAX, SocketFlowKey, SweepHeader, SweepTable,
};

use crate::kernel::maps::{AFFINITY4, AFFINITY6, FLOWS4, FLOWS6};
use crate::kernel::socket::maps::{POD_AFFINITY, SOCKET_FLOWS4, SOCKET_FLOWS6};

/// Walks the records of one table; gives the number of entries that were deleted.
macro_rules! sweep {
    ($ctx:ident, $header:ident, $map:ident, $key:ty, $used:ident) => {{
        const RECORD: usize = size_of::<$key>() + size_of::<u32>();
        let mut deleted = 0;
        for index in 0..SWEEP_RECORDS_MAX {
            if index >= u32::from($header.count) {
                break;
            }
            let at = size_of::<SweepHeader>() + index as usize * RECORD;
            let Ok(key) = $ctx.load::<$key>(at) else { break };
            let Ok(used_s) = $ctx.load::<u32>(at + size_of::<$key>()) else { break };
            // SAFETY: the pointer is valid while the program runs; the second is read as a plain word, old or new.
            let unused = $map.get_ptr(&key).is_some_and(|entry| unsafe { (*entry).$used } == used_s);
            if unused && $map.remove(&key).is_ok() {
                deleted += 1;
            }
        }
        deleted
    }};
}

/// Number of entries that were deleted.
#[inline(always)]
pub(crate) fn sweep(ctx: &TcContext) -> i32 {
    let Ok(header) = ctx.load::<SweepHeader>(0) else { return 0 };
    match header.table {
        SweepTable::FLOWS4 => sweep!(ctx, header, FLOWS4, FlowKey<[u8; 4]>, last_seen_s),
        SweepTable::FLOWS6 => sweep!(ctx, header, FLOWS6, FlowKey<[u8; 16]>, last_seen_s),
        SweepTable::AFFINITY4 => sweep!(ctx, header, AFFINITY4, AffinityKey<[u8; 4]>, last_used_s),
        SweepTable::AFFINITY6 => sweep!(ctx, header, AFFINITY6, AffinityKey<[u8; 16]>, last_used_s),
        SweepTable::SOCKET_FLOWS4 => {
            sweep!(ctx, header, SOCKET_FLOWS4, SocketFlowKey<[u8; 4]>, last_used_s)
        }
        SweepTable::SOCKET_FLOWS6 => {
            sweep!(ctx, header, SOCKET_FLOWS6, SocketFlowKey<[u8; 16]>, last_used_s)
        }
        SweepTable::POD_AFFINITY => sweep!(ctx, header, POD_AFFINITY, PodAffinityKey, last_used_s),
        _ => 0,
    }
}
