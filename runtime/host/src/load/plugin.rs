//! Components that were built elsewhere: their bytes, their digest, and what they say of themselves.
//!
//! A plugin's own manifest stands beside it (`words.wasm` and `words.capabilities.toml`) or inside it, in the custom section
//! [`MANIFEST_SECTION`]; the file beside it comes first. It is a claim like any other: it may ask and it may narrow. What the
//! plugin is given stands in its host's manifest alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ambient_authority::AmbientAuthority;
use capability_manifest::manifest::{Compartment, CrateSpec, CrateTables};
use capability_manifest::{Backend, Code, Diagnostic, Form, Located, Location, Manifest};

use super::{LoadError, Reading, file};

/// The custom section of a component that holds its manifest.
pub const MANIFEST_SECTION: &str = "cofferdam:capabilities";

/// Largest component that is read, bytes. The largest in use have some ten million.
pub const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// A component's bytes, as long as they are not too many.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    bounded(file::open(path), path, COMPONENT_BYTES_MAX)
}

fn bounded(opened: io::Result<File>, path: &Path, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut read = |file: File| {
        // What is no ordinary file says 0, and memory is taken as it comes.
        let size = file.metadata()?.len().min(bytes_max);
        bytes.reserve_exact(usize::try_from(size).unwrap_or(0) + 1);
        file.take(bytes_max + 1).read_to_end(&mut bytes)
    };
    opened.and_then(&mut read).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(io::Error::other(format!("larger than {bytes_max} bytes"))));
    }
    Ok(bytes)
}

/// The bytes of a component that the user names.
///
/// # Errors
/// When it cannot be read, is no file, or is larger than [`COMPONENT_BYTES_MAX`].
///
/// # Authority
/// Reads that one file.
pub fn read_component_ambient(path: &Path, _: AmbientAuthority) -> Result<Vec<u8>, LoadError> {
    bounded(file::open_named(path), path, COMPONENT_BYTES_MAX)
}

/// What a component says of itself, in its section [`MANIFEST_SECTION`]; `None` when it says nothing. These are claims, which give it
/// nothing.
///
/// # Errors
/// When the section is no manifest that a plugin can have, or is larger than one may be.
pub fn component_claims(name: &str, bytes: &[u8]) -> Result<Option<CrateTables>, LoadError> {
    let mut reading = Reading::default();
    let own = inside(&mut reading, Path::new(name), bytes);
    let own = own.and_then(|own| single(&mut reading, own, Path::new(name)));
    if reading.diagnostics.is_empty() {
        return Ok(own);
    }
    Err(LoadError::Invalid { files: reading.files, diagnostics: reading.diagnostics })
}

/// Reads every component that a manifest names, with what it says of itself. Returns their digests by crate.
pub(crate) fn include(
    reading: &mut Reading,
    manifest: &mut Manifest,
    folder: &Path,
) -> Result<HashMap<CrateSpec, String>, LoadError> {
    let mut digests = HashMap::new();
    let mut overrides = Vec::new();
    for tables in &mut manifest.crates {
        let component = tables.compartment.as_ref().and_then(|compartment| compartment.component.clone());
        let Some(component) = component else { continue };
        let path = folder.join(component.value.as_str());
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(LoadError::Read { source, .. }) => {
                let message = format!("the component `{}` cannot be read: {source}", component.value);
                reading.diagnostics.push(at(Code::PathMissing, message, component.at));
                continue;
            }
            Err(error) => return Err(error),
        };
        match &mut tables.compartment {
            Some(Compartment { backend: Some(backend), .. }) if backend.value != Backend::Wasm => {
                let message = "a component runs as wasm; leave `backend` out, or write `backend = \"wasm\"`";
                reading.diagnostics.push(at(Code::UnknownBackend, message.to_owned(), backend.at));
            }
            Some(compartment) => {
                compartment.backend = Some(Located { value: Backend::Wasm, at: component.at });
            }
            None => {}
        }
        digests.insert(tables.name.value.clone(), crate::wasm::digest(&bytes));
        if let Some(own) = own_manifest(reading, &path, &bytes)? {
            let own = single(reading, own, &path);
            if let Some(own) = own {
                overrides.extend(merge(tables, own));
            }
        }
    }
    let workspace = manifest.workspace.get_or_insert_default();
    for (spec, compartment) in overrides {
        match workspace.compartments.iter_mut().find(|(other, _)| other.value == spec.value) {
            Some((_, existing)) => existing.component = compartment.component,
            None => workspace.compartments.push((spec, compartment)),
        }
    }
    Ok(digests)
}

fn at(code: Code, message: String, at: Location) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(code, message);
    diagnostic.primary = Some((at, String::new()));
    diagnostic
}

/// Where a component's manifest stands beside it.
pub(crate) fn beside(component: &Path) -> PathBuf {
    component.with_extension("capabilities.toml")
}

/// The manifest beside a component, or inside it.
fn own_manifest(reading: &mut Reading, path: &Path, bytes: &[u8]) -> Result<Option<Manifest>, LoadError> {
    let beside = beside(path);
    if beside.exists() {
        return reading.manifest(&beside, &beside.display().to_string(), Form::Standalone);
    }
    Ok(inside(reading, path, bytes))
}

fn inside(reading: &mut Reading, path: &Path, bytes: &[u8]) -> Option<Manifest> {
    match section(bytes) {
        Ok(None) => None,
        Ok(Some(text)) => {
            let name = format!("{} (section `{MANIFEST_SECTION}`)", path.display());
            reading.text(&name, text.to_vec(), Form::Standalone)
        }
        Err(message) => {
            let message = format!("the component `{}` cannot be read: {message}", path.display());
            reading.diagnostics.push(Diagnostic::new(Code::Unreadable, message));
            None
        }
    }
}

/// The manifest inside a component: the one section of that name, in the outermost component.
pub(crate) fn section(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    let mut depth = 0usize;
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.message().to_owned())? {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => {
                depth += 1;
            }
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            wasmparser::Payload::CustomSection(custom) if depth == 0 && custom.name() == MANIFEST_SECTION => {
                match found.replace(custom.data()) {
                    None => {}
                    Some(_) => return Err(format!("it has two sections `{MANIFEST_SECTION}`")),
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The one crate that a plugin's manifest may speak of: itself.
pub(crate) fn single(reading: &mut Reading, manifest: Manifest, path: &Path) -> Option<CrateTables> {
    let mut refuse = |message: &str| {
        let message = format!("the manifest of `{}` {message}", path.display());
        reading.diagnostics.push(Diagnostic::new(Code::Unreadable, message));
        None
    };
    let holds =
        manifest.workspace.as_ref().is_some_and(|tables| tables.holds.is_some() || !tables.grants.is_empty());
    let mut crates = manifest.crates;
    match (crates.pop(), crates.is_empty()) {
        _ if holds => refuse("gives itself authority; only its host's manifest may hold and grant"),
        (Some(own), true) if own.grants.is_empty() && own.dependencies.is_empty() => Some(own),
        (Some(_), true) => refuse("has dependencies or grants; a plugin is one component"),
        _ => refuse("must speak of one crate: `[crates.NAME]`"),
    }
}

/// The plugin's claims, under its host's name for it. What its host says of its compartment goes before, as an override.
fn merge(tables: &mut CrateTables, own: CrateTables) -> Option<(Located<CrateSpec>, Compartment)> {
    // A host that lists claims itself has curated them.
    if tables.consumes.is_empty() {
        tables.consumes = own.consumes;
    }
    if tables.exports.is_empty() {
        tables.exports = own.exports;
    }
    tables.declared = true;
    let hosts = tables.compartment.take();
    let mut compartment = own.compartment.unwrap_or_default();
    // A component runs as wasm, whatever it says.
    let at = hosts
        .as_ref()
        .and_then(|hosts| hosts.component.as_ref())
        .map_or(tables.name.at, |component| component.at);
    compartment.backend = Some(Located { value: Backend::Wasm, at });
    compartment.component = None;
    tables.compartment = Some(compartment);
    hosts.map(|hosts| (tables.name.clone(), hosts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_as_large_as_allowed_is_read_and_a_larger_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.wasm");
        std::fs::write(&path, "four").expect("writable");
        let read = |most| bounded(file::open(&path), &path, most);
        assert_eq!(read(4).expect("small"), b"four");
        let error = read(3).expect_err("large").to_string();
        assert!(error.ends_with("larger than 3 bytes"), "{error}");
    }

    #[test]
    fn claims_are_read_from_a_component_and_nothing_that_is_none() {
        let claims = |section: &str| {
            let bytes = wat::parse_str(format!("(component (@custom \"{MANIFEST_SECTION}\" {section:?}))"));
            component_claims("x.wasm", &bytes.expect("text"))
        };
        let own = claims("crates.x.consumes = { clock = 'stamps' }").expect("a manifest").expect("is there");
        assert_eq!(own.consumes.len(), 1);
        assert_eq!(own.consumes[0].reason, "stamps");
        assert!(
            component_claims("x.wasm", &wat::parse_str("(component)").expect("text"))
                .expect("none")
                .is_none()
        );
        for wrong in ["crates", "holds.clock = true", "", "crates.x.grants.y.clock = true"] {
            assert!(matches!(claims(wrong), Err(LoadError::Invalid { .. })), "{wrong}");
        }
        assert!(matches!(component_claims("x.wasm", b"no component"), Err(LoadError::Invalid { .. })));
        let large = " ".repeat(capability_manifest::limits::MANIFEST_BYTES_MAX + 1);
        assert!(matches!(claims(&large), Err(LoadError::Invalid { .. })));
    }

    #[test]
    fn a_manifest_inside_a_component_is_found_in_the_outermost_one_only() {
        let inner = r#"(component (component (@custom "cofferdam:capabilities" "inner")))"#;
        assert_eq!(section(&wat::parse_str(inner).expect("text")), Ok(None));
        let outer = r#"(component (component) (core module) (@custom "cofferdam:capabilities" "outer"))"#;
        assert_eq!(section(&wat::parse_str(outer).expect("text")), Ok(Some(&b"outer"[..])));
        let twice =
            r#"(component (@custom "cofferdam:capabilities" "a") (@custom "cofferdam:capabilities" "b"))"#;
        assert!(section(&wat::parse_str(twice).expect("text")).is_err());
    }
}
