//! The calls that are timed.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::net::{RecvFlags, SendFlags, connect, getpeername, recvfrom, sendto, sockopt};
use rustix::time::{ClockId, clock_gettime};

use super::peer::{Peer, socket};

/// Datagrams on their way at once: the backend answers them together, while no time is taken.
const GROUP: u32 = 32;
/// Bytes of a block of a transfer.
const BLOCK: usize = 1 << 16;
/// Attempts in a row by which nothing of a transfer moves, at most.
const IDLE_MAX: u32 = 1_000_000;
const DATAGRAM: &[u8] = b"weir";

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// TCP: socket(2), `SO_LINGER` of zero (so that no port stays taken), connect(2), close(2).
    ConnectTcp,
    /// UDP: socket(2), connect(2), close(2).
    ConnectUdp,
    /// UDP: socket(2), sendto(2), recvfrom(2), close(2), as somebody who asks once.
    Query,
    /// UDP: sendto(2) and recvfrom(2), always on the same socket.
    Exchange,
    /// TCP: a byte there and a byte back, on one connection.
    Requests,
    /// TCP: 64 KiB there, on one connection.
    Transfer,
}

impl Calls {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::ConnectTcp, Self::ConnectUdp, Self::Query, Self::Exchange, Self::Requests, Self::Transfer];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectTcp => "connect-tcp",
            Self::ConnectUdp => "connect-udp",
            Self::Query => "query-udp",
            Self::Exchange => "exchange-udp",
            Self::Requests => "requests-tcp",
            Self::Transfer => "transfer-tcp",
        }
    }

    /// The protocol: TCP, or UDP.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::ConnectTcp | Self::Requests | Self::Transfer)
    }

    /// How often in a turn, which takes a few milliseconds.
    pub(super) const fn count(self) -> u32 {
        match self {
            Self::ConnectTcp | Self::Transfer => 128,
            Self::Query | Self::Requests => 256,
            Self::ConnectUdp | Self::Exchange => 512,
        }
    }

    /// How many of them the programs translate in a turn.
    pub(super) const fn translated(self) -> u32 {
        match self {
            Self::ConnectTcp | Self::ConnectUdp | Self::Query | Self::Exchange => self.count(),
            Self::Requests | Self::Transfer => 1,
        }
    }

    /// Does it so often. Gives the processor time that the client's calls took, without what the backend does in between where
    /// the two can be told apart.
    pub(super) fn make(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        match self {
            Self::ConnectTcp => self.connect_tcp(to, peer),
            Self::ConnectUdp => self.connect_udp(to, peer),
            Self::Query => self.query(to, peer),
            Self::Exchange => self.exchange(to, peer),
            Self::Requests => self.requests(to, peer),
            Self::Transfer => self.transfer(to, peer),
        }
    }

    fn connect_tcp(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        let begin = now();
        for _ in 0..self.count() {
            let socket = socket(self, to)?;
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
            connect(&socket, &to)?;
        }
        let taken = now().saturating_sub(begin);
        peer.accept(self.count())?;
        Ok(taken)
    }

    fn connect_udp(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        let begin = now();
        for _ in 0..self.count() {
            let socket = socket(self, to)?;
            connect(&socket, &to)?;
        }
        let taken = now().saturating_sub(begin);
        // Nothing was sent, so one more shows where they were connected to.
        let last = socket(self, to)?;
        connect(&last, &to)?;
        let shown = getpeername(&last)?.map(SocketAddr::try_from).transpose()?;
        ensure!(shown == Some(to), "the socket says that it is connected to {shown:?}");
        rustix::net::send(&last, DATAGRAM, SendFlags::empty())?;
        peer.echo(1)?;
        receive(&last)?;
        Ok(taken)
    }

    fn query(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        let mut sockets = Vec::with_capacity(GROUP as usize);
        self.groups(peer, |sent| {
            if sent {
                // Those that have received are closed here.
                return sockets.drain(..).try_for_each(|socket| receive(&socket).map(drop));
            }
            for _ in 0..GROUP {
                let socket = socket(self, to)?;
                sendto(&socket, DATAGRAM, SendFlags::empty(), &to)?;
                sockets.push(socket);
            }
            Ok(())
        })
    }

    fn exchange(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        let socket = socket(self, to)?;
        sendto(&socket, DATAGRAM, SendFlags::empty(), &to)?;
        peer.echo(1)?;
        let from = receive(&socket)?;
        ensure!(from == Some(to), "the answer came from {from:?}");
        self.groups(peer, |sent| {
            for _ in 0..GROUP {
                if sent {
                    receive(&socket)?;
                } else {
                    sendto(&socket, DATAGRAM, SendFlags::empty(), &to)?;
                }
            }
            Ok(())
        })
    }

    /// Times what is called for a group of datagrams before the backend has answered, and after.
    fn groups(self, peer: &Peer, mut half: impl FnMut(bool) -> Result<()>) -> Result<Duration> {
        let mut taken = Duration::ZERO;
        for _ in 0..self.count() / GROUP {
            let begin = now();
            half(false)?;
            taken += now().saturating_sub(begin);
            peer.echo(GROUP)?;
            let begin = now();
            half(true)?;
            taken += now().saturating_sub(begin);
        }
        Ok(taken)
    }

    /// The backend's share is in it, as the answer cannot come before.
    fn requests(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        let mut client = TcpStream::connect(to)?;
        client.set_nodelay(true)?;
        let mut server = peer.accept_stream()?;
        let mut byte = [0; 1];
        let begin = now();
        for _ in 0..self.count() {
            client.write_all(&byte)?;
            server.read_exact(&mut byte)?;
            server.write_all(&byte)?;
            client.read_exact(&mut byte)?;
        }
        let taken = now().saturating_sub(begin);
        close(client, server)?;
        Ok(taken)
    }

    /// The backend's share is in it, as the windows are smaller than what is sent.
    fn transfer(self, to: SocketAddr, peer: &Peer) -> Result<Duration> {
        let mut client = TcpStream::connect(to)?;
        let mut server = peer.accept_stream()?;
        client.set_nonblocking(true)?;
        server.set_nonblocking(true)?;
        let (block, mut buffer) = (vec![0; BLOCK], vec![0; BLOCK]);
        let all = BLOCK * self.count() as usize;
        let (mut sent, mut received) = (0, 0);
        let begin = now();
        let mut idle = 0_u32;
        while received < all {
            let before = sent + received;
            let rest = block.get(..BLOCK.min(all - sent)).unwrap_or_default();
            if !rest.is_empty() {
                sent += progress(client.write(rest))?;
            }
            received += progress(server.read(&mut buffer))?;
            idle = if sent + received == before { idle + 1 } else { 0 };
            ensure!(idle < IDLE_MAX, "the transfer stands still");
        }
        let taken = now().saturating_sub(begin);
        close(client, server)?;
        Ok(taken)
    }
}

/// Processor time of the calling thread: with what the kernel does for its packets meanwhile, and without what other
/// processes do. A kernel that accounts interrupts apart (`CONFIG_IRQ_TIME_ACCOUNTING`) leaves the packets out.
fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// The server closes first, so that the client's port is free again.
fn close(mut client: TcpStream, server: TcpStream) -> io::Result<()> {
    drop(server);
    client.set_nonblocking(false)?;
    client.read(&mut [0]).map(drop)
}

/// Bytes that went; none where the other side has to come first.
fn progress(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// Receives a datagram; gives its sender.
fn receive(socket: &OwnedFd) -> Result<Option<SocketAddr>> {
    let (_, _, from) = recvfrom(socket, &mut [0; 64], RecvFlags::empty())?;
    Ok(from.map(SocketAddr::try_from).transpose()?)
}
