//! Edge files: the only places of the kernel programs with `unsafe`.

pub(crate) mod clock;
pub(crate) mod fib;
pub(crate) mod maps;
pub(crate) mod observe;
pub(crate) mod socket;
pub(crate) mod sweep;
pub(crate) mod tc;
pub(crate) mod xdp;
