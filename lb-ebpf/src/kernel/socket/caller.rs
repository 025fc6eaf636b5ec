//! Edge file: the socket of a call, and the process that makes it.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_get_socket_cookie,
};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use lb_common::{Settings, SettingsFlags, Socket, maps::EXCLUDED_CGROUPS};
use lb_ebpf::socket::{Caller, Kept};
use lb_ebpf::{V4, V6};

use super::maps::{excluded_cgroup, socket4, socket6};
use crate::kernel::clock;

/// `TCP_ESTABLISHED` of the kernel's `include/net/tcp_states.h`, which connected UDP sockets have too.
const ESTABLISHED: u32 = 1;

/// A call that names an address.
pub(super) struct Call<'a>(pub(super) &'a SockAddrContext);

/// A socket that is closed.
pub(super) struct Closed<'a>(pub(super) &'a SockContext);

impl Call<'_> {
    #[inline(always)]
    fn sock(&self) -> *mut bpf_sock {
        // SAFETY: the kernel gives a valid context, of which every program may read this field.
        unsafe { (*self.0.sock_addr).__bindgen_anon_1.sk }
    }

    /// Whether the process is in a control group that is left alone, or below one.
    #[inline(always)]
    fn is_in_excluded_cgroup() -> bool {
        for index in 0..EXCLUDED_CGROUPS {
            let Some(cgroup) = excluded_cgroup(index) else { return false };
            if cgroup.id == 0 {
                return false;
            }
            // SAFETY: the helper takes a number, and answers 0 for a level that there is not.
            if unsafe { bpf_get_current_ancestor_cgroup_id(cgroup.level as i32) } == cgroup.id {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    fn is_excluded(&self, settings: &Settings) -> bool {
        // SAFETY: the kernel keeps the socket while the program runs.
        let mark = unsafe { (*self.sock()).mark };
        mark != 0 && mark == settings.socket_mark
            || settings.flags & SettingsFlags::EXCLUDED_CGROUPS != 0 && Self::is_in_excluded_cgroup()
    }

    #[inline(always)]
    fn cookie(&self) -> u64 {
        // SAFETY: the context is that of the running program.
        unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
    }

    #[inline(always)]
    fn netns_cookie(&self) -> u64 {
        // SAFETY: as above.
        unsafe { bpf_get_netns_cookie(self.0.as_ptr()) }
    }

    #[inline(always)]
    fn is_connected(&self) -> bool {
        // SAFETY: as in `is_excluded`.
        unsafe { (*self.sock()).state == ESTABLISHED }
    }
}

macro_rules! caller {
    ($family:ty, $address:ty, $storage:ident, $source:expr) => {
        impl Kept<$family> for Call<'_> {
            #[inline(always)]
            fn cookie(&mut self) -> u64 {
                Call::cookie(self)
            }

            #[inline(always)]
            fn socket(&mut self) -> Option<&mut Socket<$address>> {
                $storage(self.sock().cast::<c_void>(), false)
            }
        }

        impl Caller<$family> for Call<'_> {
            #[inline(always)]
            fn is_excluded(&mut self, settings: &Settings) -> bool {
                Call::is_excluded(self, settings)
            }

            #[inline(always)]
            fn random(&mut self) -> u32 {
                // SAFETY: the helper takes nothing and always answers.
                unsafe { bpf_get_prandom_u32() }
            }

            #[inline(always)]
            fn netns_cookie(&mut self) -> u64 {
                Call::netns_cookie(self)
            }

            #[inline(always)]
            fn source(&mut self) -> $address {
                let source: fn(*mut bpf_sock) -> $address = $source;
                source(self.sock())
            }

            #[inline(always)]
            fn is_connected(&mut self) -> bool {
                Call::is_connected(self)
            }

            #[inline(always)]
            fn now_s(&mut self) -> u32 {
                clock::now_s()
            }

            #[inline(always)]
            fn socket_or_new(&mut self) -> Option<&mut Socket<$address>> {
                $storage(self.sock().cast::<c_void>(), true)
            }
        }

        impl Kept<$family> for Closed<'_> {
            #[inline(always)]
            fn cookie(&mut self) -> u64 {
                // SAFETY: the context is that of the running program.
                unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
            }

            #[inline(always)]
            fn socket(&mut self) -> Option<&mut Socket<$address>> {
                $storage(self.0.as_ptr(), false)
            }
        }
    };
}

caller!(V4, [u8; 4], socket4, source4);
caller!(V6, [u8; 16], socket6, source6);

/// The IPv4 address that a socket is bound to.
#[inline(always)]
fn source4(sock: *mut bpf_sock) -> [u8; 4] {
    // SAFETY: the kernel keeps the socket while the program runs.
    unsafe { (*sock).src_ip4 }.to_ne_bytes()
}

/// The IPv6 address that a socket is bound to.
#[inline(always)]
fn source6(sock: *mut bpf_sock) -> [u8; 16] {
    let mut address = [0; 16];
    for (index, to) in address.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        // SAFETY: as above; by words, as the kernel lets programs read them.
        let word = unsafe { (&raw const (*sock).src_ip6).cast::<u32>().add(index).read_volatile() };
        *to = word.to_ne_bytes();
    }
    address
}
