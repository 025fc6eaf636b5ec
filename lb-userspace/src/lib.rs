//! weir's agent. The modules follow the control path: [`source`], [`model`], [`plan`], [`layout`], [`diff`],
//! [`apply`]; beside it [`maps`] and [`attach`] hold what is in the kernel, [`sweep`] deletes what
//! expired there, and [`command`] is the command line.
#![deny(unsafe_code)]

pub mod apply;
pub mod attach;
pub mod command;
pub mod diff;
pub mod layout;
pub mod maps;
pub mod model;
pub mod plan;
pub mod source;
pub mod sweep;
