//! What the programs answer by themselves reaches a real socket, at every hook. Needs root.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::ffi::CString;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use aya::programs::tc::{SchedClassifierLinkId, TcAttachType, qdisc_add_clsact};
use aya::programs::{SchedClassifier, XdpMode};
use lb_common::{Frontend, FrontendFlags, FrontendKey, SettingsFlags, protocol};
use lb_ebpf::memory::MemoryMaps;
use lb_ebpf::memory::network::{INGRESS, Net, Node, PORT, VIPS};
use lb_ebpf::{V4, V6};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
use tests::kernel_object::{KernelObject, Sizes};
use tests::net::{Namespace, PassProgram, sweep, unique};

const SIZES: Sizes = Sizes { slots: 64, flows: 64, backends: 64 };
const NODE_MAC: &str = "02:00:00:00:01:01";

/// Where the packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Driver,
    Generic,
    Stack,
}

/// A client and a node with two ends of a cable. What the client sends may leave its checksum to hardware.
struct Cable {
    client: Namespace,
    node: Namespace,
    // Wakes the client's end for what XDP transmits.
    _receiver: PassProgram,
}

impl Cable {
    fn lay(offload: bool) -> Self {
        sweep();
        let name = unique();
        let client = Namespace::create(format!("{name}-client")).unwrap();
        let node = Namespace::create(format!("{name}-node")).unwrap();
        client
            .ip(&format!("link add name eth0 type veth peer name eth0 index {INGRESS} netns {}", node.name()))
            .unwrap();
        node.ip(&format!("link set eth0 address {NODE_MAC}")).unwrap();
        for (namespace, last) in [(&client, 2), (&node, 1)] {
            namespace.ip("link set eth0 up").unwrap();
            // The node's end completes itself what the client's left to it.
            let checksum = if offload && last == 2 { "on" } else { "off" };
            namespace.run(&format!("ethtool -K eth0 tx {checksum} gro on")).unwrap();
            namespace.ip(&format!("addr add 10.1.0.{last}/24 dev eth0")).unwrap();
            namespace.ip(&format!("addr add fd00:0:0:1::{last}/64 dev eth0 nodad")).unwrap();
        }
        client.ip(&format!("route add 10.{VIPS}.0.0/16 via 10.1.0.1")).unwrap();
        client.ip(&format!("-6 route add fd00:0:0:{VIPS}::/64 via fd00:0:0:1::1")).unwrap();
        let _receiver = PassProgram::attach(&client, "eth0").unwrap();
        Self { client, node, _receiver }
    }
}

/// VIP 1 of either family is a Service without endpoints.
fn maps() -> MemoryMaps {
    let mut maps = Node::new()
        .with_service::<V4>(1, protocol::TCP, &[])
        .with_service::<V4>(1, protocol::UDP, &[])
        .with_service::<V6>(1, protocol::TCP, &[])
        .with_service::<V6>(1, protocol::UDP, &[])
        .maps;
    let address = Frontend { flags: FrontendFlags::ADDRESS, ..Frontend::default() };
    maps.v4.frontends.insert(FrontendKey::new(V4::address(VIPS, 1), 0, 0), address);
    maps.v6.frontends.insert(FrontendKey::new(V6::address(VIPS, 1), 0, 0), address);
    maps.settings.as_mut().unwrap().flags |= SettingsFlags::ECHO;
    maps
}

/// Attaches a program to the node's device; it stays while the object does.
fn attach(kernel: &mut KernelObject, node: &Namespace, at: At) -> Option<SchedClassifierLinkId> {
    let device = CString::new("eth0").unwrap();
    match at {
        At::Driver | At::Generic => {
            let mode = if at == At::Driver { XdpMode::Driver } else { XdpMode::Skb };
            let program = kernel.xdp("weir_xdp").unwrap();
            node.within(|| program.attach(device.as_c_str(), mode)).unwrap().unwrap();
            None
        }
        At::Stack => {
            let program: &mut SchedClassifier = kernel.classifier("weir_tc_ingress").unwrap();
            let link = node.within(|| {
                let _present = qdisc_add_clsact(device.as_c_str());
                program.attach(device.as_c_str(), TcAttachType::Ingress)
            });
            Some(link.unwrap().unwrap())
        }
    }
}

/// Whether an echo request is answered with the same data.
fn ping(to: IpAddr) -> bool {
    let (family, protocol, kind) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128),
    };
    let socket = socket(family, SocketType::RAW, Some(protocol)).unwrap();
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(200))).unwrap();
    let mut request = [[kind, 0, 0, 0, 0x12, 0x34, 0, 1], *b"payload!"].concat();
    if to.is_ipv4() {
        let sum = u32::from(kind) * 256
            + 0x1235
            + request[8..]
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum::<u32>();
        let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(to, 0)).unwrap();
    let mut reply = [0; 128];
    // Other messages come to a raw socket as well.
    while let Ok((length, _)) = recv(&socket, &mut reply, RecvFlags::empty()) {
        let reply = &reply[if to.is_ipv4() { 20 } else { 0 }..length];
        if reply[0] == (if to.is_ipv4() { 0 } else { 129 }) && reply[4..] == request[4..] {
            return true;
        }
    }
    false
}

/// How a connection, and a datagram, to `to` fail.
fn refusals(to: SocketAddr) -> [ErrorKind; 2] {
    let wait = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&to, wait).map(|mut stream| stream.write(b"x"));
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    socket.connect(to).unwrap();
    socket.send(&[7; 300]).unwrap();
    [stream.unwrap_err().kind(), socket.recv(&mut [0; 1]).unwrap_err().kind()]
}

fn a_service_without_endpoints_refuses(at: At, offload: bool) {
    let cable = Cable::lay(offload);
    let mut kernel = KernelObject::load(SIZES).unwrap();
    kernel.fill(&maps()).unwrap();
    let _link = attach(&mut kernel, &cable.node, at);
    let vips: [IpAddr; 2] = [V4::address(VIPS, 1).into(), V6::address(VIPS, 1).into()];
    for vip in vips {
        // A device that gets an XDP program is set up anew, and loses what arrives meanwhile.
        let pinged = (0..20).any(|_| cable.client.within(|| ping(vip)).unwrap());
        assert!(pinged, "{at:?} {vip}: no echo reply; {}", kernel.counts().unwrap());
        for port in [PORT, 81] {
            let refused = cable.client.within(|| refusals(SocketAddr::new(vip, port))).unwrap();
            let case = format!("{at:?}, offload {offload}, {vip} port {port}");
            assert_eq!(refused, [ErrorKind::ConnectionRefused; 2], "{case}; {}", kernel.counts().unwrap());
        }
    }
}

#[test]
fn in_the_driver() {
    a_service_without_endpoints_refuses(At::Driver, false);
}

#[test]
fn in_generic_xdp() {
    a_service_without_endpoints_refuses(At::Generic, false);
}

#[test]
fn in_the_stack() {
    a_service_without_endpoints_refuses(At::Stack, false);
}

/// What is still left to a device then is the checksum of the segment that the answer quotes, not the answer's own.
#[test]
fn in_the_stack_when_checksums_are_left_to_devices() {
    a_service_without_endpoints_refuses(At::Stack, true);
}
