//! The worker process and its control group by themselves: before weir is blamed, sockets must do as they do.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;
use tests::net::{
    Arms, BackendHost, Cgroup, DNS_TARGET_PORT, Family, HTTP_TARGET_PORT, NODE4, NODE6, Namespace, Network,
    unique,
};
use tests::traffic::{Called, Failure, Kind, Protocol, Received, Server, Waited, Way, Worker};

fn port(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => HTTP_TARGET_PORT,
        Protocol::Udp => DNS_TARGET_PORT,
    }
}

fn endpoint(backend: &BackendHost, protocol: Protocol, family: Family) -> SocketAddr {
    SocketAddr::new(backend.address(family), port(protocol))
}

fn errno<T: Debug>(called: Called<T>) -> Errno {
    match called {
        Err(Failure::Errno(errno)) => errno,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_call_does_what_it_is_named_after() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let cgroup = Cgroup::create().unwrap();
    let worker = Worker::start(&network.node, &cgroup).unwrap();
    let [first, second, _] = network.backends.as_slice() else { panic!("three backends") };
    for family in Family::ALL {
        let to = endpoint(first, Protocol::Tcp, family);
        let socket = worker.open(Kind::Tcp, family).unwrap();
        assert_eq!(errno(socket.peer()), Errno::NOTCONN);
        socket.connect(to).unwrap();
        assert_eq!((socket.peer(), socket.ask()), (Ok(to), Ok(first.name.to_owned())));
        assert_eq!(socket.local().unwrap().is_ipv4(), family == Family::V4);
        let socket = worker.open(Kind::Tcp, family).unwrap();
        assert_eq!(socket.begin(to), Ok(Waited::Yes));
        assert_eq!(socket.ask(), Ok(first.name.to_owned()));
        let socket = worker.open(Kind::Tcp, family).unwrap();
        assert_eq!(errno(socket.connect(SocketAddr::new(first.address(family), 9))), Errno::CONNREFUSED);
        let socket = worker.open(Kind::Tcp, family).unwrap();
        assert_eq!(errno(socket.begin(SocketAddr::new(first.address(family), 9))), Errno::CONNREFUSED);

        let [to, other] = [first, second].map(|one| endpoint(one, Protocol::Udp, family));
        let socket = worker.open(Kind::Udp, family).unwrap();
        let received = socket.ask_at(to).unwrap();
        assert_eq!((received.source, received.backend.as_str()), (Some(to), first.name));
        socket.connect(other).unwrap();
        assert_eq!((socket.ask(), socket.peer()), (Ok(second.name.to_owned()), Ok(other)));
        socket.disconnect().unwrap();
        assert_eq!(errno(socket.peer()), Errno::NOTCONN);
        assert_eq!(errno(socket.receive()), Errno::AGAIN);
        assert!(socket.cookie().unwrap() > 0);
        socket.mark(7).unwrap();
    }
    let socket = worker.open(Kind::Tcp, Family::V6).unwrap();
    let mapped = IpAddr::V6(first.v4.to_ipv6_mapped());
    socket.connect(SocketAddr::new(mapped, HTTP_TARGET_PORT)).unwrap();
    assert_eq!((socket.peer().unwrap().ip(), socket.ask()), (mapped, Ok(first.name.to_owned())));
    worker.unix().unwrap();
}

#[test]
fn sockets_are_bound_and_counted() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let cgroup = Cgroup::create().unwrap();
    let worker = Worker::start(&network.node, &cgroup).unwrap();
    let [first, ..] = network.backends.as_slice() else { panic!("three backends") };
    for (family, node) in [(Family::V4, IpAddr::V4(NODE4)), (Family::V6, IpAddr::V6(NODE6))] {
        for way in Way::ALL {
            let to = endpoint(first, way.protocol(), family);
            let bound = worker.open(way.protocol(), family).unwrap();
            bound.bind(SocketAddr::new(node, 0)).unwrap();
            assert_eq!(bound.local().unwrap().ip(), node);
            assert_eq!(errno(bound.bind(SocketAddr::new(node, 0))), Errno::INVAL);
            let answers = worker.tally(way, 20, to, Some(node)).unwrap();
            assert_eq!(Vec::from_iter(answers), [(first.name.to_owned(), 20)], "{way:?} {to}");
            worker.hold(way, 100, to).unwrap();
            worker.let_go().unwrap();
        }
        let strange = worker.open(Kind::Udp, family).unwrap();
        let nobodys = SocketAddr::new(first.address(family), 1);
        assert_eq!(errno(strange.bind(nobodys)), Errno::ADDRNOTAVAIL);
    }
    assert!(matches!(worker.tally(Way::Tcp, 1, "[::1]:9".parse().unwrap(), None), Err(Failure::Errno(_))));
}

#[test]
fn a_worker_is_in_its_control_group_and_both_go_when_a_test_panics() {
    let namespace = Namespace::create(format!("{}-alone", unique())).unwrap();
    let path = catch_unwind(AssertUnwindSafe(|| {
        let cgroup = Cgroup::create().unwrap();
        let child = cgroup.child("inner").unwrap();
        // They outlive the control groups here: that is no hindrance.
        let path = cgroup.path().to_owned();
        let workers = [Worker::start(&namespace, &cgroup), Worker::start(&namespace, &child)];
        for cgroup in [&cgroup, &child] {
            let processes = std::fs::read_to_string(cgroup.path().join("cgroup.procs")).unwrap();
            assert_eq!(processes.lines().count(), 1, "{processes}");
        }
        let _last = (cgroup, child, workers);
        std::panic::panic_any(path);
    }));
    let path = *path.unwrap_err().downcast::<std::path::PathBuf>().expect("the path");
    assert!(!path.exists(), "{} is still there", path.display());
}

#[test]
fn a_worker_of_an_unknown_control_group_does_not_start() {
    let namespace = Namespace::create(format!("{}-alone", unique())).unwrap();
    let cgroup = Cgroup::create().unwrap();
    std::fs::remove_dir(cgroup.path()).unwrap();
    let error = Worker::start(&namespace, &cgroup).unwrap_err();
    assert!(error.to_string().contains("does not start"), "{error:#}");
}

#[test]
fn a_datagram_of_nobody_is_told_from_one_of_a_server() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let worker = Worker::outside(&network.node).unwrap();
    let [first, ..] = network.backends.as_slice() else { panic!("three backends") };
    let socket = worker.open(Kind::Udp, Family::V4).unwrap();
    let to = endpoint(first, Protocol::Udp, Family::V4);
    let received = socket.ask_at(to).unwrap();
    let peer = SocketAddr::new(Ipv4Addr::new(10, 1, 1, 1).into(), socket.local().unwrap().port());
    assert_eq!(received, Received { source: Some(to), backend: first.name.to_owned(), peer });
    worker.kill().unwrap();
}
