//! Chooses a backend for a socket, by the frontends, policies, weights and slots that packets have theirs by.

use lb_common::{
    Address, Affinity, Backend, BackendFlags, Frontend, FrontendFlags, FrontendKey, Outcome, PodAffinityKey,
    Settings,
};

use super::{Caller, SocketMaps, is_node};
use crate::Family;
use crate::select::{run, slot_index, without_frontend};

/// A backend and its id.
pub(super) type Chosen<F> = (u32, Backend<<F as Family>::Address>);

/// Looks up the frontend and selects a backend by weight; sockets of this node are inside, always.
///
/// By a random number and not by a hash, as for packets: what was selected is kept, and a client that tries again shall not
/// meet the same endpoint again.
///
/// As for packets, a run of slots that was given to another Service between the two look-ups shows by the backend's
/// service, and one fresh look at the frontend finds the new run.
#[inline(always)]
pub(super) fn choose<F, M, C>(
    key: &FrontendKey<F::Address>,
    settings: &Settings,
    maps: &mut M,
    caller: &mut C,
) -> Result<Chosen<F>, Outcome>
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    for _ in 0..2 {
        let Some(frontend) = maps.frontend(key) else {
            return Err(without_frontend::<F, M>(key.address, true, maps));
        };
        if frontend.flags & FrontendFlags::SOURCE_RANGES != 0 {
            check_source::<F, M, C>(frontend.service, settings, maps, caller)?;
        }
        let (run, local) = run(&frontend, true)?;
        let pod = PodAffinityKey {
            netns_cookie: if frontend.affinity_timeout_s == 0 || is_node::<F, C>(caller, settings) {
                0
            } else {
                caller.netns_cookie()
            },
            service: frontend.service,
            pad: 0,
        };
        if frontend.affinity_timeout_s != 0
            && let Some(chosen) = remembered::<F, M, C>(&pod, &frontend, local, maps, caller)
        {
            return Ok(chosen);
        }
        let id = maps.slot(slot_index(run, caller.random())).unwrap_or(0);
        if let Some(backend) = maps.backend(id)
            && backend.service == frontend.service
        {
            if frontend.affinity_timeout_s != 0 {
                let last_used_s = caller.now_s();
                let affinity = Affinity { backend: id, generation: backend.generation, last_used_s };
                maps.remember_pod_affinity(&pod, &affinity);
            }
            return Ok((id, backend));
        }
    }
    Err(Outcome::Changing)
}

/// Whether a Service that is for some sources only is for this socket.
///
/// A socket that is bound to no address gets one when the kernel has looked up its way, which is later. On the node it will
/// be the node's; of a pod it is not known here, but its packets will show it.
#[inline(always)]
fn check_source<F, M, C>(
    service: u32,
    settings: &Settings,
    maps: &mut M,
    caller: &mut C,
) -> Result<(), Outcome>
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let mut source = caller.source();
    if source == <F::Address as Address>::UNSPECIFIED {
        if !is_node::<F, C>(caller, settings) {
            return Err(Outcome::SourceUnknown);
        }
        source = F::snat(settings);
    }
    if maps.allows(service, &source) { Ok(()) } else { Err(Outcome::SourceRefused) }
}

/// The backend that the pod got last time, while its time is not over and it takes new flows of this scope.
#[inline(always)]
fn remembered<F, M, C>(
    pod: &PodAffinityKey,
    frontend: &Frontend,
    local: bool,
    maps: &mut M,
    caller: &mut C,
) -> Option<Chosen<F>>
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    let wanted = if local { BackendFlags::IN_LOCAL } else { BackendFlags::IN_CLUSTER };
    let now_s = caller.now_s();
    let affinity = maps.pod_affinity(pod)?;
    if now_s.saturating_sub(affinity.last_used_s) > frontend.affinity_timeout_s {
        return None;
    }
    affinity.last_used_s = now_s;
    let (id, generation) = (affinity.backend, affinity.generation);
    let backend = maps.backend(id)?;
    let fits = backend.generation == generation
        && backend.service == frontend.service
        && backend.flags & wanted != 0;
    fits.then_some((id, backend))
}
