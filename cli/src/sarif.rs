//! `check --format sarif`: findings as SARIF 2.1.0, for tools that show them beside the code.

use std::collections::BTreeSet;

use cofferdam::manifest::{Diagnostic, Project, Severity};
use serde_json::{Value, json};

use crate::Stop;
use crate::document::print_json;

/// Prints one run.
pub(crate) fn print(project: &Project, findings: &[Diagnostic]) -> Result<(), Stop> {
    print_json(&document(project, findings))
}

fn document(project: &Project, findings: &[Diagnostic]) -> Value {
    let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code.name()).collect();
    let rules: Vec<Value> = findings
        .iter()
        .map(|finding| finding.code)
        .collect::<Vec<_>>()
        .into_iter()
        .filter({
            let mut left = codes.clone();
            move |code| left.remove(code.name())
        })
        .map(|code| {
            json!({
                "id": code.name(),
                "shortDescription": { "text": code.summary() },
                "fullDescription": { "text": code.explanation() },
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(project, finding)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "cofferdam",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(project: &Project, finding: &Diagnostic) -> Value {
    let mut text = finding.message.clone();
    for more in finding.notes.iter().chain(&finding.help) {
        text.push_str("\n\n");
        text.push_str(more);
    }
    let locations: Vec<Value> = finding
        .primary
        .iter()
        .map(|(at, _)| {
            let file = project.files().get(at.file);
            let (line, column) = file.line_column(at.range().start);
            json!({ "physicalLocation": {
                "artifactLocation": { "uri": uri(file.name()) },
                "region": { "startLine": line, "startColumn": column },
            } })
        })
        .collect();
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "ruleId": finding.code.name(),
        "level": level,
        "message": { "text": text },
        "locations": locations,
        "partialFingerprints": { "finding/v1": fingerprint(finding) },
    })
}

/// A relative reference by RFC 3986: what is no unreserved character or slash is escaped.
fn uri(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                (byte as char).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// What stays the same while lines move.
fn fingerprint(finding: &Diagnostic) -> String {
    let edge = finding.edge.as_ref().map_or(String::new(), |(from, to)| format!("{from} -> {to}"));
    format!(
        "{}|{edge}|{}|{}",
        finding.code,
        finding.capability.as_deref().unwrap_or(""),
        finding.chain.join(">")
    )
}
