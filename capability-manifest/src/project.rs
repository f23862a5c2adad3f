//! The dependency graph with every crate's declaration: what [`crate::resolve()`] judges.
//!
//! A [`Project`] exists only when every name in every table means one crate or edge of the graph, the graph has no cycle,
//! and all of its sizes are within [`crate::limits`]. Crates are kept sorted, so that nothing depends on input order.

mod build;
mod error;

pub use build::ProjectBuilder;
pub use error::{ProjectError, ProjectErrorKind};

use semver::Version;

use crate::capability::Backend;
use crate::link::Link;
use crate::manifest::{Compartment, CrateTables, EdgeGrants, EdgeKind, Limits, WorkspaceTables};
use crate::text::{FileId, Files, Located, Location};

/// A crate's number in its project, in the order of names and versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrateIndex(pub(crate) u32);

/// An edge's number in its project, in the order of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeIndex(pub(crate) u32);

/// A package as Cargo knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Tells packages of equal name and version apart; empty where nothing else is known.
    pub source: String,
    /// SHA-256 of the package, as in Cargo.lock: lowercase hexadecimal.
    pub checksum: Option<String>,
    /// Its manifest may be edited here.
    pub member: bool,
    /// It runs inside the compiler.
    pub proc_macro: bool,
}

/// A dependency: consumer -> dependency, as Cargo draws it.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The consumer.
    pub from: CrateIndex,
    /// The dependency.
    pub to: CrateIndex,
    /// Linked into the consumer or into its build script.
    pub kind: EdgeKind,
    /// The line that makes the edge, where its text was read.
    pub line: Option<Location>,
    /// Which of the consumer's own grants tables is about it.
    own: Option<usize>,
    /// Which of the workspace's grants tables is about it.
    workspace: Option<usize>,
}

/// The checked graph.
#[derive(Debug)]
pub struct Project {
    files: Files,
    packages: Vec<Package>,
    tables: Vec<Option<CrateTables>>,
    files_of: Vec<Option<FileId>>,
    edges: Vec<Edge>,
    /// Where each crate's edges begin; one longer than `packages`.
    first_edge: Vec<u32>,
    /// Consumers before their dependencies.
    order: Vec<CrateIndex>,
    roots: Vec<CrateIndex>,
    workspace: WorkspaceTables,
    workspace_file: Option<FileId>,
    workspace_apart: bool,
    overrides: Vec<Option<usize>>,
    standalone: bool,
}

impl Project {
    /// The texts.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Every crate, sorted.
    pub fn crates(&self) -> impl ExactSizeIterator<Item = CrateIndex> + use<> {
        (0..self.packages.len() as u32).map(CrateIndex)
    }

    /// A crate's package.
    pub fn package(&self, index: CrateIndex) -> &Package {
        &self.packages[index.0 as usize]
    }

    /// A crate's name, with its version when another crate has the same name, and its source when that is not enough either.
    pub fn name(&self, index: CrateIndex) -> String {
        let package = self.package(index);
        let at = index.0 as usize;
        let beside =
            [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| self.packages.get(at));
        let mut name = package.name.clone();
        let mut same_version = false;
        for other in beside.filter(|other| other.name == package.name) {
            if !name.contains('@') {
                name = format!("{}@{}", package.name, package.version);
            }
            same_version |= other.version == package.version;
        }
        if same_version {
            let source = if package.source.is_empty() { "path" } else { &package.source };
            name = format!("{name} ({source})");
        }
        name
    }

    /// A crate as the key of a table names it.
    pub(crate) fn key(&self, index: CrateIndex) -> String {
        self.name(index).split(' ').next().unwrap_or_default().to_owned()
    }

    /// What a crate declares, if its manifest (or a curated claim) was read and says anything.
    pub fn tables(&self, index: CrateIndex) -> Option<&CrateTables> {
        self.tables[index.0 as usize].as_ref().filter(|tables| tables.declared)
    }

    /// The line that names the crate in its own manifest.
    pub fn name_line(&self, index: CrateIndex) -> Option<Location> {
        self.tables[index.0 as usize].as_ref().map(|tables| tables.name.at)
    }

    /// The manifest of a crate that may be edited here.
    pub fn editable_file(&self, index: CrateIndex) -> Option<FileId> {
        self.files_of[index.0 as usize].filter(|_| self.package(index).member)
    }

    /// Every edge, sorted.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = EdgeIndex> + use<> {
        (0..self.edges.len() as u32).map(EdgeIndex)
    }

    /// One edge.
    pub fn edge(&self, index: EdgeIndex) -> &Edge {
        &self.edges[index.0 as usize]
    }

    /// A crate's own dependencies.
    pub fn edges_from(&self, index: CrateIndex) -> impl ExactSizeIterator<Item = EdgeIndex> + use<> {
        let at = index.0 as usize;
        (self.first_edge[at]..self.first_edge[at + 1]).map(EdgeIndex)
    }

    /// The grants tables about an edge: the consumer's own, then the workspace's.
    pub fn grants(&self, index: EdgeIndex) -> impl Iterator<Item = &EdgeGrants> {
        let edge = self.edge(index);
        self.own_grants(edge).into_iter().chain(self.workspace_grants(edge))
    }

    /// Those of them that say something about capabilities.
    pub(crate) fn giving(&self, index: EdgeIndex) -> impl Iterator<Item = &EdgeGrants> {
        self.grants(index).filter(|grant| !grant.gives_nothing())
    }

    /// How both ends of an edge are joined, and where that is written. Each table can only isolate what the other fuses.
    pub fn link(&self, index: EdgeIndex) -> Option<&Located<Link>> {
        let said = self.grants(index).filter_map(|grant| grant.link.as_ref());
        said.min_by_key(|link| link.value)
    }

    fn own_grants(&self, edge: &Edge) -> Option<&EdgeGrants> {
        let tables = self.tables[edge.from.0 as usize].as_ref()?;
        Some(&tables.grants[edge.own?])
    }

    fn workspace_grants(&self, edge: &Edge) -> Option<&EdgeGrants> {
        Some(&self.workspace.grants[edge.workspace?])
    }

    /// The consumer's own grants table about an edge.
    pub(crate) fn own_table(&self, index: EdgeIndex) -> Option<&EdgeGrants> {
        self.own_grants(self.edge(index))
    }

    /// The workspace's grants table about an edge.
    pub(crate) fn workspace_table(&self, index: EdgeIndex) -> Option<&EdgeGrants> {
        self.workspace_grants(self.edge(index))
    }

    /// The key of the consumer's own table, as it is written.
    pub(crate) fn own_table_key(&self, index: EdgeIndex) -> Option<String> {
        self.own_table(index).map(|table| self.text_at(table.to.at))
    }

    /// The key of the workspace's table, as it is written.
    pub(crate) fn workspace_table_key(&self, index: EdgeIndex) -> Option<String> {
        self.workspace_table(index).map(|table| self.text_at(table.to.at))
    }

    /// The key of a crate in a standalone file.
    pub(crate) fn standalone_key(&self, index: CrateIndex) -> String {
        self.name_line(index).map_or_else(|| self.name(index), |at| self.text_at(at))
    }

    /// A key's own text, without quotes and escapes.
    fn text_at(&self, at: Location) -> String {
        let raw = &self.files.get(at.file).as_str()[at.range()];
        let line = format!("{raw} = 0");
        let decoded = toml::de::DeTable::parse(&line).ok();
        let key = decoded.and_then(|table| Some(table.get_ref().keys().next()?.get_ref().to_string()));
        key.unwrap_or_else(|| raw.to_owned())
    }

    /// Whether code behind the edge runs while its consumer is compiled.
    pub fn is_build_edge(&self, index: EdgeIndex) -> bool {
        let edge = self.edge(index);
        edge.kind == EdgeKind::Build || self.package(edge.to).proc_macro
    }

    /// Consumers before their dependencies; deterministic.
    pub fn in_order(&self) -> &[CrateIndex] {
        &self.order
    }

    /// The crates that begin with the workspace's authority.
    pub fn roots(&self) -> &[CrateIndex] {
        &self.roots
    }

    /// The workspace's tables.
    pub fn workspace(&self) -> &WorkspaceTables {
        &self.workspace
    }

    /// The file of the workspace's tables.
    pub fn workspace_file(&self) -> Option<FileId> {
        self.workspace_file
    }

    /// Whether that file holds nothing else, so that grants are written there, whoever the consumer is.
    pub fn workspace_is_apart(&self) -> bool {
        self.workspace_apart
    }

    /// Whether it came from one `capabilities.toml`.
    pub fn is_standalone(&self) -> bool {
        self.standalone
    }

    /// Whether any table of the workspace or of a member says anything: otherwise nobody has begun to use capabilities.
    pub fn has_declarations(&self) -> bool {
        let workspace = &self.workspace;
        workspace.holds.is_some()
            || !workspace.grants.is_empty()
            || self.crates().any(|index| self.package(index).member && self.tables(index).is_some())
    }

    /// Where a crate's code runs: the workspace's word, else the crate's own, else inline.
    pub fn backend(&self, index: CrateIndex) -> Backend {
        self.located_backend(index).map_or(Backend::Inline, |backend| backend.value)
    }

    /// The backend, and where it is written.
    pub fn located_backend(&self, index: CrateIndex) -> Option<&Located<Backend>> {
        self.compartments(index).find_map(|compartment| compartment.backend.as_ref())
    }

    /// The component that the crate is, when it was built elsewhere.
    pub fn component(&self, index: CrateIndex) -> Option<&Located<crate::scope::NormalPath>> {
        self.compartments(index).find_map(|compartment| compartment.component.as_ref())
    }

    /// The crate's typed interface.
    pub fn world(&self, index: CrateIndex) -> Option<&crate::manifest::WorldRef> {
        self.compartments(index).find_map(|compartment| compartment.world.as_ref()).map(|world| &world.value)
    }

    /// The crate's limits: for each, the smaller of what the crate and the workspace say.
    pub fn limits(&self, index: CrateIndex) -> Limits {
        fn smaller<T: Ord + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.into_iter().chain(b).min()
        }
        self.compartments(index).map(|compartment| compartment.limits).fold(Limits::default(), |a, b| {
            Limits {
                memory: smaller(a.memory, b.memory),
                call_deadline: smaller(a.call_deadline, b.call_deadline),
                cpu_time: smaller(a.cpu_time, b.cpu_time),
                output: smaller(a.output, b.output),
                handles: smaller(a.handles, b.handles),
                calls_in_flight: smaller(a.calls_in_flight, b.calls_in_flight),
            }
        })
    }

    /// What the workspace accepts to be missing around the crate, with the reasons.
    pub fn weakenings(&self, index: CrateIndex) -> &[(Located<crate::weakening::Weakening>, String)] {
        let overriding = self.overrides[index.0 as usize].map(|at| &self.workspace.compartments[at].1);
        overriding.map_or(&[], |compartment| compartment.weakenings.as_slice())
    }

    fn compartments(&self, index: CrateIndex) -> impl Iterator<Item = &Compartment> {
        let overriding = self.overrides[index.0 as usize].map(|at| &self.workspace.compartments[at].1);
        let own = self.tables[index.0 as usize].as_ref().and_then(|tables| tables.compartment.as_ref());
        overriding.into_iter().chain(own)
    }

    /// The crate that a text means: `name` or `name@version`.
    ///
    /// # Errors
    /// The nearest names, or the versions there are, when it means none or several.
    pub fn find(&self, text: &str) -> Result<CrateIndex, String> {
        if let Some(exact) = self.crates().find(|index| self.name(*index) == text) {
            return Ok(exact);
        }
        let (name, version) =
            text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let spec = crate::manifest::CrateSpec { name: name.to_owned(), version: version.map(str::to_owned) };
        let mut found = self.crates().filter(|index| {
            let package = self.package(*index);
            spec.matches(&package.name, &package.version)
        });
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                let near =
                    crate::suggest::nearest(name, self.packages.iter().map(|package| package.name.as_str()));
                Err(match near {
                    Some(near) if near != name => {
                        format!("there is no crate `{text}` in the graph; did you mean `{near}`?")
                    }
                    _ => format!("there is no crate `{text}` in the graph"),
                })
            }
            (Some(first), Some(second)) => {
                let names: Vec<String> =
                    [first, second].into_iter().chain(found).map(|index| self.name(index)).collect();
                let names = crate::suggest::one_of(names.iter().map(String::as_str));
                Err(format!("`{text}` means more than one crate; say {names}"))
            }
        }
    }
}
