//! A watch wakes its reader after changes, and not for what cannot be a change.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use lb_userspace::source::{SourceError, Watch};
use tempfile::TempDir;

/// Long beside the few milliseconds that a message takes, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(5);

/// Long beside the end of a burst.
const CALM: Duration = Duration::from_millis(100);

fn watched() -> (TempDir, Watch, Receiver<()>) {
    let directory = TempDir::new().expect("a temporary directory");
    let (sender, receiver) = channel();
    let watch = Watch::new(directory.path(), sender, ()).expect("a watch");
    (directory, watch, receiver)
}

/// Waits for a message and for the end of those that follow it.
fn assert_wakes(receiver: &Receiver<()>, what: &str) {
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(()), "{what}");
    while receiver.recv_timeout(CALM).is_ok() {}
}

fn assert_calm(receiver: &Receiver<()>, what: &str) {
    assert_eq!(receiver.recv_timeout(CALM), Err(RecvTimeoutError::Timeout), "{what}");
}

#[test]
fn every_way_to_change_a_file_wakes() {
    let (directory, _watch, receiver) = watched();
    let path = |name: &str| directory.path().join(name);
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("linked"), "x").unwrap();
    let steps: [(&str, &dyn Fn()); 8] = [
        ("new file", &|| fs::write(path("a.yaml"), "x").unwrap()),
        ("rewritten in place", &|| fs::write(path("a.yaml"), "y").unwrap()),
        ("replaced by a rename", &|| {
            fs::write(path(".a.tmp"), "z").unwrap();
            fs::rename(path(".a.tmp"), path("a.yaml")).unwrap();
        }),
        ("mode", &|| {
            let mut permissions = fs::metadata(path("a.yaml")).unwrap().permissions();
            permissions.set_readonly(true);
            fs::set_permissions(path("a.yaml"), permissions).unwrap();
        }),
        ("hard link", &|| fs::hard_link(path("a.yaml"), path("b.yaml")).unwrap()),
        ("symbolic link", &|| symlink(outside.path().join("linked"), path("c.yaml")).unwrap()),
        ("moved away", &|| fs::rename(path("b.yaml"), outside.path().join("b")).unwrap()),
        ("removed", &|| fs::remove_file(path("a.yaml")).unwrap()),
    ];
    for (what, change) in steps {
        change();
        assert_wakes(&receiver, what);
    }
}

#[test]
fn a_file_that_is_being_written_wakes_when_it_is_complete() {
    let (directory, _watch, receiver) = watched();
    let mut file = fs::File::create(directory.path().join("a.yaml")).unwrap();
    file.write_all(b"apiVersion: ").unwrap();
    assert_calm(&receiver, "half-written");
    file.write_all(b"v1\n").unwrap();
    assert_calm(&receiver, "still open");
    drop(file);
    assert_wakes(&receiver, "closed");
    fs::read(directory.path().join("a.yaml")).unwrap();
    assert_calm(&receiver, "reading");
}

#[test]
fn a_burst_is_a_few_messages() {
    let (directory, _watch, receiver) = watched();
    for index in 0..500 {
        fs::write(directory.path().join(format!("{index}.yaml")), "x").unwrap();
    }
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(()));
    let mut messages = 1;
    while receiver.recv_timeout(CALM).is_ok() {
        messages += 1;
    }
    assert!(messages < 250, "{messages} messages for 500 files");
}

#[test]
fn a_directory_that_comes_back_is_watched_again() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("manifests");
    fs::create_dir(&path).unwrap();
    let (sender, receiver) = channel();
    let _watch = Watch::new(&path, sender, ()).unwrap();
    for way in ["removed", "moved"] {
        if way == "removed" {
            fs::remove_dir(&path).unwrap();
        } else {
            fs::rename(&path, parent.path().join("elsewhere")).unwrap();
        }
        assert_wakes(&receiver, way);
        fs::create_dir(&path).unwrap();
        assert_wakes(&receiver, "back");
        fs::write(path.join("a.yaml"), "x").unwrap();
        assert_wakes(&receiver, "changed");
        fs::remove_file(path.join("a.yaml")).unwrap();
        assert_wakes(&receiver, "cleared");
    }
}

#[test]
fn it_ends_with_its_handle() {
    let (directory, watch, receiver) = watched();
    drop(watch);
    fs::write(directory.path().join("a.yaml"), "x").unwrap();
    assert_eq!(receiver.recv(), Err(std::sync::mpsc::RecvError));
}

#[test]
fn a_missing_directory_is_an_error() {
    let (sender, _receiver) = channel();
    let error = Watch::new(Path::new("/nonexistent/manifests"), sender, ()).unwrap_err();
    assert!(matches!(error, SourceError::Unwatchable { .. }));
    assert!(error.to_string().contains("/nonexistent/manifests"), "{error}");
}
