//! A socket of a worker, as its caller has it.

use std::net::SocketAddr;

use super::{Called, Worker, parsed};

/// The socket. It is closed when this goes out of scope.
#[derive(Debug)]
pub struct Socket<'worker> {
    worker: &'worker Worker,
    number: String,
}

/// How a connect that does not wait became one that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The first call said `EINPROGRESS`.
    Yes,
    /// The first call did it.
    No,
}

/// What a datagram says, and of whom it is as recvfrom(2) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// None for what is no datagram.
    pub source: Option<SocketAddr>,
    /// The server that answers.
    pub backend: String,
    /// The client as the server sees it.
    pub peer: SocketAddr,
}

impl<'worker> Socket<'worker> {
    pub(super) const fn new(worker: &'worker Worker, number: String) -> Self {
        Self { worker, number }
    }

    /// Binds it.
    pub fn bind(&self, to: SocketAddr) -> Called<()> {
        self.call("bind", to).map(drop)
    }

    /// Marks its packets.
    pub fn mark(&self, mark: u32) -> Called<()> {
        self.call("mark", mark).map(drop)
    }

    /// Connects it, and waits for that.
    pub fn connect(&self, to: SocketAddr) -> Called<()> {
        self.call("connect", to).map(drop)
    }

    /// Connects it as one that does not wait.
    pub fn begin(&self, to: SocketAddr) -> Called<Waited> {
        self.call("begin", to).map(|word| if word == "waited" { Waited::Yes } else { Waited::No })
    }

    /// Takes the peer away from a datagram socket.
    pub fn disconnect(&self) -> Called<()> {
        self.call("disconnect", "").map(drop)
    }

    /// Its peer.
    pub fn peer(&self) -> Called<SocketAddr> {
        parsed(&self.call("peer", "")?)
    }

    /// Its own address.
    pub fn local(&self) -> Called<SocketAddr> {
        parsed(&self.call("local", "")?)
    }

    /// Its cookie.
    pub fn cookie(&self) -> Called<u64> {
        parsed(&self.call("cookie", "")?)
    }

    /// Asks its peer who it is.
    pub fn ask(&self) -> Called<String> {
        let answer = self.call("ask", "")?;
        Ok(answer.split(' ').next().unwrap_or_default().to_owned())
    }

    /// Sends a question to its peer.
    pub fn send(&self) -> Called<()> {
        self.call("send", "").map(drop)
    }

    /// Sends a question.
    pub fn send_to(&self, to: SocketAddr) -> Called<()> {
        self.call("send-to", to).map(drop)
    }

    /// Receives an answer.
    pub fn receive(&self) -> Called<Received> {
        let answer = self.call("receive", "")?;
        let mut words = answer.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let source = match next() {
            "-" => None,
            address => Some(parsed(address)?),
        };
        Ok(Received { source, backend: next().to_owned(), peer: parsed(next())? })
    }

    /// Asks by a datagram, and receives one.
    pub fn ask_at(&self, to: SocketAddr) -> Called<Received> {
        self.send_to(to)?;
        self.receive()
    }

    fn call(&self, verb: &str, argument: impl std::fmt::Display) -> Called<String> {
        self.worker.call(&format!("{verb} {} {argument}", self.number))
    }
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        // When the worker is gone, so is the socket.
        let _closed = self.call("close", "");
    }
}
