//! Names across crates: what a path means, by the scopes, imports, globs and re-exports of the crates that it passes.
//!
//! Privacy and namespaces are ignored: a name that means several things means all of them, so nothing is missed by that.

use std::collections::{HashMap, HashSet};

use crate::limits::LOOKUPS_MAX;
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::summary::{Item, ItemKind, Owner, Summary, TargetSummary};

/// A word, the same in all crates.
pub(crate) type Word = u32;

/// Every word, once.
#[derive(Debug, Default)]
pub(crate) struct Words {
    numbers: HashMap<String, Word>,
    texts: Vec<String>,
}

impl Words {
    pub(crate) fn number(&mut self, text: &str) -> Word {
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        let number = Word::try_from(self.texts.len()).expect("sizes are bounded");
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }

    pub(crate) fn get(&self, text: &str) -> Option<Word> {
        self.numbers.get(text).copied()
    }

    pub(crate) fn text(&self, word: Word) -> &str {
        &self.texts[word as usize]
    }
}

/// A compiled target.
#[derive(Debug)]
pub(crate) struct Unit<'s> {
    pub(crate) package: PackageIndex,
    pub(crate) kind: TargetKind,
    pub(crate) summary: &'s Summary,
    pub(crate) target: &'s TargetSummary,
    /// Local texts as words.
    words: Vec<Word>,
    /// Whether each condition holds: `Some(false)` is not compiled.
    pub(crate) holds: Vec<Option<bool>>,
    /// Names in scopes, sorted.
    names: Vec<(u32, Word, Binding)>,
    /// Globs of scopes, sorted.
    globs: Vec<(u32, u32)>,
    /// Crates by the name that this unit's code writes.
    externs: HashMap<Word, usize>,
    /// Macros by example, by name, wherever they are.
    macros: HashMap<Word, Vec<u32>>,
    edition_2015: bool,
    /// The number of its first item among all nodes.
    pub(crate) base: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Item(u32),
    Scope(u32),
    Import(u32),
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// An item of std, by its path.
    Std(Vec<Word>),
    /// An item, and what of the path is left behind it.
    Item(usize, u32, Vec<Word>),
    /// A name that another crate only passes on: looked up there, as that crate's own reference.
    Alias(usize, u32, Vec<Word>),
    /// A module.
    Scope(usize, u32),
}

/// Every unit of a stage.
#[derive(Debug)]
pub(crate) struct Names<'s> {
    pub(crate) units: Vec<Unit<'s>>,
    pub(crate) words: Words,
    std: [Word; 3],
    special: Special,
}

#[derive(Debug, Clone, Copy)]
struct Special {
    krate: Word,
    this: Word,
    above: Word,
}

/// Which target of which package to link, and the crates that its code can name.
#[derive(Debug, Clone)]
pub(crate) struct UnitPlan {
    pub(crate) package: PackageIndex,
    pub(crate) target: usize,
    pub(crate) externs: Vec<(String, usize)>,
}

impl<'s> Names<'s> {
    pub(crate) fn new(graph: &Graph, summaries: &'s [Summary], plans: &[UnitPlan]) -> Self {
        let mut words = Words::default();
        let std = ["std", "core", "alloc"].map(|name| words.number(name));
        let special = Special {
            krate: words.number("crate"),
            this: words.number("self"),
            above: words.number("super"),
        };
        let mut base = 0;
        let mut units = Vec::with_capacity(plans.len());
        for plan in plans {
            let package = &graph.packages[plan.package];
            let summary = &summaries[plan.package];
            let target = &summary.targets[plan.target];
            let holds = summary
                .conditions
                .iter()
                .map(|all| {
                    let mut result = Some(true);
                    for one in all {
                        match one.evaluate(&graph.cfg, &package.features) {
                            Some(false) => return Some(false),
                            None => result = None,
                            Some(true) => {}
                        }
                    }
                    result
                })
                .collect();
            let mut unit = Unit {
                package: plan.package,
                kind: package.targets[plan.target].kind,
                summary,
                target,
                words: summary.texts.iter().map(|text| words.number(text)).collect(),
                holds,
                names: Vec::new(),
                globs: Vec::new(),
                externs: plan.externs.iter().map(|(name, unit)| (words.number(name), *unit)).collect(),
                macros: HashMap::new(),
                edition_2015: package.targets[plan.target].edition_2015,
                base,
            };
            unit.index();
            base += u32::try_from(target.items.len()).expect("sizes are bounded");
            units.push(unit);
        }
        Self { units, words, std, special }
    }

    /// Traits whose methods code of a unit may call without naming them: its own, and those that it imports.
    pub(crate) fn traits_in_sight(&self, unit: usize) -> HashSet<(usize, u32)> {
        let here = &self.units[unit];
        let is_trait = |unit: usize, item: u32| self.units[unit].item(item).kind == ItemKind::Trait;
        let all_of = |unit: usize| {
            (0..self.units[unit].target.items.len() as u32).filter(move |item| is_trait(unit, *item))
        };
        let mut found: HashSet<(usize, u32)> = all_of(unit).map(|item| (unit, item)).collect();
        for import in here.target.imports.iter().filter(|import| here.active(import.condition)) {
            let mut pending = self.resolve(unit, import.scope, import.path);
            let mut steps = 0;
            while let Some(meaning) = pending.pop() {
                steps += 1;
                match meaning {
                    Meaning::Item(of, item, _) if is_trait(of, item) => {
                        found.insert((of, item));
                    }
                    // What a glob brings from another crate: any of its traits.
                    Meaning::Scope(of, _) if import.name.is_none() && of != unit => {
                        found.extend(all_of(of).map(|item| (of, item)));
                    }
                    Meaning::Alias(of, scope, path) if steps < LOOKUPS_MAX => {
                        pending.extend(self.resolve_alias(of, scope, &path));
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// How many items there are in all units.
    pub(crate) fn item_count(&self) -> u32 {
        self.units.last().map_or(0, |unit| unit.base + unit.target.items.len() as u32)
    }

    /// The unit and item of a node.
    pub(crate) fn item_of(&self, node: u32) -> (usize, u32) {
        let unit = self.units.partition_point(|unit| unit.base <= node) - 1;
        (unit, node - self.units[unit].base)
    }

    /// What a path of a unit's code means, seen from a scope. Empty when it is nothing that has a place here: a local
    /// variable, a type parameter, a method of an unknown type.
    pub(crate) fn resolve(&self, unit: usize, scope: u32, path: u32) -> Vec<Meaning> {
        let path = &self.units[unit].target.paths[path as usize];
        let segments: Vec<Word> =
            path.segments.iter().map(|text| self.units[unit].words[*text as usize]).collect();
        let mut search = Search { names: self, seen: HashSet::new(), found: Vec::new() };
        search.begin(unit, scope, &segments, path.global, unit);
        search.finish()
    }

    /// What a name that another crate passes on means there.
    pub(crate) fn resolve_alias(&self, unit: usize, scope: u32, segments: &[Word]) -> Vec<Meaning> {
        let mut search = Search { names: self, seen: HashSet::new(), found: Vec::new() };
        search.within(unit, scope, segments, unit);
        search.finish()
    }

    /// The macros of that name: in the unit itself, or in what it imports.
    pub(crate) fn resolve_macro(&self, unit: usize, scope: u32, path: u32) -> Vec<Meaning> {
        let mut found = self.resolve(unit, scope, path);
        let path = &self.units[unit].target.paths[path as usize];
        let here = &self.units[unit];
        let Some(last) = path.segments.last().map(|text| here.words[*text as usize]) else { return found };
        found.retain(|meaning| match meaning {
            Meaning::Item(of, item, _) => {
                matches!(self.units[*of].target.items[*item as usize].kind, ItemKind::Macro | ItemKind::Function)
            }
            Meaning::Scope(..) => false,
            Meaning::Std(_) | Meaning::Alias(..) => true,
        });
        if let [first] = path.segments.as_slice() {
            let _ = first;
            let own = here.macros.get(&last).into_iter().flatten();
            found.extend(own.map(|item| Meaning::Item(unit, *item, Vec::new())));
        } else {
            // `krate::name!`: exported macros stand at the root, wherever they are written.
            let first = here.words[path.segments[0] as usize];
            let of = if first == self.special.krate { Some(unit) } else { here.externs.get(&first).copied() };
            if let Some(of) = of {
                let exported = self.units[of].macros.get(&last).into_iter().flatten();
                found.extend(exported.map(|item| Meaning::Item(of, *item, Vec::new())));
            }
        }
        if found.is_empty() && path.segments.len() == 1 {
            // A macro that a glob or `#[macro_use]` brings, or one of std's prelude.
            for of in here.externs.values() {
                let exported = self.units[*of].macros.get(&last).into_iter().flatten();
                found.extend(exported.map(|item| Meaning::Item(*of, *item, Vec::new())));
            }
            if found.is_empty() {
                found.push(Meaning::Std(vec![self.std[0], last]));
            }
        }
        found
    }

    /// `a::b::c`.
    pub(crate) fn written(&self, path: &[Word]) -> String {
        path.iter().map(|word| self.words.text(*word)).collect::<Vec<_>>().join("::")
    }
}

impl Unit<'_> {
    pub(crate) fn word(&self, text: u32) -> Word {
        self.words[text as usize]
    }

    /// Whether code under a condition is compiled, as far as is known.
    pub(crate) fn active(&self, condition: u32) -> bool {
        self.holds[condition as usize] != Some(false)
    }

    pub(crate) fn item(&self, item: u32) -> &Item {
        &self.target.items[item as usize]
    }

    fn index(&mut self) {
        let mut names = Vec::new();
        for (index, item) in self.target.items.iter().enumerate() {
            if item.owner != Owner::Scope || !self.active(item.condition) || item.kind == ItemKind::Linked {
                continue;
            }
            let word = self.words[item.name as usize];
            if item.kind == ItemKind::Macro {
                self.macros.entry(word).or_default().push(index as u32);
            }
            names.push((item.scope, word, Binding::Item(index as u32)));
        }
        for (index, scope) in self.target.scopes.iter().enumerate().skip(1) {
            if !scope.block && self.active(scope.condition) {
                names.push((scope.parent, self.words[scope.name as usize], Binding::Scope(index as u32)));
            }
        }
        for (index, import) in self.target.imports.iter().enumerate() {
            if !self.active(import.condition) {
                continue;
            }
            match import.name {
                Some(name) => {
                    names.push((import.scope, self.words[name as usize], Binding::Import(index as u32)));
                }
                None => self.globs.push((import.scope, index as u32)),
            }
        }
        names.sort_unstable();
        self.globs.sort_unstable();
        self.names = names;
    }

    fn bound(&self, scope: u32, name: Word) -> &[(u32, Word, Binding)] {
        let start = self.names.partition_point(|entry| (entry.0, entry.1) < (scope, name));
        let length = self.names[start..].partition_point(|entry| (entry.0, entry.1) == (scope, name));
        &self.names[start..start + length]
    }

    fn globs_of(&self, scope: u32) -> &[(u32, u32)] {
        let start = self.globs.partition_point(|entry| entry.0 < scope);
        let length = self.globs[start..].partition_point(|entry| entry.0 == scope);
        &self.globs[start..start + length]
    }

    /// The module around a scope, itself when it is one.
    fn module(&self, mut scope: u32) -> u32 {
        while self.target.scopes[scope as usize].block {
            scope = self.target.scopes[scope as usize].parent;
        }
        scope
    }
}

/// One look-up. What was looked for once is not looked for again, so that circles end.
struct Search<'n, 's> {
    names: &'n Names<'s>,
    seen: HashSet<(usize, u32, Vec<Word>)>,
    found: Vec<Meaning>,
}

impl Search<'_, '_> {
    fn finish(mut self) -> Vec<Meaning> {
        self.found.sort();
        self.found.dedup();
        self.found
    }

    /// A path as code writes it. `origin` is the unit that asks.
    fn begin(&mut self, unit: usize, scope: u32, path: &[Word], global: bool, origin: usize) {
        let names = self.names;
        let here = &names.units[unit];
        let Some((&first, rest)) = path.split_first() else { return };
        let module = here.module(scope);
        if global {
            self.external(unit, first, rest, origin);
            if here.edition_2015 {
                self.within(unit, 0, path, origin);
            }
        } else if first == names.special.krate {
            self.go_on(unit, 0, rest, origin);
        } else if first == names.special.this {
            self.go_on(unit, module, rest, origin);
        } else if first == names.special.above {
            let mut at = here.target.scopes[module as usize].parent;
            let mut rest = rest;
            at = here.module(at);
            while let Some((&next, more)) = rest.split_first()
                && next == names.special.above
            {
                at = here.module(here.target.scopes[at as usize].parent);
                rest = more;
            }
            self.go_on(unit, at, rest, origin);
        } else {
            let before = self.found.len();
            let mut at = scope;
            loop {
                self.within(unit, at, path, origin);
                if self.found.len() > before || !here.target.scopes[at as usize].block {
                    break;
                }
                at = here.target.scopes[at as usize].parent;
            }
            // A glob of std answers to every name, so a crate of that name is asked for as well.
            if self.found.len() == before || (!rest.is_empty() && here.externs.contains_key(&first)) {
                self.external(unit, first, rest, origin);
            }
            if self.found.len() == before && here.edition_2015 {
                self.within(unit, 0, path, origin);
            }
        }
    }

    fn external(&mut self, unit: usize, first: Word, rest: &[Word], origin: usize) {
        let names = self.names;
        if let Some(of) = names.units[unit].externs.get(&first) {
            self.go_on(*of, 0, rest, origin);
        } else if names.std.contains(&first) {
            let mut path = vec![first];
            path.extend(rest);
            self.found.push(Meaning::Std(path));
        }
    }

    /// A path behind a module.
    fn go_on(&mut self, unit: usize, scope: u32, rest: &[Word], origin: usize) {
        if rest.is_empty() {
            self.found.push(Meaning::Scope(unit, scope));
        } else {
            self.within(unit, scope, rest, origin);
        }
    }

    /// A path whose first segment is a name in a scope.
    fn within(&mut self, unit: usize, scope: u32, path: &[Word], origin: usize) {
        if self.seen.len() > LOOKUPS_MAX || !self.seen.insert((unit, scope, path.to_vec())) {
            return;
        }
        let names = self.names;
        let here = &names.units[unit];
        let (&first, rest) = path.split_first().expect("callers give a name");
        let before = self.found.len();
        let mut passed_on = false;
        let mut direct = false;
        for (_, _, binding) in here.bound(scope, first) {
            match *binding {
                Binding::Item(item) => {
                    direct = true;
                    self.item(unit, item, rest, origin);
                }
                Binding::Scope(inner) => {
                    direct = true;
                    self.go_on(unit, inner, rest, origin);
                }
                Binding::Import(_) if unit != origin => passed_on = true,
                Binding::Import(import) => self.import(unit, import, rest, origin),
            }
        }
        if passed_on {
            self.found.push(Meaning::Alias(unit, scope, path.to_vec()));
        }
        if direct || self.found.len() > before {
            return;
        }
        let globs = here.globs_of(scope);
        if unit != origin && !globs.is_empty() {
            let mut inner = Search { names, seen: std::mem::take(&mut self.seen), found: Vec::new() };
            for (_, import) in globs {
                inner.glob(unit, *import, path, unit);
            }
            self.seen = inner.seen;
            if !inner.found.is_empty() {
                self.found.push(Meaning::Alias(unit, scope, path.to_vec()));
            }
            // The alias itself looks here again.
            self.seen.remove(&(unit, scope, path.to_vec()));
            return;
        }
        for (_, import) in globs {
            self.glob(unit, *import, path, origin);
        }
    }

    /// `use target as name`, followed by what is left of the path.
    fn import(&mut self, unit: usize, import: u32, rest: &[Word], origin: usize) {
        let here = &self.names.units[unit];
        let import = &here.target.imports[import as usize];
        let target = &here.target.paths[import.path as usize];
        let mut path: Vec<Word> = target.segments.iter().map(|text| here.words[*text as usize]).collect();
        let first = path.first().copied();
        path.extend(rest);
        // `use serde::x` inside a module with a name `serde` of its own makes a circle that `seen` ends; a crate of that name
        // is meant then, too.
        let before = self.found.len();
        self.begin(unit, import.scope, &path, target.global, origin);
        if self.found.len() == before
            && let Some(first) = first
        {
            self.external(unit, first, &path[1..], origin);
        }
    }

    /// `use target::*`, for a name.
    fn glob(&mut self, unit: usize, import: u32, path: &[Word], origin: usize) {
        let here = &self.names.units[unit];
        let import = &here.target.imports[import as usize];
        let target = &here.target.paths[import.path as usize];
        let mut whole: Vec<Word> = target.segments.iter().map(|text| here.words[*text as usize]).collect();
        let is_std = whole.first().is_some_and(|first| self.names.std.contains(first));
        if is_std && !here.externs.contains_key(&whole[0]) {
            whole.extend(path);
            self.found.push(Meaning::Std(whole));
            return;
        }
        whole.extend(path);
        self.begin(unit, import.scope, &whole, target.global, origin);
    }

    fn item(&mut self, unit: usize, item: u32, rest: &[Word], origin: usize) {
        let here = &self.names.units[unit];
        let of = &here.target.items[item as usize];
        if of.kind == ItemKind::Alias && !rest.is_empty() {
            if let Some(first) = of.references.first()
                && let crate::summary::Referent::Path(path) = first.to
            {
                let path = &here.target.paths[path as usize];
                let mut whole: Vec<Word> =
                    path.segments.iter().map(|text| here.words[*text as usize]).collect();
                whole.extend(rest);
                let key = (unit, first.scope, whole.clone());
                if unit == origin {
                    if self.seen.len() <= LOOKUPS_MAX {
                        self.begin(unit, first.scope, &whole, path.global, origin);
                    }
                } else if self.seen.insert(key) {
                    // As the other crate's own reference.
                    self.found.push(Meaning::Alias(unit, first.scope, whole));
                }
            }
            self.found.push(Meaning::Item(unit, item, Vec::new()));
            return;
        }
        self.found.push(Meaning::Item(unit, item, rest.to_vec()));
    }
}
