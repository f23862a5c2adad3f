//! The drawing as text that other tools draw: Graphviz DOT and Mermaid.

use std::fmt::Write as _;

use cofferdam::manifest::Backend;

use super::model::{Drawing, Link};

fn label(link: &Link) -> Vec<String> {
    let denied = link.denied.iter().map(|what| format!("denied: {what}"));
    denied.chain(link.grants.iter().cloned()).map(|line| crate::render::printable(&line)).collect()
}

pub(super) fn dot(drawing: &Drawing) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from("digraph cofferdam {\n  rankdir=LR;\n  node [shape=box];\n");
    for node in &drawing.crates {
        let style = match node.backend {
            Backend::Inline => "",
            Backend::Wasm => ", style=\"rounded,filled\", fillcolor=\"#f1ebff\"",
            Backend::Process => ", style=\"rounded,filled\", fillcolor=\"#e3f1ff\"",
        };
        let root = if node.root { ", penwidth=2" } else { "" };
        let _ = writeln!(out, "  {} [label={}{style}{root}];", quoted(&node.name), quoted(&node.name));
    }
    for link in &drawing.edges {
        let text = label(link)
            .iter()
            .map(|line| quoted(line).trim_matches('"').to_owned())
            .collect::<Vec<_>>()
            .join("\\n");
        let color = match (link.denied.is_empty(), link.grants.is_empty()) {
            (false, _) => "red",
            (true, false) => "darkgreen",
            (true, true) => "gray",
        };
        let style = if link.build { ", style=dashed" } else { "" };
        let (from, to) = (quoted(&drawing.crates[link.from].name), quoted(&drawing.crates[link.to].name));
        let _ = writeln!(out, "  {from} -> {to} [label=\"{text}\", color={color}{style}];");
    }
    out.push_str("}\n");
    out
}

pub(super) fn mermaid(drawing: &Drawing) -> String {
    // Mermaid ends a label at a quote and reads `#name;` as an entity.
    let safe = |text: &str| {
        text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
    };
    let mut out = String::from("flowchart LR\n");
    for (index, node) in drawing.crates.iter().enumerate() {
        let (open, close) = match node.backend {
            Backend::Inline => ("[", "]"),
            Backend::Wasm => ("([", "])"),
            Backend::Process => ("[[", "]]"),
        };
        let _ = writeln!(out, "  c{index}{open}\"{}\"{close}", safe(&node.name));
    }
    let mut denied = Vec::new();
    for (number, link) in drawing.edges.iter().enumerate() {
        let arrow = if link.build { "-.->" } else { "-->" };
        let lines: Vec<String> = label(link).iter().map(|line| safe(line)).collect();
        let text = if lines.is_empty() { String::new() } else { format!("|\"{}\"|", lines.join("<br>")) };
        let _ = writeln!(out, "  c{} {arrow}{text} c{}", link.from, link.to);
        if !link.denied.is_empty() {
            denied.push(number.to_string());
        }
    }
    if !denied.is_empty() {
        let _ = writeln!(out, "  linkStyle {} stroke:#d1242f,stroke-width:2px", denied.join(","));
    }
    out
}
