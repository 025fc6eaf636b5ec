//! The loop of the process: one line in, one call, one line out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::{FromStr, SplitWhitespace};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::calls::{self, Open};
use super::{Kind, Way, held};

/// Most sockets that it has open at once.
const SOCKETS_MAX: u64 = 20_000;

/// Why a line was not obeyed.
pub(super) enum Refused {
    /// The system call failed.
    Call(io::Error),
    /// The line says nothing that is known.
    Line(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Call(error)
    }
}

impl From<rustix::io::Errno> for Refused {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Call(error.into())
    }
}

/// Obeys lines until the input ends. `join` is the `cgroup.procs` file of the control group to be in.
pub fn serve(join: Option<&Path>) -> io::Result<()> {
    if let Some(file) = join {
        // 0 is whoever writes.
        fs::write(file, "0")?;
    }
    let limit = Rlimit { current: Some(SOCKETS_MAX), maximum: Some(SOCKETS_MAX) };
    setrlimit(Resource::Nofile, limit)?;
    let mut output = io::stdout().lock();
    let mut state = State::default();
    output.write_all(b"ok\n")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match state.obey(&line) {
            Ok(words) => format!("ok {words}"),
            Err(Refused::Call(error)) => match error.raw_os_error() {
                Some(number) => format!("errno {number}"),
                None => format!("bad {line}: {error}"),
            },
            Err(Refused::Line(text)) => format!("bad {line}: {text}"),
        };
        output.write_all(format!("{}\n", answer.trim()).as_bytes())?;
        output.flush()?;
    }
    Ok(())
}

/// The open sockets.
#[derive(Default)]
struct State {
    next: u64,
    named: BTreeMap<u64, Open>,
    held: Vec<Open>,
}

impl State {
    fn obey(&mut self, line: &str) -> Result<String, Refused> {
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default() {
            "open" => {
                let kind = one_of(&mut words, &Kind::ALL.map(|kind| (kind.name(), kind)))?;
                let v4 = word::<u8>(&mut words)? == 4;
                self.next += 1;
                self.named.insert(self.next, Open::new(kind, v4)?);
                Ok(self.next.to_string())
            }
            "close" => {
                let number = word(&mut words)?;
                self.named.remove(&number).map(|_| String::new()).ok_or_else(|| unknown("socket"))
            }
            "tally" => {
                let (way, count, to) = many(&mut words)?;
                let source: Option<IpAddr> = words.next().map(parse).transpose()?;
                Ok(held::tally(way, count, to, source)?)
            }
            "hold" => {
                let (way, count, to) = many(&mut words)?;
                self.held.extend(held::hold(way, count, to)?);
                Ok(String::new())
            }
            "let-go" => {
                self.held.clear();
                Ok(String::new())
            }
            "unix" => Ok(calls::unix()?),
            verb => {
                let number: u64 = word(&mut words)?;
                let socket = self.named.get(&number).ok_or_else(|| unknown("socket"))?;
                on_socket(verb, socket, &mut words)
            }
        }
    }
}

/// The calls on one socket.
fn on_socket(verb: &str, socket: &Open, words: &mut SplitWhitespace<'_>) -> Result<String, Refused> {
    Ok(match verb {
        "bind" => socket.bind(word(words)?)?,
        "mark" => socket.mark(word(words)?)?,
        "connect" => socket.connect(word(words)?)?,
        "begin" => socket.begin(word(words)?)?,
        "disconnect" => socket.disconnect()?,
        "peer" => socket.peer()?,
        "local" => socket.local()?,
        "cookie" => socket.cookie()?,
        "ask" => socket.ask()?,
        "send" => socket.send()?,
        "send-to" => socket.send_to(word(words)?)?,
        "receive" => socket.receive()?,
        _ => return Err(unknown("verb")),
    })
}

fn many(words: &mut SplitWhitespace<'_>) -> Result<(Way, usize, SocketAddr), Refused> {
    let way = one_of(words, &Way::ALL.map(|way| (way.name(), way)))?;
    Ok((way, word(words)?, word(words)?))
}

fn one_of<T: Copy>(words: &mut SplitWhitespace<'_>, names: &[(&str, T)]) -> Result<T, Refused> {
    let word = words.next().unwrap_or_default();
    names.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| unknown("name"))
}

fn word<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Result<T, Refused> {
    parse(words.next().unwrap_or_default())
}

fn parse<T: FromStr>(word: &str) -> Result<T, Refused> {
    word.parse().map_err(|_| Refused::Line(format!("what is {word:?}?")))
}

fn unknown(what: &str) -> Refused {
    Refused::Line(format!("no such {what}"))
}
