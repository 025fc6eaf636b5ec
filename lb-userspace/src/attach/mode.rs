//! By which hooks of a device packets are taken.

use std::fmt;
use std::str::FromStr;

use crate::devices::{Kind, Link};

/// Where in a device's way XDP runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// As `Prefer`, but on hardware only.
    #[default]
    Auto,
    /// In the driver where it can, else in the stack, else nowhere: the tc programs do all by themselves.
    Prefer,
    /// In the driver.
    Native,
    /// In the stack, for any device.
    Generic,
    /// Nowhere.
    Off,
}

impl FromStr for XdpMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "prefer" => Ok(Self::Prefer),
            "native" => Ok(Self::Native),
            "generic" => Ok(Self::Generic),
            "off" => Ok(Self::Off),
            other => Err(format!("`{other}` is none of auto, prefer, native, generic, off")),
        }
    }
}

impl XdpMode {
    /// What to try on a device, best first.
    ///
    /// Left to itself, weir runs XDP on hardware only. What a veth device brings comes from this machine, mostly with its
    /// checksum left to complete; and what XDP sends back, its far end does not take without a program of its own. What
    /// arrives by a bridge, a VLAN, a bond or a tunnel
    /// went through the device below already, where packets were merged into large ones: generic XDP would copy each of
    /// up to 64 KiB into one piece again (`netif_skb_check_for_xdp` in the kernel's `net/core/dev.c`). It may also come
    /// from this machine with its checksum left to complete, which an XDP program cannot see and a tc program can.
    pub(super) fn attempts(self, link: &Link) -> &'static [Xdp] {
        let suited = link.ethernet && !link.loopback;
        match self {
            Self::Auto if suited && link.kind == Kind::Hardware => &[Xdp::Native, Xdp::Generic],
            Self::Prefer if suited && matches!(link.kind, Kind::Hardware | Kind::Veth) => {
                &[Xdp::Native, Xdp::Generic]
            }
            Self::Auto | Self::Prefer | Self::Off => &[],
            Self::Native => &[Xdp::Native],
            Self::Generic => &[Xdp::Generic],
        }
    }

    /// Whether somebody asked for this and nothing else.
    pub(super) const fn is_forced(self) -> bool {
        matches!(self, Self::Native | Self::Generic)
    }
}

/// How the tc programs attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcMode {
    /// By tcx where the kernel has it, else by clsact.
    #[default]
    Auto,
    /// By links (Linux 6.6).
    Tcx,
    /// By filters of a clsact queueing discipline.
    Clsact,
}

impl FromStr for TcMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "tcx" => Ok(Self::Tcx),
            "clsact" => Ok(Self::Clsact),
            other => Err(format!("`{other}` is none of auto, tcx, clsact")),
        }
    }
}

/// Both modes, as the options give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// For XDP.
    pub xdp: XdpMode,
    /// For tc.
    pub tc: TcMode,
}

/// Where XDP runs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdp {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
    /// Nowhere.
    None,
}

impl fmt::Display for Xdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::None => "no",
        })
    }
}

/// How tc programs are attached to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tc {
    /// By links.
    Tcx,
    /// By filters.
    Clsact,
}

impl fmt::Display for Tc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}
