//! The backend, played by the process that is measured itself: what it does is not timed, and nobody waits for another
//! process to be woken.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept, bind, listen, recvfrom, sendto,
    socket_with, sockopt,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Calls;

/// Connections that wait to be accepted, at most: more than a turn makes.
const BACKLOG: i32 = 4096;
/// Longest wait for what was sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket of the backend: one that listens, or one for datagrams.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
}

impl Peer {
    /// Opens it at an address of a network namespace.
    pub(super) fn start(calls: Calls, at: SocketAddr, namespace: &str) -> Result<Self> {
        let namespace = Path::new("/run/netns").join(namespace);
        // A thread of its own moves there; the socket stays where it was made.
        let opened = thread::scope(|scope| scope.spawn(|| open(calls, at, &namespace)).join());
        let socket = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Self { socket })
    }

    /// Accepts so many connections, which the clients have reset meanwhile.
    pub(super) fn accept(&self, count: u32) -> io::Result<()> {
        (0..count).try_for_each(|_| accept(&self.socket).map(drop).map_err(io::Error::from))
    }

    /// Accepts one connection for requests.
    pub(super) fn accept_stream(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::from(accept(&self.socket)?);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends so many datagrams back.
    pub(super) fn echo(&self, count: u32) -> Result<()> {
        let mut buffer = [0; 64];
        for _ in 0..count {
            let (length, _, from) = recvfrom(&self.socket, &mut buffer, RecvFlags::empty())?;
            let from = SocketAddr::try_from(from.context("a datagram from nowhere")?)?;
            let sent =
                sendto(&self.socket, buffer.get(..length).unwrap_or_default(), SendFlags::empty(), &from)?;
            ensure!(sent == length, "{sent} of {length} bytes were sent");
        }
        Ok(())
    }
}

fn open(calls: Calls, at: SocketAddr, namespace: &Path) -> Result<OwnedFd> {
    let file = File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    let opened = socket(calls, at)?;
    sockopt::set_socket_timeout(&opened, sockopt::Timeout::Recv, Some(PATIENCE))?;
    // Connections of the last turn may still be remembered.
    sockopt::set_socket_reuseaddr(&opened, true)?;
    bind(&opened, &at).with_context(|| format!("cannot bind to {at}"))?;
    if calls.is_tcp() {
        listen(&opened, BACKLOG)?;
    }
    Ok(opened)
}

/// A socket for these calls, of the family of `to`.
pub(super) fn socket(calls: Calls, to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if calls.is_tcp() { SocketType::STREAM } else { SocketType::DGRAM };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}
