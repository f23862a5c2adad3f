//! The drawing as SVG: one file, no scripts, no fonts or styles from elsewhere.

use std::fmt::Write as _;

use cofferdam::manifest::Backend;

use super::layout::{LABEL_LINE, Layout, Wire};
use super::model::Drawing;
use crate::render;

const LEGEND_HEIGHT: f64 = 44.0;
const LEGEND_WIDTH: f64 = 780.0;

const STYLE: &str = "\
.ground{fill:#ffffff}\
text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
.name{font-size:13px;font-weight:600}\
.what{font-size:10.5px;fill:#59636e}\
.label{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:11px;fill:#0b5c34}\
.label.denied{fill:#b42318;font-weight:700}\
.box{stroke-width:1.3}\
.inline{fill:#f6f8fa;stroke:#9aa4af}\
.wasm{fill:#f1ebff;stroke:#6f42c1}\
.process{fill:#e3f1ff;stroke:#0969da}\
.root .box{stroke-width:2.6}\
.undeclared .box{stroke-dasharray:4 3}\
.wire{fill:none;stroke:#b9c0c8;stroke-width:1.2}\
.wire.granted{stroke:#1a7f4b;stroke-width:1.7}\
.wire.denied{stroke:#d1242f;stroke-width:2.2}\
.wire.build{stroke-dasharray:5 4}\
.tip{fill:#b9c0c8}.tip.granted{fill:#1a7f4b}.tip.denied{fill:#d1242f}";

pub(super) fn draw(drawing: &Drawing, layout: &Layout) -> String {
    let width = layout.width.max(LEGEND_WIDTH);
    let height = layout.height + LEGEND_HEIGHT;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>Crates, compartments and grants</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>"
    );
    // Plain edges first, so that what is granted and denied lies above them.
    let weight = |edge: &usize| {
        let link = &drawing.edges[*edge];
        (!link.denied.is_empty(), !link.grants.is_empty())
    };
    let mut order: Vec<usize> = (0..drawing.edges.len()).collect();
    order.sort_by_key(weight);
    for edge in order {
        edge_group(&mut out, drawing, edge, &layout.wires[edge]);
    }
    for (index, rectangle) in layout.boxes.iter().enumerate() {
        let node = &drawing.crates[index];
        let mut classes = node.backend.name().to_owned();
        let mut group = String::from("node");
        if node.root {
            group.push_str(" root");
        }
        if !node.declared {
            group.push_str(" undeclared");
        }
        classes.insert_str(0, "box ");
        let mut tip = format!("{}{}", node.name, render::version(&node.version));
        for holds in &node.holds {
            let _ = write!(tip, "\nholds {holds}");
        }
        let (x, y, w, h) = (rectangle.x, rectangle.y, rectangle.width, rectangle.height);
        let middle = y + h / 2.0;
        let _ = writeln!(
            out,
            "<g class=\"{group}\" data-crate=\"{}\"><title>{}</title>\
             <rect class=\"{classes}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{}\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <text class=\"what\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escape(&node.name),
            escape(&tip),
            if node.backend == Backend::Inline { 3 } else { 9 },
            x + 12.0,
            middle - 2.0,
            escape(&node.name),
            x + 12.0,
            middle + 13.0,
            escape(&what(node)),
        );
    }
    legend(&mut out, layout.height);
    out.push_str("</svg>\n");
    out
}

/// The second line of a box.
fn what(node: &super::model::Node) -> String {
    let kind = if node.root { "root" } else { node.backend.name() };
    format!("{} {kind}", render::version(&node.version)).trim_start().to_owned()
}

fn edge_group(out: &mut String, drawing: &Drawing, edge: usize, wire: &Wire) {
    let link = &drawing.edges[edge];
    let state = match (link.denied.is_empty(), link.grants.is_empty()) {
        (false, _) => " denied",
        (true, false) => " granted",
        (true, true) => "",
    };
    let build = if link.build { " build" } else { "" };
    let (from, to) = (&drawing.crates[link.from].name, &drawing.crates[link.to].name);
    let mut tip = format!("{from} -> {to}");
    if link.build {
        tip.push_str(" (while compiling)");
    }
    for denied in &link.denied {
        let _ = write!(tip, "\ndenied: {denied}");
    }
    for grant in &link.grants {
        let _ = write!(tip, "\n{grant}");
    }
    let names =
        link.grants.iter().chain(&link.denied).map(|grant| grant.split(' ').next().unwrap_or_default());
    let names: Vec<&str> = names.collect();
    let _ = write!(
        out,
        "<g class=\"edge\" data-from=\"{}\" data-to=\"{}\" data-capabilities=\"{}\"><title>{}</title>\
         <path class=\"wire{state}{build}\" d=\"{}\"/>",
        escape(from),
        escape(to),
        escape(&names.join(" ")),
        escape(&tip),
        path(&wire.points)
    );
    if let Some((x, y)) = wire.points.last() {
        let _ = write!(out, "<path class=\"tip{state}\" d=\"M{x:.1} {y:.1}l-7 -3.5v7z\"/>");
        let count = wire.label.len() as f64;
        for (line, text) in wire.label.iter().enumerate() {
            let class = if line < link.denied.len() { "label denied" } else { "label" };
            let baseline = y - 4.0 - (count - 1.0 - line as f64) * LABEL_LINE;
            let _ = write!(
                out,
                "<text class=\"{class}\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
                wire.label_x + 4.0,
                escape(text)
            );
        }
    }
    out.push_str("</g>\n");
}

/// Curves between columns, straight lines inside them.
fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        if index == 0 {
            let _ = write!(path, "M{x:.1} {y:.1}");
        } else if index % 2 == 1 {
            let (before_x, before_y) = points[index - 1];
            let middle = f64::midpoint(before_x, *x);
            let _ = write!(path, "C{middle:.1} {before_y:.1} {middle:.1} {y:.1} {x:.1} {y:.1}");
        } else {
            let _ = write!(path, "L{x:.1} {y:.1}");
        }
    }
    path
}

fn legend(out: &mut String, top: f64) {
    let y = top + 8.0;
    let _ = write!(out, "<g class=\"legend\">");
    let boxes = [
        ("inline", 3, "inline: no isolation"),
        ("wasm", 9, "wasm compartment"),
        ("process", 9, "process compartment"),
    ];
    let mut x = 24.0;
    for (class, radius, text) in boxes {
        let _ = write!(
            out,
            "<rect class=\"box {class}\" x=\"{x}\" y=\"{y}\" width=\"22\" height=\"14\" rx=\"{radius}\"/>\
             <text class=\"what\" x=\"{}\" y=\"{}\">{text}</text>",
            x + 28.0,
            y + 11.0
        );
        x += 50.0 + text.len() as f64 * 6.3;
    }
    for (class, text) in
        [("granted", "granted"), ("denied", "denied"), ("build", "while compiling"), ("", "no grants")]
    {
        let _ = write!(
            out,
            "<path class=\"wire {class}\" d=\"M{x} {}h26\"/><text class=\"what\" x=\"{}\" y=\"{}\">{text}</text>",
            y + 7.0,
            x + 32.0,
            y + 11.0
        );
        x += 52.0 + text.len() as f64 * 6.3;
    }
    out.push_str("</g>\n");
}

/// Text for XML. Controls cannot be written in it at all.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
