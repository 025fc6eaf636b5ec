//! The programs for calls on sockets, as the verifier sees them.
#![forbid(unsafe_code)]

use lb_common::{Settings, protocol};
use lb_ebpf::V4;
use lb_ebpf::memory::network::{Net as _, Node, PORT, VIPS};
use rustix::io::Errno;
use tests::kernel_object::{KernelObject, Sizes};
use tests::net::{Cgroup, Family, Namespace, unique};
use tests::traffic::{Failure, Kind, Worker};

const SIZES: Sizes = Sizes { slots: 1024, flows: 1024, backends: 64 };

/// Most instructions that the verifier may walk for a program: it gives up at a million.
const WALKED_MAX: u32 = 200_000;

#[test]
fn every_program_loads_within_bounds() {
    let mut object = KernelObject::load(SIZES).expect("maps");
    object.load_calls().expect("programs");
    let mut calls = 0;
    for (name, info) in object.statistics().expect("statistics") {
        let walked = info.verified_instruction_count().expect("a kernel that tells");
        println!("{name}: {walked} instructions walked");
        assert!(walked <= WALKED_MAX, "{name}: {walked}");
        calls += 1;
    }
    assert_eq!(calls, 11);
}

/// A kernel before Linux 6.1 lets a program only refuse: the error is then the kernel's.
#[test]
fn a_kernel_that_chooses_the_error_says_eperm() {
    for (sets_errors, expected) in [(true, Errno::CONNREFUSED), (false, Errno::PERM)] {
        let mut object = KernelObject::load_for(SIZES, sets_errors).expect("maps");
        let mut maps = Node::new().with_service::<V4>(1, protocol::TCP, &[]).maps;
        maps.settings = Some(Settings { netns_cookie: 1, ..maps.settings.expect("settings") });
        object.fill(&maps).expect("a Service without endpoints");
        let cgroup = Cgroup::create().expect("a control group");
        object.attach_connect4(cgroup.path()).expect("a program");
        let namespace = Namespace::create(format!("{}-pod", unique())).expect("a namespace");
        let worker = Worker::start(&namespace, &cgroup).expect("a worker");
        let socket = worker.open(Kind::Tcp, Family::V4).expect("a socket");
        let to = (std::net::Ipv4Addr::from(V4::address(VIPS, 1)), PORT).into();
        assert_eq!(socket.connect(to), Err(Failure::Errno(expected)));
    }
}
