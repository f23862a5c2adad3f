//! Puts packages, edges and tables together, and checks that every name means something.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{CrateIndex, Edge, Package, Project, ProjectError, ProjectErrorKind};
use crate::authority::Authority;
use crate::limits::{CRATES_MAX, DEPENDENCY_DEPTH_MAX, EDGES_MAX, FINDINGS_MAX};
use crate::manifest::{
    CrateSpec, CrateTables, DependencyLine, EdgeGrants, EdgeKind, Manifest, WorkspaceTables,
};
use crate::suggest::nearest;
use crate::text::{FileId, Files, Located, Location};

/// Most crates of a cycle that its message names.
const CYCLE_SHOWN: usize = 8;

/// Collects a project's parts.
#[derive(Debug, Default)]
pub struct ProjectBuilder {
    files: Files,
    crates: Vec<(Package, Option<CrateTables>, Option<FileId>)>,
    edges: Vec<(usize, usize, EdgeKind, Option<Location>)>,
    workspace: WorkspaceTables,
    workspace_file: Option<FileId>,
    workspace_apart: bool,
    depended: HashSet<usize>,
    standalone: bool,
    errors: Vec<ProjectError>,
}

impl ProjectBuilder {
    /// A project that reads these files.
    pub fn new(files: Files) -> Self {
        Self { files, ..Self::default() }
    }

    /// The project of one `capabilities.toml`, which holds its whole graph.
    ///
    /// # Errors
    /// See [`ProjectBuilder::build`].
    pub fn standalone(files: Files, manifest: Manifest) -> Result<Project, (Files, Vec<ProjectError>)> {
        Self::standalone_with(files, manifest, &HashMap::new())
    }

    /// The same with the SHA-256 of crates whose components were read, lowercase hexadecimal, by the crate's name: what a
    /// grant's `checksum` is compared with.
    pub fn standalone_with(
        files: Files,
        manifest: Manifest,
        digests: &HashMap<CrateSpec, String>,
    ) -> Result<Project, (Files, Vec<ProjectError>)> {
        let mut builder = Self::new(files);
        builder.standalone = true;
        builder.workspace = manifest.workspace.unwrap_or_default();
        builder.workspace_file = Some(manifest.file);
        let names: Vec<CrateSpec> = manifest.crates.iter().map(|tables| tables.name.value.clone()).collect();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, spec) in names.iter().enumerate() {
            by_name.entry(&spec.name).or_default().push(index);
        }
        for (from, tables) in manifest.crates.into_iter().enumerate() {
            let spec = &tables.name.value;
            let version = spec.version.as_deref().and_then(|text| semver::Version::parse(text).ok());
            let package = Package {
                name: spec.name.clone(),
                version: version.unwrap_or(semver::Version::new(0, 0, 0)),
                source: String::new(),
                checksum: digests.get(spec).cloned(),
                member: true,
                proc_macro: false,
            };
            for line in &tables.dependencies {
                let wanted = &line.to.value;
                let found: Vec<usize> = by_name
                    .get(wanted.name.as_str())
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|index| {
                        let version = names[*index].version.as_deref().unwrap_or("0.0.0");
                        semver::Version::parse(version)
                            .is_ok_and(|version| wanted.matches(&wanted.name, &version))
                    })
                    .collect();
                match found.as_slice() {
                    [to] => builder.edges.push((from, *to, line.kind, Some(line.to.at))),
                    [] => {
                        let suggestion = nearest(&wanted.name, by_name.keys().copied()).map(str::to_owned);
                        let kind = ProjectErrorKind::UnknownCrate { name: wanted.to_string(), suggestion };
                        builder.error(Some(line.to.at), kind);
                    }
                    [first, ..] => {
                        let versions: Vec<String> =
                            found.iter().map(|index| format!("`{}`", names[*index])).collect();
                        let kind = ProjectErrorKind::AmbiguousCrate {
                            name: wanted.to_string(),
                            versions: versions.join(", "),
                            example: names[*first].to_string(),
                        };
                        builder.error(Some(line.to.at), kind);
                    }
                }
            }
            builder.crates.push((package, Some(tables), Some(manifest.file)));
        }
        builder.build()
    }

    /// Adds a crate, with its tables and its file where these were read. Returns its number in this builder.
    pub fn add_crate(
        &mut self,
        package: Package,
        tables: Option<CrateTables>,
        file: Option<FileId>,
    ) -> usize {
        self.crates.push((package, tables, file));
        self.crates.len() - 1
    }

    /// Adds an edge between crates of this builder. The consumer's dependency line is looked up in its tables: by the name that
    /// its code uses, where a package is renamed, and by the package's own.
    pub fn add_edge(&mut self, from: usize, to: usize, kind: EdgeKind, code_name: Option<&str>) {
        let name = &self.crates[to].0.name;
        let line = self.crates[from].1.as_ref().and_then(|tables| {
            let mut lines =
                tables.dependencies.iter().filter(|line| line.kind == kind && line.to.value.name == *name);
            let is_meant = |line: &&DependencyLine| {
                let key = line.renamed.as_deref().unwrap_or(name).replace('-', "_");
                code_name.is_none_or(|code_name| code_name == key)
            };
            lines.clone().find(is_meant).or(lines.next()).map(|line| line.to.at)
        });
        self.edges.push((from, to, kind, line));
    }

    /// Says that some member names this crate as a dependency, active or not: it is no root unless it is named as one.
    pub fn mark_depended(&mut self, index: usize) {
        self.depended.insert(index);
    }

    /// Sets the workspace's tables.
    pub fn set_workspace(&mut self, workspace: WorkspaceTables, file: FileId) {
        self.workspace = workspace;
        self.workspace_file = Some(file);
    }

    /// Sets the workspace's tables, of a file that holds nothing else: what the workspace says about edges belongs there.
    pub fn set_workspace_apart(&mut self, workspace: WorkspaceTables, file: FileId) {
        self.set_workspace(workspace, file);
        self.workspace_apart = true;
    }

    /// The file that workspace tables would be written to.
    pub fn set_workspace_file(&mut self, file: FileId) {
        self.workspace_file = Some(file);
    }

    fn error(&mut self, at: Option<Location>, kind: ProjectErrorKind) {
        if self.errors.len() < FINDINGS_MAX {
            self.errors.push(ProjectError { kind, at });
        }
    }

    /// Checks everything between files.
    ///
    /// # Errors
    /// All that is wrong, sorted by place, with the texts given back for the messages.
    pub fn build(mut self) -> Result<Project, (Files, Vec<ProjectError>)> {
        for (what, found, max) in
            [("crates", self.crates.len(), CRATES_MAX), ("dependencies", self.edges.len(), EDGES_MAX)]
        {
            if found > max {
                self.error(None, ProjectErrorKind::TooMany { what, found, max });
                return Err((self.files, self.errors));
            }
        }
        let sorted = self.sort_crates();
        let mut project = sorted;
        let order = topological_order(&project);
        match order {
            Ok(order) => project.order = order,
            Err((at, kind)) => self.error(at, kind),
        }
        if self.errors.is_empty() {
            self.choose_roots(&mut project);
        }
        Self::share_authorities(&mut project);
        self.link_grants(&mut project);
        if self.errors.is_empty() {
            return Ok(project);
        }
        self.errors.sort_by_key(|error| error.at);
        Err((project.files, self.errors))
    }

    /// Moves crates and edges into their canonical order.
    fn sort_crates(&mut self) -> Project {
        let crates = std::mem::take(&mut self.crates);
        let mut order: Vec<usize> = (0..crates.len()).collect();
        order.sort_by(|a, b| crates[*a].0.cmp(&crates[*b].0));
        let mut place = vec![0_u32; crates.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new as u32;
        }
        let mut slots: Vec<_> = crates.into_iter().map(Some).collect();
        let mut packages = Vec::with_capacity(slots.len());
        let mut tables = Vec::with_capacity(slots.len());
        let mut files_of = Vec::with_capacity(slots.len());
        for old in order {
            let (package, table, file) = slots[old].take().expect("each crate is placed once");
            if packages.last().is_some_and(|last: &Package| {
                (&last.name, &last.version, &last.source)
                    == (&package.name, &package.version, &package.source)
            }) {
                let at = table.as_ref().map(|tables: &CrateTables| tables.name.at);
                self.error(at, ProjectErrorKind::CrateTwice { name: package.name.clone() });
            }
            packages.push(package);
            tables.push(table);
            files_of.push(file);
        }
        self.depended = self.depended.iter().map(|old| place[*old] as usize).collect();
        let mut edges: Vec<Edge> = std::mem::take(&mut self.edges)
            .into_iter()
            .map(|(from, to, kind, line)| Edge {
                from: CrateIndex(place[from]),
                to: CrateIndex(place[to]),
                kind,
                line,
                own: None,
                workspace: None,
            })
            .collect();
        edges.sort_by_key(|edge| (edge.from, edge.to, edge.kind, edge.line));
        edges.dedup_by_key(|edge| (edge.from, edge.to, edge.kind));
        let mut first_edge = vec![0_u32; packages.len() + 1];
        for edge in &edges {
            first_edge[edge.from.0 as usize + 1] += 1;
        }
        for index in 1..first_edge.len() {
            first_edge[index] += first_edge[index - 1];
        }
        let overrides = vec![None; packages.len()];
        Project {
            files: std::mem::take(&mut self.files),
            packages,
            tables,
            files_of,
            edges,
            first_edge,
            order: Vec::new(),
            roots: Vec::new(),
            workspace: std::mem::take(&mut self.workspace),
            workspace_file: self.workspace_file,
            workspace_apart: self.workspace_apart,
            overrides,
            standalone: self.standalone,
        }
    }

    /// The named roots, or every member that no other member depends on.
    fn choose_roots(&mut self, project: &mut Project) {
        if let Some(named) = project.workspace.roots.clone() {
            for spec in named {
                if let Some(root) = self.one_crate(project, &spec) {
                    project.roots.push(root);
                }
            }
            project.roots.sort();
            project.roots.dedup();
            return;
        }
        let mut is_root: Vec<bool> = project.packages.iter().map(|package| package.member).collect();
        for edge in &project.edges {
            if project.package(edge.from).member {
                is_root[edge.to.0 as usize] = false;
            }
        }
        for index in &self.depended {
            is_root[*index] = false;
        }
        project.roots = project.crates().filter(|index| is_root[index.0 as usize]).collect();
        if project.roots.is_empty() && !project.packages.is_empty() {
            self.error(None, ProjectErrorKind::NoRoots);
        }
    }

    /// Tables that say the same share one authority: they are compared and joined by the thousand.
    fn share_authorities(project: &mut Project) {
        let mut seen: HashSet<Arc<Authority>> = HashSet::new();
        let own = project.tables.iter_mut().flatten().flat_map(|tables| &mut tables.grants);
        for grant in own.chain(&mut project.workspace.grants) {
            match seen.get(&grant.authority) {
                Some(same) => grant.authority = Arc::clone(same),
                None => drop(seen.insert(Arc::clone(&grant.authority))),
            }
        }
    }

    /// Finds the edge of every grants table, and the crate of every override.
    fn link_grants(&mut self, project: &mut Project) {
        for from in project.crates() {
            let Some(tables) = &project.tables[from.0 as usize] else { continue };
            let specs: Vec<Located<CrateSpec>> = tables.grants.iter().map(|grant| grant.to.clone()).collect();
            for (table, spec) in specs.iter().enumerate() {
                for edge in self.edges_meant(project, from, spec) {
                    if project.edges[edge].own.replace(table).is_some() {
                        self.edge_twice(project, edge, spec.at);
                    }
                }
            }
        }
        let mut by_name: HashMap<String, Vec<CrateIndex>> = HashMap::new();
        if !project.workspace.grants.is_empty() {
            for index in project.crates() {
                by_name.entry(project.package(index).name.clone()).or_default().push(index);
            }
        }
        let grants: Vec<(CrateSpec, Located<CrateSpec>)> = project
            .workspace
            .grants
            .iter()
            .map(|EdgeGrants { from, to, .. }| {
                (
                    from.clone().expect("a workspace's grants name their consumer: the parser requires it"),
                    to.clone(),
                )
            })
            .collect();
        for (table, (from, to)) in grants.iter().enumerate() {
            let consumers: Vec<CrateIndex> = by_name
                .get(&from.name)
                .into_iter()
                .flatten()
                .copied()
                .filter(|index| from.matches(&project.package(*index).name, &project.package(*index).version))
                .collect();
            let from = match consumers.as_slice() {
                [only] => *only,
                _ => match self.one_crate(project, &Located { value: from.clone(), at: to.at }) {
                    Some(index) => index,
                    None => continue,
                },
            };
            for edge in self.edges_meant(project, from, to) {
                if project.edges[edge].workspace.replace(table).is_some() {
                    self.edge_twice(project, edge, to.at);
                }
            }
        }
        for table in 0..project.workspace.compartments.len() {
            let spec = project.workspace.compartments[table].0.clone();
            if let Some(index) = self.one_crate(project, &spec) {
                project.overrides[index.0 as usize] = Some(table);
            }
        }
    }

    /// The edges (one, or one of each kind) from `from` to the crate that `spec` means.
    fn edges_meant(&mut self, project: &Project, from: CrateIndex, spec: &Located<CrateSpec>) -> Vec<usize> {
        let meant: Vec<usize> = project
            .edges_from(from)
            .map(|edge| edge.0 as usize)
            .filter(|edge| {
                let package = project.package(project.edges[*edge].to);
                spec.value.matches(&package.name, &package.version)
            })
            .collect();
        let Some(first) = meant.first() else {
            let dependencies =
                project.edges_from(from).map(|edge| project.package(project.edge(edge).to).name.as_str());
            let own = project.tables[from.0 as usize].as_ref();
            let renamed = own.and_then(|tables| {
                let line =
                    tables.dependencies.iter().find(|line| line.renamed.as_ref() == Some(&spec.value.name));
                line.map(|line| line.to.value.name.as_str())
            });
            let slip = || nearest(&spec.value.name, dependencies).filter(|near| *near != spec.value.name);
            let suggestion = renamed.or_else(slip);
            let kind = ProjectErrorKind::NoSuchEdge {
                from: project.name(from),
                to: spec.value.to_string(),
                suggestion: suggestion.map(str::to_owned),
            };
            self.error(Some(spec.at), kind);
            return meant;
        };
        let target = project.edges[*first].to;
        if meant.iter().any(|edge| project.edges[*edge].to != target) {
            self.ambiguous(project, spec, meant.iter().map(|edge| project.edges[*edge].to).collect());
            return Vec::new();
        }
        meant
    }

    fn edge_twice(&mut self, project: &Project, edge: usize, at: Location) {
        let edge = &project.edges[edge];
        let (from, to) = (project.name(edge.from), project.name(edge.to));
        self.error(Some(at), ProjectErrorKind::EdgeTwice { from, to });
    }

    fn one_crate(&mut self, project: &Project, spec: &Located<CrateSpec>) -> Option<CrateIndex> {
        let found: Vec<CrateIndex> = project
            .crates()
            .filter(|index| {
                spec.value.matches(&project.package(*index).name, &project.package(*index).version)
            })
            .collect();
        match found.as_slice() {
            [only] => Some(*only),
            [] => {
                let suggestion =
                    nearest(&spec.value.name, project.packages.iter().map(|package| package.name.as_str()));
                let suggestion = suggestion.filter(|near| *near != spec.value.name).map(str::to_owned);
                let kind = ProjectErrorKind::UnknownCrate { name: spec.value.to_string(), suggestion };
                self.error(Some(spec.at), kind);
                None
            }
            _ => {
                self.ambiguous(project, spec, found);
                None
            }
        }
    }

    fn ambiguous(&mut self, project: &Project, spec: &Located<CrateSpec>, mut found: Vec<CrateIndex>) {
        found.sort();
        found.dedup();
        let versions: Vec<String> = found.iter().map(|index| format!("`{}`", project.name(*index))).collect();
        let kind = ProjectErrorKind::AmbiguousCrate {
            name: spec.value.to_string(),
            versions: versions.join(", "),
            example: project.name(found[0]),
        };
        self.error(Some(spec.at), kind);
    }
}

/// Kahn's algorithm; among crates that are ready the lowest number goes first. Also bounds the depth.
fn topological_order(project: &Project) -> Result<Vec<CrateIndex>, (Option<Location>, ProjectErrorKind)> {
    let mut waiting = vec![0_u32; project.packages.len()];
    for edge in &project.edges {
        waiting[edge.to.0 as usize] += 1;
    }
    let ready = project.crates().filter(|index| waiting[index.0 as usize] == 0);
    let mut ready: std::collections::VecDeque<CrateIndex> = ready.collect();
    let mut depth = vec![0_usize; project.packages.len()];
    let mut order = Vec::with_capacity(project.packages.len());
    while let Some(index) = ready.pop_front() {
        order.push(index);
        for edge in project.edges_from(index) {
            let to = project.edge(edge).to;
            let deeper = depth[index.0 as usize] + 1;
            depth[to.0 as usize] = depth[to.0 as usize].max(deeper);
            waiting[to.0 as usize] -= 1;
            if waiting[to.0 as usize] == 0 {
                ready.push_back(to);
            }
        }
    }
    if order.len() < project.packages.len() {
        let (at, cycle) = find_cycle(project, &waiting);
        return Err((at, ProjectErrorKind::Cycle { cycle }));
    }
    match depth.into_iter().max() {
        Some(found) if found > DEPENDENCY_DEPTH_MAX => Err((
            None,
            ProjectErrorKind::TooMany {
                what: "edges in one chain of dependencies",
                found,
                max: DEPENDENCY_DEPTH_MAX,
            },
        )),
        _ => Ok(order),
    }
}

/// Walks backwards among the crates that never became ready: each of them still waits for a consumer that is also there.
fn find_cycle(project: &Project, waiting: &[u32]) -> (Option<Location>, String) {
    let stuck = |index: CrateIndex| waiting[index.0 as usize] > 0;
    let mut consumer: Vec<Option<CrateIndex>> = vec![None; waiting.len()];
    for edge in project.edges.iter().filter(|edge| stuck(edge.from) && stuck(edge.to)) {
        consumer[edge.to.0 as usize].get_or_insert(edge.from);
    }
    let Some(mut at) = project.crates().find(|index| stuck(*index)) else { return (None, String::new()) };
    let mut seen = vec![false; waiting.len()];
    while !std::mem::replace(&mut seen[at.0 as usize], true) {
        at = consumer[at.0 as usize].expect("a crate waits for a consumer that waits too");
    }
    let start = at;
    let mut cycle = vec![start];
    loop {
        at = consumer[at.0 as usize].expect("a crate waits for a consumer that waits too");
        if at == start {
            break;
        }
        cycle.push(at);
    }
    let length = cycle.len();
    // The walk was backwards; begin with the lowest number so that equal cycles print alike.
    cycle.reverse();
    let lowest = cycle.iter().enumerate().min_by_key(|(_, index)| **index).map_or(0, |(at, _)| at);
    cycle.rotate_left(lowest);
    let next = cycle[1 % length];
    let line = project.edges_from(cycle[0]).map(|edge| project.edge(edge)).find(|edge| edge.to == next);
    let at = line.and_then(|edge| edge.line);
    let mut names: Vec<String> =
        cycle.iter().take(CYCLE_SHOWN).map(|index| format!("`{}`", project.name(*index))).collect();
    if length > CYCLE_SHOWN {
        names.push(format!("... ({} more)", length - CYCLE_SHOWN));
    }
    names.push(format!("`{}`", project.name(cycle[0])));
    (at, names.join(" -> "))
}
