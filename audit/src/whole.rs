//! A verdict with all that leads to it: both stages of the build, what was compiled, and what each edge brings.

use std::collections::{BTreeMap, BTreeSet};

use capability_manifest::{Capability, HostCapability};

use crate::audit::{Need, UnknownSource, UnsafeReach, Way};
use crate::compiled::{Compiled, Found, Layer, Layers, Uses, shown};
use crate::link::sets::Atom;
use crate::link::stage::{CodePlace, Extent, Stage, split};
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::summary::Summary;
use crate::table::Table;

/// A graph, judged.
#[derive(Debug)]
pub(crate) struct Whole<'s> {
    run: Stage<'s>,
    build: Stage<'s>,
    pub(crate) needs: BTreeMap<(PackageIndex, PackageIndex), Need>,
    /// What linking each package does to the build: its build script, its macros, and those below.
    at_build: Vec<BTreeSet<Atom>>,
    summaries: &'s [Summary],
    graph: &'s Graph,
    extent: Extent,
    /// What compiled code says beside the source, when it was looked at.
    compiled: Option<&'s Compiled>,
    /// The needs by source alone, when something else was looked at too.
    by_source: BTreeMap<(PackageIndex, PackageIndex), Need>,
}

fn plain(capability: HostCapability) -> Atom {
    Atom { capability: Capability::host(capability), argument: None }
}

impl<'s> Whole<'s> {
    /// Judges a graph by more or less of its code, and by what was compiled of it.
    pub(crate) fn new(
        graph: &'s Graph,
        summaries: &'s [Summary],
        table: &Table,
        extent: Extent,
        compiled: Option<&'s Compiled>,
    ) -> Self {
        let (run_set, build_set) = split(graph);
        let all: BTreeSet<PackageIndex> = run_set.union(&build_set).copied().collect();
        let none = BTreeSet::new();
        let (run, build) = rayon::join(
            || Stage::new(graph, summaries, table, &run_set, &none, false, extent),
            || Stage::new(graph, summaries, table, &build_set, &all, true, extent),
        );
        let judge = |compiled: Option<&Compiled>| {
            Needs {
                graph,
                run: &run,
                build: &build,
                run_set: &run_set,
                build_set: &build_set,
                extent,
                compiled,
            }
            .all(&all)
        };
        let (at_build, needs) = judge(compiled);
        let by_source = if compiled.is_some() { judge(None).1 } else { BTreeMap::new() };
        Self { run, build, needs, at_build, summaries, graph, extent, compiled, by_source }
    }
}

/// What edges need, put together from all layers.
struct Needs<'n, 's> {
    graph: &'n Graph,
    run: &'n Stage<'s>,
    build: &'n Stage<'s>,
    run_set: &'n BTreeSet<PackageIndex>,
    build_set: &'n BTreeSet<PackageIndex>,
    extent: Extent,
    compiled: Option<&'n Compiled>,
}

type EdgeNeeds = BTreeMap<(PackageIndex, PackageIndex), Need>;

impl Needs<'_, '_> {
    fn all(&self, all: &BTreeSet<PackageIndex>) -> (Vec<BTreeSet<Atom>>, EdgeNeeds) {
        let at_build = self.at_build(all);
        let (linking_run, linking_build) = (linking(self.graph, self.run), linking(self.graph, self.build));
        let mut needs = EdgeNeeds::new();
        for package in all {
            for dependency in &self.graph.packages[*package].dependencies {
                let (from, to) = (*package, dependency.to);
                let is_macro = is_macro(self.graph, to);
                let need = needs.entry((from, to)).or_default();
                let mut compiled = at_build[to].clone();
                if is_macro {
                    compiled.extend(self.of_macro(to));
                }
                let mut in_build = self.build.listed(&self.build.edge(from, to));
                if let Some(seen) = self.compiled {
                    add(&mut in_build, seen.build.edges.get(&(from, to)), self.extent, true);
                }
                if self.run_set.contains(&from) {
                    need.run.extend(compiled.iter().cloned());
                    if dependency.build {
                        need.run.extend(in_build.iter().cloned());
                        need.run.extend(linking_build[to].iter().cloned());
                    } else if !is_macro {
                        need.run.extend(self.run.listed(&self.run.edge(from, to)));
                        need.run.extend(linking_run[to].iter().cloned());
                        if let Some(seen) = self.compiled {
                            add(&mut need.run, seen.run.edges.get(&(from, to)), self.extent, false);
                        }
                    }
                }
                if self.build_set.contains(&from) {
                    need.build.extend(compiled);
                    need.build.extend(in_build);
                    need.build.extend(linking_build[to].iter().cloned());
                }
            }
        }
        (at_build, needs)
    }

    /// What a procedural macro does inside of the compiler.
    fn of_macro(&self, package: PackageIndex) -> BTreeSet<Atom> {
        let mut all = self.build.listed(&self.build.of_package(package, &[TargetKind::ProcMacro]));
        all.insert(plain(HostCapability::BuildProcMacro));
        if let Some(seen) = self.compiled {
            add(&mut all, seen.macros.get(&package), self.extent, true);
        }
        all
    }

    /// What compiling each package does: its own build script with all that it uses, its macros, and the same of what it links.
    fn at_build(&self, all: &BTreeSet<PackageIndex>) -> Vec<BTreeSet<Atom>> {
        let mut sets: Vec<BTreeSet<Atom>> = vec![BTreeSet::new(); self.graph.packages.len()];
        for package in all {
            let of = &self.graph.packages[*package];
            if of.targets.iter().any(|target| target.kind == TargetKind::BuildScript) {
                let set = &mut sets[*package];
                set.insert(plain(HostCapability::BuildScript));
                set.extend(self.build.listed(&self.build.of_package(*package, &[TargetKind::BuildScript])));
                if let Some(seen) = self.compiled {
                    add(set, seen.scripts.get(package), self.extent, true);
                }
            }
            for dependency in of.dependencies.iter().filter(|one| is_macro(self.graph, one.to)) {
                sets[*package].extend(self.of_macro(dependency.to));
            }
        }
        carried_up(self.graph, all, sets)
    }
}

/// Adds what compiled code was found to do. What is there already may know its argument, and compiled code does not.
fn add(set: &mut BTreeSet<Atom>, uses: Option<&Uses>, extent: Extent, build: bool) {
    for (capability, found) in uses.into_iter().flatten() {
        if found.is_used || extent > Extent::Used {
            let capability = staged(*capability, build);
            if set.iter().all(|atom| atom.capability != capability) {
                set.insert(Atom { capability, argument: None });
            }
        }
    }
}

fn staged(capability: HostCapability, build: bool) -> Capability {
    let capability = Capability::host(capability);
    if build { capability.at_build() } else { capability }
}

fn is_macro(graph: &Graph, package: PackageIndex) -> bool {
    graph.packages[package].targets.iter().any(|target| target.kind == TargetKind::ProcMacro)
}

/// Adds to each package what those below it have.
fn carried_up(
    graph: &Graph,
    all: &BTreeSet<PackageIndex>,
    mut sets: Vec<BTreeSet<Atom>>,
) -> Vec<BTreeSet<Atom>> {
    // The graph has no circles, so this ends after as many rounds as it is deep.
    loop {
        let mut changed = false;
        for package in all {
            for dependency in graph.packages[*package].dependencies.iter().filter(|one| all.contains(&one.to))
            {
                let below = sets[dependency.to].clone();
                let before = sets[*package].len();
                sets[*package].extend(below);
                changed |= sets[*package].len() > before;
            }
        }
        if !changed {
            return sets;
        }
    }
}

/// What linking each package does by itself, and those below it: symbols that stand in for others, hooks, native libraries.
fn linking(graph: &Graph, stage: &Stage<'_>) -> Vec<BTreeSet<Atom>> {
    let sets = (0..graph.packages.len())
        .map(
            |package| {
                if stage.packages.contains(&package) { stage.linking(package) } else { BTreeSet::new() }
            },
        )
        .collect();
    carried_up(graph, &stage.packages, sets)
}

impl Whole<'_> {
    /// What a root holds at least: what its own code reaches, and what its edges bring.
    pub(crate) fn root_need(&self, package: PackageIndex) -> BTreeSet<Atom> {
        let kinds = [TargetKind::Library, TargetKind::Program];
        let mut all = self.run.listed(&self.run.of_package(package, &kinds));
        all.extend(self.at_build[package].iter().cloned());
        if let Some(seen) = self.compiled {
            add(&mut all, seen.run.own.get(&package), self.extent, false);
        }
        for need in self.needs.range((package, 0)..(package + 1, 0)).map(|(_, need)| need) {
            all.extend(need.run.iter().cloned());
        }
        all
    }

    /// What a package's own used code reaches, in programs and in the build: itself, not what it depends on.
    pub(crate) fn own(&self, package: PackageIndex) -> BTreeSet<Atom> {
        let mut all = self.own_by_source(package);
        if let Some(seen) = self.compiled {
            add(&mut all, seen.run.own.get(&package), self.extent, false);
            add(&mut all, seen.build.own.get(&package), self.extent, true);
        }
        all
    }

    fn own_by_source(&self, package: PackageIndex) -> BTreeSet<Atom> {
        let mut all = BTreeSet::new();
        for stage in [&self.run, &self.build] {
            if let Some(own) = stage.own.get(&package) {
                all.extend(stage.listed(own));
            }
        }
        let kinds = |kind| self.graph.packages[package].targets.iter().any(|target| target.kind == kind);
        if self.is_linked(package) {
            if kinds(TargetKind::BuildScript) {
                all.insert(plain(HostCapability::BuildScript));
            }
            if kinds(TargetKind::ProcMacro) {
                all.insert(plain(HostCapability::BuildProcMacro));
            }
        }
        all
    }

    /// Whether a package is linked for this platform at all.
    pub(crate) fn is_linked(&self, package: PackageIndex) -> bool {
        self.run.packages.contains(&package) || self.build.packages.contains(&package)
    }

    /// How an edge brings a capability.
    pub(crate) fn way_over(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        capability: &Capability,
    ) -> Option<Way> {
        let wanted = |atom: &Atom| atom.capability == *capability;
        let found = self.run.path_over(from, to, &wanted).or_else(|| self.build.path_over(from, to, &wanted));
        // Source names places best; what it does not see, compiled code shows.
        let found = found.map(|(places, what)| Way { places, what });
        found
            .or_else(|| self.compiled_way(&self.seen_over(from, to, capability)))
            .or_else(|| self.compiled(to, &wanted).map(|(places, what)| Way { places, what }))
            .or_else(|| self.compiled_way(&self.seen_at_build(to, capability)))
    }

    /// What compiled code says of a capability over an edge.
    fn seen_over(&self, from: PackageIndex, to: PackageIndex, capability: &Capability) -> Vec<&Found> {
        let Some(seen) = self.compiled else { return Vec::new() };
        let edge = (from, to);
        [(seen.run.edges.get(&edge), false), (seen.build.edges.get(&edge), true)]
            .into_iter()
            .filter_map(|(uses, build)| self.seen_in(uses, build, capability))
            .collect()
    }

    fn seen_in<'a>(&self, uses: Option<&'a Uses>, build: bool, capability: &Capability) -> Option<&'a Found> {
        let found = uses?.get(&capability.host_capability()?)?;
        let is_meant = staged(capability.host_capability()?, build) == *capability;
        (is_meant && (found.is_used || self.extent > Extent::Used)).then_some(found)
    }

    /// What the build scripts and macros of a package, and of those below it, say of a capability.
    fn seen_at_build(&self, package: PackageIndex, capability: &Capability) -> Vec<&Found> {
        let Some(seen) = self.compiled else { return Vec::new() };
        let mut found = Vec::new();
        let mut known = BTreeSet::new();
        let mut pending = std::collections::VecDeque::from([package]);
        while let Some(at) = pending.pop_front() {
            if known.insert(at) {
                found.extend(self.seen_in(seen.scripts.get(&at), true, capability));
                found.extend(self.seen_in(seen.macros.get(&at), true, capability));
                pending.extend(self.graph.packages[at].dependencies.iter().map(|one| one.to));
            }
        }
        found
    }

    fn compiled_way(&self, found: &[&Found]) -> Option<Way> {
        let (found, seen) = (found.first()?, self.compiled?);
        let what = if found.layers == Layers::one(Layer::Opcodes) {
            format!("a system call in `{}`", shown(&found.what))
        } else if found.what.starts_with("_R") {
            format!("`{}`", shown(&found.what))
        } else {
            format!("C `{}`", found.what)
        };
        Some(Way { places: seen.resolve(self.graph, &found.way), what })
    }

    /// The layers that say that an edge brings a capability.
    pub(crate) fn layers_over(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        capability: &Capability,
    ) -> Layers {
        let mut layers = Layers::default();
        let needs = if self.compiled.is_some() { &self.by_source } else { &self.needs };
        let has = |need: &Need| need.run.union(&need.build).any(|atom| atom.capability == *capability);
        if needs.get(&(from, to)).is_some_and(has) {
            layers = Layers::one(Layer::Source);
        }
        let seen = self.seen_over(from, to, capability);
        seen.into_iter()
            .chain(self.seen_at_build(to, capability))
            .fold(layers, |layers, found| layers.with(found.layers))
    }

    /// The layers that say that a package's own code reaches a capability.
    pub(crate) fn layers_within(&self, package: PackageIndex, capability: &Capability) -> Layers {
        let by_source = self.own_by_source(package).iter().any(|atom| atom.capability == *capability);
        let layers = if by_source { Layers::one(Layer::Source) } else { Layers::default() };
        self.seen_within(package, capability)
            .into_iter()
            .fold(layers, |layers, found| layers.with(found.layers))
    }

    fn seen_within(&self, package: PackageIndex, capability: &Capability) -> Vec<&Found> {
        let Some(seen) = self.compiled else { return Vec::new() };
        let uses = [(seen.run.own.get(&package), false), (seen.build.own.get(&package), true)];
        uses.into_iter().filter_map(|(uses, build)| self.seen_in(uses, build, capability)).collect()
    }

    /// How a package's own code reaches a capability.
    pub(crate) fn way_within(&self, package: PackageIndex, capability: &Capability) -> Option<Way> {
        let wanted = |atom: &Atom| atom.capability == *capability;
        let found =
            self.run.path_within(package, &wanted).or_else(|| self.build.path_within(package, &wanted));
        let found = found.map(|(places, what)| Way { places, what });
        found.or_else(|| self.compiled_way(&self.seen_within(package, capability)))
    }

    /// How compiling a package, or one below it, reaches something.
    fn compiled(
        &self,
        package: PackageIndex,
        wanted: &dyn Fn(&Atom) -> bool,
    ) -> Option<(Vec<CodePlace>, String)> {
        let mut seen = BTreeSet::new();
        let mut pending = std::collections::VecDeque::from([package]);
        while let Some(at) = pending.pop_front() {
            if !seen.insert(at) {
                continue;
            }
            let of = &self.graph.packages[at];
            for (capability, kind, what) in [
                (HostCapability::BuildScript, TargetKind::BuildScript, "its build script runs"),
                (HostCapability::BuildProcMacro, TargetKind::ProcMacro, "it runs inside the compiler"),
            ] {
                if wanted(&plain(capability))
                    && let Some(target) = of.targets.iter().find(|target| target.kind == kind)
                {
                    let file = target.source.strip_prefix(&of.folder).unwrap_or(&target.source);
                    let place = CodePlace {
                        package: at,
                        item: target.name.clone(),
                        file: file.display().to_string(),
                        line: 1,
                    };
                    return Some((vec![place], what.to_owned()));
                }
            }
            let found = self.build.path_within(at, wanted).or_else(|| self.run.path_within(at, wanted));
            if found.is_some() {
                return found;
            }
            pending.extend(of.dependencies.iter().map(|dependency| dependency.to));
        }
        None
    }

    /// What could not be analysed of what is linked.
    pub(crate) fn unknowns(&self) -> Vec<UnknownSource> {
        let mut all = Vec::new();
        let unread = self.compiled.map(Compiled::incomplete);
        for (package, summary) in self.summaries.iter().enumerate() {
            for unknown in &summary.unknowns {
                // What a build script writes is compiled, and compiled code was read.
                if unknown.generated && unread.as_ref().is_some_and(|unread| !unread.contains(&package)) {
                    continue;
                }
                let features = &self.graph.packages[package].features;
                let conditions = &summary.conditions[unknown.condition as usize];
                let off = conditions.iter().any(|one| one.evaluate(&self.graph.cfg, features) == Some(false));
                if !off {
                    all.push(UnknownSource {
                        package,
                        file: unknown.file.clone(),
                        line: unknown.line,
                        why: unknown.why.clone(),
                        generated: unknown.generated,
                    });
                }
            }
        }
        for unread in self.compiled.into_iter().flat_map(|seen| &seen.unread) {
            all.push(UnknownSource {
                package: unread.package,
                file: unread.path.display().to_string(),
                line: 0,
                why: unread.why.clone(),
                generated: false,
            });
        }
        all
    }

    /// Unsafe code of a package that reaches authority, and how much unsafe code only handles memory.
    pub(crate) fn unsafe_code(&self, package: PackageIndex) -> (Vec<UnsafeReach>, usize) {
        let mut reaching: Vec<UnsafeReach> = Vec::new();
        let mut memory = 0;
        for stage in [&self.run, &self.build] {
            for unit in stage.live.names.units.iter().filter(|unit| unit.package == package) {
                for (index, item) in unit.target.items.iter().enumerate() {
                    let node = unit.base + index as u32;
                    if !stage.live.used[node as usize] {
                        continue;
                    }
                    for site in &item.unsafes {
                        let inside = |line: u32| site.line <= line && line <= site.end;
                        let mut reaches: BTreeSet<Capability> = stage.live.leaves[node as usize]
                            .iter()
                            .filter(|leaf| inside(leaf.line))
                            .map(|leaf| stage.atoms.get(leaf.atom).capability.clone())
                            .collect();
                        for step in stage.live.steps[node as usize].iter().filter(|step| inside(step.line)) {
                            for raw in stage.raw_behind(step.to) {
                                let leaves = stage.live.leaves[raw as usize].iter();
                                reaches
                                    .extend(leaves.map(|leaf| stage.atoms.get(leaf.atom).capability.clone()));
                            }
                        }
                        if reaches.is_empty() {
                            memory += 1;
                            continue;
                        }
                        let tags = site.tags.iter().map(|text| unit.summary.texts[*text as usize].clone());
                        reaching.push(UnsafeReach {
                            at: CodePlace { line: site.line, ..stage.place(node) },
                            reaches,
                            tags: tags.collect(),
                        });
                    }
                }
            }
        }
        reaching.sort_by(|a, b| a.at.cmp(&b.at));
        reaching.dedup();
        (reaching, memory)
    }
}
