//! weir's agent. The modules follow the control path: [`source`], [`model`], [`plan`], [`layout`], [`diff`],
//! [`apply`]; beside it [`maps`] and [`attach`] hold what is in the kernel, [`sweep`] deletes what expired there,
//! [`explain`] and [`trace`] say what becomes of packets, and [`command`] is the command line.
#![deny(unsafe_code)]

pub mod apply;
pub mod attach;
pub mod command;
pub mod devices;
pub mod diff;
pub mod explain;
pub mod layout;
pub mod maps;
pub mod model;
pub mod plan;
pub mod source;
pub mod sweep;
pub mod trace;
