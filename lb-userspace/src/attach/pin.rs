//! Names of pins below `links`: hook, device index, device name.
//!
//! `xdp-native-2-eth0` is the link of the XDP program to the device with index 2. The index tells one device from the
//! next of the same name; the name is for people. The BPF file system takes no dot in a name (`bpf_lookup` in the
//! kernel's `kernel/bpf/inode.c`): it is written `%2e`, and `%` is written `%25`, as `eth0%2e100` for `eth0.100`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::AttachError;

/// What a pin holds on a device. The order is that of taking off: replies are translated to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// Link of the XDP program in the driver.
    XdpNative,
    /// Link of the XDP program in the stack.
    XdpGeneric,
    /// Link of the tc program for what arrives.
    TcxIngress,
    /// Link of the tc program for what leaves.
    TcxEgress,
    /// A filter cannot be pinned: this is its program, and says that there is a filter.
    ClsactIngress,
    /// The same for what leaves.
    ClsactEgress,
    /// A program again: weir made the queueing discipline that holds the filters.
    Qdisc,
}

impl Slot {
    const ALL: [Self; 7] = [
        Self::XdpNative,
        Self::XdpGeneric,
        Self::TcxIngress,
        Self::TcxEgress,
        Self::ClsactIngress,
        Self::ClsactEgress,
        Self::Qdisc,
    ];

    const fn prefix(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native-",
            Self::XdpGeneric => "xdp-generic-",
            Self::TcxIngress => "tcx-ingress-",
            Self::TcxEgress => "tcx-egress-",
            Self::ClsactIngress => "clsact-ingress-",
            Self::ClsactEgress => "clsact-egress-",
            Self::Qdisc => "clsact-qdisc-",
        }
    }
}

/// One pin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pin {
    pub(super) slot: Slot,
    pub(super) ifindex: u32,
    pub(super) device: String,
}

impl Pin {
    /// The pin that a file name means, or `None` for one that is not weir's.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (slot, rest) =
            Slot::ALL.into_iter().find_map(|slot| Some((slot, file.strip_prefix(slot.prefix())?)))?;
        let (ifindex, device) = rest.split_once('-')?;
        let pin = Self { slot, ifindex: ifindex.parse().ok()?, device: decode(device)? };
        // Only what weir would write itself.
        (pin.to_string() == file).then_some(pin)
    }

    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.to_string())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.replace('%', "%25").replace('.', "%2e");
        write!(f, "{}{}-{device}", self.slot.prefix(), self.ifindex)
    }
}

/// The name, or `None` for one that cannot have been encoded.
fn decode(device: &str) -> Option<String> {
    let mut parts = device.split('%');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match part.split_at_checked(2)? {
            ("2e", rest) => ('.', rest),
            ("25", rest) => ('%', rest),
            _ => return None,
        };
        name.push(letter);
        name.push_str(rest);
    }
    (!name.is_empty()).then_some(name)
}

/// The pins of a directory in the order of taking off; other files are not looked at.
pub(super) fn pins_of(directory: &Path) -> Result<Vec<Pin>, AttachError> {
    let mut pins = parsed(directory, Pin::parse)?;
    pins.sort();
    Ok(pins)
}

/// What the file names of a directory mean; those that mean nothing are passed over, and no directory is an empty one.
pub(super) fn parsed<P>(directory: &Path, parse: impl Fn(&str) -> Option<P>) -> Result<Vec<P>, AttachError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| AttachError::path("read", directory, &error))?,
    };
    let mut pins = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| AttachError::path("read", directory, &error))?;
        pins.extend(parse(&entry.file_name().to_string_lossy()));
    }
    Ok(pins)
}

/// Removes a file; one that is gone is no error.
pub(super) fn remove(path: &Path) -> Result<(), AttachError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AttachError::path("remove", path, &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pins_have_no_dot_and_are_read_back() {
        for (device, file) in [
            ("eth0", "tcx-egress-7-eth0"),
            ("eth0.100", "tcx-egress-7-eth0%2e100"),
            ("a%2e-b.", "tcx-egress-7-a%252e-b%2e"),
        ] {
            let pin = Pin { slot: Slot::TcxEgress, ifindex: 7, device: device.to_owned() };
            assert_eq!(pin.to_string(), file);
            assert_eq!(Pin::parse(file), Some(pin));
        }
    }

    #[test]
    fn other_files_are_not_weirs() {
        for file in ["", "mine", "xdp-native-", "xdp-native-eth0", "xdp-native-02-eth0", "xdp-native-2-"] {
            assert_eq!(Pin::parse(file), None, "{file}");
        }
    }
}
