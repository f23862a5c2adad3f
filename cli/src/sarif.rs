//! `check --format sarif`: findings as SARIF 2.1.0, for tools that show them beside the code.

use std::collections::BTreeSet;

use cofferdam::manifest::{Diagnostic, Location, Project, Severity};
use serde_json::{Value, json};

use crate::Stop;
use crate::document::{ReportDocument, print_json};

/// Prints one run.
pub(crate) fn print(project: &Project, findings: &[Diagnostic]) -> Result<(), Stop> {
    print_json(&document(project, findings))
}

/// The same run, with a note for each capability that a dependency brings to a member.
pub(crate) fn report(project: &Project, findings: &[Diagnostic], report: &ReportDocument) -> Value {
    let mut document = document(project, findings);
    let members: BTreeSet<&str> =
        report.crates.iter().filter(|of| of.member).map(|of| of.krate.as_str()).collect();
    let mut named = BTreeSet::new();
    let mut notes = Vec::new();
    for edge in report.edges.iter().filter(|edge| members.contains(edge.ends.from.as_str())) {
        let line = project.edges().map(|index| project.edge(index)).find(|found| {
            let full = |index| {
                let package = project.package(index);
                format!("{}@{}", package.name, package.version)
            };
            full(found.from) == edge.ends.from && full(found.to) == edge.ends.to
        });
        let at = line.and_then(|line| line.line.or_else(|| project.name_line(line.from)));
        for one in edge.brings.iter().filter(|one| one.reach.state == "used") {
            let rule = format!("reaches/{}", one.reach.capability);
            named.insert(one.reach.capability.as_str());
            let steps = one.reach.way.iter().map(|step| {
                let text = format!("{} in {} ({}:{})", step.item, step.krate, step.file, step.line);
                json!({ "location": { "message": { "text": text } } })
            });
            let steps: Vec<Value> = steps.collect();
            let mut result = json!({
                "ruleId": rule,
                "kind": "informational",
                "level": "none",
                "message": { "text": format!(
                    "`{}` brings `{}` to `{}`", edge.ends.to, one.reach.capability, edge.ends.from
                ) },
                "locations": at.iter().map(|at| location(project, *at)).collect::<Vec<_>>(),
                "partialFingerprints": { "finding/v1": format!("{} -> {}|{}", edge.ends.from, edge.ends.to, rule) },
            });
            if !steps.is_empty() {
                result["codeFlows"] = json!([{ "threadFlows": [{ "locations": steps }] }]);
            }
            notes.push(result);
        }
    }
    let run = &mut document["runs"][0];
    if let Some(rules) = run["tool"]["driver"]["rules"].as_array_mut() {
        rules.extend(report.capabilities.iter().filter(|one| named.contains(one.name.as_str())).map(|one| {
            json!({
                "id": format!("reaches/{}", one.name),
                "shortDescription": { "text": one.meaning },
                "fullDescription": { "text": one.risk },
            })
        }));
    }
    if let Some(results) = run["results"].as_array_mut() {
        results.extend(notes);
    }
    document
}

fn location(project: &Project, at: Location) -> Value {
    let file = project.files().get(at.file);
    let (line, column) = file.line_column(at.range().start);
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(file.name()) },
        "region": { "startLine": line, "startColumn": column },
    } })
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
    let source = finding.source.iter().map(|(file, line)| {
        json!({ "physicalLocation": {
            "artifactLocation": { "uri": uri(file) },
            "region": { "startLine": line },
        } })
    });
    let locations: Vec<Value> =
        finding.primary.iter().map(|(at, _)| location(project, *at)).chain(source).collect();
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
    // Its own line would move; the item that it is in stands in the chain.
    let file = finding.source.as_ref().map_or("", |(file, _)| file);
    format!(
        "{}|{edge}|{}|{}|{file}",
        finding.code,
        finding.capability.as_deref().unwrap_or(""),
        finding.chain.join(">")
    )
}
