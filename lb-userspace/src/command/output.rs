//! Tables and JSON on standard output.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use lb_common::{FlowState, FrontendFlags};
use serde::Serialize;

/// A table of at most 100 columns without frames, as `kubectl` prints.
pub(super) fn print_table(header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    let mut out = out();
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(out.flush()?)
}

/// Pretty JSON with a final newline.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = out();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Standard output, which by itself would be written line by line: there may be many.
fn out() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// YAML.
pub(super) fn print_yaml(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(value)?;
    write!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// A share as people read it.
pub(super) fn percent(slots: u32, length: u32) -> String {
    if length == 0 { "-".to_owned() } else { format!("{:.2}%", 100.0 * f64::from(slots) / f64::from(length)) }
}

/// A share as programs read it: a fraction of one.
pub(super) fn share(slots: u32, length: u32) -> f64 {
    if length == 0 { 0.0 } else { f64::from(slots) / f64::from(length) }
}

/// How far a flow has come, in one word.
pub(super) const fn flow_state(state: FlowState) -> &'static str {
    match state {
        FlowState::New => "new",
        FlowState::Established => "established",
        FlowState::ClientClosed | FlowState::BackendClosed => "closing",
        FlowState::Closed | FlowState::Reset => "closed",
    }
}

/// The names of the [`FrontendFlags`] that are set.
pub(super) fn flag_names(flags: u32) -> Vec<&'static str> {
    let names = [
        (FrontendFlags::INSIDE_LOCAL, "insideLocal"),
        (FrontendFlags::OUTSIDE_LOCAL, "outsideLocal"),
        (FrontendFlags::INSIDE_DROPS, "insideDrops"),
        (FrontendFlags::OUTSIDE_DROPS, "outsideDrops"),
        (FrontendFlags::INSIDE_ONLY, "insideOnly"),
        (FrontendFlags::SOURCE_RANGES, "sourceRanges"),
        (FrontendFlags::ADDRESS, "address"),
        (FrontendFlags::CLUSTER_IP, "clusterIp"),
        (FrontendFlags::NODE, "node"),
    ];
    names.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| name).collect()
}
