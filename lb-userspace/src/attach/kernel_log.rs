//! The log of the programs themselves, shown in the agent's log.

use std::thread;
use std::time::Duration;

use aya::Ebpf;
use aya_log::EbpfLogger;

use super::AttachError;

/// Name of the constant that the programs compare the level of a line with.
pub(super) const LEVEL: &str = "AYA_LOG_LEVEL";
/// The constant when nothing is logged: the verifier then takes the lines out of the programs.
pub(super) const OFF: u8 = 0;
/// The constant when every packet is: the number of the level "debug".
pub(super) const DEBUG: u8 = 4;

/// How often new lines are looked for.
const FLUSH: Duration = Duration::from_millis(100);

/// Shows what the programs log, as long as this process runs.
pub(super) fn follow(ebpf: &mut Ebpf) -> Result<(), AttachError> {
    let failed = |reason: String| AttachError::Other { what: "follow the programs' log".to_owned(), reason };
    let mut logger = EbpfLogger::init(ebpf).map_err(|error| failed(error.to_string()))?;
    let thread = thread::Builder::new().name("kernel-log".to_owned());
    let spawned = thread.spawn(move || {
        loop {
            logger.flush();
            thread::sleep(FLUSH);
        }
    });
    spawned.map(drop).map_err(|error| failed(error.to_string()))
}
