//! The code of a workspace, as data for the audit: which packages, targets, features and platform.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use cargo_metadata::Metadata;
use cofferdam::Loaded;
use cofferdam::manifest::{Capability, CrateIndex};
use cofferdam_audit::{
    Audit, Cache, CfgSet, Claim, Claims, Compiled, Extent, Graph, Layers, PackageIndex, Reading, Sources,
    State, States, Table, Way, audit_extent, read_sources_ambient,
};

use crate::Stop;
use crate::document::{ReachDocument, WayStepDocument};
use crate::progress::while_running;

/// A graph to audit.
pub(crate) struct Code {
    pub(crate) graph: Graph,
    pub(crate) sources: Sources,
    pub(crate) table: Table,
    pub(crate) claims: Claims,
    /// What compiled code shows, when it was built.
    pub(crate) compiled: Option<Compiled>,
    /// This machine's triple, where a platform was named.
    pub(crate) host: Option<String>,
    /// Which package each crate of the project is.
    pub(crate) packages: HashMap<CrateIndex, PackageIndex>,
}

/// Reading that takes longer than this shows progress on a terminal.
const QUIET: Duration = Duration::from_secs(2);

impl Code {
    /// Reads the source of everything that the project links. `None` for a graph that is no Cargo workspace.
    pub(crate) fn read(
        loaded: &Loaded,
        target: Option<&str>,
        reading: Reading,
        ambient: AmbientAuthority,
    ) -> Result<Option<Self>, Stop> {
        let Some(metadata) = &loaded.metadata else { return Ok(None) };
        let cfg = CfgSet::from_lines(&rustc(&arguments("--print=cfg", target))?);
        let (graph, crates) = graph(loaded, metadata, cfg, target)?;
        let table = Table::load()?;
        let cache = cache_folder().map(|folder| Cache::in_folder(&folder));
        let meter = Meter::new();
        let sources = read_sources_ambient(
            &graph,
            reading,
            cache.as_ref(),
            &|done, all| meter.show(done, all),
            ambient,
        )?;
        meter.end();
        let packages = crates.iter().enumerate().filter_map(|(at, index)| Some(((*index)?, at))).collect();
        let host = target.map(|_| rustc(&["-vV"])).transpose()?.and_then(|version| host_triple(&version));
        let claims = Claims::load()?;
        Ok(Some(Self { graph, sources, table, claims, compiled: None, host, packages }))
    }

    /// What is used, by all layers that looked.
    pub(crate) fn verdict(&self) -> Audit<'_> {
        while_running("judging", || {
            audit_extent(&self.graph, &self.sources, &self.table, Extent::Used, self.compiled.as_ref())
        })
    }

    /// All three states, by all layers that looked.
    pub(crate) fn states(&self) -> States<'_> {
        while_running("judging", || {
            States::new(&self.graph, &self.sources, &self.table, self.compiled.as_ref())
        })
    }

    /// Reads one package by itself, with its default features: what it depends on is not there.
    pub(crate) fn of_package(
        package: &cargo_metadata::Package,
        ambient: AmbientAuthority,
    ) -> Result<Self, Stop> {
        let graph = Graph::of_package(package, CfgSet::from_lines(&rustc(&["--print=cfg"])?));
        let sources = read_sources_ambient(&graph, Reading::Platform, None, &|_, _| {}, ambient)?;
        let (table, claims) = (Table::load()?, Claims::load()?);
        Ok(Self { graph, sources, table, claims, compiled: None, host: None, packages: HashMap::new() })
    }

    /// A package's name; with its version where the graph has several of that name.
    pub(crate) fn name(&self, package: PackageIndex) -> String {
        let of = &self.graph.packages[package];
        let same = self.graph.packages.iter().filter(|other| other.name == of.name).count();
        if same > 1 { self.full_name(package) } else { of.name.clone() }
    }

    /// What `policies/crates/` knows of a package that is no member.
    pub(crate) fn claim(&self, package: PackageIndex) -> Option<&Claim> {
        let of = &self.graph.packages[package];
        self.claims.of(&of.name, &of.version).filter(|_| !of.member)
    }

    /// `name@version`.
    pub(crate) fn full_name(&self, package: PackageIndex) -> String {
        let of = &self.graph.packages[package];
        format!("{}@{}", of.name, of.version)
    }

    /// A capability that is reached, for a document.
    pub(crate) fn reach(
        &self,
        capability: &Capability,
        state: State,
        layers: Layers,
        way: Option<&Way>,
    ) -> ReachDocument {
        ReachDocument {
            capability: capability.to_string(),
            state: state.name(),
            layers: layers.names(),
            what: way.map(|way| way.what.clone()),
            way: way
                .into_iter()
                .flat_map(|way| &way.places)
                .map(|place| WayStepDocument {
                    krate: self.full_name(place.package),
                    item: place.item.clone(),
                    file: place.file.clone(),
                    line: place.line,
                })
                .collect(),
        }
    }
}

fn arguments<'a>(first: &'a str, target: Option<&'a str>) -> Vec<&'a str> {
    let mut all = vec![first];
    if let Some(target) = target {
        all.extend(["--target", target]);
    }
    all
}

/// What the compiler says, the one that Cargo would use.
fn rustc(arguments: &[&str]) -> Result<String, Stop> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&program).args(arguments).output();
    let output = output.map_err(|error| Stop::Read(program.to_string_lossy().into_owned(), error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        return Err(Stop::Usage(format!("`rustc {}` failed: {said}", arguments.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn graph(
    loaded: &Loaded,
    metadata: &Metadata,
    cfg: CfgSet,
    target: Option<&str>,
) -> Result<(Graph, Vec<Option<CrateIndex>>), Stop> {
    let project = &loaded.project;
    let known: HashMap<(String, String, String), CrateIndex> = project
        .crates()
        .map(|index| {
            let package = project.package(index);
            ((package.name.clone(), package.version.to_string(), package.source.clone()), index)
        })
        .collect();
    let mut crates = Vec::with_capacity(metadata.packages.len());
    // Only a dependency that names its platform by a triple needs to know which one this is.
    let host = match target {
        Some(target) => Some(target.to_owned()),
        None if cofferdam_audit::names_a_triple(metadata) => host_triple(&rustc(&["-vV"])?),
        None => None,
    };
    let graph = Graph::of_workspace(metadata, cfg, host.as_deref(), |package| {
        let source = package.source.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (package.name.to_string(), package.version.to_string(), source);
        let index = known.get(&key).copied();
        crates.push(index);
        let root = index.is_some_and(|index| project.roots().contains(&index));
        // What is vendored lies in the workspace, where anybody may change it: the checksum is of another copy.
        let folder = package.manifest_path.parent();
        let is_vendored = folder.is_some_and(|folder| folder.join(".cargo-checksum.json").exists());
        (root, loaded.checksums.get(&key).filter(|_| !is_vendored).cloned())
    });
    Ok((graph, crates))
}

fn host_triple(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// The user's folder for what can be made again.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("COFFERDAM_CACHE") {
        return Some(folder);
    }
    let home = || set("HOME");
    let base = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    };
    base.filter(|base| Path::is_absolute(base)).map(|base| base.join("cofferdam"))
}

/// Says on a terminal how far the reading is.
struct Meter {
    began: Instant,
    terminal: bool,
    shown: Mutex<Option<usize>>,
}

impl Meter {
    fn new() -> Self {
        Self { began: Instant::now(), terminal: std::io::stderr().is_terminal(), shown: Mutex::new(None) }
    }

    fn show(&self, done: usize, all: usize) {
        if !self.terminal || self.began.elapsed() < QUIET {
            return;
        }
        if let Ok(mut shown) = self.shown.lock()
            && shown.is_none_or(|before| done > before)
        {
            *shown = Some(done);
            let _ = write!(std::io::stderr(), "\rreading sources: {done} of {all} packages");
        }
    }

    fn end(&self) {
        if self.shown.lock().is_ok_and(|shown| shown.is_some()) {
            let _ = write!(std::io::stderr(), "\r{:60}\r", "");
        }
    }
}
