//! Edge file: tells aya that the map types are plain bytes.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait, and only this crate may implement it here")]

use aya::Pod;

use crate::bench::Template;
use crate::{
    Affinity, AffinityKey, Backend, Device, ExcludedCgroup, Flow, FlowKey, Fragment, FragmentKey, Frontend,
    FrontendKey, PodAffinityKey, ServiceInfo, ServiceStats, Settings, SlotLine, Socket, SocketFlow,
    SocketFlowKey, SourceKey, Trace,
};

macro_rules! pod {
    ($($type:ty),+ $(,)?) => {
        $(
            // SAFETY: the type is `repr(C)`, `Copy` and `'static`; zerocopy's `FromBytes` proves that every bit
            // pattern is valid, and the size asserted beside each type that it has no padding.
            unsafe impl Pod for $type {}
        )+
    };
}

pod!(Affinity, Device, Fragment, Frontend, ServiceInfo, ServiceStats, Settings, SlotLine, Template, Trace);
pod!(ExcludedCgroup, PodAffinityKey);
pod!(FrontendKey<[u8; 4]>, FrontendKey<[u8; 16]>);
pod!(Backend<[u8; 4]>, Backend<[u8; 16]>);
pod!(FlowKey<[u8; 4]>, FlowKey<[u8; 16]>);
pod!(Flow<[u8; 4]>, Flow<[u8; 16]>);
pod!(AffinityKey<[u8; 4]>, AffinityKey<[u8; 16]>);
pod!(FragmentKey<[u8; 4]>, FragmentKey<[u8; 16]>);
pod!(SourceKey<[u8; 4]>, SourceKey<[u8; 16]>);
pod!(Socket<[u8; 4]>, Socket<[u8; 16]>);
pod!(SocketFlowKey<[u8; 4]>, SocketFlowKey<[u8; 16]>);
pod!(SocketFlow<[u8; 4]>, SocketFlow<[u8; 16]>);
