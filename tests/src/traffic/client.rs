//! Clients: one connection, one UDP socket, or one question by a fresh one.

use std::io::{self, BufRead as _, BufReader, Error, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::Protocol;

/// Longest wait for an answer. Shorter than the second after which TCP repeats a SYN, so that a first packet that
/// is lost fails the question instead of delaying it.
pub const TIMEOUT: Duration = Duration::from_millis(900);

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name of the server.
    pub backend: String,
    /// The client as the server sees it.
    pub peer: SocketAddr,
    /// The client as it sees itself.
    pub local: SocketAddr,
}

/// Asks `to` once, by a connection or socket of its own. `source_port` 0 takes any port.
pub fn ask(protocol: Protocol, to: SocketAddr, source_port: u16) -> io::Result<Answer> {
    match protocol {
        Protocol::Tcp => Connection::open(to, source_port)?.ask(),
        Protocol::Udp => Datagrams::open(to, source_port)?.ask(),
    }
}

/// How soon a connection that is refused must be. Between namespaces the answer may come while the system call still holds
/// the socket; the kernel then notes it, and fails the connection at the answer to the next SYN, a second later.
pub const PROMPT: Duration = Duration::from_millis(2_500);

/// Whether a connection to `to` is refused.
pub fn refuse(to: SocketAddr) -> bool {
    matches!(TcpStream::connect_timeout(&to, PROMPT), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A TCP connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(to: SocketAddr, source_port: u16) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It bounds `connect`, too.
        set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
        if source_port != 0 {
            bind(&socket, &any(to, source_port))?;
        }
        connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks who answers.
    pub fn ask(&mut self) -> io::Result<Answer> {
        self.stream.get_mut().write_all(b"who\n")?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        answer(&line, self.stream.get_ref().local_addr()?)
    }

    /// Sends `bytes` and gives what comes back.
    pub fn echo(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut writer = self.stream.get_ref().try_clone()?;
        let mut back = vec![0; bytes.len()];
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || {
                writer.write_all(format!("echo {}\n", bytes.len()).as_bytes())?;
                writer.write_all(bytes)
            });
            self.stream.read_exact(&mut back)?;
            sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(back)
    }
}

/// A UDP socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
}

impl Datagrams {
    /// Opens one whose peer is `to`.
    pub fn open(to: SocketAddr, source_port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind(any(to, source_port))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.connect(to)?;
        Ok(Self { socket })
    }

    /// Sends one datagram and waits for one; nothing is repeated.
    pub fn ask(&self) -> io::Result<Answer> {
        self.socket.send(b"who")?;
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer)?;
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        answer(&text, self.socket.local_addr()?)
    }
}

/// The unspecified address of the family of `to`.
fn any(to: SocketAddr, port: u16) -> SocketAddr {
    let address = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, port)
}

fn answer(text: &str, local: SocketAddr) -> io::Result<Answer> {
    text.trim()
        .split_once(' ')
        .and_then(|(name, peer)| Some(Answer { backend: name.to_owned(), peer: peer.parse().ok()?, local }))
        .ok_or_else(|| Error::other(format!("a server answered {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_name_and_a_peer() {
        let local: SocketAddr = "10.1.0.2:4".parse().unwrap();
        let peer = "[fd00:1::1]:2".parse().unwrap();
        let expected = Answer { backend: "backend-1".to_owned(), peer, local };
        assert_eq!(answer("backend-1 [fd00:1::1]:2\n", local).unwrap(), expected);
        for bad in ["", "backend-1", "backend-1 nowhere"] {
            assert!(answer(bad, local).is_err(), "{bad:?}");
        }
    }
}
