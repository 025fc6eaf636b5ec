//! Calls on sockets: the options, and what is attached.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgAction, Args};
use lb_common::ExcludedCgroup;
use tracing::{info, warn};

use crate::attach::{
    AttachError, Attacher, Cgroup, CgroupError, Earlier, Exclusions, SocketMode, netns_cookie, take_off_hooks,
};
use crate::maps::{MapsError, Pins, Tables};
use crate::plan::Node;

use super::settings::{SocketSettings, serves_loopback};

/// Options about calls on sockets.
#[derive(Debug, Args)]
pub(super) struct SocketArgs {
    /// Whether what processes of this node and its pods connect and send to is translated at their sockets: on, off, or auto
    /// (on where there is a cgroup2 hierarchy and the kernel can).
    #[arg(long, value_name = "MODE", default_value = "auto")]
    socket_mode: SocketMode,
    /// Directory of a cgroup2 hierarchy: the sockets of processes there and below are served [default: the root of the
    /// hierarchy, found from the mounts].
    #[arg(long, value_name = "DIR")]
    cgroup_path: Option<PathBuf>,
    /// Control group whose processes are left alone, with those below: its directory, or its path as /proc/PID/cgroup shows
    /// it. May be given several times, or separated by commas; at most 16.
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    exclude_cgroup: Vec<PathBuf>,
    /// Sockets with this mark (SO_MARK) are left alone; 0 for none.
    #[arg(long, value_name = "N", default_value = "0x77656972", value_parser = mark)]
    socket_mark: u32,
    /// Refuse to bind a socket to a NodePort, at an address where it is served.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    protect_nodeports: bool,
}

/// A number in decimal digits, or in hexadecimal ones behind `0x`.
fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // A sign would be read too.
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
        _ => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number of 32 bits, such as 7 or 0x77656972"))
}

impl SocketArgs {
    /// Finds the control groups that the options name.
    ///
    /// A wrong directory is an error; that there is no hierarchy only where calls on sockets must be served.
    pub(super) fn find(&self) -> anyhow::Result<Sockets> {
        let settings = SocketSettings {
            mark: self.socket_mark,
            protect_node_ports: self.protect_nodeports,
            netns_cookie: 0,
        };
        if self.socket_mode == SocketMode::Off {
            return Ok(Sockets {
                mode: SocketMode::Off,
                place: None,
                excluded: Exclusions::default(),
                settings,
            });
        }
        let place = match &self.cgroup_path {
            Some(path) => Ok(Cgroup::at(path)?),
            None => Cgroup::root(),
        };
        let place = match place {
            Err(error) if self.socket_mode == SocketMode::On => return Err(error.into()),
            place => Some(place),
        };
        // Where nothing is mounted there is nothing to exclude from.
        let excluded = match &place {
            Some(Ok(_)) => Exclusions::find(&self.exclude_cgroup)?,
            Some(Err(_)) | None => Exclusions::default(),
        };
        let netns_cookie = netns_cookie().context("cannot ask for the cookie of this network namespace")?;
        let settings = SocketSettings { netns_cookie, ..settings };
        Ok(Sockets { mode: self.socket_mode, place, excluded, settings })
    }
}

/// Whether and where calls on sockets are to be served.
#[derive(Debug)]
pub(super) struct Sockets {
    mode: SocketMode,
    /// Where, or why nowhere; none where they are not to be.
    place: Option<Result<Cgroup, CgroupError>>,
    excluded: Exclusions,
    pub(super) settings: SocketSettings,
}

impl Sockets {
    /// Whether the programs are needed.
    pub(super) const fn wants(&self) -> bool {
        matches!(self.place, Some(Ok(_)))
    }

    /// The control groups to leave alone. Where there is no hierarchy to find them in, programs of an earlier start may go
    /// on: what those leave alone stays so.
    pub(super) fn excluded(&self, tables: &Tables) -> Result<Vec<ExcludedCgroup>, MapsError> {
        match self.place {
            Some(Err(_)) => tables.excluded(),
            Some(Ok(_)) | None => Ok(self.excluded.list()),
        }
    }

    /// Takes the programs off where they are not to be; before settings are written, which they would misunderstand.
    pub(super) fn take_off(&self, pins: &Pins) -> Result<(), AttachError> {
        if self.mode == SocketMode::Off && take_off_hooks(&pins.links())? {
            info!("calls on sockets are not served any more");
        }
        Ok(())
    }

    /// Attaches the programs, or says why that is not done. Gives the control groups that are left alone, to be looked for
    /// again.
    pub(super) fn attach(self, attacher: &mut Attacher, node: &Node) -> Result<Exclusions, AttachError> {
        let attached = match self.place {
            None => Ok(false),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(cgroup)) => attacher.attach_hooks(&cgroup).map(|()| {
                let excluded = self.excluded.list().len();
                let path = cgroup.path().display();
                info!(cgroup = %path, calls = "connect, sendmsg, recvmsg, getpeername, bind", excluded, "attached sockets");
                if self.excluded.list().iter().any(|group| group.level == 0) {
                    warn!("--exclude-cgroup names the root of the hierarchy: all sockets are left alone");
                }
                true
            }),
        };
        let attached = match attached {
            Err(error) if self.mode != SocketMode::On => {
                let earlier = attacher.earlier_hooks()?;
                let served = match earlier {
                    Earlier::Serve => "calls on sockets are served by programs of an earlier start only",
                    Earlier::Stale => {
                        "calls on sockets are not served any more, only packets that come by devices and workload \
                         devices (the programs of an earlier start had maps that nobody writes now, and were taken off)"
                    }
                    Earlier::None => {
                        "calls on sockets are not served, only packets that come by devices and workload devices"
                    }
                };
                warn!(
                    "{served}: {error}. When that is mended, start weir again; --socket-mode off says that it is meant so"
                );
                earlier == Earlier::Serve
            }
            attached => attached?,
        };
        if !attached && serves_loopback(node) {
            warn!(
                "--nodeport-addresses selects loopback addresses: NodePorts are not served there without programs on \
                 sockets (--socket-mode)"
            );
        }
        Ok(self.excluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        for (text, expected) in
            [("0", 0), ("7", 7), ("0x77656972", 0x7765_6972), ("0XfF", 255), ("4294967295", u32::MAX)]
        {
            assert_eq!(mark(text), Ok(expected), "{text}");
        }
        for wrong in ["", "0x", "x7", "-1", "0x+7", "4294967296", "0x100000000", "7 "] {
            assert!(mark(wrong).unwrap_err().contains("0x77656972"), "{wrong}");
        }
    }
}
