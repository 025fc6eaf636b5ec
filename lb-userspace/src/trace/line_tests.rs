//! Records as lines.

use std::collections::BTreeMap;

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::*;
use crate::explain::ServiceName;
use crate::model::{IpFamily, ObjectKey};
use crate::plan::PortKey;

fn tuple(ends: [&str; 2], protocol: u8, tcp_flags: u8) -> Tuple {
    let mut tuple = Tuple { protocol, tcp_flags, ..Tuple::default() };
    for (end, source) in ends.into_iter().zip([true, false]) {
        let at: SocketAddr = end.parse().unwrap();
        let mut address = [0; 16];
        match at.ip() {
            IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => address.copy_from_slice(&ip.octets()),
        }
        tuple.ip_version = if at.is_ipv4() { 4 } else { 6 };
        if source {
            (tuple.source, tuple.source_port) = (address, at.port().to_be_bytes());
        } else {
            (tuple.destination, tuple.destination_port) = (address, at.port().to_be_bytes());
        }
    }
    tuple
}

fn event(outcome: u16, action: u8, before: Tuple, after: Tuple) -> Event {
    Event {
        time_ns: 1_500_000,
        ifindex: 2,
        out_ifindex: if action > 1 { 3 } else { 0 },
        service: 7,
        length: 74,
        cpu: 1,
        outcome,
        hook: Hook::XDP,
        action,
        before,
        after,
    }
}

fn names() -> Names {
    let key = PortKey {
        service: ObjectKey::new("default", "echo"),
        port_name: "http".to_owned(),
        protocol: crate::model::Protocol::Tcp,
        family: IpFamily::V4,
    };
    let services = BTreeMap::from([(7, ServiceName { key, port: 80 })]);
    Names::given(services, &[(2, "eth0"), (3, "eth1")], 1_700_000_000_000_000_000)
}

#[test]
fn records_are_lines_of_text() {
    let syn = tuple(["192.0.2.1:40000", "198.51.100.10:80"], 6, 2);
    let sent = tuple(["10.1.0.1:2000", "10.1.1.11:8080"], 6, 2);
    let v6 = tuple(["[2001:db8::1]:53", "[2001:db8::2]:5353"], 17, 0);
    let echo = tuple(["192.0.2.1:0", "198.51.100.10:0"], 1, 0);
    let start = "22:13:20.001500Z xdp eth0";
    let cases = [
        (
            event(9, 3, syn, sent),
            ">eth1 redirected redirect default/echo:80 TCP SYN 192.0.2.1:40000 -> 198.51.100.10:80 => \
             10.1.0.1:2000 -> 10.1.1.11:8080 (translated, and sent out of another device)",
        ),
        (
            event(24, 1, syn, syn),
            " source_refused drop default/echo:80 TCP SYN 192.0.2.1:40000 -> 198.51.100.10:80 \
             (its source is in none of the Service's loadBalancerSourceRanges)",
        ),
        (
            Event { service: 0, ..event(5, 0, v6, v6) },
            " not_ours pass - UDP [2001:db8::1]:53 -> [2001:db8::2]:5353 (addressed to no Service)",
        ),
        (
            Event { service: 8, ..event(26, 2, echo, echo) },
            ">eth1 echo transmit - ICMP 192.0.2.1 -> 198.51.100.10 \
             (an echo request to a virtual IP, answered)",
        ),
        (
            event(0, 0, Tuple::default(), Tuple::default()),
            " not_ip pass default/echo:80 - (neither IPv4 nor IPv6)",
        ),
        (
            Event { hook: 9, ifindex: 77, ..event(999, 9, v6, v6) },
            "unknown 77>eth1 999 unknown default/echo:80 UDP [2001:db8::1]:53 -> [2001:db8::2]:5353 \
             (the programs are newer than this command)",
        ),
    ];
    for (event, expected) in cases {
        // By way of bytes, as they come.
        let event = Event::read_from_bytes(event.as_bytes()).unwrap();
        let expected = if event.hook == 9 {
            format!("22:13:20.001500Z {expected}")
        } else {
            format!("{start}{expected}")
        };
        assert_eq!(Line::new(&event, &names()).to_string(), expected);
    }
}

#[test]
fn what_the_node_sends_to_a_service_is_told_apart() {
    let syn = tuple(["192.0.2.1:40000", "198.51.100.10:80"], 6, 2);
    let line = |hook, service| {
        let event = Event { hook, service, ..event(5, 0, syn, syn) };
        Line::new(&event, &names()).to_string()
    };
    let own = event(5, 0, syn, syn).service;
    assert!(line(Hook::TC_EGRESS, own).contains("at its sockets"));
    assert!(line(Hook::TC_EGRESS, 0).contains("addressed to no Service"));
    assert!(line(Hook::TC_INGRESS, own).contains("addressed to no Service"));
}

/// A call by a socket that is bound to `source`, if that is an address.
fn call(hook: u8, outcome: Outcome, ends: [&str; 2], becomes: &str) -> Event {
    let [before, after] =
        [ends[1], becomes].map(|end| tuple([ends[0], end], if hook == Hook::SEND { 17 } else { 6 }, 0));
    let action = u8::from(fate(outcome).is_drop());
    Event { hook, ifindex: 0, length: 0, ..event(outcome.index() as u16, action, before, after) }
}

#[test]
fn calls_on_sockets_are_lines_of_text() {
    let (vip, backend) = ("198.51.100.10:80", "10.1.1.11:8080");
    let cases = [
        (
            call(Hook::CONNECT, Outcome::SocketTranslated, ["0.0.0.0:0", vip], backend),
            "connect socket_translated pass default/echo:80 TCP 198.51.100.10:80 => 10.1.1.11:8080 \
             (the socket was given the address of an endpoint)",
        ),
        (
            call(Hook::CONNECT, Outcome::SourceRefused, ["192.0.2.1:0", vip], vip),
            "connect source_refused refuse default/echo:80 TCP 192.0.2.1 -> 198.51.100.10:80 \
             (its source is in none of the Service's loadBalancerSourceRanges)",
        ),
        (
            call(
                Hook::SEND,
                Outcome::SocketTranslated,
                ["[2001:db8::1]:0", "[2001:db8::2]:53"],
                "[::1]:5353",
            ),
            "send socket_translated pass default/echo:80 UDP 2001:db8::1 -> [2001:db8::2]:53 => \
             2001:db8::1 -> [::1]:5353 (the socket was given the address of an endpoint)",
        ),
        (
            Event {
                service: 0,
                ..call(Hook::SEND, Outcome::NotOurs, ["[::]:0", "[2001:db8::2]:53"], "[2001:db8::2]:53")
            },
            "send not_ours pass - UDP [2001:db8::2]:53 (addressed to no Service)",
        ),
        (
            call(Hook::BIND, Outcome::NodePortTaken, ["0.0.0.0:0", "0.0.0.0:30080"], "0.0.0.0:30080"),
            "bind node_port_taken refuse default/echo:80 TCP 0.0.0.0:30080 \
             (the port is a NodePort of this node (--protect-nodeports))",
        ),
    ];
    for (event, expected) in cases {
        let line = Line::new(&event, &names()).to_string();
        assert_eq!(line, format!("22:13:20.001500Z {expected}"));
    }
}

#[test]
fn a_call_has_no_device_and_no_length_in_json() {
    let vip = "198.51.100.10:80";
    let refused = call(Hook::CONNECT, Outcome::NoBackend, ["0.0.0.0:0", vip], vip);
    let line = serde_json::to_value(Line::new(&refused, &names())).unwrap();
    for (name, expected) in
        [("hook", "connect"), ("verdict", "refuse"), ("action", "refuse"), ("destination", vip)]
    {
        assert_eq!(line[name], expected, "{name}");
    }
    assert_eq!(line["drop"], true);
    for name in ["device", "outDevice", "source", "newSource", "newDestination", "length"] {
        assert!(line[name].is_null(), "{name}");
    }
    let bound = call(Hook::SEND, Outcome::SocketTranslated, ["192.0.2.1:0", vip], "10.1.1.11:8080");
    let line = serde_json::to_value(Line::new(&bound, &names())).unwrap();
    for (name, expected) in [
        ("hook", "send"),
        ("verdict", "forward"),
        ("action", "pass"),
        ("source", "192.0.2.1"),
        ("newSource", "192.0.2.1"),
        ("newDestination", "10.1.1.11:8080"),
    ] {
        assert_eq!(line[name], expected, "{name}");
    }
}

#[test]
fn a_record_is_an_object_of_json() {
    let syn = tuple(["192.0.2.1:40000", "198.51.100.10:80"], 6, 0x12);
    let sent = tuple(["10.1.0.1:2000", "10.1.1.11:8080"], 6, 0x12);
    let line = serde_json::to_string(&Line::new(&event(9, 3, syn, sent), &names())).unwrap();
    assert_eq!(
        line,
        "{\"time\":\"2023-11-14T22:13:20.001500Z\",\"hook\":\"xdp\",\"device\":\"eth0\",\"outDevice\":\"eth1\",\
         \"outcome\":\"redirected\",\"verdict\":\"forward\",\"drop\":false,\"action\":\"redirect\",\
         \"reason\":\"translated, and sent out of another device\",\
         \"service\":{\"namespace\":\"default\",\"name\":\"echo\",\"portName\":\"http\",\"port\":80},\
         \"protocol\":\"TCP\",\"tcpFlags\":[\"SYN\",\"ACK\"],\"source\":\"192.0.2.1:40000\",\
         \"destination\":\"198.51.100.10:80\",\"newSource\":\"10.1.0.1:2000\",\
         \"newDestination\":\"10.1.1.11:8080\",\"length\":74,\"cpu\":1}"
    );
    let dropped = Event { service: 0, ..event(12, 1, syn, syn) };
    let line = serde_json::to_value(Line::new(&dropped, &names())).unwrap();
    assert_eq!((&line["drop"], &line["verdict"]), (&true.into(), &"reject".into()));
    assert!(line["service"].is_null() && line["newSource"].is_null() && line["outDevice"].is_null());
}
