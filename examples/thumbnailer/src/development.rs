//! The manifest, as it is or changed for a trial. A change is said aloud, and is decided about like what is written.

use std::error::Error;
use std::path::Path;

use cofferdam::manifest::{Diagnostic, Files, Form, ManifestText, Project, ProjectBuilder, parse};
use toml_edit::{DocumentMut, Item, value};

use crate::arguments::Arguments;

/// This program's own crate in its manifest.
const OWN: &str = "thumbnailer";

/// A manifest's text.
pub(crate) struct Manifest {
    name: String,
    document: DocumentMut,
}

impl Manifest {
    /// Reads it, and applies what the command line changes.
    pub(crate) fn read(path: &Path, arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut manifest = Self { name: path.display().to_string(), document: text.parse()? };
        for (name, backend) in &arguments.backend {
            manifest.move_part(name, backend)?;
        }
        if arguments.evil {
            eprintln!("trial: png-decode is replaced by a decoder that somebody has taken over");
            manifest.take_over()?;
        }
        Ok(manifest)
    }

    fn crates(&mut self) -> Result<&mut toml_edit::Table, Box<dyn Error>> {
        let name = self.name.clone();
        self.document["crates"].as_table_mut().ok_or_else(|| format!("{name}: there are no crates").into())
    }

    fn move_part(&mut self, name: &str, backend: &str) -> Result<(), Box<dyn Error>> {
        let crates = self.crates()?;
        // Asked first: a mutable look-up makes the key that it does not find.
        let is_part = |part: &Item| part.get("compartment").is_some();
        let Some(compartment) =
            crates.get_mut(name).filter(|part| is_part(part)).and_then(|part| part.get_mut("compartment"))
        else {
            let known: Vec<&str> =
                crates.iter().filter(|(_, part)| is_part(part)).map(|(name, _)| name).collect();
            let known = known.join(", ");
            let what = match name {
                OWN => format!("`{name}` is this program itself, which no compartment has"),
                _ if crates.contains_key(name) => {
                    format!("`{name}` is linked into the part that uses it, and moves with that")
                }
                _ => format!("there is no part `{name}`"),
            };
            return Err(format!("--backend: {what}; there are {known}").into());
        };
        if !["wasm", "process", "inline"].contains(&backend) {
            return Err(format!("--backend: `{backend}` is none of wasm, process, inline").into());
        }
        let was = compartment["backend"].as_str().unwrap_or_default().to_owned();
        if was == backend {
            eprintln!("development: {name} runs as `{backend}`, as its manifest says");
            return Ok(());
        }
        eprintln!("development: {name} runs as `{backend}`, where its manifest says `{was}`");
        if backend == "inline" {
            eprintln!("development: {name} has all of this program's authority");
        }
        compartment["backend"] = value(backend);
        Ok(())
    }

    /// Another crate under the edge of `png-decode`, with the same grants: none.
    fn take_over(&mut self) -> Result<(), Box<dyn Error>> {
        let crates = self.crates()?;
        let mut part = crates.remove("png-decode").ok_or("there is no part `png-decode`")?;
        part["compartment"]["limits"]["call-deadline"] = value("1s");
        crates.insert("evil-decode", part);
        let dependencies = crates.get_mut(OWN).and_then(|own| own.get_mut("dependencies"));
        let dependencies = dependencies
            .and_then(Item::as_array_mut)
            .ok_or_else(|| format!("`{OWN}` has no dependencies"))?;
        dependencies.retain(|name| name.as_str() != Some("png-decode"));
        dependencies.push("evil-decode");
        Ok(())
    }

    /// As it is decided about.
    pub(crate) fn project(&self) -> Result<Project, Box<dyn Error>> {
        let mut files = Files::default();
        let text = ManifestText::from_bytes(&self.name, self.document.to_string().into_bytes())?;
        let file = files.add(text);
        let manifest = match parse(file, files.get(file), Form::Standalone) {
            Ok(manifest) => manifest,
            Err(errors) => {
                return Err(listed(&files, errors.iter().map(Diagnostic::of_manifest_error)).into());
            }
        };
        ProjectBuilder::standalone(files, manifest)
            .map_err(|(files, errors)| listed(&files, errors.iter().map(Diagnostic::of_project_error)).into())
    }
}

/// What is wrong, each with its place.
fn listed(files: &Files, found: impl Iterator<Item = Diagnostic>) -> String {
    let line = |one: Diagnostic| {
        let place = one.primary.map(|(at, _)| format!(" ({})", files.describe(at))).unwrap_or_default();
        format!("{}{place}", one.message)
    };
    found.map(line).collect::<Vec<_>>().join("\n")
}
