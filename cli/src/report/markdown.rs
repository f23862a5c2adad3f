//! The report as Markdown: what fits into a pull request or the summary of a CI job.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::check::counted;
use crate::document::ReportDocument;
use crate::render;

/// Most findings and most rows of a table that are listed.
const ROWS_MAX: usize = 200;

pub(super) fn summary(report: &ReportDocument) -> String {
    let mut text = format!("# What {} reaches\n\n", plain(&report.workspace));
    let reaching = report.crates.iter().filter(|of| of.uses.iter().any(|one| one.state == "used")).count();
    let _ = writeln!(
        text,
        "{} linked, {} of them reach something by themselves; {}; {}, {} lines read.\n",
        counted(report.crates.len(), "crate"),
        reaching,
        counted(report.edges.len(), "edge"),
        counted(report.files, "file"),
        report.lines
    );
    if report.findings.is_empty() {
        let said = if report.declared {
            "Everything that is reached is granted."
        } else {
            "Nothing is declared yet, so nothing is denied."
        };
        let _ = writeln!(text, "{said}\n");
    } else {
        let _ = writeln!(text, "## Findings\n\n| | what | edge |\n| --- | --- | --- |");
        for finding in report.findings.iter().take(ROWS_MAX) {
            let edge = finding.edge().map_or(String::new(), |(from, to)| format!("{from} → {to}"));
            let _ = writeln!(
                text,
                "| {} `{}` | {} | {} |",
                finding.severity(),
                finding.code(),
                cell(finding.message()),
                cell(&edge)
            );
        }
        text.push('\n');
    }
    text.push_str("## By capability\n\n| capability | crates that use it themselves | edges that bring it |\n| --- | --- | --- |\n");
    for capability in &report.capabilities {
        let crates: Vec<&str> = report
            .crates
            .iter()
            .filter(|of| of.uses.iter().any(|one| one.capability == capability.name && one.state == "used"))
            .map(|of| of.name.as_str())
            .collect();
        let edges = report.edges.iter().filter(|edge| {
            edge.brings.iter().any(|one| one.reach.capability == capability.name && one.reach.state == "used")
        });
        let edges = edges.count();
        if !crates.is_empty() || edges > 0 {
            let _ = writeln!(text, "| `{}` | {} | {edges} |", capability.name, cell(&crates.join(", ")));
        }
    }
    text.push_str("\n## What each member's dependencies bring\n\n| edge | brings |\n| --- | --- |\n");
    let members: BTreeMap<&str, &str> =
        report.crates.iter().filter(|of| of.member).map(|of| (of.krate.as_str(), of.name.as_str())).collect();
    let rows = report.edges.iter().filter_map(|edge| {
        let from = members.get(edge.ends.from.as_str())?;
        let brings: Vec<String> = edge
            .brings
            .iter()
            .filter(|one| one.reach.state == "used")
            .map(|one| {
                let mark = if one.granted == Some(false) { " **(not granted)**" } else { "" };
                format!("`{}`{mark}", one.reach.capability)
            })
            .collect();
        (!brings.is_empty()).then(|| {
            let to = edge.ends.to.split('@').next().unwrap_or(&edge.ends.to);
            format!("| {} → {} | {} |\n", cell(from), cell(to), brings.join(", "))
        })
    });
    text.extend(rows.take(ROWS_MAX));
    text
}

fn plain(text: &str) -> String {
    let text = render::printable(text).replace('\n', " ");
    text.chars().flat_map(|c| if "\\`*_{}[]<>#|".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

/// Backquotes stay, since messages put names in them; what would end a cell or begin a tag does not.
fn cell(text: &str) -> String {
    render::printable(text).replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}
