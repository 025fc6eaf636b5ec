//! A process that makes system calls on sockets as it is told: programs of a control group see those of its processes only.
//!
//! It is told by lines on its standard input, and answers each by one on its standard output. Words are separated by
//! blanks. An answer begins with `ok`, or is `errno N` when the system call failed, or `bad TEXT`.
//!
//! | line | what | after `ok` |
//! |---|---|---|
//! | `open KIND FAMILY` | socket(2) | a number by which the others know it |
//! | `bind N ADDRESS` | bind(2) | |
//! | `mark N MARK` | `SO_MARK` | |
//! | `connect N ADDRESS` | connect(2) that waits | |
//! | `begin N ADDRESS` | connect(2) that does not wait, then poll(2) and `SO_ERROR` | `waited`, or `at-once` |
//! | `disconnect N` | connect(2) to no address | |
//! | `peer N`, `local N` | getpeername(2), getsockname(2) | the address |
//! | `cookie N` | `SO_COOKIE` | the cookie |
//! | `ask N` | sends a question, receives who answers | the server's name, and the client as it sees it |
//! | `send N` | sends a question | |
//! | `send-to N ADDRESS` | sends a question there | |
//! | `receive N` | recvfrom(2) | the source, or `-`, and the text |
//! | `close N` | close(2) | |
//! | `tally WAY COUNT ADDRESS [SOURCE]` | as many questions by sockets of their own | each server, and its answers |
//! | `hold WAY COUNT ADDRESS` | as many open sockets that have asked | |
//! | `let-go` | closes them | |
//! | `unix` | a connection of two sockets of the Unix domain | |
//!
//! It ends at the end of its input.

mod calls;
mod held;
mod serve;
mod socket;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

pub use serve::serve;
pub use socket::{Received, Socket, Waited};

use crate::net::{Cgroup, Family, Namespace, tool};

/// Longest wait for the process to end by itself.
const END_MAX: Duration = Duration::from_secs(3);

/// Kinds of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// TCP by several paths.
    Mptcp,
    /// UDP with a checksum of a part.
    UdpLite,
    /// Echo requests, without the privilege for raw sockets.
    Ping,
    /// ICMP as it is.
    Raw,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Tcp, Self::Udp, Self::Mptcp, Self::UdpLite, Self::Ping, Self::Raw];

    /// As a line has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Mptcp => "mptcp",
            Self::UdpLite => "udp-lite",
            Self::Ping => "ping",
            Self::Raw => "raw",
        }
    }
}

impl From<super::Protocol> for Kind {
    fn from(protocol: super::Protocol) -> Self {
        match protocol {
            super::Protocol::Tcp => Self::Tcp,
            super::Protocol::Udp => Self::Udp,
        }
    }
}

/// By which system calls a socket asks a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// TCP: connect.
    Tcp,
    /// UDP: connect, then send.
    Udp,
    /// UDP: send to an address, without connecting.
    SendTo,
}

impl Way {
    /// All.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::SendTo];

    /// The protocol of the sockets.
    pub const fn protocol(self) -> super::Protocol {
        match self {
            Self::Tcp => super::Protocol::Tcp,
            Self::Udp | Self::SendTo => super::Protocol::Udp,
        }
    }

    /// As a line has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::SendTo => "send-to",
        }
    }
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system call failed.
    Errno(Errno),
    /// The process did not do it, or is gone.
    Worker(String),
}

/// Result of a call.
pub type Called<T> = Result<T, Failure>;

/// The process. It ends when this goes out of scope, and its sockets with it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Pipes {
    /// Waits for an answer and gives what follows `ok`.
    fn answer(&mut self) -> Called<String> {
        let mut line = String::new();
        let read = self.from.read_line(&mut line);
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("ok", rest) => Ok(rest.to_owned()),
            ("errno", number) => Err(Failure::Errno(Errno::from_raw_os_error(parsed(number)?))),
            _ => Err(Failure::Worker(format!("it answered {line:?}, {read:?}"))),
        }
    }
}

impl Worker {
    /// Starts one in `namespace`, and in `cgroup` before it makes its first socket.
    pub fn start(namespace: &Namespace, cgroup: &Cgroup) -> Result<Self> {
        Self::spawn(namespace, Some(cgroup))
    }

    /// Starts one in `namespace`, and in the control group of the caller.
    pub fn outside(namespace: &Namespace) -> Result<Self> {
        Self::spawn(namespace, None)
    }

    fn spawn(namespace: &Namespace, cgroup: Option<&Cgroup>) -> Result<Self> {
        let program = program()?;
        let mut command = tool(&program.display().to_string());
        command.args(cgroup.map(|cgroup| cgroup.path().join("cgroup.procs")));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = namespace
            .within(|| command.spawn())?
            .with_context(|| format!("cannot start {}", program.display()))?;
        let to = child.stdin.take().context("no standard input")?;
        let from = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut pipes = Pipes { to, from };
        let ready = pipes.answer();
        let worker = Self { child, pipes: Mutex::new(Some(pipes)) };
        ready.map_err(|failure| anyhow!("a worker does not start: {failure:?}"))?;
        Ok(worker)
    }

    /// Opens a socket.
    pub fn open(&self, kind: impl Into<Kind>, family: Family) -> Called<Socket<'_>> {
        let family = if family == Family::V4 { 4 } else { 6 };
        let number = self.call(&format!("open {} {family}", kind.into().name()))?;
        Ok(Socket::new(self, number))
    }

    /// Asks `to` so often, each time by a socket of its own that is bound to an address if one is given. Gives the answers
    /// of each server; the first question that fails is the last one.
    pub fn tally(
        &self,
        way: Way,
        count: usize,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> Called<BTreeMap<String, u64>> {
        let source = source.map(|source| source.to_string()).unwrap_or_default();
        let answer = self.call(&format!("tally {} {count} {to} {source}", way.name()))?;
        let words: Vec<&str> = answer.split_whitespace().collect();
        let (pairs, _) = words.as_chunks();
        pairs.iter().map(|[name, count]| Ok(((*name).to_owned(), parsed(count)?))).collect()
    }

    /// Opens as many sockets, each of which asks `to`, and leaves them open.
    pub fn hold(&self, way: Way, count: usize, to: SocketAddr) -> Called<()> {
        self.call(&format!("hold {} {count} {to}", way.name())).map(drop)
    }

    /// Closes what [`Self::hold`] opened.
    pub fn let_go(&self) -> Called<()> {
        self.call("let-go").map(drop)
    }

    /// Connects two sockets of the Unix domain.
    pub fn unix(&self) -> Called<()> {
        self.call("unix").map(drop)
    }

    /// Sends a line and gives what follows `ok`.
    fn call(&self, line: &str) -> Called<String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().ok_or_else(|| Failure::Worker("it has ended".to_owned()))?;
        let sent = pipes.to.write_all(format!("{}\n", line.trim()).as_bytes());
        sent.map_err(|error| Failure::Worker(format!("it does not take {line:?}: {error}")))?;
        pipes.answer()
    }

    fn ended(&mut self) -> std::io::Result<bool> {
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(false)
    }

    /// Ends it in the middle of whatever it does: the kernel closes its sockets soon after.
    pub fn kill(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::KILL).context("cannot kill a worker")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input.
        drop(self.pipes.lock().unwrap_or_else(PoisonError::into_inner).take());
        if !matches!(self.ended(), Ok(true)) {
            eprintln!("a worker does not end by itself");
            // Without effect when it is gone.
            let _killed = self.child.kill();
            let _waited = self.child.wait();
        }
    }
}

/// The program, which is built beside the caller, or one folder above it.
fn program() -> Result<PathBuf> {
    let caller = env::current_exe()?;
    let mut places = caller.ancestors().skip(1).take(2).map(|folder| folder.join("worker"));
    places.find(|path| path.is_file()).with_context(|| {
        format!(
            "no program `worker` near {}: build it by `cargo build -p tests --bin worker`",
            caller.display()
        )
    })
}

fn parsed<T: std::str::FromStr>(word: &str) -> Called<T> {
    word.parse().map_err(|_| Failure::Worker(format!("the worker answered {word:?}")))
}
