//! The code of a workspace, as data for the audit: which packages, targets, features and platform.

use std::collections::{BTreeSet, HashMap};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use cargo_metadata::{DependencyKind, Metadata, PackageId, TargetKind as CargoKind};
use cofferdam::Loaded;
use cofferdam::manifest::CrateIndex;
use cofferdam_audit::{
    Cache, CfgSet, Dependency, Graph, Package, PackageIndex, Predicate, Sources, Table, Target, TargetKind,
    read_sources_ambient,
};

use crate::Stop;

/// A graph to audit.
pub(crate) struct Code {
    pub(crate) graph: Graph,
    pub(crate) sources: Sources,
    pub(crate) table: Table,
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
        ambient: AmbientAuthority,
    ) -> Result<Option<Self>, Stop> {
        let Some(metadata) = &loaded.metadata else { return Ok(None) };
        let cfg = CfgSet::from_lines(&rustc(&arguments("--print=cfg", target))?);
        let (graph, crates) = graph(loaded, metadata, cfg, target)?;
        let table = Table::load()?;
        let cache = cache_folder().map(|folder| Cache::in_folder(&folder));
        let meter = Meter::new();
        let sources =
            read_sources_ambient(&graph, cache.as_ref(), &|done, all| meter.show(done, all), ambient)?;
        meter.end();
        let packages = crates.iter().enumerate().filter_map(|(at, index)| Some(((*index)?, at))).collect();
        Ok(Some(Self { graph, sources, table, packages }))
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
    let numbers: HashMap<&PackageId, PackageIndex> =
        metadata.packages.iter().enumerate().map(|(number, package)| (&package.id, number)).collect();
    let mut crates = Vec::with_capacity(metadata.packages.len());
    let mut packages = Vec::with_capacity(metadata.packages.len());
    for package in &metadata.packages {
        let source = package.source.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (package.name.to_string(), package.version.to_string(), source);
        let index = known.get(&key).copied();
        let root = index.is_some_and(|index| project.roots().contains(&index));
        crates.push(index);
        packages.push(Package {
            name: package.name.to_string(),
            version: package.version.to_string(),
            checksum: loaded.checksums.get(&key).cloned(),
            folder: package
                .manifest_path
                .parent()
                .map(|folder| folder.as_std_path().to_owned())
                .unwrap_or_default(),
            targets: targets(package, root),
            features: BTreeSet::new(),
            dependencies: Vec::new(),
            root,
            member: metadata.workspace_members.contains(&package.id),
            links: package.links.clone(),
        });
    }
    let mut host: Option<String> = target.map(str::to_owned);
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let Some(&from) = numbers.get(&node.id) else { continue };
        packages[from].features = node.features.iter().map(ToString::to_string).collect();
        for dependency in &node.deps {
            let Some(&to) = numbers.get(&dependency.pkg) else { continue };
            for kind in &dependency.dep_kinds {
                let build = match kind.kind {
                    DependencyKind::Normal => false,
                    DependencyKind::Build => true,
                    _ => continue,
                };
                let active = match kind.target.as_ref().map(ToString::to_string) {
                    None => true,
                    Some(platform) => match Predicate::parse_text(&platform) {
                        Some(predicate) => predicate.evaluate(&cfg, &BTreeSet::new()) != Some(false),
                        None => {
                            if host.is_none() {
                                host = host_triple(&rustc(&["-vV"])?);
                            }
                            host.as_deref() == Some(platform.as_str())
                        }
                    },
                };
                if active {
                    packages[from].dependencies.push(Dependency { name: dependency.name.clone(), to, build });
                }
            }
        }
    }
    let workspace = metadata.workspace_root.as_std_path().to_owned();
    Ok((Graph { packages, cfg, workspace }, crates))
}

fn host_triple(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// What of a package is compiled for who uses it; of a root also its programs.
fn targets(package: &cargo_metadata::Package, root: bool) -> Vec<Target> {
    let mut targets = Vec::new();
    for target in &package.targets {
        let is_library = |kind: &CargoKind| {
            matches!(
                kind,
                CargoKind::Lib
                    | CargoKind::RLib
                    | CargoKind::DyLib
                    | CargoKind::CDyLib
                    | CargoKind::StaticLib
            )
        };
        let kind = if target.kind.contains(&CargoKind::ProcMacro) {
            TargetKind::ProcMacro
        } else if target.kind.iter().any(is_library) {
            TargetKind::Library
        } else if target.kind.contains(&CargoKind::CustomBuild) {
            TargetKind::BuildScript
        } else if root && target.kind.contains(&CargoKind::Bin) {
            TargetKind::Program
        } else {
            continue;
        };
        targets.push(Target {
            kind,
            name: target.name.replace('-', "_"),
            source: target.src_path.as_std_path().to_owned(),
            edition_2015: target.edition == cargo_metadata::Edition::E2015,
        });
    }
    targets
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
