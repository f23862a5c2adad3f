//! One stage of the build: which targets are linked in it, what of them is used, and what each edge brings.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::live::{Engine, Live, linked, reach};
use super::names::{Names, UnitPlan};
use super::sets::{Atom, AtomSet, Atoms};
use crate::map::Map;
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::summary::{ItemKind, Summary};
use crate::table::Table;

/// A stage, judged.
#[derive(Debug)]
pub(crate) struct Stage<'s> {
    pub(crate) live: Live<'s>,
    pub(crate) atoms: Atoms,
    sets: Vec<AtomSet>,
    /// For each edge between packages, where it is crossed.
    crossings: BTreeMap<(PackageIndex, PackageIndex), Vec<Crossing>>,
    /// What each package's used code reaches by itself, raw foreign functions that it calls included.
    pub(crate) own: BTreeMap<PackageIndex, AtomSet>,
    /// The packages whose library is linked in this stage.
    pub(crate) packages: BTreeSet<PackageIndex>,
}

/// How much of the code is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// What the roots' code leads to.
    Used,
    /// All that is compiled for the platform and features, used or not.
    Compiled,
    /// The same under any platform and features, as far as the graph has the dependencies.
    AnyCfg,
}

/// A reference from one package to another: its two nodes, and its line.
type Crossing = (u32, u32, u32);

/// A place in a package's code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodePlace {
    /// The package.
    pub package: PackageIndex,
    /// The item, with its modules: `net::connect`.
    pub item: String,
    /// The file, relative to the package.
    pub file: String,
    /// The line, from 1; 0 when the whole item is meant.
    pub line: u32,
}

/// Which packages' libraries are linked into the programs, and which into the build.
pub(crate) fn split(graph: &Graph) -> (BTreeSet<PackageIndex>, BTreeSet<PackageIndex>) {
    let is_macro = |package: PackageIndex| {
        graph.packages[package].targets.iter().any(|target| target.kind == TargetKind::ProcMacro)
    };
    let has_script = |package: PackageIndex| {
        graph.packages[package].targets.iter().any(|target| target.kind == TargetKind::BuildScript)
    };
    let mut run = BTreeSet::new();
    let mut build = BTreeSet::new();
    let mut pending: Vec<(PackageIndex, bool)> = (0..graph.packages.len())
        .filter(|package| graph.packages[*package].root)
        .map(|package| (package, is_macro(package)))
        .collect();
    while let Some((package, in_build)) = pending.pop() {
        let set = if in_build { &mut build } else { &mut run };
        if !set.insert(package) {
            continue;
        }
        for dependency in &graph.packages[package].dependencies {
            if dependency.build {
                if has_script(package) {
                    pending.push((dependency.to, true));
                }
            } else {
                pending.push((dependency.to, in_build || is_macro(dependency.to)));
            }
        }
    }
    (run, build)
}

/// The units of a stage. In the build, every package that is linked anywhere brings its build script.
fn plans(
    graph: &Graph,
    libraries: &BTreeSet<PackageIndex>,
    scripts: &BTreeSet<PackageIndex>,
    build: bool,
) -> Vec<UnitPlan> {
    let mut plans: Vec<UnitPlan> = Vec::new();
    let mut library_of: BTreeMap<PackageIndex, usize> = BTreeMap::new();
    for package in libraries {
        for (target, of) in graph.packages[*package].targets.iter().enumerate() {
            if matches!(of.kind, TargetKind::Library | TargetKind::ProcMacro) {
                library_of.insert(*package, plans.len());
                plans.push(UnitPlan { package: *package, target, externs: Vec::new() });
            }
        }
    }
    for package in libraries.union(scripts) {
        for (target, of) in graph.packages[*package].targets.iter().enumerate() {
            let wanted = match of.kind {
                TargetKind::Program => !build && graph.packages[*package].root,
                TargetKind::BuildScript => build && scripts.contains(package),
                _ => false,
            };
            if wanted {
                plans.push(UnitPlan { package: *package, target, externs: Vec::new() });
            }
        }
    }
    for plan in &mut plans {
        let package = &graph.packages[plan.package];
        let kind = package.targets[plan.target].kind;
        let for_script = kind == TargetKind::BuildScript;
        for dependency in package.dependencies.iter().filter(|one| one.build == for_script) {
            let is_library =
                graph.packages[dependency.to].targets.iter().any(|target| target.kind == TargetKind::Library);
            if let Some(unit) = library_of.get(&dependency.to).filter(|_| is_library) {
                plan.externs.push((dependency.name.clone(), *unit));
            }
        }
        if kind == TargetKind::Program
            && let Some(unit) = library_of.get(&plan.package)
        {
            for target in package.targets.iter().filter(|target| target.kind == TargetKind::Library) {
                plan.externs.push((target.name.clone(), *unit));
            }
        }
    }
    plans
}

impl<'s> Stage<'s> {
    pub(crate) fn new(
        graph: &Graph,
        summaries: &'s [Summary],
        table: &Table,
        libraries: &BTreeSet<PackageIndex>,
        scripts: &BTreeSet<PackageIndex>,
        build: bool,
        extent: Extent,
    ) -> Self {
        let plans = plans(graph, libraries, scripts, build);
        let names = Names::new(graph, summaries, &plans, extent == Extent::AnyCfg);
        let mut atoms = Atoms::default();
        let live = Engine::new(graph, table, &mut atoms, names, build).run(extent != Extent::Used);
        let sets = reach(&live);
        let mut stage = Self {
            live,
            atoms,
            sets,
            crossings: BTreeMap::new(),
            own: BTreeMap::new(),
            packages: libraries.clone(),
        };
        stage.cross();
        stage.link(graph);
        stage
    }

    pub(crate) fn package_of(&self, node: u32) -> PackageIndex {
        let items = self.live.names.item_count();
        let unit = if node < items {
            self.live.names.item_of(node).0
        } else {
            self.live.aliases[(node - items) as usize].0
        };
        self.live.names.units[unit].package
    }

    /// The nodes of a package, in their order.
    fn nodes_of(&self, package: PackageIndex) -> impl Iterator<Item = u32> + '_ {
        let items = self.live.names.item_count();
        let units = self.live.names.units.iter().filter(move |unit| unit.package == package);
        let declared = units.flat_map(|unit| unit.base..unit.base + unit.target.items.len() as u32);
        let passed_on = (items..).zip(&self.live.aliases);
        declared.chain(passed_on.filter_map(move |(node, (unit, ..))| {
            (self.live.names.units[*unit].package == package).then_some(node)
        }))
    }

    fn is_foreign(&self, node: u32) -> bool {
        node < self.live.names.item_count() && {
            let (unit, item) = self.live.names.item_of(node);
            matches!(self.live.names.units[unit].item(item).kind, ItemKind::Foreign(_))
        }
    }

    /// The foreign functions that a node is, or passes on under another name.
    pub(crate) fn raw_behind(&self, node: u32) -> Vec<u32> {
        let items = self.live.names.item_count();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut pending = vec![node];
        while let Some(at) = pending.pop() {
            if !seen.insert(at) {
                continue;
            }
            if self.is_foreign(at) {
                found.push(at);
            } else if at >= items {
                pending.extend(self.live.steps[at as usize].iter().map(|step| step.to));
            }
        }
        found
    }

    /// What happens because a package's library is linked, by itself.
    pub(crate) fn linking(&self, package: PackageIndex) -> BTreeSet<Atom> {
        let mut all = AtomSet::default();
        for unit in 0..self.live.names.units.len() {
            let of = &self.live.names.units[unit];
            if of.package == package
                && matches!(of.kind, TargetKind::Library | TargetKind::ProcMacro)
                && let Some(node) = linked(&self.live.names, unit)
            {
                for leaf in &self.live.leaves[node as usize] {
                    all.insert(leaf.atom);
                }
            }
        }
        self.listed(&all)
    }

    fn cross(&mut self) {
        for node in 0..self.live.used.len() as u32 {
            if !self.live.used[node as usize] {
                continue;
            }
            let package = self.package_of(node);
            let mut own = AtomSet::default();
            if !self.is_foreign(node) {
                for leaf in &self.live.leaves[node as usize] {
                    own.insert(leaf.atom);
                }
            }
            for step in &self.live.steps[node as usize] {
                let to = self.package_of(step.to);
                for raw in self.raw_behind(step.to) {
                    for leaf in &self.live.leaves[raw as usize] {
                        own.insert(leaf.atom);
                    }
                }
                if to != package {
                    self.crossings.entry((package, to)).or_default().push((node, step.to, step.line));
                }
            }
            self.own.entry(package).or_default().join(&own);
        }
    }

    /// Whoever depends on a crate has what happens because it is linked.
    fn link(&mut self, graph: &Graph) {
        let units: BTreeMap<PackageIndex, u32> = (0..self.live.names.units.len())
            .filter(|unit| {
                matches!(self.live.names.units[*unit].kind, TargetKind::Library | TargetKind::ProcMacro)
            })
            .filter_map(|unit| Some((self.live.names.units[unit].package, linked(&self.live.names, unit)?)))
            .collect();
        for unit in 0..self.live.names.units.len() {
            let of = &self.live.names.units[unit];
            let for_script = of.kind == TargetKind::BuildScript;
            let Some(from) = linked(&self.live.names, unit) else { continue };
            for dependency in &graph.packages[of.package].dependencies {
                if dependency.build == for_script
                    && dependency.to != of.package
                    && let Some(to) = units.get(&dependency.to)
                {
                    self.crossings.entry((of.package, dependency.to)).or_default().push((from, *to, 0));
                }
            }
        }
    }

    /// What an edge brings.
    pub(crate) fn edge(&self, from: PackageIndex, to: PackageIndex) -> AtomSet {
        let mut all = AtomSet::default();
        for (_, node, _) in self.crossings.get(&(from, to)).into_iter().flatten() {
            all.join(&self.sets[*node as usize]);
        }
        all
    }

    /// What the used code of a package's targets of some kinds reaches, dependencies included.
    pub(crate) fn of_package(&self, package: PackageIndex, kinds: &[TargetKind]) -> AtomSet {
        let mut all = AtomSet::default();
        for unit in &self.live.names.units {
            if unit.package == package && kinds.contains(&unit.kind) {
                for node in unit.base..unit.base + unit.target.items.len() as u32 {
                    if self.live.used[node as usize] {
                        all.join(&self.sets[node as usize]);
                    }
                }
            }
        }
        all
    }

    /// The atoms of a set.
    pub(crate) fn listed(&self, set: &AtomSet) -> BTreeSet<Atom> {
        set.iter().map(|atom| self.atoms.get(atom).clone()).collect()
    }

    /// The shortest way over an edge to a use of something: each place, and what is used at the end.
    pub(crate) fn path_over(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        wanted: &dyn Fn(&Atom) -> bool,
    ) -> Option<(Vec<CodePlace>, String)> {
        let crossings = self.crossings.get(&(from, to))?;
        let starts = crossings.iter().map(|(from, to, line)| (*to, Some((*from, *line))));
        self.path(starts.collect(), wanted)
    }

    /// The shortest way from a package's own used code, without leaving it (but to a raw foreign function).
    pub(crate) fn path_within(
        &self,
        package: PackageIndex,
        wanted: &dyn Fn(&Atom) -> bool,
    ) -> Option<(Vec<CodePlace>, String)> {
        for node in self.nodes_of(package) {
            if !self.live.used[node as usize] {
                continue;
            }
            let at =
                |what: &str, line: u32| Some((vec![CodePlace { line, ..self.place(node) }], what.to_owned()));
            if !self.is_foreign(node)
                && let Some(leaf) =
                    self.live.leaves[node as usize].iter().find(|leaf| wanted(self.atoms.get(leaf.atom)))
            {
                return at(&leaf.what, leaf.line);
            }
            for step in &self.live.steps[node as usize] {
                let mut leaves =
                    self.raw_behind(step.to).into_iter().flat_map(|raw| &self.live.leaves[raw as usize]);
                if let Some(leaf) = leaves.find(|leaf| wanted(self.atoms.get(leaf.atom))) {
                    return at(&leaf.what, step.line);
                }
            }
        }
        None
    }

    fn path(
        &self,
        starts: Vec<(u32, Option<(u32, u32)>)>,
        wanted: &dyn Fn(&Atom) -> bool,
    ) -> Option<(Vec<CodePlace>, String)> {
        let numbers: Vec<u16> = {
            let mut all = AtomSet::default();
            for set in starts.iter().map(|(node, _)| &self.sets[*node as usize]) {
                all.join(set);
            }
            all.iter().filter(|atom| wanted(self.atoms.get(*atom))).collect()
        };
        let leads = |node: u32| numbers.iter().any(|atom| self.sets[node as usize].contains(*atom));
        let mut came: Map<u32, (Option<u32>, u32)> = Map::default();
        let mut queue = VecDeque::new();
        let mut entries = Map::default();
        for (node, entry) in starts {
            if leads(node) && !came.contains_key(&node) {
                came.insert(node, (None, 0));
                entries.insert(node, entry);
                queue.push_back(node);
            }
        }
        while let Some(node) = queue.pop_front() {
            let leaf = self.live.leaves[node as usize].iter().find(|leaf| numbers.contains(&leaf.atom));
            if let Some(leaf) = leaf {
                let mut places = vec![CodePlace { line: leaf.line, ..self.place(node) }];
                let mut at = node;
                while let Some((Some(before), line)) = came.get(&at) {
                    at = *before;
                    places.push(CodePlace { line: *line, ..self.place(at) });
                }
                if let Some(Some((from, line))) = entries.get(&at) {
                    places.push(CodePlace { line: *line, ..self.place(*from) });
                }
                places.reverse();
                return Some((places, leaf.what.clone()));
            }
            for step in &self.live.steps[node as usize] {
                if leads(step.to) && !came.contains_key(&step.to) {
                    came.insert(step.to, (Some(node), step.line));
                    queue.push_back(step.to);
                }
            }
        }
        None
    }

    /// Where a node is.
    pub(crate) fn place(&self, node: u32) -> CodePlace {
        let items = self.live.names.item_count();
        if node >= items {
            let (unit, scope, path) = &self.live.aliases[(node - items) as usize];
            let of = &self.live.names.units[*unit];
            let mut item = self.scope_name(*unit, *scope);
            if !item.is_empty() {
                item.push_str("::");
            }
            item.push_str(&self.live.names.written(path));
            return CodePlace { package: of.package, item, file: String::new(), line: 0 };
        }
        let (unit, item) = self.live.names.item_of(node);
        let of = &self.live.names.units[unit];
        let entry = of.item(item);
        let mut name = self.scope_name(unit, entry.scope);
        let owner = match entry.owner {
            crate::summary::Owner::Impl(one) => of.target.impls[one as usize].of.map(|path| {
                let path = &of.target.paths[path as usize];
                path.segments
                    .iter()
                    .map(|text| of.summary.texts[*text as usize].as_str())
                    .collect::<Vec<_>>()
                    .join("::")
            }),
            crate::summary::Owner::Trait(one) => Some(of.summary.texts[of.item(one).name as usize].clone()),
            crate::summary::Owner::Scope => None,
        };
        for part in owner.into_iter().chain([of.summary.texts[entry.name as usize].clone()]) {
            if !name.is_empty() {
                name.push_str("::");
            }
            name.push_str(&part);
        }
        CodePlace {
            package: of.package,
            item: name,
            file: of.summary.files.get(entry.file as usize).cloned().unwrap_or_default(),
            line: entry.line,
        }
    }

    fn scope_name(&self, unit: usize, mut scope: u32) -> String {
        let of = &self.live.names.units[unit];
        let mut parts = Vec::new();
        while scope != 0 {
            let entry = &of.target.scopes[scope as usize];
            if !entry.block {
                parts.push(of.summary.texts[entry.name as usize].as_str());
            }
            scope = entry.parent;
        }
        parts.reverse();
        parts.join("::")
    }
}
