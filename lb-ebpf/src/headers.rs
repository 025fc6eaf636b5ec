//! Headers on the wire: Ethernet (IEEE 802.3), IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293), UDP (RFC 768).
//!
//! Each is aligned to two bytes, as every header behind an Ethernet header is: so the BPF target, which may not read
//! across alignment, reads them by halves of words and not byte by byte.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! header {
    ($(#[$attribute:meta])* $name:ident, $size:literal { $($(#[$doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
        #[repr(C, align(2))]
        pub struct $name { $($(#[$doc])* pub $field: $type,)+ }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

/// Length of an Ethernet header without tags, bytes.
pub const ETHERNET_BYTES: usize = size_of::<Ethernet>();
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

header! {
    /// Ethernet II.
    Ethernet, 14 {
        /// Destination.
        destination: [u8; 6],
        /// Source.
        source: [u8; 6],
        /// EtherType.
        ethertype: [u8; 2],
    }
}

header! {
    /// IPv4 without options.
    Ipv4, 20 {
        /// Version (4) and header length in 32-bit words.
        version_ihl: u8,
        /// Type of service.
        tos: u8,
        /// Length with this header, bytes.
        total_length: [u8; 2],
        /// Identification.
        identification: [u8; 2],
        /// Flags and fragment offset in units of eight bytes.
        fragment: [u8; 2],
        /// Time to live.
        ttl: u8,
        /// Protocol.
        protocol: u8,
        /// Header checksum.
        checksum: [u8; 2],
        /// Source address.
        source: [u8; 4],
        /// Destination address.
        destination: [u8; 4],
    }
}

header! {
    /// IPv6.
    Ipv6, 40 {
        /// Version (6), traffic class and flow label.
        version_class_label: [u8; 4],
        /// Length after this header, bytes.
        payload_length: [u8; 2],
        /// Next header.
        next_header: u8,
        /// Hop limit.
        hop_limit: u8,
        /// Source address.
        source: [u8; 16],
        /// Destination address.
        destination: [u8; 16],
    }
}

header! {
    /// The ports, which TCP and UDP have in the same place.
    Ports, 4 {
        /// Source port.
        source: [u8; 2],
        /// Destination port.
        destination: [u8; 2],
    }
}

header! {
    /// TCP without options.
    Tcp, 20 {
        /// Ports.
        ports: Ports,
        /// Sequence number.
        sequence: [u8; 4],
        /// Acknowledgement number.
        acknowledgement: [u8; 4],
        /// Data offset in 32-bit words, in the upper four bits.
        data_offset: u8,
        /// See [`TcpFlags`].
        flags: u8,
        /// Window.
        window: [u8; 2],
        /// Checksum.
        checksum: [u8; 2],
        /// Urgent pointer.
        urgent: [u8; 2],
    }
}

header! {
    /// UDP.
    Udp, 8 {
        /// Ports.
        ports: Ports,
        /// Length with this header, bytes.
        length: [u8; 2],
        /// Checksum; zero means none.
        checksum: [u8; 2],
    }
}

header! {
    /// The checksum field of either.
    Checksum, 2 {
        /// The sum.
        sum: [u8; 2],
    }
}

/// Bits of [`Tcp::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags;

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}
