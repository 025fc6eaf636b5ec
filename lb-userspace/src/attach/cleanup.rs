//! Takes everything of weir off this machine.

use std::fs;
use std::io;
use std::path::Path;

use crate::maps::Pins;

use super::AttachError;
use super::cgroup::take_off_hooks;
use super::environment::check_pin_path;
use super::object::MAPS;
use super::pin::{parsed, pins_of, remove};
use super::tc::take_off;

/// Takes off links and filters first, so that no program is without its maps. Those of the programs on sockets go before
/// all others: every process of the machine meets them, so what should stay after a failure is not they; and what a process
/// connects to from then on, it sends in packets, which devices serve until the end. Answers whether there was anything.
/// Nothing that weir did not pin is touched. Filters are those of this network namespace.
///
/// # Errors
///
/// When the path is on no BPF file system, something cannot be removed, or there is something of somebody else.
pub fn cleanup(pins: &Pins) -> Result<bool, AttachError> {
    if !pins.root().exists() {
        return Ok(false);
    }
    check_pin_path(pins.root())?;
    let links = pins.links();
    take_off_hooks(&links)?;
    for pin in pins_of(&links)? {
        take_off(&pin);
        remove(&pin.path(&links))?;
    }
    remove_files(&pins.maps(), |name| MAPS.contains(&name))?;
    for directory in [links, pins.maps(), pins.root().to_owned()] {
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|error| AttachError::path("remove", &directory, &error))?,
        }
    }
    Ok(true)
}

/// Removes the files of a directory that are weir's.
fn remove_files(directory: &Path, ours: impl Fn(&str) -> bool) -> Result<(), AttachError> {
    for name in parsed(directory, |name| ours(name).then(|| name.to_owned()))? {
        remove(&directory.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleanup_touches_nothing_that_is_on_no_bpf_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("links/xdp-native-2-eth0");
        fs::create_dir(directory.path().join("links")).unwrap();
        fs::write(&file, "somebody's").unwrap();
        let error = cleanup(&Pins::new(directory.path())).unwrap_err();
        assert!(matches!(error, AttachError::NoBpfFs(_)), "{error}");
        assert!(file.exists());
    }

    #[test]
    fn only_files_with_names_of_weir_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["SLOTS", "SLOTS2", "mine"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        remove_files(directory.path(), |name| MAPS.contains(&name)).unwrap();
        let exists = |name: &str| directory.path().join(name).exists();
        assert_eq!((exists("SLOTS"), exists("SLOTS2"), exists("mine")), (false, true, true));
    }
}
