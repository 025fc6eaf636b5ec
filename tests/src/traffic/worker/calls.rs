//! System calls on one socket. Each gives the words of the answer.

use std::io::{self, Error};
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout, socket_cookie, socket_error};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType,
    accept, bind, connect, connect_unspec, getpeername, getsockname, ipproto, listen, recvfrom, send, sendto,
    socket_with,
};
use socket2::SockRef;

use super::Kind;
use crate::traffic::{PROMPT, TIMEOUT};

/// A socket.
pub(super) struct Open {
    socket: OwnedFd,
    /// What servers take for a question.
    question: &'static [u8],
}

impl Open {
    /// Opens one, of which no call waits long.
    pub(super) fn new(kind: Kind, v4: bool) -> io::Result<Self> {
        let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let icmp = if v4 { ipproto::ICMP } else { ipproto::ICMPV6 };
        let (kind, protocol): (_, Option<Protocol>) = match kind {
            Kind::Tcp => (SocketType::STREAM, None),
            Kind::Udp => (SocketType::DGRAM, None),
            // The number is larger than that of any protocol of IP.
            Kind::Mptcp => (SocketType::STREAM, NonZero::new(262).map(Protocol::from_raw)),
            Kind::UdpLite => (SocketType::DGRAM, Some(ipproto::UDPLITE)),
            Kind::Ping => (SocketType::DGRAM, Some(icmp)),
            Kind::Raw => (SocketType::RAW, Some(icmp)),
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        // That for sending is for connecting, too.
        for direction in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(&socket, direction, Some(TIMEOUT))?;
        }
        // A line for a stream; a datagram is one by itself.
        Ok(Self { socket, question: if kind == SocketType::STREAM { b"who\n" } else { b"who" } })
    }

    pub(super) fn bind(&self, to: SocketAddr) -> io::Result<String> {
        // Addresses of earlier connections may still wait.
        set_socket_reuseaddr(&self.socket, true)?;
        bind(&self.socket, &to)?;
        Ok(String::new())
    }

    pub(super) fn mark(&self, mark: u32) -> io::Result<String> {
        SockRef::from(&self.socket).set_mark(mark)?;
        Ok(String::new())
    }

    pub(super) fn connect(&self, to: SocketAddr) -> io::Result<String> {
        connect(&self.socket, &to)?;
        Ok(String::new())
    }

    pub(super) fn begin(&self, to: SocketAddr) -> io::Result<String> {
        ioctl_fionbio(&self.socket, true)?;
        let first = connect(&self.socket, &to);
        let waited = match first {
            Err(Errno::INPROGRESS) => {
                let patience = Timespec::try_from(PROMPT).map_err(Error::other)?;
                let mut polled = [PollFd::new(&self.socket, PollFlags::OUT)];
                if poll(&mut polled, Some(&patience))? == 0 {
                    return Err(Errno::TIMEDOUT.into());
                }
                socket_error(&self.socket)??;
                "waited"
            }
            first => {
                first?;
                "at-once"
            }
        };
        ioctl_fionbio(&self.socket, false)?;
        Ok(waited.to_owned())
    }

    pub(super) fn disconnect(&self) -> io::Result<String> {
        connect_unspec(&self.socket)?;
        Ok(String::new())
    }

    pub(super) fn peer(&self) -> io::Result<String> {
        Ok(text(getpeername(&self.socket)?))
    }

    pub(super) fn local(&self) -> io::Result<String> {
        Ok(text(Some(getsockname(&self.socket)?)))
    }

    pub(super) fn cookie(&self) -> io::Result<String> {
        Ok(socket_cookie(&self.socket)?.to_string())
    }

    pub(super) fn ask(&self) -> io::Result<String> {
        self.send()?;
        let (answer, _) = self.answer()?;
        Ok(answer)
    }

    pub(super) fn send(&self) -> io::Result<String> {
        send(&self.socket, self.question, SendFlags::NOSIGNAL)?;
        Ok(String::new())
    }

    pub(super) fn send_to(&self, to: SocketAddr) -> io::Result<String> {
        sendto(&self.socket, self.question, SendFlags::NOSIGNAL, &to)?;
        Ok(String::new())
    }

    pub(super) fn receive(&self) -> io::Result<String> {
        let (answer, source) = self.answer()?;
        Ok(format!("{} {answer}", text(source)))
    }

    /// One line of a server, which fits into one segment or datagram.
    fn answer(&self) -> io::Result<(String, Option<SocketAddrAny>)> {
        let mut buffer = [0; 256];
        let (_, length, source) = recvfrom(&self.socket, &mut buffer, RecvFlags::empty())?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            // The end of a connection.
            return Err(Errno::CONNABORTED.into());
        }
        Ok((String::from_utf8_lossy(bytes).trim().to_owned(), source))
    }
}

/// The address as a word.
fn text(address: Option<SocketAddrAny>) -> String {
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    address.map_or_else(|| "-".to_owned(), |address| address.to_string())
}

/// Connects two sockets of the Unix domain by an address without a file.
pub(super) fn unix() -> io::Result<String> {
    let open = || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (listener, client) = (open()?, open()?);
    let address = SocketAddrUnix::new_abstract_name(format!("weir-t-{}", std::process::id()).as_bytes())?;
    bind(&listener, &address)?;
    listen(&listener, 1)?;
    connect(&client, &address)?;
    let server = accept(&listener)?;
    send(&client, b"who", SendFlags::NOSIGNAL)?;
    let mut buffer = [0; 8];
    let (_, length, _) = recvfrom(&server, &mut buffer, RecvFlags::empty())?;
    if length != 3 || getpeername(&client)?.is_none() {
        return Err(Errno::PROTO.into());
    }
    Ok(String::new())
}
