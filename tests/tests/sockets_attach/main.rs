//! The programs on sockets come, are replaced and go with the agent. Needs root and a cgroup2 hierarchy.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod again;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use lb_common::{ExcludedCgroup, Settings, SettingsFlags, maps::LAYOUT};
use rustix::process::Signal;
use tests::agent::Agent;
use tests::manifests::Manifests;
use tests::net::{Cgroup, Namespace, run, sweep, unique};

const CALLS: [&str; 11] = [
    "bind4",
    "bind6",
    "connect4",
    "connect6",
    "getpeername4",
    "getpeername6",
    "recvmsg4",
    "recvmsg6",
    "release",
    "sendmsg4",
    "sendmsg6",
];

/// A machine with nothing but a loopback device, and a control group.
struct Machine {
    name: String,
    node: Namespace,
    cgroup: Cgroup,
    manifests: Manifests,
}

impl Machine {
    fn new() -> Self {
        sweep();
        let name = unique();
        let node = Namespace::create(name.clone()).unwrap();
        let (cgroup, manifests) = (Cgroup::create().unwrap(), Manifests::empty().unwrap());
        Self { name, node, cgroup, manifests }
    }

    /// An agent for its control group.
    fn agent(&self, more: &[&str]) -> Agent<'_> {
        let path = self.cgroup.path().to_str().unwrap();
        self.anywhere(&[&["--socket-mode", "on", "--cgroup-path", path], more].concat())
    }

    fn anywhere(&self, more: &[&str]) -> Agent<'_> {
        let device = ["--device", "lo", "--xdp-mode", "off", "--node-ip", "192.0.2.1"];
        Agent::alone(&self.node, &self.name, &self.manifests, &[&device, more].concat())
    }
}

fn id(cgroup: &Path) -> u64 {
    fs::metadata(cgroup).unwrap().ino()
}

/// Names of the pins of programs on sockets, behind `cgroup-`.
fn pins(agent: &Agent<'_>) -> BTreeSet<String> {
    let names = fs::read_dir(agent.pin_path().join("links")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_prefix("cgroup-").map(str::to_owned)).collect()
}

fn pins_for(cgroup: &Path) -> BTreeSet<String> {
    let id = id(cgroup);
    CALLS.iter().map(|call| format!("{call}-{id}")).collect()
}

/// Id of the link and of its program, by call.
fn links(agent: &Agent<'_>, cgroup: &Path) -> BTreeMap<&'static str, (u32, u32)> {
    let id = id(cgroup);
    let of = |call: &'static str| {
        let pinned = agent.pin_path().join(format!("links/cgroup-{call}-{id}"));
        let info = FdLink::from(PinnedLink::from_pin(pinned).unwrap()).info().unwrap();
        (call, (info.id(), info.program_id()))
    };
    CALLS.into_iter().map(of).collect()
}

/// Number of weir's programs that are attached to a control group.
fn attached(cgroup: &Path) -> usize {
    run(&format!("bpftool cgroup show {}", cgroup.display())).unwrap().matches("weir_").count()
}

fn excluded(agent: &Agent<'_>) -> Vec<(u64, u32)> {
    let map: Array<MapData, ExcludedCgroup> = array(agent, "EXCLUDED_CGROUPS");
    map.iter().map(|one| one.unwrap()).take_while(|one| one.id != 0).map(|one| (one.id, one.level)).collect()
}

fn settings(agent: &Agent<'_>) -> Settings {
    array(agent, "SETTINGS").get(&0, 0).unwrap()
}

fn array<V: aya::Pod>(agent: &Agent<'_>, name: &str) -> Array<MapData, V> {
    let path = agent.pin_path().join(LAYOUT).join(name);
    Array::try_from(Map::Array(MapData::from_pin(path).unwrap())).unwrap()
}

/// Where the hierarchy is mounted from its root.
fn mounted() -> PathBuf {
    let root = Cgroup::create().unwrap();
    root.path().parent().unwrap().to_owned()
}

#[test]
fn the_next_start_gives_the_links_its_programs() {
    let machine = Machine::new();
    let cgroup = machine.cgroup.path();
    let mut agent = machine.agent(&[]);
    agent.launch().unwrap();
    assert_eq!(agent.log().unwrap().lines_with("attached sockets").len(), 1);
    assert_eq!((pins(&agent), attached(cgroup)), (pins_for(cgroup), CALLS.len()));
    let first = links(&agent, cgroup);
    agent.end(Signal::KILL).unwrap();
    assert_eq!(attached(cgroup), CALLS.len(), "they ended with the agent");
    // As a start leaves them that is killed between a pin and its renaming.
    let [connect, left] = ["connect4", "release"]
        .map(|call| agent.pin_path().join(format!("links/cgroup-{call}-{}", id(cgroup))));
    fs::rename(&left, left.with_file_name(format!("cgroup-release-{}-next", id(cgroup)))).unwrap();
    fs::remove_file(connect).unwrap();
    agent.launch().unwrap();

    assert_eq!((pins(&agent), attached(cgroup)), (pins_for(cgroup), CALLS.len()));
    for (call, (link, program)) in links(&agent, cgroup) {
        let (link_before, program_before) = first[call];
        assert_ne!(program, program_before, "{call}");
        // The kernel lets no other program take the link's place at release.
        let stays = !["release", "connect4"].contains(&call);
        assert_eq!(link == link_before, stays, "{call}: {link_before} then {link}");
    }
}

#[test]
fn links_to_another_control_group_are_taken_off() {
    let machine = Machine::new();
    let below = machine.cgroup.child("below").unwrap();
    let mut agent = machine.agent(&[]);
    agent.launch().unwrap();
    agent.end(Signal::TERM).unwrap();
    let mut next =
        machine.anywhere(&["--socket-mode", "on", "--cgroup-path", below.path().to_str().unwrap()]);
    next.launch().unwrap();
    assert_eq!(pins(&next), pins_for(below.path()));
    assert_eq!((attached(machine.cgroup.path()), attached(below.path())), (0, CALLS.len()));
}

#[test]
fn off_takes_them_off_and_cleanup_leaves_nothing() {
    let machine = Machine::new();
    let cgroup = machine.cgroup.path();
    let mut agent = machine.agent(&[]);
    agent.launch().unwrap();
    agent.end(Signal::TERM).unwrap();
    let mut off = machine.anywhere(&["--socket-mode", "off", "--nodeport-addresses", "localhost"]);
    off.launch().unwrap();
    assert_eq!((pins(&off), attached(cgroup)), (BTreeSet::new(), 0));
    let log = off.log().unwrap();
    assert_eq!(log.lines_with("not served any more").len(), 1, "{log}");
    assert_eq!(log.lines_with("selects loopback addresses").len(), 1, "{log}");
    off.end(Signal::TERM).unwrap();

    agent.launch().unwrap();
    agent.end(Signal::TERM).unwrap();
    assert_eq!(attached(cgroup), CALLS.len());
    // What is somebody else's stays, and says so.
    let foreign = agent.pin_path().join("links/mine");
    fs::create_dir(&foreign).unwrap();
    let ended = agent.clean_up().unwrap();
    assert_eq!(ended.code, Some(1), "{ended}");
    assert_eq!((foreign.exists(), attached(cgroup)), (true, 0), "{ended}");
    fs::remove_dir(&foreign).unwrap();
    let ended = agent.clean_up().unwrap();
    assert_eq!((ended.code, agent.pin_path().exists()), (Some(0), false), "{ended}");
}

/// A program that is attached for itself alone keeps the last of weir's programs away.
#[test]
fn a_start_that_fails_half_way_leaves_nothing() {
    let (helper, machine) = (Machine::new(), Machine::new());
    let cgroup = machine.cgroup.path().display().to_string();
    let mut agent = helper.agent(&[]);
    agent.launch().unwrap();
    let (_, program) = links(&agent, helper.cgroup.path())["connect6"];
    run(&format!("bpftool cgroup attach {cgroup} cgroup_inet6_connect id {program}")).unwrap();
    let refused = |text: &str| text.contains("attach weir_connect6") && text.contains("bpftool cgroup tree");

    let on = machine.agent(&[]);
    let ended = on.fail().unwrap();
    assert!(ended.code == Some(1) && refused(&ended.stderr), "{ended}");
    assert_eq!((attached(machine.cgroup.path()), on.pin_path().exists()), (1, false), "{ended}");
    let mut auto = machine.anywhere(&["--socket-mode", "auto", "--cgroup-path", &cgroup]);
    auto.launch().unwrap();
    let log = auto.log().unwrap();
    assert!(matches!(log.lines_with("WARN calls on sockets").as_slice(), [line] if refused(line)), "{log}");
    assert_eq!((attached(machine.cgroup.path()), pins(&auto)), (1, BTreeSet::new()));

    // The way is free, and it starts anew.
    run(&format!("bpftool cgroup detach {cgroup} cgroup_inet6_connect id {program}")).unwrap();
    auto.end(Signal::TERM).unwrap();
    auto.launch().unwrap();
    assert_eq!(
        (attached(machine.cgroup.path()), pins(&auto)),
        (CALLS.len(), pins_for(machine.cgroup.path()))
    );
}

#[test]
fn directories_that_will_not_do_are_refused_before_anything_is_made() {
    let machine = Machine::new();
    let cgroup = machine.cgroup.path().display().to_string();
    let mut many = Vec::new();
    let children: Vec<Cgroup> =
        (0..17).map(|number| machine.cgroup.child(&format!("c{number}")).unwrap()).collect();
    for child in &children {
        many.extend(["--exclude-cgroup", child.path().to_str().unwrap()]);
    }
    let (file, none) = (format!("{cgroup}/cgroup.procs"), format!("{cgroup}/none"));
    let cases: [(&[&str], &str); 6] = [
        (&["--cgroup-path", &none], "No such file or directory"),
        (&["--cgroup-path", &file], "not a directory"),
        (&["--cgroup-path", "/proc"], "--cgroup-path /proc is not in a cgroup2 hierarchy"),
        (&["--exclude-cgroup", "/proc"], "--exclude-cgroup /proc is not in a cgroup2 hierarchy"),
        (&["--exclude-cgroup", &none], "No such file or directory"),
        (&many, "names 17 control groups, and at most 16 can be"),
    ];
    for mode in ["auto", "on"] {
        for (more, expected) in cases {
            let path = ["--cgroup-path", cgroup.as_str()];
            let path = if more.contains(&"--cgroup-path") { &[][..] } else { &path };
            let agent = machine.anywhere(&[&["--socket-mode", mode], path, more].concat());
            let ended = agent.fail().unwrap();
            assert_eq!(ended.code, Some(1), "{more:?}: {ended}");
            assert!(ended.stderr.contains(expected), "{more:?}: {ended}");
            assert!(!agent.pin_path().exists(), "{more:?}");
        }
    }
}

#[test]
fn what_the_options_say_is_in_the_maps() {
    let machine = Machine::new();
    let below = machine.cgroup.child("below").unwrap();
    let name = Path::new("/").join(machine.cgroup.path().file_name().unwrap());
    let group = (id(machine.cgroup.path()), 1);
    let list = format!("{},{}", below.path().display(), name.display());
    let mut agent = machine.agent(&["--exclude-cgroup", &list, "--socket-mark", "0x10"]);
    agent.launch().unwrap();
    assert_eq!(excluded(&agent), [(id(below.path()), 2), group]);
    let held = settings(&agent);
    assert_eq!((held.socket_mark, held.netns_cookie == 0), (16, false));
    let flags = SettingsFlags::EXCLUDED_CGROUPS | SettingsFlags::PROTECT_NODE_PORTS;
    assert_eq!(held.flags & (flags | SettingsFlags::LOOPBACK4 | SettingsFlags::LOOPBACK6), flags);
    agent.end(Signal::TERM).unwrap();

    // Another spelling of one of them, twice.
    let path = machine.cgroup.path().display().to_string();
    let same = format!("{path}/below/..");
    let more = ["--exclude-cgroup", &path, "--exclude-cgroup", &same, "--socket-mark", "0"];
    let mut agent = machine.agent(&[&more[..], &["--protect-nodeports", "false"]].concat());
    agent.launch().unwrap();
    assert_eq!(excluded(&agent).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([group]));
    assert_eq!(settings(&agent).flags & flags, SettingsFlags::EXCLUDED_CGROUPS);
    assert_eq!(settings(&agent).socket_mark, 0);
    agent.end(Signal::TERM).unwrap();

    let mut agent = machine.agent(&[]);
    agent.launch().unwrap();
    assert_eq!(
        (excluded(&agent), settings(&agent).flags & flags),
        (vec![], SettingsFlags::PROTECT_NODE_PORTS)
    );
}

/// The only test that attaches to the root: every process of the machine is served, so its address is nobody else's.
#[test]
fn the_root_of_the_hierarchy_is_found_and_its_processes_are_served() {
    let machine = Machine::new();
    let service = "apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  clusterIPs: [203.0.113.249]
  ipFamilies: [IPv4]
  ports: [{port: 7909}]
";
    machine.manifests.write("service.yaml", service).unwrap();
    let call = || {
        let connected = machine.node.within(|| TcpStream::connect((Ipv4Addr::new(203, 0, 113, 249), 7909)));
        connected.unwrap().unwrap_err().kind()
    };
    assert_eq!(call(), ErrorKind::NetworkUnreachable);
    let mut agent = machine.anywhere(&["--socket-mode", "auto"]);
    agent.launch().unwrap();
    let expected: BTreeSet<String> = CALLS.iter().map(|call| format!("{call}-1")).collect();
    assert_eq!(pins(&agent), expected);
    assert_eq!(call(), ErrorKind::ConnectionRefused);
    assert_eq!(agent.clean_up().unwrap().code, Some(1), "an agent runs");
    agent.end(Signal::TERM).unwrap();
    assert_eq!(call(), ErrorKind::ConnectionRefused);
    assert_eq!(agent.clean_up().unwrap().code, Some(0));
    assert_eq!(call(), ErrorKind::NetworkUnreachable);
}

#[test]
fn a_machine_without_the_hierarchy_serves_packets() {
    let machine = Machine::new();
    let script = format!("umount -l {} && exec \"$0\" \"$@\"", mounted().display());
    let through = ["unshare", "--mount", "sh", "-c", &script];
    let ended = machine.anywhere(&["--socket-mode", "on"]).through(&through).fail().unwrap();
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("no cgroup2 hierarchy is mounted"), "{ended}");
    let more = ["--socket-mode", "auto", "--exclude-cgroup", "/none"];
    let mut agent = machine.anywhere(&more).through(&through);
    agent.launch().unwrap();
    let log = agent.log().unwrap();
    let told = log.lines_with("no cgroup2 hierarchy is mounted");
    assert!(
        matches!(told.as_slice(), [line] if line.contains("WARN") && line.contains("only packets")),
        "{log}"
    );
    assert_eq!(pins(&agent), BTreeSet::new());
}

/// As in a pod with a control group namespace of its own, where the kernel calls the pod's group `/`.
#[test]
fn a_container_that_sees_a_part_of_the_hierarchy_needs_the_hosts() {
    let machine = Machine::new();
    let (host, cgroup) = (mounted().display().to_string(), machine.cgroup.path().display().to_string());
    let inside = |mounts: &str| {
        format!(
            "echo $$ > {cgroup}/cgroup.procs && exec unshare --cgroup --mount sh -c '{mounts} && exec \"$0\" \"$@\"' \
             \"$0\" \"$@\""
        )
    };
    let part = inside(&format!("umount -l {host} && mount -t cgroup2 none {host}"));
    let cases: [(&[&str], &str); 2] = [
        (&["--socket-mode", "on"], "shows a part of the cgroup2 hierarchy only"),
        (&["--cgroup-path", &host, "--exclude-cgroup", "/", "--socket-mode", "auto"], "cannot be excluded"),
    ];
    for (more, expected) in cases {
        let ended = machine.anywhere(more).through(&["sh", "-c", &part]).fail().unwrap();
        assert_eq!(ended.code, Some(1), "{ended}");
        for text in [expected, "hostPath", "(as with kind)"] {
            assert!(ended.stderr.contains(text), "{text}: {ended}");
        }
    }

    // With the host's hierarchy beside its own it could see the root; here it attaches to its own group only.
    let mut agent =
        machine.anywhere(&["--cgroup-path", &host, "--socket-mode", "on"]).through(&["sh", "-c", &part]);
    agent.launch().unwrap();
    assert_eq!(pins(&agent), pins_for(machine.cgroup.path()));
    agent.end(Signal::TERM).unwrap();
    // And here the root is found to know how far below it a group is, though the container calls it `/..`.
    let both = inside("true");
    let name = Path::new("/").join(machine.cgroup.path().file_name().unwrap()).display().to_string();
    let more = ["--cgroup-path", &cgroup, "--exclude-cgroup", &name, "--socket-mode", "on"];
    let mut agent = machine.anywhere(&more).through(&["sh", "-c", &both]);
    agent.launch().unwrap();
    assert_eq!(excluded(&agent), [(id(machine.cgroup.path()), 1)]);
}
