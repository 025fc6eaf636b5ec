//! Headers on the wire: Ethernet (IEEE 802.3), IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792,
//! RFC 4443).
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
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
/// EtherType of the outer of two VLAN tags (IEEE 802.1ad).
pub const ETHERTYPE_QINQ: [u8; 2] = [0x88, 0xa8];
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
    /// An IPv6 extension header, as far as any of them is read (RFC 8200 section 4).
    Extension, 8 {
        /// Next header.
        next_header: u8,
        /// Length in words of eight bytes behind the first eight; no length in a fragment header.
        length: u8,
        /// Of a fragment header: offset in the upper thirteen bits, and "more fragments" in the lowest.
        fragment: [u8; 2],
        /// Of a fragment header: identification.
        identification: [u8; 4],
    }
}

header! {
    /// A VLAN tag (IEEE 802.1Q) behind an EtherType that announces it.
    Vlan, 4 {
        /// Priority and VLAN identifier.
        tag: [u8; 2],
        /// EtherType of what follows.
        ethertype: [u8; 2],
    }
}

header! {
    /// SCTP, with the first chunk's type (RFC 9260 section 3).
    Sctp, 16 {
        /// Ports.
        ports: Ports,
        /// Verification tag.
        tag: [u8; 4],
        /// CRC32c over this header and the chunks, and over no address.
        checksum: [u8; 4],
        /// Type of the first chunk.
        chunk: u8,
        /// Flags of the first chunk.
        chunk_flags: u8,
        /// Length of the first chunk.
        chunk_length: [u8; 2],
    }
}

header! {
    /// The ports, which TCP, UDP and SCTP have in the same place.
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
    /// The first bytes of an ICMP or ICMPv6 message.
    IcmpType, 2 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    }
}

header! {
    /// ICMP (RFC 792) and ICMPv6 (RFC 4443).
    Icmp, 8 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Checksum.
        checksum: [u8; 2],
        /// What the type says: identifier and sequence number, MTU, or nothing.
        rest: [u8; 4],
    }
}

header! {
    /// A checksum field.
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
