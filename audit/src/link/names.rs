//! Names across crates: what a path means, by the scopes, imports, globs and re-exports of the crates that it passes.
//!
//! Privacy and namespaces are ignored: a name that means several things means all of them, so nothing is missed by that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::limits::LOOKUPS_MAX;
use crate::map::{Map, Set};
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::summary::{Import, Item, ItemKind, Owner, Referent, Summary, TargetSummary};

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
    externs: Map<Word, usize>,
    /// Macros by example, by name, wherever they are.
    macros: Map<Word, Vec<u32>>,
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
    /// What names in scopes mean, once they were looked for.
    known: Mutex<Known>,
}

/// By unit, scope and name.
type Known = Map<(usize, u32, Word), Arc<[Meaning]>>;

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
    /// `any_cfg`: as if every condition could hold.
    pub(crate) fn new(graph: &Graph, summaries: &'s [Summary], plans: &[UnitPlan], any_cfg: bool) -> Self {
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
                    if any_cfg {
                        return None;
                    }
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
                macros: Map::default(),
                edition_2015: package.targets[plan.target].edition_2015,
                base,
            };
            unit.index();
            base += u32::try_from(target.items.len()).expect("sizes are bounded");
            units.push(unit);
        }
        Self { units, words, std, special, known: Mutex::new(Map::default()) }
    }

    /// Traits whose methods code of a unit may call without naming them: its own, and those that it imports.
    pub(crate) fn traits_in_sight(&self, unit: usize) -> Set<(usize, u32)> {
        let here = &self.units[unit];
        let is_trait = |unit: usize, item: u32| self.units[unit].item(item).kind == ItemKind::Trait;
        let all_of = |unit: usize| {
            (0..self.units[unit].target.items.len() as u32).filter(move |item| is_trait(unit, *item))
        };
        let mut found: Set<(usize, u32)> = all_of(unit).map(|item| (unit, item)).collect();
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

    /// The nearest scope in which a path can mean something else than in the one around it.
    pub(crate) fn effective(&self, unit: usize, scope: u32, path: u32) -> u32 {
        self.units[unit].scope_that_matters(scope, path)
    }

    /// What a path of a unit's code means, seen from a scope. Empty when it is nothing that has a place here: a local
    /// variable, a type parameter, a method of an unknown type.
    pub(crate) fn resolve(&self, unit: usize, scope: u32, path: u32) -> Vec<Meaning> {
        let path = &self.units[unit].target.paths[path as usize];
        let segments: Vec<Word> =
            path.segments.iter().map(|text| self.units[unit].words[*text as usize]).collect();
        sorted(self.path(&mut Query::default(), unit, scope, &segments, path.global))
    }

    /// What a name that another crate passes on means there.
    pub(crate) fn resolve_alias(&self, unit: usize, scope: u32, segments: &[Word]) -> Vec<Meaning> {
        sorted(self.path(&mut Query::default(), unit, scope, segments, false))
    }

    /// The macros of that name: in the unit itself, or in what it imports.
    pub(crate) fn resolve_macro(&self, unit: usize, scope: u32, path: u32) -> Vec<Meaning> {
        let mut found = self.resolve(unit, scope, path);
        let path = &self.units[unit].target.paths[path as usize];
        let here = &self.units[unit];
        let Some(last) = path.segments.last().map(|text| here.words[*text as usize]) else { return found };
        found.retain(|meaning| match meaning {
            Meaning::Item(of, item, _) => {
                matches!(
                    self.units[*of].target.items[*item as usize].kind,
                    ItemKind::Macro | ItemKind::Function
                )
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
        let is_known = found.iter().any(|meaning| !matches!(meaning, Meaning::Std(_)));
        if !is_known && path.segments.len() == 1 {
            // A macro that a glob or `#[macro_use]` brings, or one of std's prelude. A glob of std answers to every name.
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

/// Each meaning once.
fn sorted(mut found: Vec<Meaning>) -> Vec<Meaning> {
    found.sort();
    found.dedup();
    found
}

/// Most look-ups for one path.
const STEPS_MAX: usize = 100_000;

/// Most names that are looked for at a time for the sake of each other.
const DEPTH_MAX: usize = 200;

impl Unit<'_> {
    pub(crate) fn word(&self, text: u32) -> Word {
        self.words[text as usize]
    }

    /// Whether code under a condition is compiled, as far as is known.
    pub(crate) fn active(&self, condition: u32) -> bool {
        self.holds[condition as usize] != Some(false)
    }

    /// The nearest scope in which a path can mean something else than in the one around it.
    pub(crate) fn scope_that_matters(&self, mut scope: u32, path: u32) -> u32 {
        let Some(first) =
            self.target.paths[path as usize].segments.first().map(|text| self.words[*text as usize])
        else {
            return scope;
        };
        while self.target.scopes[scope as usize].block
            && self.bound(scope, first).is_empty()
            && self.globs_of(scope).is_empty()
        {
            scope = self.target.scopes[scope as usize].parent;
        }
        scope
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

/// One question. Names that are being looked for already are not looked for again, so that circles end.
#[derive(Default)]
struct Query {
    active: Set<(usize, u32, Word)>,
    /// What names mean that were met in a circle: without what the names around them mean, which whoever asks for those finds anyway.
    partial: Known,
    steps: usize,
    /// A circle was met, so what was found on the way may lack something.
    circled: bool,
}

impl Names<'_> {
    /// A path as code of a unit writes it.
    fn path(&self, query: &mut Query, unit: usize, scope: u32, path: &[Word], global: bool) -> Vec<Meaning> {
        let mut found = Vec::new();
        let here = &self.units[unit];
        let Some((&first, rest)) = path.split_first() else { return found };
        if query.active.len() > DEPTH_MAX {
            query.circled = true;
            return found;
        }
        let module = here.module(scope);
        let root = Meaning::Scope(unit, 0);
        if global {
            self.external(query, unit, path, &mut found);
            if here.edition_2015 {
                self.advance(query, unit, root, path, &mut found);
            }
        } else if first == self.special.krate {
            self.advance(query, unit, root, rest, &mut found);
        } else if first == self.special.this {
            self.advance(query, unit, Meaning::Scope(unit, module), rest, &mut found);
        } else if first == self.special.above {
            let above = |at: u32| here.module(here.target.scopes[at as usize].parent);
            let mut at = above(module);
            let mut rest = rest;
            while let Some((&next, more)) = rest.split_first()
                && next == self.special.above
            {
                at = above(at);
                rest = more;
            }
            self.advance(query, unit, Meaning::Scope(unit, at), rest, &mut found);
        } else {
            let mut at = scope;
            let certain = loop {
                let meanings = self.lookup(query, unit, at, first);
                // A glob of std answers to every name, and so does one of a crate that passes it on: what is meant may be further out.
                let certain = !here.bound(at, first).is_empty() && !meanings.is_empty()
                    || meanings.iter().any(|one| matches!(one, Meaning::Scope(..) | Meaning::Item(..)));
                for meaning in meanings.iter() {
                    self.advance(query, unit, meaning.clone(), rest, &mut found);
                }
                if certain || !here.target.scopes[at as usize].block {
                    break certain;
                }
                at = here.target.scopes[at as usize].parent;
            };
            let names_a_crate = here.externs.contains_key(&first) || self.std.contains(&first);
            if found.is_empty() || (!rest.is_empty() && names_a_crate) {
                self.external(query, unit, path, &mut found);
            }
            if (found.is_empty() || !certain) && here.edition_2015 && scope != 0 {
                self.advance(query, unit, root, path, &mut found);
            }
        }
        found
    }

    /// A path that begins with the name of a crate.
    fn external(&self, query: &mut Query, unit: usize, path: &[Word], found: &mut Vec<Meaning>) {
        let Some((first, rest)) = path.split_first() else { return };
        if let Some(of) = self.units[unit].externs.get(first) {
            self.advance(query, unit, Meaning::Scope(*of, 0), rest, found);
        } else if self.std.contains(first) {
            found.push(Meaning::Std(path.to_vec()));
        }
    }

    /// Goes on from a meaning along the rest of a path.
    fn advance(
        &self,
        query: &mut Query,
        unit: usize,
        from: Meaning,
        rest: &[Word],
        found: &mut Vec<Meaning>,
    ) {
        let Some((&next, more)) = rest.split_first() else { return found.push(from) };
        match from {
            Meaning::Std(mut path) => {
                path.extend(rest);
                found.push(Meaning::Std(path));
            }
            Meaning::Alias(of, scope, mut path) => {
                path.extend(rest);
                found.push(Meaning::Alias(of, scope, path));
            }
            Meaning::Scope(of, scope) if of == unit => {
                for meaning in self.lookup(query, unit, scope, next).iter() {
                    self.advance(query, unit, meaning.clone(), more, found);
                }
            }
            Meaning::Scope(of, scope) => self.cross(query, unit, (of, scope), rest, found),
            Meaning::Item(of, item, before) => {
                let entry = self.units[of].item(item);
                if entry.kind == ItemKind::Alias
                    && before.is_empty()
                    && let Some(first) = entry.references.first()
                    && let Referent::Path(path) = first.to
                {
                    let there = &self.units[of];
                    let path = &there.target.paths[path as usize];
                    let mut whole: Vec<Word> = path.segments.iter().map(|text| there.word(*text)).collect();
                    if of == unit {
                        let aliased = self.path(query, unit, first.scope, &whole, path.global);
                        query.steps += 1;
                        for meaning in aliased {
                            // `type A = A` means nothing, and ends here.
                            if meaning != Meaning::Item(of, item, Vec::new()) && query.steps < LOOKUPS_MAX {
                                self.advance(query, unit, meaning, rest, found);
                            }
                        }
                    } else {
                        whole.extend(rest);
                        found.push(Meaning::Alias(of, first.scope, whole));
                    }
                    found.push(Meaning::Item(of, item, Vec::new()));
                    return;
                }
                let mut behind = before;
                behind.extend(rest);
                found.push(Meaning::Item(of, item, behind));
            }
        }
    }

    /// A name in a module of another crate: what is declared there is meant itself; what is only passed on is an alias, which
    /// is that crate's own reference.
    fn cross(
        &self,
        query: &mut Query,
        unit: usize,
        (of, scope): (usize, u32),
        path: &[Word],
        found: &mut Vec<Meaning>,
    ) {
        let (&name, rest) = path.split_first().expect("callers give a name");
        let mut declared = false;
        let mut imported = false;
        for (_, _, binding) in self.units[of].bound(scope, name) {
            match *binding {
                Binding::Item(item) => {
                    declared = true;
                    self.advance(query, unit, Meaning::Item(of, item, Vec::new()), rest, found);
                }
                Binding::Scope(inner) => {
                    declared = true;
                    self.advance(query, unit, Meaning::Scope(of, inner), rest, found);
                }
                Binding::Import(_) => imported = true,
            }
        }
        // Crates do not go round in circles, so a question about another one is a question of its own, and its answer whole.
        let mut asked = Query::default();
        if imported || (!declared && !self.lookup(&mut asked, of, scope, name).is_empty()) {
            found.push(Meaning::Alias(of, scope, path.to_vec()));
        }
    }

    /// A name in a scope, as code of the same crate sees it.
    fn lookup(&self, query: &mut Query, unit: usize, scope: u32, name: Word) -> Arc<[Meaning]> {
        let key = (unit, scope, name);
        if let Some(known) = self.known.lock().expect("no thread panics with it").get(&key) {
            return Arc::clone(known);
        }
        if let Some(known) = query.partial.get(&key) {
            query.circled = true;
            return Arc::clone(known);
        }
        query.steps += 1;
        if query.steps > STEPS_MAX || !query.active.insert(key) {
            query.circled = true;
            return Arc::new([]);
        }
        let outer_circled = std::mem::take(&mut query.circled);
        let here = &self.units[unit];
        let mut found = Vec::new();
        for (_, _, binding) in here.bound(scope, name) {
            match *binding {
                Binding::Item(item) => found.push(Meaning::Item(unit, item, Vec::new())),
                Binding::Scope(inner) => found.push(Meaning::Scope(unit, inner)),
                Binding::Import(import) => self.import(query, unit, import, &mut found),
            }
        }
        if found.is_empty() {
            for (_, import) in here.globs_of(scope) {
                let import = &here.target.imports[*import as usize];
                for target in self.imported(query, unit, import) {
                    // `use Enum::*` brings variants, which reach nothing.
                    if !matches!(target, Meaning::Item(..)) {
                        let alias = matches!(target, Meaning::Alias(..));
                        let before = found.len();
                        self.advance(query, unit, target, &[name], &mut found);
                        if alias {
                            // Whether the name is there is known only to the crate that passes it on.
                            self.keep_real(&mut found, before);
                        }
                    }
                }
            }
        }
        found.sort();
        found.dedup();
        query.active.remove(&key);
        let found: Arc<[Meaning]> = found.into();
        if !query.circled || query.active.is_empty() {
            self.known.lock().expect("no thread panics with it").insert(key, Arc::clone(&found));
        } else {
            query.partial.insert(key, Arc::clone(&found));
        }
        query.circled |= outer_circled;
        found
    }

    fn keep_real(&self, found: &mut Vec<Meaning>, from: usize) {
        let candidates = found.split_off(from);
        for candidate in candidates {
            let real = match &candidate {
                Meaning::Alias(of, scope, path) => {
                    !self.path(&mut Query::default(), *of, *scope, path, false).is_empty()
                }
                _ => true,
            };
            if real {
                found.push(candidate);
            }
        }
    }

    fn import(&self, query: &mut Query, unit: usize, import: u32, found: &mut Vec<Meaning>) {
        let import = &self.units[unit].target.imports[import as usize];
        found.extend(self.imported(query, unit, import));
    }

    /// What an import names.
    fn imported(&self, query: &mut Query, unit: usize, import: &Import) -> Vec<Meaning> {
        let here = &self.units[unit];
        let target = &here.target.paths[import.path as usize];
        let path: Vec<Word> = target.segments.iter().map(|text| here.word(*text)).collect();
        self.path(query, unit, import.scope, &path, target.global)
    }
}
