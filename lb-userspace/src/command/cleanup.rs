//! `weir cleanup`.

use clap::Args;

use crate::attach::cleanup;

use super::{PinArgs, lock};

/// Options of `weir cleanup`.
#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    #[command(flatten)]
    pins: PinArgs,
}

/// Removes links, programs and maps.
pub(super) fn run(args: &CleanupArgs) -> anyhow::Result<()> {
    let pins = args.pins.pins();
    let lock = if pins.root().exists() { Some(lock(&pins)?) } else { None };
    let removed = cleanup(&pins)?;
    drop(lock);
    if removed {
        println!("removed everything below {}", pins.root().display());
    } else {
        println!("nothing to remove: {} does not exist", pins.root().display());
    }
    Ok(())
}
