//! From the text of a manifest to what is granted.

use std::fmt::Write as _;

use capability_manifest::{Files, Form, ManifestText, Project, ProjectBuilder, parse, resolve};

const CRATES: usize = 200;
const EDGES: usize = 4;

/// Layers of crates, each of which depends on some of the next and grants them two things.
fn text() -> String {
    const LAYER: usize = 20;
    let mut out = String::from("[holds]\nfilesystem = { read = [\"data\"] }\nclock = true\n");
    for index in 0..CRATES {
        let (layer, place) = (index / LAYER, index % LAYER);
        let next = (0..EDGES).map(|edge| (layer + 1) * LAYER + (place * 7 + edge * 3) % LAYER);
        let next: Vec<usize> = next.filter(|index| *index < CRATES).collect();
        let names: Vec<String> = next.iter().map(|index| format!("\"c{index}\"")).collect();
        let _ = writeln!(out, "[crates.c{index}]\ndependencies = [{}]", names.join(", "));
        let _ = writeln!(out, "consumes = {{ \"filesystem.read\" = \"reads\", clock = \"times\" }}");
        for name in next {
            let _ = writeln!(
                out,
                "[crates.c{index}.grants.c{name}]\nfilesystem = {{ read = [\"data\"] }}\nclock = true"
            );
        }
    }
    out
}

fn project(text: &str) -> Project {
    let mut files = Files::default();
    let file =
        files.add(ManifestText::from_bytes("capabilities.toml", text.as_bytes().to_vec()).expect("small"));
    let manifest = parse(file, files.get(file), Form::Standalone).expect("right");
    ProjectBuilder::standalone(files, manifest).expect("a graph")
}

pub(crate) fn parsed() -> Box<dyn FnMut()> {
    let text = text();
    Box::new(move || drop(std::hint::black_box(project(&text))))
}

pub(crate) fn resolved() -> Box<dyn FnMut()> {
    let project = project(&text());
    Box::new(move || {
        assert!(std::hint::black_box(resolve(&project)).granted(&project).is_some());
    })
}
