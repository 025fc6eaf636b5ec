//! `weir trace`: packets as they leave weir, and calls on sockets.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::trace::{Line, Names, ServiceFilter, Session};

use super::PinArgs;

/// How often the programs are told that somebody looks, and numbers are given their names anew.
const RENEW: Duration = Duration::from_secs(1);
/// Longest wait for a record: a signal is noticed after it at the latest.
const WAIT_MS: u32 = 200;
/// Records in a row before the time is looked at.
const BATCH: usize = 1024;

/// Options of `weir trace`.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Only packets and calls on sockets of this Service, or of one of its ports, by number or name.
    #[arg(long, value_name = "NAMESPACE/NAME[:PORT]")]
    service: Option<ServiceFilter>,
    /// Only packets that were dropped, or answered with an error, and calls that were refused.
    #[arg(long)]
    drops: bool,
    /// End after so many packets and calls.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Most packets and calls in a second and CPU: more are not recorded.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    pins: PinArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Prints packets until a signal, or until there were as many as asked for.
pub(super) fn run(args: &TraceArgs) -> anyhow::Result<()> {
    let pins = args.pins.pins();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot watch for signals")?;
    }
    let session = Session::open(&pins, args.drops, args.rate)?;
    let mut reader = Reader { session, names: Names::default(), ids: None };
    reader.renew(args.service.as_ref())?;
    if reader.ids.as_ref().is_some_and(BTreeSet::is_empty) {
        bail!("the maps have no such Service or port: `weir get services` lists them");
    }
    let (mut left, mut renewed) = (args.count.unwrap_or(u64::MAX), Instant::now());
    while left > 0 && !stop.load(Ordering::Relaxed) {
        if renewed.elapsed() >= RENEW {
            reader.renew(args.service.as_ref())?;
            renewed = Instant::now();
        }
        reader.session.wait(WAIT_MS)?;
        left -= reader.print(left, args.output, &mut io::stdout().lock())?;
    }
    Ok(())
}

/// The session with what its records are compared with and named by.
struct Reader {
    session: Session,
    names: Names,
    /// The service ids that are asked for; none for all.
    ids: Option<BTreeSet<u32>>,
}

impl Reader {
    /// Goes on for three seconds. Where a Service has several ids the programs report all packets, and those of others
    /// are left out here.
    fn renew(&mut self, filter: Option<&ServiceFilter>) -> anyhow::Result<()> {
        self.names = Names::new(self.session.services()?);
        self.ids = filter.map(|filter| self.names.ids(filter));
        let mut ids = self.ids.iter().flatten();
        let only = match (ids.next(), ids.next()) {
            (Some(id), None) => *id,
            _ => 0,
        };
        Ok(self.session.renew(only)?)
    }

    /// Prints what is there, `most` packets at most; answers how many.
    fn print(&mut self, most: u64, format: Format, out: &mut impl Write) -> anyhow::Result<u64> {
        let mut printed = 0;
        for _ in 0..BATCH {
            if printed == most {
                break;
            }
            let Some(event) = self.session.next_event() else { break };
            if self.ids.as_ref().is_some_and(|ids| !ids.contains(&event.service)) {
                continue;
            }
            let line = Line::new(&event, &self.names);
            match format {
                Format::Text => writeln!(out, "{line}")?,
                Format::Json => writeln!(out, "{}", serde_json::to_string(&line)?)?,
            }
            printed += 1;
        }
        out.flush()?;
        Ok(printed)
    }
}
