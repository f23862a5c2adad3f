//! How long does it take to decide about a large graph, and does the cost grow with its size alone?
//!
//! Each crate depends on five others and grants to each; in the second shape, every fourth of the last layer is a wasm compartment.

use std::fmt::Write as _;

use capability_manifest::{Files, Form, Manifest, ManifestText, Project, ProjectBuilder, parse, resolve};
use divan::Bencher;

fn main() {
    divan::main();
}

const EDGES: usize = 5;
/// Crates in one layer; each depends on crates of the next.
const LAYER: usize = 100;

fn text(crates: usize, compartments: bool) -> String {
    let mut out = String::from("[holds]\nfilesystem = { read = [\"data\"] }\nclock = true\n");
    for index in 0..crates {
        let (layer, place) = (index / LAYER, index % LAYER);
        let next: Vec<usize> = (0..EDGES)
            .map(|edge| (layer + 1) * LAYER + (place * 7 + edge * 13) % LAYER)
            .filter(|index| *index < crates)
            .collect();
        let names: Vec<String> = next.iter().map(|index| format!("\"c{index}\"")).collect();
        let _ = writeln!(out, "[crates.c{index}]\ndependencies = [{}]", names.join(", "));
        let _ = writeln!(out, "consumes = {{ \"filesystem.read\" = \"reads\", clock = \"times\" }}");
        if compartments && index % 4 == 3 && (layer + 1) * LAYER >= crates {
            let _ = writeln!(out, "compartment = {{ backend = \"wasm\" }}");
        }
        for to in next {
            let _ = writeln!(
                out,
                "[crates.c{index}.grants.c{to}]\nfilesystem = {{ read = [\"data\"] }}\nclock = true"
            );
        }
    }
    out
}

fn parsed(text: &str) -> (Files, Manifest) {
    let mut files = Files::default();
    let file =
        files.add(ManifestText::from_bytes("capabilities.toml", text.into()).expect("within the limit"));
    let manifest = parse(file, files.get(file), Form::Standalone).expect("valid");
    (files, manifest)
}

fn project(crates: usize, compartments: bool) -> Project {
    let (files, manifest) = parsed(&text(crates, compartments));
    ProjectBuilder::standalone(files, manifest).expect("valid")
}

#[divan::bench(args = [1_000, 10_000])]
fn resolve_inline(bencher: Bencher<'_, '_>, crates: usize) {
    let project = project(crates, false);
    assert!(resolve(&project).denials().is_empty());
    bencher.bench_local(|| resolve(&project));
}

#[divan::bench(args = [1_000, 10_000])]
fn resolve_with_compartments(bencher: Bencher<'_, '_>, crates: usize) {
    let project = project(crates, true);
    let resolution = resolve(&project);
    assert!(resolution.denials().is_empty(), "{}", resolution.denials()[0].kind);
    bencher.bench_local(|| resolve(&project));
}

#[divan::bench(args = [1_000, 10_000])]
fn build_project(bencher: Bencher<'_, '_>, crates: usize) {
    let text = text(crates, false);
    bencher
        .with_inputs(|| parsed(&text))
        .bench_local_values(|(files, manifest)| ProjectBuilder::standalone(files, manifest));
}

#[divan::bench(args = [1_000, 10_000])]
fn parse_text(bencher: Bencher<'_, '_>, crates: usize) {
    let text = text(crates, false);
    bencher.counter(divan::counter::BytesCount::new(text.len())).bench_local(|| parsed(&text));
}
