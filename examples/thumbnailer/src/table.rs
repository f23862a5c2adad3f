//! The table at the end.

use std::fmt::Write as _;
use std::time::Duration;

use cofferdam::Runtime;

use crate::meter::Meter;

const HEADS: [&str; 8] =
    ["compartment", "backend", "grants", "calls", "median call", "bytes", "peak memory", "faults"];

/// A line for each compartment: what the runtime knows of it, and what its caller measured.
pub(crate) fn draw(runtime: &Runtime, meter: &Meter) -> String {
    let plan = runtime.plan();
    let rows: Vec<[String; 8]> = runtime
        .list()
        .into_iter()
        .map(|status| {
            let part = status.edge.rsplit(" -> ").next().unwrap_or_default().to_owned();
            let calls = meter.of(&part);
            let planned = plan.compartments.iter().find(|one| one.number == status.number);
            let grants = planned.into_iter().flat_map(|one| &one.grants);
            let grants: Vec<String> =
                grants.map(|grant| format!("{} {}", grant.capability, grant.scope)).collect();
            [
                part,
                status.backend,
                if grants.is_empty() { "none".to_owned() } else { grants.join(", ") },
                calls.count().to_string(),
                calls.median().map_or_else(|| "-".to_owned(), time),
                bytes(calls.bytes),
                status.memory_peak.map_or_else(|| "-".to_owned(), bytes),
                status.calls.1.to_string(),
            ]
        })
        .collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; 8]| {
        for (number, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let space = if number == 0 { "" } else { "  " };
            // Numbers to the right, words to the left.
            let _ = if number < 3 {
                write!(text, "{space}{cell:<width$}")
            } else {
                write!(text, "{space}{cell:>width$}")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    line(HEADS);
    for row in &rows {
        line(std::array::from_fn(|at| row[at].as_str()));
    }
    text
}

fn time(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{} µs", time.as_micros())
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", tenths(bytes, 1_000)),
        _ => format!("{:.1} MB", tenths(bytes, 1_000_000)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
fn tenths(bytes: u64, unit: u64) -> f64 {
    bytes as f64 / unit as f64
}
