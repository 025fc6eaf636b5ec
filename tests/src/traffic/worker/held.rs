//! Many sockets by one command.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::calls::Open;
use super::{Kind, Way};

/// Asks so often, each time by a new socket; gives each server's name and its answers.
pub(super) fn tally(way: Way, count: usize, to: SocketAddr, source: Option<IpAddr>) -> io::Result<String> {
    let mut answers = BTreeMap::<String, u64>::new();
    for _ in 0..count {
        let socket = open(way, to)?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let answer = match way {
            Way::Tcp | Way::Udp => {
                socket.connect(to)?;
                socket.ask()?
            }
            Way::SendTo => {
                socket.send_to(to)?;
                let received = socket.receive()?;
                // The source comes first.
                received.split_once(' ').map(|(_, answer)| answer.to_owned()).unwrap_or_default()
            }
        };
        let name = answer.split(' ').next().unwrap_or_default();
        *answers.entry(name.to_owned()).or_default() += 1;
    }
    Ok(answers.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(" "))
}

/// Opens so many sockets, each of which asks without waiting for the answer.
pub(super) fn hold(way: Way, count: usize, to: SocketAddr) -> io::Result<Vec<Open>> {
    let one = || {
        let socket = open(way, to)?;
        match way {
            Way::Tcp => {
                socket.connect(to)?;
            }
            Way::Udp => {
                socket.connect(to)?;
                socket.send()?;
            }
            Way::SendTo => {
                socket.send_to(to)?;
            }
        }
        Ok(socket)
    };
    (0..count).map(|_| one()).collect()
}

fn open(way: Way, to: SocketAddr) -> io::Result<Open> {
    Open::new(Kind::from(way.protocol()), to.is_ipv4())
}
