//! Bulk transfers whose content is checked, and connections one after the other.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::stream::{Digest, Stream};
use crate::net::Namespace;

/// A transfer that stands still for so long has failed.
pub const STALL_MAX: Duration = Duration::from_secs(5);
/// Bytes that are read or written at once.
const BLOCK: usize = 1 << 16;
/// Threads that accept connections.
const ACCEPTORS: usize = 4;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    Upload,
    /// From the backend to the client.
    Download,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Upload, Self::Download];
}

/// First byte of a connection: what the server shall do.
mod command {
    /// Read a stream, of the length that follows, and answer by its digest.
    pub(super) const UPLOAD: u8 = b'u';
    /// Send a stream of the length that follows, and its digest.
    pub(super) const DOWNLOAD: u8 = b'd';
    /// Read until the end, and answer by the number of bytes.
    pub(super) const COUNT: u8 = b'c';
    /// Answer by one byte, and close.
    pub(super) const TOUCH: u8 = b't';
}

/// A server for both families, which ends when this goes out of scope.
#[derive(Debug)]
pub struct BulkServer {
    listener: TcpListener,
    threads: Vec<JoinHandle<()>>,
}

impl BulkServer {
    /// Serves on `port` of a namespace.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let listener = namespace
            .within(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?
            .with_context(|| format!("cannot listen in {}", namespace.name()))?;
        let mut threads = Vec::new();
        for _ in 0..ACCEPTORS {
            let listener = listener.try_clone()?;
            threads.push(thread::spawn(move || accept(&listener)));
        }
        Ok(Self { listener, threads })
    }
}

impl Drop for BulkServer {
    fn drop(&mut self) {
        // On Linux this ends the waiting `accept`s. It fails only when nothing waits any more.
        let _shut = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                eprintln!("a server of the test network panicked");
            }
        }
    }
}

fn accept(listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        // Whatever breaks is for the client to report.
        let _served = serve(stream);
    }
}

/// Answers a touch at once, and leaves what takes longer to a thread of its own.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    bound(&stream)?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    match first {
        [command::TOUCH] => return stream.write_all(&first),
        [command::UPLOAD] => thread::spawn(move || {
            let length = read_number(&mut stream)?;
            let digest = receive(&mut stream, length)?;
            stream.write_all(&digest.to_be_bytes())
        }),
        [command::DOWNLOAD] => thread::spawn(move || {
            let length = read_number(&mut stream)?;
            let digest = send(&mut stream, length)?;
            stream.write_all(&digest.to_be_bytes())
        }),
        [command::COUNT] => thread::spawn(move || {
            let (mut block, mut total) = (vec![0; BLOCK], 0_u64);
            loop {
                match stream.read(&mut block)? {
                    0 => return stream.write_all(&total.to_be_bytes()),
                    read => total += read as u64,
                }
            }
        }),
        _ => return Err(Error::from(ErrorKind::InvalidData)),
    };
    Ok(())
}

/// Transfers `bytes` bytes over one connection; fails when other bytes arrive than were sent, or when it stands still.
pub fn transfer(to: SocketAddr, direction: Direction, bytes: u64) -> io::Result<()> {
    let mut stream = open(to)?;
    let (command, length) = match direction {
        Direction::Upload => (command::UPLOAD, bytes),
        Direction::Download => (command::DOWNLOAD, bytes),
    };
    stream.write_all(&[&[command], length.to_be_bytes().as_slice()].concat())?;
    let own = match direction {
        Direction::Upload => send(&mut stream, bytes)?,
        Direction::Download => receive(&mut stream, bytes)?,
    };
    let other = read_number(&mut stream)?;
    if own == other { Ok(()) } else { Err(Error::other("other bytes arrived than were sent")) }
}

/// Sends over one connection for so long; gives the bytes that arrived, by second.
pub fn rate(to: SocketAddr, duration: Duration) -> io::Result<f64> {
    let mut stream = open(to)?;
    let block = vec![0; BLOCK];
    let begin = Instant::now();
    stream.write_all(&[command::COUNT])?;
    while begin.elapsed() < duration {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let arrived = read_number(&mut stream)?;
    Ok(arrived as f64 / begin.elapsed().as_secs_f64())
}

/// Opens connections for so long, by several threads, each of which sends a byte and gets one; gives their number, by
/// second. Must be called in the client's namespace.
pub fn connection_rate(to: SocketAddr, duration: Duration, workers: usize) -> io::Result<f64> {
    let begin = Instant::now();
    let work = || {
        let mut count = 0_u64;
        while begin.elapsed() < duration {
            touch(to)?;
            count += 1;
        }
        io::Result::Ok(count)
    };
    let total = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).sum::<io::Result<u64>>()
    })?;
    Ok(total as f64 / begin.elapsed().as_secs_f64())
}

/// One connection: a byte there, a byte back, and its end. The server closes first, so that the client's ports are free
/// again.
fn touch(to: SocketAddr) -> io::Result<()> {
    let mut stream = open(to)?;
    stream.write_all(&[command::TOUCH])?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer == [command::TOUCH] { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, STALL_MAX)?;
    bound(&stream)?;
    Ok(stream)
}

fn bound(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL_MAX))?;
    stream.set_write_timeout(Some(STALL_MAX))
}

fn read_number(stream: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Sends a stream and gives its digest.
fn send(to: &mut impl Write, length: u64) -> io::Result<u64> {
    blocks(length, |block, stream, digest| {
        stream.fill(block);
        digest.add(block);
        to.write_all(block)
    })
}

/// Reads a stream and gives its digest.
fn receive(from: &mut impl Read, length: u64) -> io::Result<u64> {
    blocks(length, |block, _, digest| {
        from.read_exact(block)?;
        digest.add(block);
        Ok(())
    })
}

/// Goes over `length` bytes in blocks, which both ends cut alike.
fn blocks(
    length: u64,
    mut each: impl FnMut(&mut [u8], &mut Stream, &mut Digest) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut stream, mut digest) = (Stream::new(length), Digest::default());
    let mut buffer = vec![0; BLOCK];
    let mut left = length;
    while left > 0 {
        let size = left.min(BLOCK as u64) as usize;
        each(buffer.get_mut(..size).unwrap_or_default(), &mut stream, &mut digest)?;
        left -= size as u64;
    }
    Ok(digest.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received_and_a_change_is_noticed() {
        let mut bytes = Vec::new();
        let sent = send(&mut bytes, 200_000).unwrap();
        assert_eq!(bytes.len(), 200_000);
        assert_eq!(receive(&mut bytes.as_slice(), 200_000).unwrap(), sent);
        let place = bytes.get_mut(150_001).expect("a byte");
        *place ^= 1;
        assert_ne!(receive(&mut bytes.as_slice(), 200_000).unwrap(), sent);
        assert!(receive(&mut bytes.as_slice(), 200_001).is_err());
    }
}
