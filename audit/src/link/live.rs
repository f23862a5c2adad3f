//! Which code is used: followed from the roots over references, and over method names to the types that are used.
//!
//! A type that is used brings the functions of its foreign traits (std may call them unasked), and of its others those whose
//! name is called by somebody who could. That over-reports where names are common, and misses nothing that code of this form
//! can do. A reference never leads to a crate that the referring one does not depend on: so what a crate calls back is its
//! caller's.

use capability_manifest::{Capability, HostCapability};

use super::names::{Meaning, Names, Word};
use super::sets::{Atom, AtomSet, Atoms};
use crate::limits::LOOKUPS_MAX;
use crate::map::{Map, Set};
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::summary::{Item, ItemKind, Owner, Referent};
use crate::table::{Table, canonical};

/// One reference between nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) to: u32,
    pub(crate) line: u32,
}

/// Where a node reaches something by itself.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) atom: u16,
    pub(crate) what: String,
    pub(crate) line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Used as soon as its owner is.
    Always,
    /// Used when somebody calls that name.
    CalledAnywhere,
    /// Used when somebody calls that name whose dependencies include the owner.
    CalledInSight,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    node: u32,
    name: Word,
    rule: Rule,
}

/// The items that a path means, and whether it means something else too.
type Meant = (Vec<(usize, u32)>, bool);

/// What is used in one stage.
#[derive(Debug)]
pub(crate) struct Live<'s> {
    pub(crate) names: Names<'s>,
    /// Names that crates pass on, as nodes behind the items.
    pub(crate) aliases: Vec<(usize, u32, Vec<Word>)>,
    pub(crate) steps: Vec<Vec<Step>>,
    pub(crate) leaves: Vec<Vec<Leaf>>,
    pub(crate) used: Vec<bool>,
}

/// The engine.
pub(crate) struct Engine<'g, 's> {
    graph: &'g Graph,
    table: &'g Table,
    atoms: &'g mut Atoms,
    build: bool,
    out: Live<'s>,
    alias_numbers: Map<(usize, u32, Vec<Word>), u32>,
    members: Map<u32, Vec<Member>>,
    /// Units whose functions are sorted to their types and traits. Most units of a graph are used a little, so only those that
    /// are used at all are.
    prepared: Vec<bool>,
    /// Units whose functions without an owner wait for that.
    put_off: Vec<bool>,
    /// By unit, once it calls something: the traits in sight that have a function of a name.
    in_sight: Vec<Option<Map<Word, Vec<u32>>>>,
    /// Names whose call in a node is noted already.
    noted: Set<(u32, Word)>,
    /// By unit: words that its paths hold, as evidence for methods of std.
    evidence: Vec<Set<Word>>,
    /// Packages that call a name.
    callers: Map<Word, Set<PackageIndex>>,
    waiting: Map<Word, Vec<(u32, Member)>>,
    reaches: Vec<Vec<u64>>,
    known: Map<(usize, u32, u32, bool), Vec<Meaning>>,
    pending: Vec<u32>,
}

impl<'g, 's> Engine<'g, 's> {
    pub(crate) fn new(
        graph: &'g Graph,
        table: &'g Table,
        atoms: &'g mut Atoms,
        names: Names<'s>,
        build: bool,
    ) -> Self {
        let count = names.item_count() as usize;
        let evidence = names
            .units
            .iter()
            .map(|unit| {
                unit.target
                    .paths
                    .iter()
                    .flat_map(|path| &path.segments)
                    .map(|text| unit.word(*text))
                    .collect()
            })
            .collect();
        let mut engine = Self {
            graph,
            table,
            atoms,
            build,
            alias_numbers: Map::default(),
            members: Map::default(),
            in_sight: Vec::new(),
            prepared: Vec::new(),
            put_off: Vec::new(),
            noted: Set::default(),
            evidence,
            callers: Map::default(),
            waiting: Map::default(),
            reaches: closures(graph),
            known: Map::default(),
            pending: Vec::new(),
            out: Live {
                names,
                aliases: Vec::new(),
                steps: vec![Vec::new(); count],
                leaves: vec![Vec::new(); count],
                used: vec![false; count],
            },
        };
        engine.prepared = vec![false; engine.out.names.units.len()];
        engine.put_off = engine.prepared.clone();
        engine.in_sight = vec![None; engine.out.names.units.len()];
        engine
    }

    /// Follows everything from the roots. `all`: as if all code were theirs.
    pub(crate) fn run(mut self, all: bool) -> Live<'s> {
        for unit in 0..self.out.names.units.len() {
            let of = &self.out.names.units[unit];
            let is_root = all
                || match of.kind {
                    TargetKind::BuildScript | TargetKind::ProcMacro => self.build,
                    TargetKind::Program => true,
                    TargetKind::Library => !self.build && self.graph.packages[of.package].root,
                };
            let roots: Vec<u32> = (0..of.target.items.len() as u32)
                .filter(|item| {
                    let item = of.item(*item);
                    (is_root || item.kind == ItemKind::Linked) && of.active(item.condition)
                })
                .map(|item| of.base + item)
                .collect();
            let links = self.graph.packages[of.package].links.clone();
            let hides_code = of.summary.unknowns.iter().any(|unknown| unknown.generated);
            let linked = linked(&self.out.names, unit);
            for node in roots {
                self.make_live(node);
            }
            // The declarations of a native library that a build script writes are not read, so all of it counts.
            if let (Some(links), Some(node), true) = (links, linked, hides_code) {
                self.leaf(node, HostCapability::Ffi, None, &format!("links `{links}`"), 1);
            }
        }
        while let Some(node) = self.pending.pop() {
            self.visit(node);
        }
        self.out
    }

    fn make_live(&mut self, node: u32) {
        if !std::mem::replace(&mut self.out.used[node as usize], true) {
            self.pending.push(node);
        }
    }

    fn step(&mut self, from: u32, to: u32, line: u32) {
        if from != to {
            self.out.steps[from as usize].push(Step { to, line });
        }
        self.make_live(to);
    }

    fn alias(&mut self, unit: usize, scope: u32, path: Vec<Word>) -> u32 {
        let key = (unit, scope, path);
        if let Some(known) = self.alias_numbers.get(&key) {
            return *known;
        }
        let node = self.out.used.len() as u32;
        self.out.used.push(false);
        self.out.steps.push(Vec::new());
        self.out.leaves.push(Vec::new());
        self.out.aliases.push(key.clone());
        self.alias_numbers.insert(key, node);
        node
    }

    /// The items that a path means, through every crate that passes it on. The second is whether std or nothing is meant.
    fn items_meant(&self, unit: usize, scope: u32, path: u32) -> Meant {
        let mut found = Vec::new();
        let mut pending = self.out.names.resolve(unit, scope, path);
        let mut elsewhere = pending.is_empty();
        let mut steps = 0;
        while let Some(meaning) = pending.pop() {
            steps += 1;
            match meaning {
                Meaning::Item(of, item, rest) => {
                    let kind = self.out.names.units[of].item(item).kind;
                    if kind == ItemKind::Alias && steps < LOOKUPS_MAX {
                        let target = &self.out.names.units[of].item(item).references;
                        if let Some(first) = target.first()
                            && let Referent::Path(path) = first.to
                        {
                            pending.extend(self.out.names.resolve(of, first.scope, path));
                        }
                    } else if rest.is_empty() {
                        found.push((of, item));
                    }
                }
                Meaning::Alias(of, scope, path) if steps < LOOKUPS_MAX => {
                    pending.extend(self.out.names.resolve_alias(of, scope, &path));
                }
                Meaning::Std(_) => elsewhere = true,
                _ => {}
            }
        }
        (found, elsewhere)
    }

    /// Which functions of a unit belong to which of its types and traits.
    fn prepare(&mut self, unit: usize) {
        if std::mem::replace(&mut self.prepared[unit], true) {
            return;
        }
        let of = &self.out.names.units[unit];
        // Many impls are about the same types and traits, and one without functions gives nothing to anybody.
        let mut needed = vec![false; of.target.impls.len()];
        for item in &of.target.items {
            if let Owner::Impl(one) = item.owner {
                needed[one as usize] = true;
            }
        }
        let mut known: Map<(u32, u32), Meant> = Map::default();
        let mut meant = |scope: u32, path: u32| {
            let scope = of.scope_that_matters(scope, path);
            known.entry((scope, path)).or_insert_with(|| self.items_meant(unit, scope, path)).clone()
        };
        let node = |(unit, item): (usize, u32)| self.out.names.units[unit].base + item;
        let mut impls: Vec<(Vec<u32>, Rule)> = Vec::with_capacity(needed.len());
        for (one, needed) in of.target.impls.iter().zip(needed) {
            if !needed || !of.active(one.condition) {
                impls.push((Vec::new(), Rule::Always));
                continue;
            }
            let mut owners: Vec<u32> = Vec::new();
            if let Some(path) = one.of {
                let (types, _) = meant(one.scope, path);
                // An impl for another crate's type is its own trait's: that type must not lead here.
                let own =
                    types.into_iter().filter(|meant| meant.0 == unit && is_owner(&self.out.names, *meant));
                owners.extend(own.map(node));
            }
            let (traits, foreign) = match one.of_trait {
                Some(path) => meant(one.scope, path),
                None => (Vec::new(), false),
            };
            if owners.is_empty() {
                let local = traits.iter().filter(|(of, _)| *of == unit);
                owners.extend(local.map(|meant| node(*meant)));
            }
            if owners.is_empty() {
                for path in &one.arguments {
                    let (types, _) = meant(one.scope, *path);
                    owners.extend(types.into_iter().filter(|(of, _)| *of == unit).map(node));
                }
            }
            if owners.is_empty() {
                owners.extend(linked(&self.out.names, unit));
            }
            let rule = match (one.of_trait, foreign || traits.is_empty()) {
                (None, _) => Rule::CalledInSight,
                (Some(_), true) => Rule::Always,
                (Some(_), false) => Rule::CalledAnywhere,
            };
            impls.push((owners, rule));
        }
        for (index, item) in of.target.items.iter().enumerate() {
            if !of.active(item.condition) {
                continue;
            }
            let (owners, rule) = match item.owner {
                Owner::Scope => continue,
                Owner::Impl(one) => (impls[one as usize].0.clone(), impls[one as usize].1),
                Owner::Trait(one) => (vec![of.base + one], Rule::CalledAnywhere),
            };
            let unnamed = of.summary.texts[item.name as usize].starts_with('(');
            let rule = if unnamed || item.kind == ItemKind::Value { Rule::Always } else { rule };
            let member = Member { node: of.base + index as u32, name: of.word(item.name), rule };
            for owner in owners {
                self.members.entry(owner).or_default().push(member);
            }
        }
        if let (true, Some(linked)) = (self.put_off[unit], linked(&self.out.names, unit)) {
            self.members_of(linked);
        }
    }

    /// The functions of a type or trait that is used.
    fn members_of(&mut self, node: u32) {
        let members = self.members.get(&node).cloned().unwrap_or_default();
        for member in members {
            if self.is_called(member, node) {
                self.step(node, member.node, 0);
            } else {
                self.waiting.entry(member.name).or_default().push((node, member));
            }
        }
    }

    /// The traits that a unit's code may call a function of that name of.
    fn traits_with(&mut self, unit: usize, name: Word) -> Vec<u32> {
        if self.in_sight[unit].is_none() {
            let mut by_name: Map<Word, Vec<u32>> = Map::default();
            for (of, item) in self.out.names.traits_in_sight(unit) {
                self.prepare(of);
                let owner = self.out.names.units[of].base + item;
                for member in self.members.get(&owner).into_iter().flatten() {
                    let owners = by_name.entry(member.name).or_default();
                    if !owners.contains(&owner) {
                        owners.push(owner);
                    }
                }
            }
            for owners in by_name.values_mut() {
                owners.sort_unstable();
            }
            self.in_sight[unit] = Some(by_name);
        }
        self.in_sight[unit].as_ref().and_then(|known| known.get(&name)).cloned().unwrap_or_default()
    }

    fn visit(&mut self, node: u32) {
        let items = self.out.names.item_count();
        if node >= items {
            let (unit, scope, path) = self.out.aliases[(node - items) as usize].clone();
            for meaning in self.out.names.resolve_alias(unit, scope, &path) {
                self.follow(node, unit, &meaning, 0, None, false);
            }
            return;
        }
        let (unit, item) = self.out.names.item_of(node);
        // What happens by linking alone leads nowhere else in most units, and most are not used otherwise.
        if self.out.names.units[unit].item(item).kind != ItemKind::Linked {
            self.prepare(unit);
        }
        let of = &self.out.names.units[unit];
        // What is read of a summary lives as long as the summary, not as the engine.
        let entry: &'s Item = &of.target.items[item as usize];
        if let ItemKind::Foreign(symbol) = entry.kind {
            let symbol = of.summary.texts[symbol as usize].clone();
            let capabilities = self.table.of_symbol(&symbol);
            for capability in capabilities {
                self.leaf(node, *capability, None, &format!("C `{symbol}`"), entry.line);
            }
            return;
        }
        for reference in &entry.references {
            let of = &self.out.names.units[unit];
            if !of.active(reference.condition) {
                continue;
            }
            let argument = reference.argument.map(|text| of.summary.texts[text as usize].clone());
            match reference.to {
                Referent::Capability(name) => {
                    let name = of.summary.texts[name as usize].clone();
                    if let Some(capability) = HostCapability::from_name(&name) {
                        self.leaf(
                            node,
                            capability,
                            argument,
                            &format!("`{name}` by its form"),
                            reference.line,
                        );
                    }
                }
                Referent::Item(to) => {
                    let to = of.base + to;
                    self.step(node, to, reference.line);
                }
                Referent::Path(path) | Referent::Macro(path) => {
                    let is_macro = matches!(reference.to, Referent::Macro(_));
                    let scope = self.out.names.effective(unit, reference.scope, path);
                    let key = (unit, scope, path, is_macro);
                    let meanings = if let Some(known) = self.known.get(&key) {
                        known.clone()
                    } else {
                        let names = &self.out.names;
                        let meanings = if is_macro {
                            names.resolve_macro(unit, scope, path)
                        } else {
                            names.resolve(unit, scope, path)
                        };
                        self.known.insert(key, meanings.clone());
                        meanings
                    };
                    let segments = &self.out.names.units[unit].target.paths[path as usize].segments;
                    if meanings.is_empty() && segments.len() > 1 {
                        // `T::name` of a type parameter, or of a type that a macro writes.
                        let last = self.out.names.units[unit].word(segments[segments.len() - 1]);
                        self.called(node, unit, last, reference.line);
                    }
                    for meaning in &meanings {
                        self.follow(node, unit, meaning, reference.line, argument.as_deref(), is_macro);
                    }
                }
            }
        }
        for call in &entry.calls {
            let of = &self.out.names.units[unit];
            if of.active(call.condition) {
                let word = of.word(call.name);
                self.called(node, unit, word, call.line);
            }
        }
        if self.prepared[unit] {
            self.members_of(node);
        } else {
            self.put_off[unit] = true;
        }
    }

    fn is_called(&self, member: Member, owner: u32) -> bool {
        match member.rule {
            Rule::Always => true,
            Rule::CalledAnywhere => self.callers.contains_key(&member.name),
            Rule::CalledInSight => {
                let (unit, _) = self.out.names.item_of(owner);
                let package = self.out.names.units[unit].package;
                self.callers
                    .get(&member.name)
                    .is_some_and(|callers| callers.iter().any(|caller| self.sees(*caller, package)))
            }
        }
    }

    fn sees(&self, from: PackageIndex, to: PackageIndex) -> bool {
        self.reaches[from][to / 64] & (1 << (to % 64)) != 0
    }

    /// A method of that name is called in a node.
    fn called(&mut self, node: u32, unit: usize, name: Word, line: u32) {
        if !self.noted.insert((node, name)) {
            return;
        }
        let package = self.out.names.units[unit].package;
        if self.callers.entry(name).or_default().insert(package)
            && let Some(waiting) = self.waiting.remove(&name)
        {
            let mut still = Vec::new();
            for (owner, member) in waiting {
                if self.is_called(member, owner) {
                    self.step(owner, member.node, 0);
                } else {
                    still.push((owner, member));
                }
            }
            if !still.is_empty() {
                self.waiting.insert(name, still);
            }
        }
        let traits = self.traits_with(unit, name);
        for owner in traits {
            self.step(node, owner, line);
        }
        let text = self.out.names.words.text(name).to_owned();
        for method in self.table.of_method(&text) {
            let words = &self.out.names.words;
            let has = |evidence: &String| {
                words.get(evidence).is_some_and(|word| self.evidence[unit].contains(&word))
            };
            if method.evidence.is_empty() || method.evidence.iter().any(has) {
                for capability in &method.capabilities {
                    self.leaf(node, *capability, None, &format!("`.{text}()`"), line);
                }
            }
        }
    }

    fn follow(
        &mut self,
        node: u32,
        unit: usize,
        meaning: &Meaning,
        line: u32,
        argument: Option<&str>,
        is_macro: bool,
    ) {
        match meaning {
            Meaning::Scope(..) => {}
            Meaning::Alias(of, scope, path) => {
                let alias = self.alias(*of, *scope, path.clone());
                self.step(node, alias, line);
            }
            Meaning::Item(of, item, rest) => {
                let target = self.out.names.units[*of].base + item;
                if let Some(name) = rest.first() {
                    self.prepare(*of);
                    let members = self.members.get(&target).cloned().unwrap_or_default();
                    let mut found = false;
                    for member in members.iter().filter(|member| member.name == *name) {
                        found = true;
                        self.step(node, member.node, line);
                    }
                    let kind = self.out.names.units[*of].item(*item).kind;
                    if !found || kind == ItemKind::Trait {
                        self.called(node, unit, *name, line);
                    }
                }
                self.step(node, target, line);
            }
            Meaning::Std(path) => {
                let mut written = self.out.names.written(path);
                if is_macro {
                    written.push('!');
                }
                let written = canonical(&written);
                self.std(node, &written, line, argument);
            }
        }
    }

    fn std(&mut self, node: u32, path: &str, line: u32, argument: Option<&str>) {
        // What these embed depends on what they name; the scan has seen that.
        if matches!(
            path,
            "std::env!" | "std::option_env!" | "std::include!" | "std::include_str!" | "std::include_bytes!"
        ) {
            return;
        }
        // How a file is opened is said by methods of the options.
        if matches!(
            path,
            "std::fs::OpenOptions::new" | "std::fs::File::options" | "std::fs::OpenOptions::default"
        ) {
            let capability = self.options(node);
            self.leaf(node, capability, None, &format!("`{path}`"), line);
            return;
        }
        for capability in self.table.of_std(path).to_vec() {
            self.leaf(node, capability, argument.map(str::to_owned), &format!("`{path}`"), line);
        }
    }

    /// Reading only, when the same function opens and names nothing that writes.
    fn options(&self, node: u32) -> HostCapability {
        if node < self.out.names.item_count() {
            let (unit, item) = self.out.names.item_of(node);
            let of = &self.out.names.units[unit];
            let calls: Vec<&str> = of
                .item(item)
                .calls
                .iter()
                .map(|call| of.summary.texts[call.name as usize].as_str())
                .collect();
            let writes = ["write", "append", "create", "create_new", "truncate", "custom_flags"];
            if calls.contains(&"open") && !calls.iter().any(|call| writes.contains(call)) {
                return HostCapability::FilesystemRead;
            }
        }
        HostCapability::FilesystemWrite
    }

    fn leaf(
        &mut self,
        node: u32,
        capability: HostCapability,
        argument: Option<String>,
        what: &str,
        line: u32,
    ) {
        if self.build && is_cargos(capability, argument.as_deref()) {
            return;
        }
        let argument = argument.filter(|argument| keeps(capability, argument));
        let mut named = Capability::host(capability);
        if self.build {
            named = named.at_build();
        }
        let atom = self.atoms.number(Atom { capability: named, argument });
        let leaves = &mut self.out.leaves[node as usize];
        if !leaves.iter().any(|leaf| leaf.atom == atom && leaf.what == what) {
            leaves.push(Leaf { atom, what: what.to_owned(), line });
        }
    }
}

/// What Cargo itself hands to a build script or a macro: its variables, and the streams on which it listens.
fn is_cargos(capability: HostCapability, argument: Option<&str>) -> bool {
    match capability {
        HostCapability::Stdio => true,
        HostCapability::EnvironmentRead => argument.is_some_and(is_cargos_variable),
        _ => false,
    }
}

/// Variables that Cargo sets for a build script, by the Cargo book ("environment variables Cargo sets for build scripts").
pub(crate) fn is_cargos_variable(name: &str) -> bool {
    const NAMES: &[&str] =
        &["OUT_DIR", "TARGET", "HOST", "NUM_JOBS", "OPT_LEVEL", "DEBUG", "PROFILE", "RUSTC", "RUSTDOC"];
    NAMES.contains(&name)
        || ["CARGO", "DEP_", "RUSTC_"].iter().any(|prefix| name.starts_with(prefix))
            && !name.contains("TOKEN")
            && !name.contains("CREDENTIAL")
}

/// Whether an argument says something about a capability.
fn keeps(capability: HostCapability, argument: &str) -> bool {
    match capability {
        HostCapability::EnvironmentRead | HostCapability::EnvironmentWrite => {
            capability_manifest::scope::NamePattern::parse(argument).is_ok() && !argument.ends_with('*')
        }
        HostCapability::FilesystemRead | HostCapability::FilesystemWrite => {
            argument.starts_with('/') && capability_manifest::scope::NormalPath::parse(argument).is_ok()
        }
        HostCapability::ProcessSpawn => !argument.is_empty(),
        HostCapability::NetworkConnect | HostCapability::NetworkListen => {
            capability_manifest::scope::HostPort::parse(argument).is_ok() && !argument.contains('*')
        }
        _ => false,
    }
}

fn is_owner(names: &Names<'_>, (unit, item): (usize, u32)) -> bool {
    matches!(names.units[unit].item(item).kind, ItemKind::Type | ItemKind::Trait)
}

/// The item for what happens because a unit is linked.
pub(crate) fn linked(names: &Names<'_>, unit: usize) -> Option<u32> {
    let of = &names.units[unit];
    let at = of.target.items.iter().position(|item| item.kind == ItemKind::Linked)?;
    Some(of.base + at as u32)
}

/// For each package, the packages that its code can use: itself and all below.
pub(crate) fn closures(graph: &Graph) -> Vec<Vec<u64>> {
    let words = graph.packages.len().div_ceil(64);
    (0..graph.packages.len())
        .map(|start| {
            let mut seen = vec![0_u64; words];
            let mut pending = vec![start];
            while let Some(at) = pending.pop() {
                if seen[at / 64] & (1 << (at % 64)) != 0 {
                    continue;
                }
                seen[at / 64] |= 1 << (at % 64);
                pending.extend(graph.packages[at].dependencies.iter().map(|one| one.to));
            }
            seen
        })
        .collect()
}

/// Not visited yet.
const NEW: u32 = u32::MAX;

/// What each node reaches, itself included: circles are one.
pub(crate) fn reach(live: &Live<'_>) -> Vec<AtomSet> {
    let count = live.used.len();
    let mut sets: Vec<AtomSet> = vec![AtomSet::default(); count];
    for (node, leaves) in live.leaves.iter().enumerate() {
        for leaf in leaves {
            sets[node].insert(leaf.atom);
        }
    }
    // Tarjan's strongly connected components, without recursion; a component is finished after all that it leads to.
    let mut index = vec![NEW; count];
    let mut low = vec![0_u32; count];
    let mut on_stack = vec![false; count];
    let mut stack: Vec<u32> = Vec::new();
    let mut next = 0_u32;
    let mut frames: Vec<(u32, usize)> = Vec::new();
    for start in 0..count as u32 {
        if index[start as usize] != NEW || !live.used[start as usize] {
            continue;
        }
        frames.push((start, 0));
        while let Some((node, at)) = frames.pop() {
            let here = node as usize;
            if at == 0 {
                index[here] = next;
                low[here] = next;
                next += 1;
                stack.push(node);
                on_stack[here] = true;
            } else {
                let child = live.steps[here][at - 1].to as usize;
                low[here] = low[here].min(low[child]);
            }
            let mut at = at;
            let mut descend = None;
            while at < live.steps[here].len() {
                let child = live.steps[here][at].to;
                at += 1;
                if index[child as usize] == NEW {
                    descend = Some(child);
                    break;
                }
                if on_stack[child as usize] {
                    low[here] = low[here].min(index[child as usize]);
                }
            }
            if let Some(child) = descend {
                frames.push((node, at));
                frames.push((child, 0));
                continue;
            }
            if low[here] == index[here] {
                let begin = stack.iter().rposition(|one| *one == node).expect("on the stack");
                let component = stack.split_off(begin);
                let mut all = AtomSet::default();
                for one in &component {
                    on_stack[*one as usize] = false;
                    all.join(&sets[*one as usize]);
                    for step in &live.steps[*one as usize] {
                        all.join(&sets[step.to as usize].clone());
                    }
                }
                for one in component {
                    sets[one as usize] = all;
                }
            }
        }
    }
    sets
}
