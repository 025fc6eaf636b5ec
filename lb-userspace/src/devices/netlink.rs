//! Questions to rtnetlink, each by a socket of its own.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::tc::{TcHandle, TcMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use tracing::debug;

use super::Link;
use super::link::node_address;

/// The kernel puts no more into one part of an answer (`netlink_dump` in its `net/netlink/af_netlink.c`).
const PART_BYTES: usize = 64 * 1024;

/// A listing that was overtaken by a change is made again, so often.
const TRIES: usize = 4;

/// rtnetlink did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The socket failed, or the kernel refused.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was asked.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The answer was no answer.
    #[error("cannot {what}: the kernel's answer cannot be read: {reason}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The devices of this network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Each device.
    pub links: Vec<Link>,
    /// The address that the kernel takes towards other networks, of each family that has one.
    pub preferred: Vec<IpAddr>,
}

/// Lists devices and addresses.
///
/// # Errors
///
/// When the kernel does not tell.
pub fn list() -> Result<Listing, DeviceError> {
    let mut links = BTreeMap::new();
    for message in dump("list the devices", &Message::GetLink(LinkMessage::default()))? {
        if let Message::NewLink(message) = message
            && let Some(link) = Link::from_message(&message)
        {
            links.insert(link.ifindex, link);
        }
    }
    for message in dump("list the addresses", &Message::GetAddress(AddressMessage::default()))? {
        if let Message::NewAddress(message) = message
            && let Some((ifindex, ip)) = node_address(&message)
            && let Some(link) = links.get_mut(&ifindex)
        {
            link.addresses.push(ip);
        }
    }
    Ok(Listing { links: links.into_values().collect(), preferred: preferred() })
}

/// Connecting a UDP socket sends nothing, but makes the kernel choose a source. The far ends are addresses that no
/// machine has (RFC 5737, RFC 3849), so the default route answers. A dump of the routes could be a million long.
fn preferred() -> Vec<IpAddr> {
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")]
        .into_iter()
        .filter_map(|(any, far)| {
            let socket = UdpSocket::bind(any).ok()?;
            socket.connect(far).ok()?;
            socket.local_addr().ok().map(|address| address.ip())
        })
        .collect()
}

/// Removes the clsact queueing discipline of a device, unless somebody has filters there.
///
/// # Errors
///
/// When the kernel refuses, as it does for a device without one.
pub fn remove_clsact(ifindex: u32) -> Result<(), DeviceError> {
    let what = "remove the clsact qdisc";
    let message = |minor, handle| {
        let mut message = TcMessage::default();
        message.header.index = ifindex.cast_signed();
        message.header.parent = TcHandle { major: u16::MAX, minor };
        message.header.handle = handle;
        message
    };
    for minor in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
        let filters = dump(what, &Message::GetTrafficFilter(message(minor, TcHandle::UNSPEC)));
        if !filters?.is_empty() {
            return Ok(());
        }
    }
    let handle = TcHandle { major: u16::MAX, minor: 0 };
    let socket = ask(what, Message::DelQueueDiscipline(message(TcHandle::CLSACT.minor, handle)), NLM_F_ACK)?;
    answer(what, &socket).map(|_| ())
}

/// All parts of the answer to a question for a list.
fn dump(what: &'static str, question: &Message) -> Result<Vec<Message>, DeviceError> {
    for _ in 0..TRIES {
        let socket = ask(what, question.clone(), NLM_F_DUMP)?;
        let (messages, whole) = answer(what, &socket)?;
        if whole {
            return Ok(messages);
        }
    }
    // A list with holes would take the programs off devices that are there.
    Err(DeviceError::Answer { what, reason: "it changed each time while the kernel told it".to_owned() })
}

fn ask(what: &'static str, question: Message, flags: u16) -> Result<Socket, DeviceError> {
    let failed = |source| DeviceError::Kernel { what, source };
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
    socket.bind_auto().map_err(failed)?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map_err(failed)?;
    Ok(socket)
}

/// Reads until the kernel says that this was all; also answers whether nothing changed meanwhile.
fn answer(what: &'static str, socket: &Socket) -> Result<(Vec<Message>, bool), DeviceError> {
    let mut messages = Vec::new();
    let mut whole = true;
    loop {
        let mut part = Vec::with_capacity(PART_BYTES);
        socket.recv(&mut part, 0).map_err(|source| DeviceError::Kernel { what, source })?;
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            let broken =
                |error: &dyn std::error::Error| DeviceError::Answer { what, reason: error.to_string() };
            let frame = NetlinkBuffer::new_checked(rest).map_err(|error| broken(&error))?;
            let length = (frame.length() as usize).next_multiple_of(4).max(4);
            whole &= frame.flags() & NLM_F_DUMP_INTR == 0;
            match NetlinkMessage::<Message>::deserialize(rest).map(|message| message.payload) {
                Ok(NetlinkPayload::Done(done)) if done.code < 0 => {
                    return Err(DeviceError::Kernel {
                        what,
                        source: io::Error::from_raw_os_error(-done.code),
                    });
                }
                Ok(NetlinkPayload::Done(_)) => return Ok((messages, whole)),
                Ok(NetlinkPayload::Error(error)) if error.code.is_none() => return Ok((messages, whole)),
                Ok(NetlinkPayload::Error(error)) => {
                    return Err(DeviceError::Kernel { what, source: error.to_io() });
                }
                Ok(NetlinkPayload::InnerMessage(message)) => messages.push(message),
                Ok(_) => {}
                // One device that this build cannot read must not hide the others.
                Err(error) => debug!("{what}: a message cannot be read: {error}"),
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_listed_by_name_and_has_no_node_address() {
        let listing = list().unwrap();
        let lo = listing.links.iter().find(|link| link.name == "lo").expect("every namespace has one");
        assert!(lo.loopback && !lo.ethernet && lo.addresses.is_empty(), "{lo:?}");
    }

    #[test]
    fn a_device_that_is_gone_is_an_error_of_the_kernel() {
        let error = remove_clsact(0x7fff_ffff).unwrap_err();
        assert!(matches!(error, DeviceError::Kernel { .. }), "{error}");
    }
}
