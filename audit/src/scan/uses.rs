//! Uses of macros by example whose rules name files: such a file lies beside each use, and not beside the rules. Where a use is
//! read is noted here, and what is used where nothing was read is not analysed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Group, TokenStream, TokenTree};

use super::glue::Glue;
use super::macros::{plain_rule, without_dollars};
use super::modules::{FILE_WORDS, mention};
use super::tokens::{self, Seen, ident, literal, punct};
use super::{FilePlace, Scanner, line_number};
use crate::limits::{MACRO_PLACES_MAX, MACROS_BEHIND_MAX};
use crate::predicate::Predicate;
use crate::summary::{Condition, ScopeIndex, Unknown};

/// The folders that decide which files are meant, by number: that of `include!`, of `#[path]`, and of `mod name;`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Folders {
    include: u32,
    path: u32,
    modules: u32,
}

/// Which files the rules of a macro name.
#[derive(Debug, Clone, Copy, Default)]
struct Named {
    includes: bool,
    modules: bool,
}

impl Named {
    fn any(self) -> bool {
        self.includes || self.modules
    }

    /// Whether both folders hold the same of them.
    fn same(self, one: Folders, other: Folders) -> bool {
        (!self.includes || one.include == other.include)
            && (!self.modules || (one.path, one.modules) == (other.path, other.modules))
    }
}

/// A macro whose rules name files.
#[derive(Debug)]
struct Naming {
    named: Named,
    /// Where the rules stand: what they name there was read with them.
    folders: Folders,
    /// What they stand behind.
    condition: Vec<Predicate>,
    /// What it writes, if it takes nothing.
    plain: Option<TokenStream>,
    /// Where that was read.
    written: HashSet<(Folders, ScopeIndex)>,
    /// It is being read.
    open: bool,
}

impl Naming {
    fn is_read_at(&self, folders: Folders) -> bool {
        self.named.same(self.folders, folders)
            || self.written.iter().any(|(written, _)| self.named.same(*written, folders))
    }
}

/// What is known of all macros of one name.
#[derive(Debug, Default)]
struct Known {
    naming: Vec<Naming>,
    /// Other macros that these use, and the name that this is another one of.
    uses: BTreeSet<String>,
    glue: Glue,
    by_example: bool,
}

/// A place, as it is told.
type Told = (u32, u32, Condition);

/// Of one target.
#[derive(Debug, Default)]
pub(super) struct Uses {
    known: HashMap<String, Known>,
    /// Whether macros may leave out a condition, while no more is known of any.
    parts: HashMap<String, Option<bool>>,
    /// The first use of each macro within the same folders.
    seen: HashMap<String, HashMap<(Folders, Condition), Told>>,
    /// A word that makes a file of what stands beside it, handed to a macro without what belongs to it.
    apart: Vec<(String, Apart, Told)>,
    /// Places at which something was read.
    places: usize,
}

/// Which word, and how it is handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Apart {
    /// `mod`, as nobody writes it who means a module.
    Module,
    /// `mod` alone, as in `Token![mod]`, or with `#name` behind it, as procedural macros write it.
    Word,
    /// `include` without what it is handed.
    Include,
    /// Nothing: it is a whole module, whose file lies where the macro writes it.
    Whole,
}

impl Uses {
    /// The macros to which the use of one may lead. `None`: too many.
    fn behind(&self, name: &str) -> Option<Vec<&Known>> {
        let mut steps = 0;
        let mut names = BTreeSet::from([name]);
        let mut pending = vec![name];
        let mut found = Vec::new();
        while let Some(name) = pending.pop() {
            let Some(known) = self.known.get(name) else { continue };
            found.push(known);
            steps += known.uses.len();
            if steps > MACROS_BEHIND_MAX {
                return None;
            }
            pending.extend(known.uses.iter().map(String::as_str).filter(|next| names.insert(next)));
        }
        Some(found)
    }

    /// Whether a macro by example may leave out a condition that it is handed. `None`: its rules were not seen.
    fn parts_of(&self, name: &str) -> Option<bool> {
        let Some(behind) = self.behind(name) else { return Some(true) };
        let is_known = behind.iter().any(|known| known.by_example);
        is_known.then(|| behind.iter().any(|known| known.glue.parts))
    }

    fn is_hidden(&self, name: &str, apart: Apart) -> bool {
        let Some(behind) = self.behind(name) else { return true };
        match apart {
            Apart::Include => behind.iter().any(|known| known.glue.calls || known.glue.joins),
            Apart::Whole => behind.iter().any(|known| known.glue.moves || known.glue.joins),
            _ if behind.iter().any(|known| known.by_example) => behind.iter().any(|known| known.glue.joins),
            // Of a macro of another crate nothing is known.
            Apart::Module => true,
            Apart::Word => false,
        }
    }
}

impl Scanner<'_> {
    /// A place, by its folders.
    pub(super) fn place_in(
        &mut self,
        number: u32,
        file_folder: PathBuf,
        folder: PathBuf,
        modules: PathBuf,
    ) -> FilePlace {
        let mut of = |path: &PathBuf| {
            let next = u32::try_from(self.folders.len()).expect("the number of files is bounded");
            *self.folders.entry(path.clone()).or_insert(next)
        };
        let folders = Folders { include: of(&file_folder), path: of(&folder), modules: of(&modules) };
        FilePlace { number, file_folder, folder, modules, folders }
    }

    fn told(&mut self, line: usize) -> Told {
        (self.place.number, line_number(line), self.here())
    }

    /// Notes that a macro is used here.
    pub(super) fn note_use(&mut self, name: &str, line: usize) {
        let told = self.told(line);
        let key = (self.place.folders, told.2);
        match self.uses.seen.get_mut(name) {
            Some(places) => _ = places.entry(key).or_insert(told),
            None => _ = self.uses.seen.insert(name.to_owned(), HashMap::from([(key, told)])),
        }
    }

    /// Notes that `use` gives a macro another name, if it is one, or one of std's.
    pub(super) fn note_name(&mut self, prefix: &[String], of: &str, name: &str) {
        let is_std = prefix.first().is_some_and(|first| is_stds(first));
        if name == "_" || name == of && (is_std || !PASS_ON.contains(&name)) {
            return;
        }
        self.uses.parts.clear();
        self.uses.known.entry(name.to_owned()).or_default().uses.insert(of.to_owned());
    }

    /// Notes a word that is handed to the macro whose input is read.
    pub(super) fn note_apart(&mut self, apart: Apart, line: usize) {
        if let Some(name) = self.handed_to.clone() {
            self.note_apart_to(&name, apart, line);
        }
    }

    pub(super) fn note_apart_to(&mut self, name: &str, apart: Apart, line: usize) {
        let told = self.told(line);
        self.uses.apart.push((name.to_owned(), apart, told));
    }

    /// Runs while the input of a macro is read. A condition in it is believed where the macro is known to pass it on.
    pub(super) fn handed_to(&mut self, path: &[String], run: impl FnOnce(&mut Self)) {
        let name = path.last().map_or("", String::as_str);
        let is_std = match path {
            [] => false,
            [only] => PASS_ON.contains(&only.as_str()) || BRANCHES.contains(&only.as_str()),
            [first, ..] => is_stds(first) && PASS_ON.contains(&name) || BRANCHES.contains(&name),
        };
        let doubts = self.doubts;
        // A macro that another name is given, or whose rules are not seen yet, is not the one of std.
        let parts = self.uses.parts.get(name).copied().unwrap_or_else(|| self.uses.parts_of(name));
        self.uses.parts.insert(name.to_owned(), parts);
        self.doubts |= parts.unwrap_or(!is_std || self.uses.known.contains_key(name));
        let before = self.handed_to.replace(name.to_owned());
        run(self);
        self.handed_to = before;
        self.doubts = doubts;
    }

    /// Runs while what a macro writes is read, where no other one is handed it.
    pub(super) fn handed_to_none(&mut self, doubts: bool, run: impl FnOnce(&mut Self)) {
        let doubts = std::mem::replace(&mut self.doubts, doubts);
        let before = self.handed_to.take();
        run(self);
        self.handed_to = before;
        self.doubts = doubts;
    }

    /// Notes a file that is not there. Where the macro that names it is handed a condition for it that never holds, the compiler
    /// does not miss it either.
    pub(super) fn missing(&mut self, file: &Path, line: usize, why: &str) {
        let around = self.condition.list().to_vec();
        let plain: Vec<Predicate> = around.iter().map(|one| one.undoubted().clone()).collect();
        if plain == around || !plain.iter().any(|one| self.is_off(one)) {
            self.condition.replace(&plain);
            self.unknown(file, line, why, false);
            self.condition.replace(&around);
        }
    }

    /// Notes what the rules of a macro by example name and use, and says whether they name files.
    pub(super) fn note_rules(&mut self, name: &str, rules: &TokenStream) -> bool {
        let (mut named, mut uses, mut glue) = (Named::default(), BTreeSet::new(), Glue::default());
        for (matcher, body) in arms(rules) {
            glue.add(&matcher.stream(), &body.stream());
            used_by(&body.stream(), &mut uses);
            let of = self.named_by(body.stream());
            named.includes |= of.includes;
            named.modules |= of.modules;
        }
        self.uses.parts.clear();
        let known = self.uses.known.entry(name.to_owned()).or_default();
        known.by_example = true;
        known.uses.extend(uses);
        known.glue.join(glue);
        if named.any() {
            known.naming.push(Naming {
                named,
                folders: self.place.folders,
                condition: self.condition.list().to_vec(),
                plain: plain_rule(rules),
                written: HashSet::new(),
                open: false,
            });
        }
        named.any()
    }

    /// Notes a macro that other crates may use, where its rules name files.
    pub(super) fn note_export(&mut self, name: &str, line: usize) {
        if self.uses.known.get(name).is_some_and(|known| !known.naming.is_empty()) {
            let told = self.told(line);
            self.not_known(told, "exports a macro that names files beside its uses");
        }
    }

    /// Which files a rule names. Those under computed names are told with the rules.
    fn named_by(&mut self, rule: TokenStream) -> Named {
        let mut named = Named::default();
        let mut pending = vec![rule];
        while let Some(tokens) = pending.pop() {
            if !mention(tokens.clone(), FILE_WORDS) {
                continue;
            }
            let walked = tokens::walk(tokens);
            for (around, one) in &walked.seen {
                match one {
                    Seen::Module(of) if !of.computed => {
                        named.modules |= self.is_compiled(&walked, *around, &of.attributes);
                    }
                    Seen::Macro { segments, input, .. } => {
                        let is_include = segments.last().is_some_and(|name| name == "include");
                        if is_include && input.clone().into_iter().next().as_ref().and_then(literal).is_some()
                        {
                            named.includes |= self.is_compiled(&walked, *around, &[]);
                        }
                        pending.push(input.clone());
                    }
                    _ => {}
                }
            }
        }
        named
    }

    /// Whether a macro that takes nothing names files where it is used.
    pub(super) fn names_files(&self, name: &str) -> bool {
        self.uses.known.get(name).is_some_and(|known| known.naming.iter().any(|one| one.plain.is_some()))
    }

    /// Reads the files that a macro names which takes nothing, where it is used. All of its name are read: which of them is
    /// meant is not known.
    pub(super) fn read_at_use(&mut self, name: &str, line: usize, items: bool) {
        let at = (self.place.folders, self.scope);
        let count = self.uses.known.get(name).map_or(0, |known| known.naming.len());
        for index in 0..count {
            let Some(one) = self.naming(name, index) else { continue };
            let Some(body) = one.plain.clone() else { continue };
            let condition = one.condition.clone();
            if one.open || one.written.contains(&at) {
                continue;
            }
            if self.uses.places >= MACRO_PLACES_MAX {
                return self.unknown_syntax(line);
            }
            self.uses.places += 1;
            self.used_macros.insert(name.to_owned());
            if let Some(one) = self.naming(name, index) {
                one.written.insert(at);
                one.open = true;
            }
            let body = without_dollars(body);
            let before = self.condition.len();
            self.condition.extend(condition);
            self.handed_to_none(
                false,
                |scanner| if items { scanner.nested(body) } else { scanner.body(body) },
            );
            self.condition.truncate(before);
            if let Some(one) = self.naming(name, index) {
                one.open = false;
            }
        }
    }

    fn naming(&mut self, name: &str, index: usize) -> Option<&mut Naming> {
        self.uses.known.get_mut(name)?.naming.get_mut(index)
    }

    /// Tells the uses whose files were not read, when all of a target is read: rules may stand behind their uses.
    pub(super) fn check_uses(&mut self) {
        let uses = std::mem::take(&mut self.uses);
        let mut found: BTreeMap<Told, &str> = BTreeMap::new();
        let name_files = uses.known.values().any(|known| !known.naming.is_empty());
        for (name, places) in uses.seen.iter().filter(|_| name_files) {
            let behind = uses.behind(name);
            let is_read = |at| {
                let mut naming = behind.iter().flatten().flat_map(|known| &known.naming);
                behind.is_some() && naming.all(|one| one.is_read_at(at))
            };
            for ((at, _), told) in places {
                if !is_read(*at) {
                    found.insert(*told, "uses a macro that names files beside its uses");
                }
            }
        }
        let mut hidden: HashMap<(&str, Apart), bool> = HashMap::new();
        for (name, apart, told) in &uses.apart {
            if *hidden.entry((name, *apart)).or_insert_with(|| uses.is_hidden(name, *apart)) {
                let why = match apart {
                    Apart::Whole => "hands a module to a macro that may write it elsewhere",
                    _ => "hands a macro the parts of a module or an `include!`",
                };
                found.insert(*told, why);
            }
        }
        for (told, why) in found {
            self.not_known(told, why);
        }
    }

    fn not_known(&mut self, (file, line, condition): Told, why: &str) {
        let file = self.summary.files[file as usize].clone();
        self.summary.unknowns.push(Unknown { file, line, condition, why: why.to_owned(), generated: false });
    }
}

fn is_stds(name: &str) -> bool {
    matches!(name, "std" | "core" | "alloc")
}

/// Macros of std that leave nothing out, and make no path of what they are handed.
pub(super) const PASS_ON: &[&str] = &[
    "println",
    "eprintln",
    "print",
    "eprint",
    "format",
    "write",
    "writeln",
    "vec",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "panic",
    "matches",
    "unreachable",
    "todo",
    "concat",
    "stringify",
    "thread_local",
    "unimplemented",
    "format_args",
];

/// Macros in wide use that choose by conditions, and by nothing else.
const BRANCHES: &[&str] = &["cfg_if", "cfg_match", "cfg_select", "match_cfg"];

/// Whether tokens hold the word `include` and not what it is handed.
pub(super) fn holds_include_apart(tokens: &TokenStream) -> bool {
    let mut pending = vec![tokens.clone()];
    while let Some(tokens) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in list.iter().enumerate() {
            match token {
                TokenTree::Group(group) => pending.push(group.stream()),
                TokenTree::Ident(word) if *word == "include" || *word == "r#include" => {
                    let is_used = punct(&list, at + 1) == Some('!');
                    if !is_used || !matches!(list.get(at + 2), Some(TokenTree::Group(_))) {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
    false
}

/// What each rule of a macro matches and writes.
pub(super) fn arms(rules: &TokenStream) -> Vec<(Group, Group)> {
    let list: Vec<TokenTree> = rules.clone().into_iter().collect();
    let arm = |at: usize| match (list.get(at), list.get(at + 3)) {
        (Some(TokenTree::Group(matcher)), Some(TokenTree::Group(body)))
            if punct(&list, at + 1) == Some('=') && punct(&list, at + 2) == Some('>') =>
        {
            Some((matcher.clone(), body.clone()))
        }
        _ => None,
    };
    (0..list.len()).filter_map(arm).collect()
}

/// The last words of the macros that a rule uses.
fn used_by(rule: &TokenStream, found: &mut BTreeSet<String>) {
    let mut pending = vec![rule.clone()];
    while let Some(tokens) = pending.pop() {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in list.iter().enumerate() {
            match token {
                TokenTree::Group(group) => pending.push(group.stream()),
                TokenTree::Ident(_) if punct(&list, at + 1) == Some('!') => found.extend(ident(&list, at)),
                _ => {}
            }
        }
    }
}
