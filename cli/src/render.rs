//! Draws findings the way rustc does.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use cofferdam::manifest::{Diagnostic, Files, Location, Severity, is_deceptive};

/// Annotations this close together are drawn in one snippet; bytes.
const WINDOW_BYTES: usize = 8 << 10;

/// Most source that one snippet draws, bytes.
const DRAWN_BYTES_MAX: usize = 16 << 10;

/// One finding.
pub(crate) fn one(files: &Files, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(printable(&diagnostic.message))
        .id(diagnostic.code.name())
        .elements(Vec::<Origin<'_>>::new());
    for labels in nearby(diagnostic) {
        // A line that nobody can read is only pointed at; drawing it would take longer than judging it.
        group = match snippet(files, &labels) {
            Some(snippet) => group.element(snippet),
            None => group.element(origin(files, labels[0].0)),
        };
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(printable(note)));
    }
    let mut report = vec![group];
    for help in &diagnostic.help {
        report.push(Group::with_title(Level::HELP.secondary_title(printable(help))));
    }
    let mut text = Renderer::styled().render(&report);
    text.push('\n');
    text
}

/// Every finding, with an empty line between.
pub(crate) fn all<'d>(files: &Files, diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> String {
    diagnostics.into_iter().map(|diagnostic| one(files, diagnostic) + "\n").collect()
}

/// `2 errors, 1 warning`, or nothing.
pub(crate) fn totals(errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{number} {word}s")),
    };
    let parts: Vec<String> =
        [count(errors, "error"), count(warnings, "warning")].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join(", ")) }
}

/// An error without a place.
pub(crate) fn plain_error(message: &str) -> String {
    Renderer::styled().render(&[Group::with_title(Level::ERROR.primary_title(printable(message)))])
}

/// A version behind a name. A crate of a manifest that is a graph by itself has none, which is 0.0.0 there.
pub(crate) fn version(version: &str) -> String {
    if version == "0.0.0" { String::new() } else { format!(" {version}") }
}

/// Text that comes from manifests or guests; a terminal must not obey what is in it, and a reader not be deceived by it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_deceptive(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same for source text, in which annotations count bytes: what stands in has the same length.
fn printable_source(text: &str) -> String {
    let stand_in = |c: char| match c.len_utf8() {
        1 => '?',
        2 => '\u{b7}',
        _ => '\u{fffd}',
    };
    text.chars()
        .map(|c| if is_deceptive(c) && !matches!(c, '\n' | '\t' | '\r') { stand_in(c) } else { c })
        .collect()
}

/// What is said at a place.
type Label<'f> = (Location, &'f str, AnnotationKind);

/// The places of a finding, those near each other together. Only the lines around them are drawn, so that a large file costs
/// nothing.
fn nearby(diagnostic: &Diagnostic) -> Vec<Vec<Label<'_>>> {
    let mut labels: Vec<(Location, &str, AnnotationKind)> = Vec::new();
    labels.extend(diagnostic.primary.iter().map(|(at, text)| (*at, text.as_str(), AnnotationKind::Primary)));
    labels
        .extend(diagnostic.secondary.iter().map(|(at, text)| (*at, text.as_str(), AnnotationKind::Context)));
    let mut groups: Vec<Vec<(Location, &str, AnnotationKind)>> = Vec::new();
    for label in labels {
        let near = |group: &&mut Vec<(Location, &str, AnnotationKind)>| {
            group.iter().all(|(at, ..)| {
                at.file == label.0.file && at.range().start.abs_diff(label.0.range().start) < WINDOW_BYTES
            })
        };
        match groups.iter_mut().find(near) {
            Some(group) => group.push(label),
            None => groups.push(vec![label]),
        }
    }
    groups
}

/// A place without its source.
fn origin(files: &Files, at: Location) -> Origin<'_> {
    let file = files.get(at.file);
    let (line, column) = file.line_column(at.range().start);
    Origin::path(file.name()).line(line).char_column(column)
}

fn snippet<'f>(
    files: &'f Files,
    labels: &[Label<'f>],
) -> Option<Snippet<'f, annotate_snippets::Annotation<'f>>> {
    let file = files.get(labels[0].0.file);
    let text = file.as_str();
    let ranges: Vec<Range<usize>> = labels.iter().map(|(at, ..)| clamp(text, at.range())).collect();
    let first = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let last = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let window_start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let window_end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
    if window_end - window_start > DRAWN_BYTES_MAX {
        return None;
    }
    let line_start = 1 + text[..window_start].bytes().filter(|byte| *byte == b'\n').count();
    let mut snippet = Snippet::source(printable_source(&text[window_start..window_end]))
        .line_start(line_start)
        .path(file.name());
    for ((_, label, kind), range) in labels.iter().zip(ranges) {
        let mut annotation = kind.span(range.start - window_start..range.end - window_start);
        if !label.is_empty() {
            annotation = annotation.label(*label);
        }
        snippet = snippet.annotation(annotation);
    }
    Some(snippet)
}

/// A range within the text and on character boundaries, cut to the first line when it spans several.
fn clamp(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    start..end.min(line_end).max(start)
}

/// `file:line:column`, and the line itself in quotes when it is short.
pub(crate) fn place(files: &Files, at: Location) -> String {
    let mut place = files.describe(at);
    let file = files.get(at.file);
    let text = file.as_str();
    let range = clamp(text, at.range());
    let start = text[..range.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[range.start..].find('\n').map_or(text.len(), |newline| range.start + newline);
    let line = printable(text[start..end].trim());
    if line.chars().count() <= 90 {
        let _ = write!(place, "  {line}");
    }
    place
}
