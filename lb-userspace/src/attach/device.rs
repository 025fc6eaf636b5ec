//! Network devices.

use std::str::FromStr;

use rustix::net::{AddressFamily, SocketType, socket};

use super::AttachError;

/// Where in a device's way XDP runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver where it can, else in the stack.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// In the stack, for any device.
    Generic,
}

impl FromStr for XdpMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "native" => Ok(Self::Native),
            "generic" => Ok(Self::Generic),
            other => Err(format!("`{other}` is none of auto, native, generic")),
        }
    }
}

/// A device of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
}

impl Device {
    /// Finds a device by name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn find(name: &str) -> Result<Self, AttachError> {
        let missing = || AttachError::NoDevice(name.to_owned());
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(|_| missing())?;
        let ifindex = rustix::net::netdevice::name_to_index(&socket, name).map_err(|_| missing())?;
        Ok(Self { name: name.to_owned(), ifindex })
    }
}
