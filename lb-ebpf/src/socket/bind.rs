//! bind(2): a server at a NodePort of this node would hear nothing.

use lb_common::{Address, Destination, FrontendFlags, FrontendKey, Outcome, SettingsFlags};

use super::{Caller, Decision, SocketMaps, is_node};
use crate::Family;

/// Refuses the address and port of a NodePort that this node serves, as if a server of its own had them.
#[inline(always)]
pub fn bind<F, M, C>(at: &Destination<F::Address>, protocol: u8, maps: &mut M, caller: &mut C) -> Decision
where
    F: Family,
    M: SocketMaps<F>,
    C: Caller<F>,
{
    const NOT_OURS: Decision = Decision::proceed(Outcome::NotOurs);
    let Some(settings) = maps.settings() else { return NOT_OURS };
    if settings.flags & SettingsFlags::PROTECT_NODE_PORTS == 0 || at.port == [0; 2] {
        return NOT_OURS;
    }
    let unspecified = <F::Address as Address>::UNSPECIFIED;
    let key = FrontendKey { address: unspecified, port: at.port, protocol, pad: 0 };
    let Some(node) = maps.frontend(&key) else { return NOT_OURS };
    if node.flags & FrontendFlags::NODE == 0 || !is_node::<F, C>(caller, &settings) {
        return NOT_OURS;
    }
    let serves = if at.address == unspecified {
        true
    } else if at.address.is_loopback() {
        settings.flags & F::LOOPBACK != 0
    } else {
        let key = FrontendKey { address: at.address, ..key };
        maps.frontend(&key).is_some_and(|frontend| frontend.service == node.service)
    };
    if !serves {
        return NOT_OURS;
    }
    if caller.is_excluded(&settings) {
        return Decision::proceed(Outcome::SocketExcluded);
    }
    Decision::fail(Outcome::NodePortTaken, Decision::EADDRINUSE)
}
