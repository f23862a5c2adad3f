//! Plugins that nobody knew when the program was built: loaded by path or bytes, and resolved against what their host grants.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use capability_manifest::manifest::{CrateTables, WorkspaceTables};
use capability_manifest::{
    Diagnostic, Files, Form, Manifest, ManifestText, Project, ProjectBuilder, Severity, print, resolve,
};

use super::{EdgeName, Entry, Runtime, RuntimeError, Source};
use crate::client::Edge;
use crate::load::{LoadError, Reading, plugin as file};
use crate::plan::{plan, verify_paths_ambient};
use crate::wasm::digest;

/// A plugin, and what its host gives it.
#[derive(Debug, Clone)]
pub struct Plugin {
    name: String,
    source: Source,
    manifest: Option<String>,
    grants: String,
    checksum: Option<String>,
}

impl Plugin {
    /// A component in a file. Its manifest is beside it, `NAME.capabilities.toml`, or inside it.
    pub fn from_file(name: &str, path: impl Into<PathBuf>) -> Self {
        Self::new(name, Source::File(path.into()))
    }

    /// A component's bytes. Its manifest is inside it, or given with [`Plugin::manifest`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self::new(name, Source::Bytes(bytes.into()))
    }

    fn new(name: &str, source: Source) -> Self {
        Self { name: name.to_owned(), source, manifest: None, grants: String::new(), checksum: None }
    }

    /// The plugin's own manifest, in place of the one beside or inside it.
    #[must_use]
    pub fn manifest(mut self, text: impl Into<String>) -> Self {
        self.manifest = Some(text.into());
        self
    }

    /// What the host program gives it: lines of a grants table, such as `filesystem = { read = ["words"], at = "/words" }`. Nothing
    /// beyond what the host program holds passes the resolver.
    #[must_use]
    pub fn grants(mut self, lines: impl Into<String>) -> Self {
        self.grants = lines.into();
        self
    }

    /// The SHA-256 that the component must have, hexadecimal.
    #[must_use]
    pub fn checksum(mut self, sha256: impl Into<String>) -> Self {
        self.checksum = Some(sha256.into().to_ascii_lowercase());
        self
    }
}

/// The manifest that a runtime was made from, as it was then.
#[derive(Debug, Clone)]
pub(super) struct HostManifest {
    path: PathBuf,
    bytes: Vec<u8>,
    pins: HashMap<(String, String), String>,
    /// Crates of the host's graph that the manifest does not name.
    others: HashSet<String>,
}

impl HostManifest {
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = crate::load::read_manifest(path)?;
        let mut manifest =
            Self { path: path.to_owned(), bytes, pins: HashMap::new(), others: HashSet::new() };
        let mut reading = Reading::default();
        if let Some(tables) = manifest.parse(&mut reading) {
            for krate in &tables.crates {
                for grants in &krate.grants {
                    if let Some(checksum) = &grants.checksum {
                        let key = (krate.name.value.name.clone(), grants.to.value.name.clone());
                        manifest.pins.insert(key, checksum.value.clone());
                    }
                }
            }
        }
        Ok(manifest)
    }

    /// Of a graph that is not in one file: its roots, each with all that the workspace holds. That is all a plugin can get anything
    /// from.
    pub(super) fn of_project(project: &Project) -> Self {
        let mut files = Files::default();
        let nothing = ManifestText::from_bytes("", Vec::new()).expect("nothing is small");
        let workspace = WorkspaceTables { holds: project.workspace().holds.clone(), ..Default::default() };
        let manifest = Manifest { file: files.add(nothing), workspace: Some(workspace), crates: Vec::new() };
        let mut text = print::manifest(&manifest);
        let roots: HashSet<&str> =
            project.roots().iter().map(|root| project.package(*root).name.as_str()).collect();
        for root in &roots {
            let _ = writeln!(text, "[crates.{}]", print::key(root));
        }
        let name = |index| project.package(index).name.clone();
        let others = project.crates().map(name).filter(|name| !roots.contains(name.as_str())).collect();
        let mut pins = HashMap::new();
        for index in project.edges() {
            let edge = project.edge(index);
            let checksums = project.grants(index).filter_map(|grants| grants.checksum.as_ref());
            pins.extend(checksums.map(|checksum| ((name(edge.from), name(edge.to)), checksum.value.clone())));
        }
        Self { path: PathBuf::from("what the host program holds"), bytes: text.into_bytes(), pins, others }
    }

    /// The digest that an edge's grants pin.
    pub(super) fn pin(&self, name: EdgeName<'_>) -> Option<String> {
        self.pins.get(&(name.consumer.to_owned(), name.krate.to_owned())).cloned()
    }

    fn parse(&self, reading: &mut Reading) -> Option<Manifest> {
        reading.text(&self.path.display().to_string(), self.bytes.clone(), Form::Standalone)
    }
}

impl Runtime {
    /// Adds a plugin to a running program: reads it, resolves it against the host's manifest and the grants given with it, and
    /// returns the consumer's end of the new edge.
    ///
    /// # Errors
    /// When its manifest is wrong or asks for more than it is given, when more is given than the host holds, when it is not the
    /// component that was pinned, or when it cannot start. Nothing of it has run then.
    ///
    /// # Authority
    /// The runtime's own: reads the component, its manifest, and again the components that the host's manifest names.
    #[expect(clippy::too_many_lines, reason = "one way through the whole pipeline, in its order")]
    pub fn add_plugin(&self, consumer: &str, plugin: &Plugin) -> Result<Edge, RuntimeError> {
        let host = self.0.host_manifest.as_ref().ok_or(RuntimeError::NoHostManifest)?;
        let mut reading = Reading::default();
        let (bytes, manifest_text) = self.read(plugin)?;
        let found = digest(&bytes);
        let edge = format!("{consumer} -> {}", plugin.name);
        if let Some(wanted) = plugin.checksum.as_ref().filter(|wanted| **wanted != found) {
            return Err(crate::wasm::StartError::WrongDigest { edge, found, wanted: wanted.clone() }.into());
        }
        let Some(mut manifest) = host.parse(&mut reading) else { return Err(invalid(reading)) };
        if host.others.contains(&plugin.name) {
            return Err(refused(
                reading,
                &format!("there is a crate `{}` in the host's graph already", plugin.name),
            ));
        }
        let mut digests = file::include(&mut reading, &mut manifest, &self.0.folder)?;

        // The plugin's own word for itself: what it asks for, and how narrow it wants to be.
        let own = match &manifest_text {
            Some((name, text)) => reading
                .text(name, text.clone(), Form::Standalone)
                .and_then(|own| file::single(&mut reading, own, Path::new(name))),
            None => None,
        };
        // The host's word: the edge, and what goes over it.
        let name = &plugin.name;
        let grants = match plugin.grants.trim() {
            "" => String::new(),
            lines => format!("[crates.{consumer:?}.grants.{name:?}]\nchecksum = \"{found}\"\n{lines}\n"),
        };
        let tables = format!(
            "[crates.{consumer:?}]\ndependencies = [{name:?}]\n{grants}[crates.{name:?}.compartment]\nbackend = \"wasm\"\n"
        );
        let tables = reading.text(
            &format!("what the host gives `{}`", plugin.name),
            tables.into_bytes(),
            Form::Standalone,
        );
        let Some(tables) = tables.filter(|_| reading.diagnostics.is_empty()) else {
            return Err(invalid(reading));
        };
        if tables.crates.len() != 2 || tables.workspace.as_ref().is_some_and(|tables| tables.holds.is_some())
        {
            return Err(refused(reading, "the lines of grants must stay in their own table"));
        }
        for added in tables.crates {
            let existing = manifest.crates.iter_mut().find(|tables| tables.name.value == added.name.value);
            match existing {
                Some(consumer) if added.name.value.name != plugin.name => {
                    consumer.dependencies.extend(added.dependencies);
                    consumer.grants.extend(added.grants);
                }
                None if added.name.value.name == plugin.name => {
                    digests.insert(added.name.value.clone(), found.clone());
                    manifest.crates.push(declared(added, own.clone()));
                }
                Some(_) => {
                    let message =
                        format!("there is a crate `{}` in the host's manifest already", plugin.name);
                    return Err(refused(reading, &message));
                }
                None => {
                    let message = format!("there is no crate `{consumer}` in the host's manifest");
                    return Err(refused(reading, &message));
                }
            }
        }
        let files = std::mem::take(&mut reading.files);
        let project = match ProjectBuilder::standalone_with(files, manifest, &digests) {
            Ok(project) => project,
            Err((files, errors)) => {
                let diagnostics = errors.iter().map(Diagnostic::of_project_error).collect();
                return Err(LoadError::Invalid { files, diagnostics }.into());
            }
        };
        let resolution = resolve(&project);
        let Some(graph) = resolution.granted(&project) else {
            let denials = resolution.denials().iter();
            let diagnostics = denials.map(|denial| Diagnostic::of_denial(&project, denial)).collect();
            return Err(RuntimeError::Denied { files: project.files().clone(), diagnostics });
        };
        let mut missing = verify_paths_ambient(&project, Some(&graph), &self.0.folder, self.0.ambient);
        missing.retain(|finding| finding.severity == Severity::Error);
        if !missing.is_empty() {
            return Err(RuntimeError::Denied { files: project.files().clone(), diagnostics: missing });
        }
        let mut planned = plan(&project, &graph)?
            .compartments
            .into_iter()
            .filter(|compartment| compartment.consumer == consumer && compartment.krate == plugin.name);
        let (Some(mut compartment), None) = (planned.next(), planned.next()) else {
            return Err(crate::wasm::StartError::NoEdge { edge, edges: Vec::new() }.into());
        };
        let starting = self.starting();
        let mut entries = self.lock();
        compartment.number = entries.iter().map(|entry| entry.plan.number).max().unwrap_or(0) + 1;
        compartment.component = None;
        if compartment.link != capability_manifest::Link::Isolated.name() {
            return Err(refused(
                Reading::default(),
                "a plugin cannot be fused into what runs already; leave `link` out",
            ));
        }
        entries.retain(|entry| !(entry.revoked && entry.plan.edge() == compartment.edge()));
        if entries.iter().any(|entry| entry.plan.edge() == compartment.edge()) {
            return Err(refused(
                Reading::default(),
                &format!("the edge `{edge}` is there already; `replace` it"),
            ));
        }
        if let Some(other) = entries.first() {
            other.plan.written.admit(&mut compartment);
        }
        entries.push(Entry { given: Some(bytes.into()), ..Entry::new(compartment) });
        let index = entries.len() - 1;
        drop(entries);
        match self.started(&starting, index) {
            Ok(running) => Ok(Edge::new(running)),
            Err(error) => {
                // Nobody else adds entries meanwhile.
                self.lock().truncate(index);
                Err(error.into())
            }
        }
    }

    /// The component, and the manifest that goes with it.
    #[expect(clippy::type_complexity, reason = "a text with its name for messages")]
    fn read(&self, plugin: &Plugin) -> Result<(Vec<u8>, Option<(String, Vec<u8>)>), LoadError> {
        let (bytes, beside) = match &plugin.source {
            Source::Bytes(bytes) => (bytes.to_vec(), None),
            Source::File(path) => {
                let path = self.0.folder.join(path);
                (file::read(&path)?, Some(file::beside(&path)))
            }
        };
        if let Some(text) = &plugin.manifest {
            let name = format!("the manifest given for `{}`", plugin.name);
            return Ok((bytes, Some((name, text.clone().into_bytes()))));
        }
        if let Some(path) = beside.filter(|path| path.exists()) {
            let text = file::read(&path)?;
            return Ok((bytes, Some((path.display().to_string(), text))));
        }
        let wrong = |message: String| LoadError::Read {
            path: PathBuf::from(&plugin.name),
            source: std::io::Error::other(message),
        };
        let inside = file::section(&bytes)
            .map_err(wrong)?
            .map(|text| (format!("the manifest inside `{}`", plugin.name), text.to_vec()));
        Ok((bytes, inside))
    }
}

/// The plugin's tables: its claims, with the host's word that it runs as wasm.
fn declared(mut tables: CrateTables, own: Option<CrateTables>) -> CrateTables {
    if let Some(own) = own {
        tables.consumes = own.consumes;
        tables.exports = own.exports;
        tables.declared = true;
        if let (Some(compartment), Some(own)) = (&mut tables.compartment, own.compartment) {
            compartment.limits = own.limits;
            compartment.world = own.world;
        }
    }
    tables
}

fn invalid(reading: Reading) -> RuntimeError {
    LoadError::Invalid { files: reading.files, diagnostics: reading.diagnostics }.into()
}

fn refused(reading: Reading, message: &str) -> RuntimeError {
    let diagnostic = Diagnostic::new(capability_manifest::Code::Unreadable, message.to_owned());
    RuntimeError::Denied { files: reading.files, diagnostics: vec![diagnostic] }
}
