//! A packet in a buffer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::headers::{ETHERNET_BYTES, ETHERTYPE_IPV4, Ethernet, Ipv4, Ipv6, Ports};
use crate::{L4Update, Packet, update_complete};

/// A packet from its Ethernet header on, aligned to two bytes as the kernel's packets are to the engine.
#[derive(Clone, PartialEq, Eq)]
pub struct BufferPacket {
    /// The bytes in pairs; the second of the last pair is not part of a packet of odd length.
    pairs: Vec<u16>,
    length: usize,
}

impl BufferPacket {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut pairs = vec![0_u16; bytes.len().div_ceil(2)];
        for (to, from) in pairs.as_mut_slice().as_mut_bytes().iter_mut().zip(bytes) {
            *to = *from;
        }
        Self { pairs, length: bytes.len() }
    }

    /// The bytes as they are now.
    pub fn bytes(&self) -> &[u8] {
        self.pairs.as_slice().as_bytes().get(..self.length).unwrap_or_default()
    }

    /// The packet turned round: addresses of link and network and both ports change places, which no checksum sees. `None`
    /// when the headers are not all there.
    pub fn turned(&self) -> Option<Self> {
        let mut packet = self.clone();
        let ethernet = packet.header::<Ethernet>(0)?;
        core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
        let l4 = match ethernet.ethertype {
            ETHERTYPE_IPV4 => {
                let ip = packet.header::<Ipv4>(ETHERNET_BYTES)?;
                core::mem::swap(&mut ip.source, &mut ip.destination);
                usize::from(ip.version_ihl & 0x0f) * 4
            }
            _ => {
                let ip = packet.header::<Ipv6>(ETHERNET_BYTES)?;
                core::mem::swap(&mut ip.source, &mut ip.destination);
                size_of::<Ipv6>()
            }
        };
        let ports = packet.header::<Ports>(ETHERNET_BYTES + l4)?;
        core::mem::swap(&mut ports.source, &mut ports.destination);
        Some(packet)
    }
}

impl core::fmt::Debug for BufferPacket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Packet for BufferPacket {
    fn header<T>(&mut self, offset: usize) -> Option<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        let bytes = self.pairs.as_mut_slice().as_mut_bytes().get_mut(..self.length)?;
        T::mut_from_prefix(bytes.get_mut(offset..)?).ok().map(|(header, _)| header)
    }

    fn length(&mut self) -> u32 {
        self.length as u32
    }

    fn reshape(&mut self, keep: u32, grow: u32) -> Option<()> {
        let kept = self.bytes().get(..keep as usize)?;
        *self = Self::new(&[&vec![0; grow as usize], kept].concat());
        Some(())
    }

    fn update_l4(&mut self, update: &L4Update) -> Option<()> {
        update_complete(self, update)
    }
}
