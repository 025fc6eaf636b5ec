//! Echo servers: each answer names the server and the peer that it sees.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use anyhow::{Context as _, Result};
use rustix::net::{Shutdown, shutdown};

use crate::net::{BackendHost, DNS_TARGET_PORT, HTTP_TARGET_PORT};

/// How often an idle thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// A TCP and a UDP server for both families, which end when this goes out of scope.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    listener: TcpListener,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts both on the target ports of the Service.
    ///
    /// A TCP line is answered by a line `NAME PEER`; after the line `echo N` the next N bytes come back as they are.
    /// A datagram is answered by one that says `NAME PEER`.
    pub fn start(host: &BackendHost) -> Result<Self> {
        let name = host.name;
        // An IPv6 socket without an address serves IPv4 too, and belongs to the namespace that it was made in.
        let (listener, socket) = host
            .namespace
            .within(|| -> io::Result<_> {
                let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, HTTP_TARGET_PORT))?;
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, DNS_TARGET_PORT))?;
                socket.set_read_timeout(Some(LOOK))?;
                Ok((listener, socket))
            })?
            .with_context(|| format!("cannot listen on {name}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let tcp = (listener.try_clone()?, Arc::clone(&stop));
        let udp_stop = Arc::clone(&stop);
        let threads = vec![
            thread::spawn(move || serve_tcp(name, &tcp.0, &tcp.1)),
            thread::spawn(move || serve_udp(name, &socket, &udp_stop)),
        ];
        Ok(Self { stop, listener, threads })
    }

    /// Starts the servers of all `hosts`.
    pub fn start_all(hosts: &[BackendHost]) -> Result<Vec<Self>> {
        hosts.iter().map(Self::start).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // On Linux this ends a waiting `accept`. It fails only when nothing waits any more.
        let _shut = shutdown(&self.listener, Shutdown::Read);
        for thread in mem::take(&mut self.threads) {
            if thread.join().is_err() {
                eprintln!("a server of the test network panicked");
            }
        }
    }
}

fn serve_tcp(name: &'static str, listener: &TcpListener, stop: &Arc<AtomicBool>) {
    while let Ok((stream, peer)) = listener.accept() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let stop = Arc::clone(stop);
        // A connection that breaks is for the client to report.
        thread::spawn(move || drop(converse(name, stream, peer, &stop)));
    }
}

/// Answers the lines of one connection until its end.
fn converse(name: &str, stream: TcpStream, peer: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !stop.load(Ordering::Relaxed) {
        match reader.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if idle(&error) => continue,
            Err(error) => return Err(error),
        }
        if let Some(length) = line.trim().strip_prefix("echo ").and_then(|length| length.parse().ok()) {
            reader.get_ref().set_read_timeout(None)?;
            io::copy(&mut reader.by_ref().take(length), &mut writer)?;
            reader.get_ref().set_read_timeout(Some(LOOK))?;
        } else {
            writer.write_all(answer(name, peer).as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

fn serve_udp(name: &str, socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            // An answer that cannot be sent is for the client to report.
            Ok((_, peer)) => drop(socket.send_to(answer(name, peer).as_bytes(), peer)),
            Err(error) if idle(&error) => {}
            // What an ICMP error of an earlier answer leaves on the socket.
            Err(_) => {}
        }
    }
}

fn answer(name: &str, peer: SocketAddr) -> String {
    format!("{name} {}\n", SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}

fn idle(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
