//! Edge file: the cookie of this network namespace, for which rustix has no call.

use std::io;
use std::os::fd::AsRawFd as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The number by which the kernel knows the network namespace of this thread (`SO_NETNS_COOKIE`, Linux 5.14).
///
/// # Errors
///
/// What the kernel says.
pub fn netns_cookie() -> io::Result<u64> {
    // Any socket tells it; one of this family needs no network.
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    let (at, length_at): (*mut u64, *mut libc::socklen_t) = (&mut cookie, &mut length);
    // SAFETY: both pointers are to values that outlive the call, and the first is as long as the second says.
    let answer = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, at.cast(), length_at)
    };
    if answer == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_keeps_its_cookie() {
        let cookie = netns_cookie().unwrap();
        assert_ne!(cookie, 0);
        assert_eq!(netns_cookie().unwrap(), cookie);
    }
}
