//! Names of pins of the programs on sockets, below `links`: `cgroup`, hook, id of the control group.
//!
//! `cgroup-connect4-1` is the link of `weir_connect4` to the control group with id 1, the root. The id tells whether a link
//! is to the control group that is wanted now.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::attach::AttachError;
use crate::attach::pin::parsed;

/// A call on sockets that a program sees. The order is that of attaching: what gives answers back in terms of the Service
/// comes before what translates, and what may refuse a bind before what makes calls succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Recvmsg4,
    Recvmsg6,
    Getpeername4,
    Getpeername6,
    Release,
    Bind4,
    Bind6,
    Sendmsg4,
    Sendmsg6,
    Connect4,
    Connect6,
}

impl Hook {
    pub(super) const ALL: [Self; 11] = [
        Self::Recvmsg4,
        Self::Recvmsg6,
        Self::Getpeername4,
        Self::Getpeername6,
        Self::Release,
        Self::Bind4,
        Self::Bind6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Connect4,
        Self::Connect6,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Recvmsg4 => "recvmsg4",
            Self::Recvmsg6 => "recvmsg6",
            Self::Getpeername4 => "getpeername4",
            Self::Getpeername6 => "getpeername6",
            Self::Release => "release",
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
        }
    }

    /// Whether calls get another destination here.
    pub(super) const fn translates(self) -> bool {
        matches!(self, Self::Sendmsg4 | Self::Sendmsg6 | Self::Connect4 | Self::Connect6)
    }

    /// The program's name in the BPF object.
    pub(super) fn program(self) -> String {
        format!("weir_{}", self.name())
    }
}

/// One pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::attach) struct HookPin {
    pub(super) hook: Hook,
    pub(super) cgroup: u64,
    /// It is to take the place of another.
    pub(super) next: bool,
}

const NEXT: &str = "-next";

impl HookPin {
    /// The pin that a file name means, or `None` for one that is not weir's.
    fn parse(file: &str) -> Option<Self> {
        let (rest, next) = file.strip_suffix(NEXT).map_or((file, false), |rest| (rest, true));
        let (name, cgroup) = rest.strip_prefix("cgroup-")?.split_once('-')?;
        let hook = Hook::ALL.into_iter().find(|hook| hook.name() == name)?;
        let pin = Self { hook, cgroup: cgroup.parse().ok()?, next };
        // Only what weir would write itself.
        (pin.to_string() == file).then_some(pin)
    }

    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.to_string())
    }
}

impl fmt::Display for HookPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cgroup-{}-{}{}", self.hook.name(), self.cgroup, if self.next { NEXT } else { "" })
    }
}

/// The pins of a directory in the order of taking off, the reverse of that of attaching; other files are not looked at.
pub(super) fn hook_pins_of(directory: &Path) -> Result<Vec<HookPin>, AttachError> {
    let mut pins = parsed(directory, HookPin::parse)?;
    pins.sort_by_key(|pin| (Reverse(pin.hook), pin.cgroup, pin.next));
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_of_pins_are_read_back_and_others_are_not_weirs() {
        for (hook, cgroup, next, file) in [
            (Hook::Connect4, 1, false, "cgroup-connect4-1"),
            (Hook::Release, u64::MAX, true, "cgroup-release-18446744073709551615-next"),
        ] {
            let pin = HookPin { hook, cgroup, next };
            assert_eq!(pin.to_string(), file);
            assert_eq!(HookPin::parse(file), Some(pin));
        }
        for file in [
            "",
            "mine",
            "cgroup-",
            "cgroup-connect4",
            "cgroup-connect5-1",
            "cgroup-connect4-01",
            "cgroup-bind4-x",
        ] {
            assert_eq!(HookPin::parse(file), None, "{file}");
        }
    }

    #[test]
    fn what_translates_comes_off_first() {
        let directory = tempfile::tempdir().unwrap();
        for hook in Hook::ALL {
            fs::write(HookPin { hook, cgroup: 7, next: false }.path(directory.path()), "").unwrap();
        }
        fs::write(directory.path().join("tcx-egress-7-eth0"), "").unwrap();
        let order: Vec<Hook> = hook_pins_of(directory.path()).unwrap().iter().map(|pin| pin.hook).collect();
        let reverse: Vec<Hook> = Hook::ALL.into_iter().rev().collect();
        assert_eq!(order, reverse);
    }
}
