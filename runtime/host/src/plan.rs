//! What would run: every compartment of a grant graph, with what it gets, lowered from the pages of its capabilities.
//!
//! A plan is data. It can be printed, and what is printed is what a later stage starts; it starts nothing itself.

use std::collections::BTreeSet;
use std::path::Path;

use ambient_authority::AmbientAuthority;
use capability_manifest::limits::FINDINGS_MAX;
use capability_manifest::manifest::{EdgeKind, Limits};
use capability_manifest::scope::{
    Bounded, Extent, HostPattern, NormalPath, PathPattern, PatternSet, Scope, Stream,
};
use capability_manifest::{
    Backend, Capability, CapabilityPage, Code, CompartmentGrant, CrateIndex, Diagnostic, Grant, GrantGraph,
    HostCapability, Location, PageError, Project, Severity, Stage, print,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::links::Written;

/// Everything that would run beside the host program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Plan {
    /// One per edge, for each instance of the consumer; consumers before what they call.
    pub compartments: Vec<CompartmentPlan>,
    /// Edges of the host program to inline crates that have an interface: called through the same clients, and not isolated.
    pub linked: Vec<LinkedPlan>,
}

/// An edge to a crate that is linked into the host program and has an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LinkedPlan {
    /// The crate.
    pub krate: String,
    /// Its version.
    pub version: String,
    /// The crate that calls it.
    pub consumer: String,
    /// Its typed interface, as `path#world`.
    pub world: String,
}

impl LinkedPlan {
    /// `consumer -> crate`, as messages name it.
    pub fn edge(&self) -> String {
        format!("{} -> {}", self.consumer, self.krate)
    }
}

/// One compartment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CompartmentPlan {
    /// Its number in this plan, from 1.
    pub number: usize,
    /// The crate that runs in it.
    pub krate: String,
    /// Its version.
    pub version: String,
    /// The crate that calls it.
    pub consumer: String,
    /// The number of the compartment that the consumer runs in; `None` for the host program.
    pub inside: Option<usize>,
    /// `wasm` or `process`.
    pub backend: String,
    /// How it is joined to the compartment that it is inside of: `isolated`, or `fused` into one unit with it.
    pub link: String,
    /// Its component, when that was built elsewhere.
    pub component: Option<ComponentPlan>,
    /// Its typed interface, as `path#world`.
    pub world: Option<String>,
    /// Its limits; what is not set has the runtime's default.
    #[serde(serialize_with = "limit_list")]
    #[schemars(with = "Vec<LimitPlan>")]
    pub limits: Limits,
    /// What it is granted.
    pub grants: Vec<GrantPlan>,
    /// What it sees of the host's file system.
    pub mounts: Vec<MountPlan>,
    /// WASI interfaces that are linked for it (wasm).
    pub wasm_imports: Vec<WasmImportPlan>,
    /// System calls beyond the baseline (process).
    pub syscalls: Vec<SyscallPlan>,
    /// Landlock rights on its mounts and ports (process).
    pub landlock: Vec<LandlockPlan>,
    /// What may be missing of its confinement (process).
    pub weakenings: Vec<WeakeningPlan>,
    /// Where guests of the plan, in this compartment or another, could put links.
    #[serde(skip)]
    pub(crate) written: Written,
}

/// Something that the workspace accepts to be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WeakeningPlan {
    /// Its name in the manifest.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A component that was built elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ComponentPlan {
    /// Its path; a relative path begins in the folder of the file that names it.
    pub path: String,
    /// SHA-256 of the component that was decided about, lowercase hexadecimal. No other one is started.
    pub sha256: Option<String>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LimitPlan {
    /// Its name in the manifest.
    pub name: String,
    /// Its value, with unit.
    pub value: String,
}

fn limit_list<S: serde::Serializer>(limits: &Limits, serializer: S) -> Result<S::Ok, S::Error> {
    let list =
        print::limits(limits).into_iter().map(|(name, value)| LimitPlan { name: name.to_owned(), value });
    serializer.collect_seq(list)
}

impl CompartmentPlan {
    /// `consumer -> crate`, as messages name it.
    pub fn edge(&self) -> String {
        format!("{} -> {}", self.consumer, self.krate)
    }

    /// Takes a grant out, with what it mounts.
    #[cfg(feature = "wasm")]
    pub(crate) fn revoke(&mut self, capability: &Capability) {
        self.grants.retain(|grant| grant.capability != *capability);
        let name = capability.to_string();
        for mount in &mut self.mounts {
            mount.capabilities.retain(|one| *one != name);
        }
        self.mounts.retain(|mount| !mount.capabilities.is_empty());
        // The rules of what is left, since one capability can bring those of another. What a component is linked with stays: the host
        // refuses it there.
        if self.backend == Backend::Process.name() {
            self.syscalls.clear();
            self.landlock.clear();
            for capability in self.grants.iter().map(|grant| grant.capability.clone()).collect::<Vec<_>>() {
                lower_grant(self, &capability, Backend::Process)
                    .expect("its page was read when this was planned");
            }
        }
    }

    /// The scope in which a run-stage capability of the host is granted.
    pub fn scope(&self, capability: HostCapability) -> Option<&Scope> {
        let capability = Capability::host(capability);
        self.grants.iter().find(|grant| grant.capability == capability).map(|grant| &grant.scope)
    }
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GrantPlan {
    /// The capability.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    pub capability: Capability,
    /// Its parameters, empty for none.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    pub scope: Scope,
}

fn as_text<T: ToString, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// A path that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct MountPlan {
    /// The name inside.
    pub at: String,
    /// The path on the host; relative paths begin in the workspace's root.
    pub host: String,
    /// Only this file, not a folder with all that is below it.
    pub file: bool,
    /// What may be done there: `filesystem.read`, ...
    pub capabilities: Vec<String>,
}

/// A WASI interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WasmImportPlan {
    /// Its name.
    pub interface: String,
    /// The capability that brings it.
    pub because_of: String,
}

/// A rule of the seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SyscallPlan {
    /// The call.
    pub name: String,
    /// `allow`, `notify`, `report NAME`, or `errno NAME`.
    pub action: String,
    /// Conditions on arguments, such as `arg2 & 0x4 == 0x0`.
    pub when: Vec<String>,
    /// The capability that brings it.
    pub because_of: String,
}

/// A Landlock right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LandlockPlan {
    /// Its name.
    pub right: String,
    /// The capability that brings it.
    pub because_of: String,
}

/// Lowers every compartment of a grant graph.
///
/// # Errors
/// When a page under `policies/capabilities/` is wrong: a fault of this build, not of the manifest.
pub fn plan(project: &Project, graph: &GrantGraph) -> Result<Plan, PageError> {
    let compartments = graph.compartments().iter().enumerate().map(|(index, compartment)| {
        lower(project, graph, compartment, index + 1, compartment.inside().map(|inside| inside + 1))
    });
    let mut compartments: Vec<CompartmentPlan> = compartments.collect::<Result<_, _>>()?;
    Written::share(&mut compartments);
    Ok(Plan { compartments, linked: linked(project) })
}

/// Edges between crates of the host program, of which the second has an interface.
fn linked(project: &Project) -> Vec<LinkedPlan> {
    let mut inside: Vec<CrateIndex> =
        project.roots().iter().copied().filter(|root| project.backend(*root) == Backend::Inline).collect();
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(from) = inside.get(next).copied() {
        next += 1;
        for edge in project.edges_from(from).map(|edge| project.edge(edge)) {
            if edge.kind != EdgeKind::Normal || project.backend(edge.to) != Backend::Inline {
                continue;
            }
            if let Some(world) = project.world(edge.to) {
                found.push(LinkedPlan {
                    krate: project.name(edge.to),
                    version: project.package(edge.to).version.to_string(),
                    consumer: project.name(from),
                    world: format!("{}#{}", world.path, world.world),
                });
            }
            if !inside.contains(&edge.to) {
                inside.push(edge.to);
            }
        }
    }
    found
}

fn lower(
    project: &Project,
    graph: &GrantGraph,
    compartment: &CompartmentGrant,
    number: usize,
    inside: Option<usize>,
) -> Result<CompartmentPlan, PageError> {
    let krate = compartment.krate();
    let backend = project.backend(krate);
    let grants = graph.grants_of(compartment);
    let mut plan = CompartmentPlan {
        number,
        krate: project.name(krate),
        version: project.package(krate).version.to_string(),
        consumer: project.name(compartment.consumer()),
        inside,
        backend: backend.to_string(),
        link: compartment.link().to_string(),
        component: project.component(krate).map(|component| ComponentPlan {
            path: component.value.to_string(),
            sha256: project.package(krate).checksum.clone(),
        }),
        world: project.world(krate).map(|world| format!("{}#{}", world.path, world.world)),
        limits: project.limits(krate),
        grants: grants
            .iter()
            .map(|grant| GrantPlan { capability: grant.capability().clone(), scope: grant.scope().clone() })
            .collect(),
        mounts: mounts(graph, compartment),
        wasm_imports: Vec::new(),
        syscalls: Vec::new(),
        landlock: Vec::new(),
        weakenings: project
            .weakenings(krate)
            .iter()
            .map(|(one, reason)| WeakeningPlan { name: one.value.name().to_owned(), reason: reason.clone() })
            .collect(),
        written: Written::default(),
    };
    for grant in grants {
        lower_grant(&mut plan, grant.capability(), backend)?;
    }
    Ok(plan)
}

/// What one granted capability adds, with what it implies.
fn lower_grant(
    plan: &mut CompartmentPlan,
    capability: &Capability,
    backend: Backend,
) -> Result<(), PageError> {
    if let Capability::Host(Stage::Run, host) = capability {
        lower_page(plan, *host, backend)?;
        // A page's rules stand beside those of what it implies: who may write may also read.
        for implied in HostCapability::all().filter(|other| other.implied_by() == Some(*host)) {
            lower_page(plan, implied, backend)?;
        }
        // What is done with files is the same wherever they are; the mounts and Landlock say where.
        if *host == HostCapability::FilesystemScratch {
            lower_page(plan, HostCapability::FilesystemWrite, backend)?;
            lower_page(plan, HostCapability::FilesystemRead, backend)?;
        }
    }
    Ok(())
}

/// What one granted capability adds, as its page says.
fn lower_page(plan: &mut CompartmentPlan, host: HostCapability, backend: Backend) -> Result<(), PageError> {
    let page = CapabilityPage::load(host)?;
    let because_of = || page.name.clone();
    if let (Backend::Wasm, Some(rules)) = (backend, &page.wasm) {
        for import in &rules.imports {
            if plan.wasm_imports.iter().all(|other| other.interface != import.interface) {
                let interface = import.interface.clone();
                plan.wasm_imports.push(WasmImportPlan { interface, because_of: because_of() });
            }
        }
    }
    if let (Backend::Process, Some(rules)) = (backend, &page.process) {
        plan.syscalls.extend(rules.syscalls.iter().map(|rule| {
            SyscallPlan {
                name: rule.name.clone(),
                action: match (&rule.action, &rule.errno) {
                    (capability_manifest::SyscallAction::Report, Some(errno)) => format!("report {errno}"),
                    (_, Some(errno)) => format!("errno {errno}"),
                    (capability_manifest::SyscallAction::Notify, None) => "notify".to_owned(),
                    (_, None) => "allow".to_owned(),
                },
                when: rule
                    .when
                    .iter()
                    .map(|when| format!("arg{} & {:#x} == {:#x}", when.argument, when.mask, when.equals))
                    .collect(),
                because_of: because_of(),
            }
        }));
        for rule in &rules.landlock {
            plan.landlock.push(LandlockPlan { right: rule.right.clone(), because_of: because_of() });
        }
    }
    Ok(())
}

/// The paths that a compartment sees, by the names it sees them under.
fn mounts(graph: &GrantGraph, compartment: &CompartmentGrant) -> Vec<MountPlan> {
    let grants = graph.grants_of(compartment);
    let paths = grants.iter().filter_map(|grant| match grant.scope() {
        Scope::Paths(set) => Some((grant.capability(), set)),
        _ => None,
    });
    let paths: Vec<(&Capability, &PatternSet<Bounded<PathPattern>>)> = paths.collect();
    let named = compartment.mounts();
    let mut sources: Vec<(String, PathPattern)> = if named.is_empty() {
        let all = paths.iter().flat_map(|(_, patterns)| patterns.iter());
        all.map(|one| (one.pattern.path.to_string(), one.pattern.clone())).collect()
    } else {
        named.iter().map(|(at, source)| (at.to_string(), source.clone())).collect()
    };
    sources.sort();
    sources.dedup();
    let mount = |(at, source): (String, PathPattern)| {
        let covering = paths.iter().filter(|(_, patterns)| patterns.covers_any_of(&source));
        MountPlan {
            at,
            host: source.path.to_string(),
            file: source.extent == Extent::File,
            capabilities: covering.map(|(capability, _)| capability.to_string()).collect(),
        }
    };
    sources.into_iter().map(mount).filter(|mount| !mount.capabilities.is_empty()).collect()
}

/// What no process can be held to, on any machine; `None` for what one may be given.
pub(crate) fn not_in_a_process(host: HostCapability, scope: &Scope) -> Option<String> {
    let what = match (host, scope) {
        (HostCapability::NetworkListen | HostCapability::NetworkUnix, _) => {
            return Some(format!(
                "`{}` (accept or connect in the host, and hand the stream over)",
                host.name()
            ));
        }
        (HostCapability::NetworkDns, _) => {
            "`network.dns` (the host looks up the names that `network.connect` grants)"
        }
        (HostCapability::FilesystemWatch, _) => "`filesystem.watch` (Landlock has no right for watching)",
        (HostCapability::NetworkConnect, Scope::Hosts(hosts))
            if hosts.iter().any(|one| matches!(one.host, HostPattern::Suffix(_))) =>
        {
            "`network.connect` to every host of a domain (an address does not tell its name)"
        }
        (_, Scope::Paths(set)) if set.smallest_bound().is_some() => {
            "a quota on writing to the host's folders (the kernel counts them for nobody; `filesystem.scratch` has a size)"
        }
        (HostCapability::Stdio, Scope::Streams(streams)) if streams.covers_any_of(&Stream::Stdin) => {
            "`stdio` of `stdin` (pass input as arguments, or hand a file over)"
        }
        (HostCapability::Clock, Scope::Resolution(1..)) => {
            "a coarse clock (native code reads the processor's counter; grant `clock = true`, or use wasm)"
        }
        _ => return None,
    };
    Some(what.to_owned())
}

/// The grants that no compartment of their backend can be held to: it would not start.
pub fn verify_backends(project: &Project, graph: &GrantGraph) -> Vec<Diagnostic> {
    let mut said = BTreeSet::new();
    let into_processes =
        graph.grants().iter().filter(|grant| project.backend(grant.to()) == Backend::Process);
    let finding = |grant: &Grant| -> Option<Diagnostic> {
        let Capability::Host(Stage::Run, host) = grant.capability() else { return None };
        let what = not_in_a_process(*host, grant.scope())?;
        // An edge of a crate that is there several times is one edge here.
        if !said.insert((grant.from(), grant.to(), *host)) {
            return None;
        }
        let (from, to) = (project.name(grant.from()), project.name(grant.to()));
        let message =
            format!("`{to}` runs as a process, which cannot be held to what `{from}` grants to it: {what}");
        let mut finding = Diagnostic::new(Code::BackendCannotProvide, message);
        finding.primary = granted_at(project, grant).map(|at| (at, String::new()));
        finding.capability = Some(grant.capability().to_string());
        Some(finding)
    };
    into_processes.filter_map(finding).collect()
}

/// Where a grant stands, if one table says it.
fn granted_at(project: &Project, grant: &Grant) -> Option<Location> {
    let edges = project.edges_from(grant.from()).filter(|edge| project.edge(*edge).to == grant.to());
    let mut clauses = edges.flat_map(|edge| project.grants(edge)).flat_map(|table| &table.clauses);
    let line = clauses.find(|clause| clause.capability.value.at_build() == grant.capability().at_build());
    line.map(|clause| clause.scope.at)
}

/// The paths that are opened when compartments start: those that are granted to one, and what the workspace holds where a root is a
/// program for wasm, which has that.
fn opened(project: &Project, graph: Option<&GrantGraph>) -> Vec<NormalPath> {
    let granted = graph.into_iter().flat_map(GrantGraph::grants);
    let granted = granted
        .filter(|grant| project.backend(grant.to()) != Backend::Inline)
        .map(|grant| (grant.capability(), grant.scope()));
    let given = project.roots().iter().any(|root| project.backend(*root) != Backend::Inline);
    let held = project.workspace().holds.iter().filter(|_| given).flat_map(|holds| &holds.value);
    granted
        .chain(held.map(|clause| (&clause.capability.value, &clause.scope.value)))
        .filter_map(|(capability, scope)| match (capability, scope) {
            (Capability::Host(Stage::Run, _), Scope::Paths(set)) => Some(set),
            _ => None,
        })
        .flat_map(|set| set.iter().map(|one| one.pattern.path.clone()))
        .collect()
}

/// Whether its paths are files and folders that are opened, and no programs or devices.
fn is_of_files(capability: &Capability) -> bool {
    matches!(
        capability,
        Capability::Host(_, HostCapability::FilesystemRead | HostCapability::FilesystemWrite)
    )
}

/// The paths that are held or granted and do not exist, or that are no file or no folder where they are granted as one: the first
/// [`FINDINGS_MAX`] of each severity. What a compartment needs to start is an error; what only code outside of any names, or what is for the build, is a
/// warning: nothing is opened for it, and a program may make it later.
///
/// # Authority
/// Asks for the metadata of every path that the workspace holds or, where the grants are known, that an edge is granted.
pub fn verify_paths_ambient(
    project: &Project,
    graph: Option<&GrantGraph>,
    folder: &Path,
    _: AmbientAuthority,
) -> Vec<Diagnostic> {
    let mut looked_at = BTreeSet::new();
    let mut missing = Vec::new();
    let mut findings = Vec::new();
    let mut found_of = [0; 2];
    let opened = opened(project, graph);
    let mut look = |whose: String, at: Option<Location>, capability: &Capability, scope: &Scope| {
        let Scope::Paths(set) = scope else { return };
        for pattern in set.iter().map(|one| &one.pattern) {
            // A path is looked at once, where it is first named: what is granted further is below it or the same.
            if !looked_at.insert((pattern.clone(), is_of_files(capability))) {
                continue;
            }
            // What is below a missing folder is missing too, and that has been said.
            if missing.iter().any(|folder: &NormalPath| folder.suffix_of(&pattern.path).is_some()) {
                continue;
            }
            let problem = match std::fs::metadata(folder.join(pattern.path.as_str())) {
                Ok(found) if pattern.extent == Extent::File && !found.is_file() => "is not a file",
                Ok(found) if pattern.extent == Extent::Tree && found.is_file() && is_of_files(capability) => {
                    "is not a folder: `{ file = \"...\" }` grants one file"
                }
                Ok(_) => continue,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist",
                Err(_) => "cannot be looked at",
            };
            let needed = opened.iter().any(|path| pattern.path.suffix_of(path).is_some());
            if found_of[usize::from(needed)] == FINDINGS_MAX {
                continue;
            }
            missing.push(pattern.path.clone());
            let mut finding =
                Diagnostic::new(Code::PathMissing, format!("`{}`, which {whose}, {problem}", pattern.path));
            finding.primary = at.map(|at| (at, String::new()));
            finding.capability = Some(capability.to_string());
            found_of[usize::from(needed)] += 1;
            finding.severity = if needed { Severity::Error } else { Severity::Warning };
            finding.help.push("make it, or correct the path; it begins in the workspace's root".to_owned());
            findings.push(finding);
        }
    };
    for clause in project.workspace().holds.iter().flat_map(|holds| &holds.value) {
        let whose = "the workspace holds".to_owned();
        look(whose, Some(clause.scope.at), &clause.capability.value, &clause.scope.value);
    }
    for grant in graph.into_iter().flat_map(GrantGraph::grants) {
        let whose = format!("`{}` grants to `{}`", project.name(grant.from()), project.name(grant.to()));
        look(whose, granted_at(project, grant), grant.capability(), grant.scope());
    }
    findings
}

#[cfg(test)]
mod tests {
    use capability_manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};

    use super::*;

    #[test]
    fn a_revoked_grant_takes_its_rules_with_it_and_leaves_those_of_others() {
        let text = "[holds]\nclock = true\nentropy = true\nfilesystem = { write = [\"out\"] }\n\
                    [crates.app]\ndependencies = [\"guest\"]\n[crates.app.grants.guest]\n\
                    clock = true\nentropy = true\nfilesystem = { write = [\"out\"] }\n\
                    [crates.guest]\ncompartment = { backend = \"process\" }\n";
        let mut files = Files::default();
        let file = files.add(ManifestText::from_bytes("capabilities.toml", text.into()).expect("small"));
        let manifest = parse(file, files.get(file), Form::Standalone).expect("right");
        let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
        let graph = resolve(&project).granted(&project).expect("no denials");
        let mut plan = plan(&project, &graph).expect("the pages are right").compartments.remove(0);
        let reasons = |plan: &CompartmentPlan| -> BTreeSet<String> {
            plan.syscalls.iter().map(|rule| rule.because_of.clone()).collect()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        // Who may write may read.
        assert_eq!(reasons(&plan), names(&["clock", "entropy", "filesystem.read", "filesystem.write"]));
        plan.revoke(&Capability::host(HostCapability::Clock));
        assert_eq!(reasons(&plan), names(&["entropy", "filesystem.read", "filesystem.write"]));
        plan.revoke(&Capability::host(HostCapability::FilesystemWrite));
        assert_eq!(reasons(&plan), names(&["entropy"]));
        assert!(plan.landlock.is_empty() && plan.mounts.is_empty());
    }
}
