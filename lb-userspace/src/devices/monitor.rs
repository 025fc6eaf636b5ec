//! Wakes the agent when a device or an address of one has changed.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use tracing::warn;

/// Multicast groups of the kernel's `include/uapi/linux/rtnetlink.h`: links, IPv4 and IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Changes come in bursts: what follows within this time is reported with the first.
const BURST: Duration = Duration::from_millis(10);

const MSG_DONTWAIT: i32 = 0x40;
const EINTR: i32 = 4;
const ENOBUFS: i32 = 105;

/// Sends `message` after each burst of changes, until nobody listens.
///
/// What changed is not read: whoever is woken lists the devices anew, which also makes up for messages that were
/// lost. Start it before the first listing, so that no change falls between.
///
/// # Errors
///
/// When the kernel gives no socket, or no thread.
pub fn monitor<T: Clone + Send + 'static>(sender: Sender<T>, message: T) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, GROUPS))?;
    let run = move || {
        loop {
            if let Err(error) = read(&socket, 0) {
                warn!("devices are not followed any more but looked at now and then: {error}");
                return;
            }
            thread::sleep(BURST);
            while read(&socket, MSG_DONTWAIT).is_ok() {}
            if sender.send(message.clone()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("devices".to_owned()).spawn(run).map(|_| ())
}

/// Takes one message, or the note that some were lost.
fn read(socket: &Socket, flags: i32) -> io::Result<()> {
    // Too short for most messages: the rest of one is dropped, and none of it is of interest.
    let mut start = [0; 64];
    match socket.recv(&mut start.as_mut_slice(), flags) {
        Err(error) if matches!(error.raw_os_error(), Some(EINTR | ENOBUFS)) => Ok(()),
        taken => taken.map(|_| ()),
    }
}
