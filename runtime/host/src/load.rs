//! Reads a project: a Cargo workspace through `cargo metadata`, or one `capabilities.toml`.
//!
//! Only manifests are read: those of the workspace's members, and those of dependencies that say something about
//! capabilities. Nothing of what they say is trusted here; parsing and judging is `capability-manifest`'s.

mod file;
#[cfg(feature = "wasm")]
pub(crate) mod plugin;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ambient_authority::AmbientAuthority;
use capability_manifest::manifest::{EdgeKind, WorkspaceTables};
use capability_manifest::{
    Code, Diagnostic, FileId, Files, Form, Manifest, ManifestText, Package, Project, ProjectBuilder, parse,
};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId, TargetKind};
use serde::Deserialize;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The `Cargo.toml`; the one of the current folder, or of a folder above it, when `None`.
    pub manifest_path: Option<PathBuf>,
    /// Further arguments for `cargo metadata`, such as `--locked` or `--filter-platform TRIPLE`.
    pub cargo_arguments: Vec<String>,
}

/// A project, and the folder that its relative paths begin in.
#[derive(Debug)]
pub struct Loaded {
    /// The graph with every declaration.
    pub project: Project,
    /// The workspace's root, or the folder of the `capabilities.toml`.
    pub folder: PathBuf,
    /// Where each file of the project is on disk.
    pub paths: HashMap<FileId, PathBuf>,
    /// What Cargo said about the workspace, for who looks at its code; `None` for a `capabilities.toml`.
    pub metadata: Option<Box<Metadata>>,
    /// The checksums in Cargo.lock, by name, version and source.
    pub checksums: Checksums,
}

/// SHA-256 of packages, by name, version and source.
pub type Checksums = HashMap<(String, String, String), String>;

/// Why a project could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// `cargo metadata` failed; Cargo says why.
    #[error("cargo metadata failed: {0}")]
    Cargo(#[from] CargoFailure),
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The files are wrong; each diagnostic says how.
    #[error("{} errors in the manifests", diagnostics.len())]
    Invalid {
        /// The texts.
        files: Files,
        /// Everything that is wrong.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Cargo's own failure.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CargoFailure(#[from] cargo_metadata::Error);

/// Files as they are read, with their places on disk.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) files: Files,
    paths: HashMap<FileId, PathBuf>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// Parses a text that was read elsewhere.
    #[cfg(feature = "wasm")]
    pub(crate) fn text(&mut self, name: &str, bytes: Vec<u8>, form: Form) -> Option<Manifest> {
        let text = match ManifestText::from_bytes(name, bytes) {
            Ok(text) => text,
            Err(error) => {
                self.diagnostics.push(Diagnostic::of_text_error(&error));
                return None;
            }
        };
        let file = self.files.add(text);
        match parse(file, self.files.get(file), form) {
            Ok(manifest) => Some(manifest),
            Err(errors) => {
                self.diagnostics.extend(errors.iter().map(Diagnostic::of_manifest_error));
                None
            }
        }
    }

    /// Reads and parses one file. `None` when something is wrong with it; the diagnostics say what.
    fn manifest(&mut self, path: &Path, name: &str, form: Form) -> Result<Option<Manifest>, LoadError> {
        self.manifest_in(file::open(path), path, name, form)
    }

    fn manifest_in(
        &mut self,
        opened: io::Result<File>,
        path: &Path,
        name: &str,
        form: Form,
    ) -> Result<Option<Manifest>, LoadError> {
        let bytes = opened.and_then(read_bounded);
        let bytes = bytes.map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let text = match ManifestText::from_bytes(name, bytes) {
            Ok(text) => text,
            Err(error) => {
                self.diagnostics.push(Diagnostic::of_text_error(&error));
                return Ok(None);
            }
        };
        let file = self.files.add(text);
        self.paths.insert(file, path.to_owned());
        match parse(file, self.files.get(file), form) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(errors) => {
                self.diagnostics.extend(errors.iter().map(Diagnostic::of_manifest_error));
                Ok(None)
            }
        }
    }

    fn finish(
        self,
        built: Result<Project, (Files, Vec<capability_manifest::ProjectError>)>,
        folder: PathBuf,
    ) -> Result<Loaded, LoadError> {
        match built {
            Ok(project) => {
                let (metadata, checksums) = (None, Checksums::new());
                Ok(Loaded { project, folder, paths: self.paths, metadata, checksums })
            }
            Err((files, errors)) => {
                let diagnostics = errors.iter().map(Diagnostic::of_project_error).collect();
                Err(LoadError::Invalid { files, diagnostics })
            }
        }
    }
}

/// A file's bytes, and no more of them than would be refused anyway.
fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = capability_manifest::limits::MANIFEST_BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a manifest.
#[cfg(feature = "wasm")]
pub(crate) fn read_manifest(path: &Path) -> Result<Vec<u8>, LoadError> {
    let bytes = file::open_named(path).and_then(read_bounded);
    bytes.map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// Loads one `capabilities.toml`, which holds its whole graph.
///
/// # Errors
/// When the file cannot be read, or when anything in it is wrong.
///
/// # Authority
/// Reads that one file. Runs nothing.
pub fn load_file_ambient(path: &Path, _: AmbientAuthority) -> Result<Loaded, LoadError> {
    let mut reading = Reading::default();
    let name = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let manifest = reading.manifest_in(file::open_named(path), path, &name, Form::Standalone)?;
    #[cfg(feature = "wasm")]
    let manifest = match manifest {
        Some(mut manifest) => {
            let digests = plugin::include(&mut reading, &mut manifest, &folder)?;
            Some((manifest, digests))
        }
        None => None,
    };
    #[cfg(not(feature = "wasm"))]
    let manifest = manifest.map(|manifest| (manifest, HashMap::new()));
    match manifest {
        Some((manifest, digests)) if reading.diagnostics.is_empty() => {
            let files = std::mem::take(&mut reading.files);
            reading.finish(ProjectBuilder::standalone_with(files, manifest, &digests), folder)
        }
        _ => Err(LoadError::Invalid { files: reading.files, diagnostics: reading.diagnostics }),
    }
}

/// Loads a Cargo workspace with its whole dependency graph.
///
/// # Errors
/// When Cargo cannot resolve the workspace, when a manifest cannot be read, or when anything in one is wrong.
///
/// # Authority
/// Runs `cargo metadata`, which may read the package registry, and reads `Cargo.toml` files and `Cargo.lock`.
pub fn load_workspace_ambient(options: &LoadOptions, _: AmbientAuthority) -> Result<Loaded, LoadError> {
    let mut command = MetadataCommand::new();
    // Cargo's own progress and warnings go to the terminal, as they do when a user runs Cargo.
    command.verbose(true).other_options(options.cargo_arguments.clone());
    if let Some(path) = &options.manifest_path {
        // Cargo would wait for who writes to a pipe; what is not there, it says itself.
        if let Ok(found) = std::fs::metadata(path) {
            let refused = file::refuse_special(&found);
            refused.map_err(|source| LoadError::Read { path: path.clone(), source })?;
        }
        command.manifest_path(path);
    }
    let metadata = command.exec().map_err(CargoFailure)?;
    let loaded = workspace(&metadata)?;
    Ok(Loaded { metadata: Some(Box::new(metadata)), ..loaded })
}

fn workspace(metadata: &Metadata) -> Result<Loaded, LoadError> {
    let mut reading = Reading::default();
    let root = metadata.workspace_root.as_std_path();
    let root_manifest = root.join("Cargo.toml");
    let mut tables = WorkspaceTables::default();
    let mut root_file = None;
    let mut crates = Vec::with_capacity(metadata.packages.len());
    for package in &metadata.packages {
        let member = metadata.workspace_members.contains(&package.id);
        let speaks = package.metadata.get("capabilities").is_some();
        let path = package.manifest_path.as_std_path();
        let name = match path.strip_prefix(root) {
            Ok(relative) => relative.display().to_string(),
            Err(_) => format!("{}-{}/Cargo.toml", package.name, package.version),
        };
        let manifest = if member || speaks { reading.manifest(path, &name, Form::CargoToml)? } else { None };
        let mut file = None;
        let mut own = None;
        if let Some(mut manifest) = manifest {
            file = Some(manifest.file);
            own = manifest.crates.pop();
            if path == root_manifest {
                root_file = file;
                tables = manifest.workspace.unwrap_or_default();
            }
        }
        crates.push((package, member, own, file));
    }
    if root_file.is_none()
        && !metadata.packages.iter().any(|package| package.manifest_path.as_std_path() == root_manifest)
        && let Some(manifest) = reading.manifest(&root_manifest, "Cargo.toml", Form::CargoToml)?
    {
        root_file = Some(manifest.file);
        tables = manifest.workspace.unwrap_or_default();
    }
    let apart = workspace_apart(&mut reading, root, &tables)?;
    if !reading.diagnostics.is_empty() {
        return Err(LoadError::Invalid { files: reading.files, diagnostics: reading.diagnostics });
    }
    let is_apart = apart.is_some();
    if let Some((file, own)) = apart {
        root_file = Some(file);
        tables = own;
    }
    let pinned = |grants: &[capability_manifest::manifest::EdgeGrants]| {
        grants.iter().any(|grant| grant.checksum.is_some())
    };
    let any_pin = pinned(&tables.grants)
        || crates.iter().any(|(_, _, own, _)| own.as_ref().is_some_and(|own| pinned(&own.grants)));
    let checksums = match checksums(&root.join("Cargo.lock")) {
        Err(error) if any_pin => return Err(error),
        read => read.unwrap_or_default(),
    };

    let mut builder = ProjectBuilder::new(std::mem::take(&mut reading.files));
    match root_file {
        Some(file) if is_apart => builder.set_workspace_apart(tables, file),
        Some(file) => builder.set_workspace(tables, file),
        None => {}
    }
    // Whether a dependency is active does not matter here: a feature that is off must not make a crate a root.
    let mut depended = std::collections::HashSet::new();
    let mut numbers: HashMap<&PackageId, usize> = HashMap::with_capacity(crates.len());
    for (package, member, own, file) in crates {
        let source = package.source.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (package.name.to_string(), package.version.to_string(), source.clone());
        let described = Package {
            name: package.name.to_string(),
            version: package.version.clone(),
            source,
            checksum: checksums.get(&key).cloned(),
            member,
            proc_macro: package.targets.iter().any(|target| target.kind.contains(&TargetKind::ProcMacro)),
        };
        numbers.insert(&package.id, builder.add_crate(described, own, file));
        if member {
            let named = package.dependencies.iter().filter(|line| line.kind != DependencyKind::Development);
            depended.extend(named.filter_map(|line| Some(line.path.as_ref()?.join("Cargo.toml"))));
        }
    }
    for package in metadata.packages.iter().filter(|package| depended.contains(&package.manifest_path)) {
        builder.mark_depended(numbers[&package.id]);
    }
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        for dependency in &node.deps {
            for kind in &dependency.dep_kinds {
                let kind = match kind.kind {
                    DependencyKind::Normal => EdgeKind::Normal,
                    DependencyKind::Build => EdgeKind::Build,
                    // Code that only tests and examples use is no part of what is shipped.
                    _ => continue,
                };
                if let (Some(from), Some(to)) = (numbers.get(&node.id), numbers.get(&dependency.pkg)) {
                    builder.add_edge(*from, *to, kind, Some(&dependency.name));
                }
            }
        }
    }
    let loaded = reading.finish(builder.build(), root.to_owned())?;
    Ok(Loaded { checksums, ..loaded })
}

/// The workspace's tables in a file of their own, which stands beside the root's `Cargo.toml`.
const APART: &str = "Cofferdam.toml";

/// Reads that file, where there is one. The tables stand in one place only: in two, a reader of one would miss the other.
fn workspace_apart(
    reading: &mut Reading,
    root: &Path,
    in_cargo: &WorkspaceTables,
) -> Result<Option<(FileId, WorkspaceTables)>, LoadError> {
    let path = root.join(APART);
    if !path.try_exists().map_err(|source| LoadError::Read { path: path.clone(), source })? {
        return Ok(None);
    }
    let Some(manifest) = reading.manifest(&path, APART, Form::WorkspaceToml)? else { return Ok(None) };
    if *in_cargo != WorkspaceTables::default() {
        let message = format!(
            "the workspace's tables stand in `Cargo.toml` and in `{APART}`; move those under `[workspace.metadata.capabilities]` into one of them"
        );
        reading.diagnostics.push(Diagnostic::new(Code::Unreadable, message));
    }
    Ok(Some((manifest.file, manifest.workspace.unwrap_or_default())))
}

/// The checksums that `Cargo.lock` records, by name, version and source: a package from elsewhere is another package.
fn checksums(path: &Path) -> Result<Checksums, LoadError> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        #[serde(default)]
        source: String,
        checksum: Option<String>,
    }
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lock: Lock = toml::from_str(&text).map_err(|error| {
        let message = format!("`{}`: {}", path.display(), error.message());
        LoadError::Invalid {
            files: Files::default(),
            diagnostics: vec![Diagnostic::new(Code::Unreadable, message)],
        }
    })?;
    Ok(lock
        .package
        .into_iter()
        .filter_map(|package| {
            let checksum = package.checksum?.to_ascii_lowercase();
            Some(((package.name, package.version, package.source), checksum))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pin must not pass for a package of equal name and version that comes from elsewhere.
    #[test]
    fn a_checksum_is_of_a_package_from_one_source() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Cargo.lock");
        let text = "version = 4\n[[package]]\nname = \"twin\"\nversion = \"1.0.0\"\n\
            [[package]]\nname = \"twin\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\nchecksum = \"ABC\"\n";
        std::fs::write(&path, text).expect("writable");
        let found = checksums(&path).expect("readable");
        let key = |source: &str| ("twin".to_owned(), "1.0.0".to_owned(), source.to_owned());
        assert_eq!(found.get(&key("registry+x")).map(String::as_str), Some("abc"));
        assert_eq!(found.get(&key("")), None);
    }
}
