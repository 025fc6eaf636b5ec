//! What was there before: control groups that are made anew, programs of earlier starts, and starts that fail.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_common::{SettingsFlags, maps::LAYOUT};
use rustix::process::Signal;
use tests::net::run;

use super::{CALLS, Machine, attached, excluded, id, links, mounted, pins, pins_for, settings};

/// The agent looks again after 30 seconds.
const LOOK_MAX: Duration = Duration::from_secs(60);

#[test]
fn an_excluded_group_that_is_made_anew_is_excluded() {
    let machine = Machine::new();
    let [anew, gone] = ["anew", "gone"].map(|name| machine.cgroup.child(name).unwrap());
    let list = [&anew, &gone].map(|group| group.path().display().to_string()).join(",");
    let mut agent = machine.agent(&["--exclude-cgroup", &list]);
    agent.launch().unwrap();
    let [before, gone_id] = [&anew, &gone].map(|group| id(group.path()));
    assert_eq!(excluded(&agent), [(before, 2), (gone_id, 2)]);
    drop((anew, gone));
    let anew = machine.cgroup.child("anew").unwrap();
    let expected = BTreeSet::from([(id(anew.path()), 2), (gone_id, 2)]);
    assert_ne!(id(anew.path()), before);
    let begin = Instant::now();
    let now = || excluded(&agent).into_iter().collect::<BTreeSet<_>>();
    while now() != expected {
        assert!(begin.elapsed() < LOOK_MAX, "{:?}, not {expected:?}", now());
        sleep(Duration::from_millis(50));
    }
    let log = agent.log().unwrap();
    let told = log.lines_with("until it is there again");
    assert!(matches!(told.as_slice(), [line] if line.contains("/gone: No such file")), "{log}");
}

/// Where `auto` attaches nothing, what an earlier start attached goes on as it was, unless its maps are none of this one's.
#[test]
fn a_start_without_the_hierarchy_leaves_what_the_earlier_one_excludes() {
    let machine = Machine::new();
    let (group, below) = (machine.cgroup.path(), machine.cgroup.child("below").unwrap());
    let mut agent = machine.agent(&["--exclude-cgroup", below.path().to_str().unwrap()]);
    agent.launch().unwrap();
    agent.end(Signal::TERM).unwrap();
    let script = format!("umount -l {} && exec \"$0\" \"$@\"", mounted().display());
    let mut auto =
        machine.anywhere(&["--socket-mode", "auto"]).through(&["unshare", "--mount", "sh", "-c", &script]);
    auto.launch().unwrap();
    let log = auto.log().unwrap();
    assert_eq!(log.lines_with("served by programs of an earlier start only").len(), 1, "{log}");
    assert_eq!((pins(&auto), attached(group)), (pins_for(group), CALLS.len()));
    assert_eq!(excluded(&auto), [(id(below.path()), 2)]);
    assert_ne!(settings(&auto).flags & SettingsFlags::EXCLUDED_CGROUPS, 0);
    auto.end(Signal::TERM).unwrap();

    let maps = auto.pin_path().join(LAYOUT);
    fs::rename(&maps, maps.with_file_name("v0")).unwrap();
    auto.launch().unwrap();
    let log = auto.log().unwrap();
    assert_eq!(log.lines_with("maps that nobody writes now, and were taken off").len(), 1, "{log}");
    assert_eq!((pins(&auto), attached(group)), (BTreeSet::new(), 0));
    auto.end(Signal::TERM).unwrap();
    // What this test alone has put there.
    fs::remove_dir_all(maps.with_file_name("v0")).unwrap();
}

/// The last of the programs is kept away from the new group, when those that translate in the old one are off already.
#[test]
fn two_groups_never_translate_both() {
    let (helper, machine) = (Machine::new(), Machine::new());
    let below = machine.cgroup.child("below").unwrap();
    let (above, below) = (machine.cgroup.path().display().to_string(), below.path().display().to_string());
    let mut agent = helper.agent(&[]);
    agent.launch().unwrap();
    let mut first = machine.anywhere(&["--socket-mode", "on", "--cgroup-path", &below]);
    first.launch().unwrap();
    first.end(Signal::TERM).unwrap();
    let (_, program) = links(&agent, helper.cgroup.path())["connect6"];
    run(&format!("bpftool cgroup attach {above} cgroup_inet6_connect id {program}")).unwrap();
    let mut next = machine.anywhere(&["--socket-mode", "auto", "--cgroup-path", &above]);
    next.launch().unwrap();
    let log = next.log().unwrap();
    assert_eq!(log.lines_with("calls on sockets are not served, only").len(), 1, "{log}");
    let translates = |pin: &String| pin.starts_with("connect") || pin.starts_with("sendmsg");
    let (left, here): (BTreeSet<String>, _) = (pins(&next), attached(machine.cgroup.path()));
    assert!(left.len() == CALLS.len() - 4 && !left.iter().any(translates), "{left:?}");
    assert_eq!(here, 1, "the one of somebody else");
    run(&format!("bpftool cgroup detach {above} cgroup_inet6_connect id {program}")).unwrap();
}

#[test]
fn a_start_that_fails_at_the_devices_leaves_no_programs_on_sockets() {
    let machine = Machine::new();
    let mut off = machine.anywhere(&["--socket-mode", "off"]);
    off.launch().unwrap();
    off.end(Signal::TERM).unwrap();
    // Has the name of a pin of a device that is gone, and cannot be removed as one.
    let obstacle = off.pin_path().join("links/tcx-ingress-99999-gone");
    fs::create_dir(&obstacle).unwrap();
    let agent = machine.agent(&[]);
    let ended = agent.fail().unwrap();
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("attached sockets") && ended.stderr.contains("99999-gone"), "{ended}");
    assert_eq!((pins(&agent), attached(machine.cgroup.path())), (BTreeSet::new(), 0), "{ended}");
    fs::remove_dir(&obstacle).unwrap();
}
