//! What a name in compiled code means: whose function it is, and what calling it reaches.

use std::collections::{HashMap, HashSet};

use capability_manifest::HostCapability;

use super::code_graph::CodeGraph;
use super::mangled::{self, ItemPath};
use super::powers::Powers;
use super::walk::Sight;
use crate::package::PackageIndex;
use crate::table::Table;

/// Whose a piece of compiled code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A package's.
    Package(PackageIndex),
    /// Of the standard library, and compiled with it: what it does inside is its own business.
    Std,
    /// Of the standard library, compiled for one package: it may call back into that package.
    StdCopy(Option<PackageIndex>),
    /// Data without a name, or a name that tells nothing: whoever leads there.
    Nobody,
    /// A C symbol that is defined elsewhere.
    Foreign,
}

/// A function that is handed on as a generic argument, by the hash of its path, and what calling it reaches.
pub(crate) type Handed = Vec<(u64, Powers)>;

/// A part of `std::fs::OpenOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileOptions {
    /// Opens a file.
    Opens,
    /// Says that it is to be written.
    Writes,
}

/// What a name means.
#[derive(Debug, Clone)]
pub(crate) struct Meaning {
    pub(crate) owner: Owner,
    /// What calling it reaches, when it is std's or foreign.
    pub(crate) leaf: Powers,
    pub(crate) handed: Handed,
    /// What it does with the options of opening a file, whose use has to be seen together.
    pub(crate) options: Option<FileOptions>,
    /// Not mangled by Rust: a symbol of C, or of Rust code that gives itself one.
    pub(crate) is_plain: bool,
    /// Nothing is known of this symbol.
    pub(crate) is_unknown: bool,
    /// Known to be code of another language.
    pub(crate) is_foreign: bool,
}

impl Meaning {
    pub(crate) const NOBODY: Self = Self {
        owner: Owner::Nobody,
        leaf: Powers::NONE,
        handed: Vec::new(),
        options: None,
        is_plain: false,
        is_unknown: false,
        is_foreign: false,
    };
}

/// Which package each crate of compiled code is.
#[derive(Debug, Default)]
pub(crate) struct Crates {
    known: HashMap<String, Vec<(u64, PackageIndex)>>,
    /// Crates whose number nothing in their library shows, by name: all that they have is generic. None where two share a name.
    nameless: HashMap<String, Option<PackageIndex>>,
    /// The crates that came with the compiler.
    sysroot: HashSet<String>,
    /// Everything that those define.
    sysroot_symbols: HashSet<Box<str>>,
}

/// Names that do not say which package defines them, or say another one, with that one, and whether it is code of another language.
pub(crate) type Spoofed = HashMap<String, (PackageIndex, bool)>;

impl Crates {
    pub(crate) fn new(sysroot: HashSet<String>, sysroot_symbols: HashSet<Box<str>>) -> Self {
        Self { known: HashMap::new(), nameless: HashMap::new(), sysroot, sysroot_symbols }
    }

    pub(crate) fn add(&mut self, name: &str, number: u64, package: PackageIndex) {
        self.known.entry(name.to_owned()).or_default().push((number, package));
    }

    /// A crate whose number is not known.
    pub(crate) fn add_nameless(&mut self, name: &str, package: PackageIndex) {
        let entry = self.nameless.entry(name.to_owned()).or_insert(Some(package));
        if *entry != Some(package) {
            *entry = None;
        }
    }
}

/// Finds what names mean.
#[derive(Debug)]
pub(crate) struct Meanings<'t> {
    table: &'t Table,
    items: StdItems,
    crates: &'t Crates,
    /// The crate that a program is made of itself: its number is not known before.
    own: Option<(String, PackageIndex)>,
    sight: &'t Sight,
    spoofed: &'t Spoofed,
}

impl<'t> Meanings<'t> {
    pub(crate) fn new(
        table: &'t Table,
        crates: &'t Crates,
        own: Option<(String, PackageIndex)>,
        sight: &'t Sight,
        spoofed: &'t Spoofed,
    ) -> Self {
        Self { table, items: StdItems::new(table), crates, own, sight, spoofed }
    }

    /// Symbols of a graph of objects that are not what their names say. In a linked program nothing shows any more who defined
    /// them.
    pub(crate) fn spoofed(&self, objects: &CodeGraph<'_>) -> Spoofed {
        let named =
            objects.nodes.iter().filter_map(|node| Some((node.name?, node.package()?, node.is_foreign)));
        let false_ones = named.filter(|(name, package, _)| {
            mangled::parse(name)
                .is_none_or(|symbol| self.owner(symbol.path.krate) != Owner::Package(*package))
        });
        let mut found: HashMap<String, Option<(PackageIndex, bool)>> = HashMap::new();
        for (name, package, is_foreign) in false_ones {
            // What is private to a file can have its name in several packages, and then says nothing.
            let entry = found.entry(name.to_owned()).or_insert(Some((package, is_foreign)));
            if entry.is_some_and(|(known, _)| known != package) {
                *entry = None;
            }
        }
        found.into_iter().filter_map(|(name, of)| Some((name, of?))).collect()
    }

    /// What a name means. `home` is the package in whose files it is defined, when that is known.
    pub(crate) fn of(&self, name: &str, home: Option<PackageIndex>, is_defined: bool) -> Meaning {
        let known = self.spoofed.get(name);
        let home = home.or_else(|| known.map(|(package, _)| *package));
        let Some(symbol) = mangled::parse(name) else {
            let is_foreign = known.is_some_and(|(_, is_foreign)| *is_foreign);
            return Meaning { is_foreign, ..self.plain(name, home, is_defined) };
        };
        let owner = self.owner(symbol.path.krate);
        let owner = match (owner, symbol.copied_for) {
            (Owner::Std, Some(copied_for)) => match self.owner(copied_for) {
                Owner::Std => Owner::Std,
                Owner::Package(package) => Owner::StdCopy(Some(package)),
                _ => Owner::StdCopy(None),
            },
            (owner, _) => owner,
        };
        let owner = match (owner, home) {
            // A crate compiles code of those that it sees, and of no others: a name that says so is made up.
            (Owner::Package(package), Some(home)) if !self.sight.sees(home, package) => Owner::Package(home),
            (Owner::Std, _) if is_defined && !self.crates.sysroot_symbols.contains(name) => {
                home.map_or(Owner::Nobody, Owner::Package)
            }
            _ => owner,
        };
        let leaf = match owner {
            Owner::Std | Owner::StdCopy(_) => self.items.of(&symbol.path),
            _ => Powers::NONE,
        };
        let handed = symbol
            .handed
            .iter()
            .filter(|path| self.owner(path.krate) == Owner::Std)
            .map(|path| (hash(path), self.items.of(path)))
            .filter(|(_, powers)| !powers.is_empty())
            .collect();
        let is_unknown = owner == Owner::Nobody && symbol.path.krate.name != "__rustc";
        let options = match owner {
            Owner::Std | Owner::StdCopy(_) => file_options(&symbol.path),
            _ => None,
        };
        Meaning { owner, leaf, handed, options, is_plain: false, is_unknown, is_foreign: false }
    }

    fn owner(&self, krate: mangled::CrateName<'_>) -> Owner {
        let mut same_name = self.crates.known.get(krate.name).into_iter().flatten();
        if let Some((_, package)) = same_name.find(|(number, _)| *number == krate.number) {
            return Owner::Package(*package);
        }
        match &self.own {
            Some((name, package)) if name == krate.name => Owner::Package(*package),
            _ if krate.name == "__rustc" || self.crates.sysroot.contains(krate.name) => Owner::Std,
            _ => match self.crates.nameless.get(krate.name) {
                Some(Some(package)) => Owner::Package(*package),
                _ => Owner::Nobody,
            },
        }
    }

    fn plain(&self, name: &str, home: Option<PackageIndex>, is_defined: bool) -> Meaning {
        let plain = Meaning { is_plain: true, ..Meaning::NOBODY };
        // Names that the compiler gives to constants, and to the one function that catches panics, in each crate its own.
        if name.starts_with(".L") || name.starts_with("anon.") || name == "__rust_try" {
            return Meaning::NOBODY;
        }
        if let Some(package) = home {
            return Meaning { owner: Owner::Package(package), ..plain };
        }
        if is_defined && self.crates.sysroot_symbols.contains(name) {
            return Meaning { owner: Owner::Std, leaf: Powers::of(self.table.of_symbol(name)), ..plain };
        }
        // Part of a program without telling whose: what starts it, the compiler's own helpers, functions of C that are private
        // to their file. Whoever leads there is looked at with it.
        if is_defined {
            return plain;
        }
        let name = name.split('@').next().unwrap_or(name);
        let is_unknown = !self.table.knows_symbol(name);
        Meaning { owner: Owner::Foreign, leaf: Powers::of(self.table.of_symbol(name)), is_unknown, ..plain }
    }
}

fn file_options(path: &ItemPath<'_>) -> Option<FileOptions> {
    let [.., "OpenOptions", name] = path.words.as_slice() else { return None };
    match *name {
        "open" => Some(FileOptions::Opens),
        "write" | "append" | "truncate" | "create" | "create_new" | "custom_flags" => {
            Some(FileOptions::Writes)
        }
        _ => None,
    }
}

fn hash(path: &ItemPath<'_>) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = rustc_hash::FxHasher::default();
    (&path.words, &path.in_trait).hash(&mut hasher);
    hasher.finish()
}

/// The items of std of the tables, to be found by the path at which they are defined: the tables have the path at which they are
/// written, which leaves out private modules.
#[derive(Debug)]
struct StdItems(HashMap<String, Vec<(Vec<String>, Powers)>>);

impl StdItems {
    fn new(table: &Table) -> Self {
        let mut items: HashMap<String, Vec<(Vec<String>, Powers)>> = HashMap::new();
        for (path, capabilities) in table.std_items() {
            let words: Vec<String> = path.split("::").map(str::to_owned).collect();
            if let Some(last) = words.last().cloned() {
                items.entry(last).or_default().push((words, Powers::of(capabilities)));
            }
        }
        for (name, capabilities) in table.associated_items() {
            let words = vec![String::new(), name.to_owned()];
            items.entry(name.to_owned()).or_default().push((words, Powers::of(capabilities)));
        }
        Self(items)
    }

    /// What an item of std reaches. Closures in it are a part of what it does inside.
    fn of(&self, path: &ItemPath<'_>) -> Powers {
        if !path.is_item() || !matches!(path.krate.name, "std" | "core" | "alloc") {
            return Powers::NONE;
        }
        let of_trait = path.in_trait.as_ref();
        let of_trait = of_trait.map_or(Powers::NONE, |words| self.at(words).unwrap_or(Powers::NONE));
        of_trait.with(self.at(&path.words).unwrap_or(Powers::NONE))
    }

    fn at(&self, words: &[&str]) -> Option<Powers> {
        let candidates = self.0.get(*words.last()?)?;
        let mut found: Option<Powers> = None;
        for (key, powers) in candidates {
            if is_written_as(words, key) {
                found = Some(found.unwrap_or(Powers::NONE).with(*powers));
            }
        }
        found
    }
}

/// Whether what is defined at `words` is written as `key`: the same but for modules in between.
fn is_written_as(words: &[&str], key: &[String]) -> bool {
    if key.len() == 2 && key[0].is_empty() {
        return true;
    }
    if words.len() < key.len() || !matches!(words[0], "std" | "core" | "alloc") {
        return false;
    }
    let mut wanted = key[1..].iter().peekable();
    let is_module = |word: &str| word.starts_with(|first: char| first.is_ascii_lowercase());
    for (at, word) in words[1..].iter().enumerate() {
        let is_last = at + 2 == words.len();
        if wanted.peek().is_some_and(|next| *next == word) && (is_last || wanted.len() > 1) {
            wanted.next();
        } else if !is_module(word) || is_last {
            return false;
        }
    }
    wanted.peek().is_none()
}

/// A name as people write it.
pub(crate) fn shown(name: &str) -> String {
    let text = format!("{:#}", rustc_demangle::demangle(name));
    // Generic arguments can be longer than the rest together.
    if text.len() <= SHOWN_BYTES {
        return text;
    }
    let mut depth: usize = 0;
    let mut short = String::new();
    let mut before = ' ';
    for letter in text.chars() {
        match letter {
            '<' => {
                depth += 1;
                if depth == 2 {
                    short.push_str("<..>");
                }
            }
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 || (depth == 1 && letter != '>') {
            short.push(letter);
        }
        before = letter;
    }
    short
}

/// Longest name that is shown with all its generic arguments, bytes.
const SHOWN_BYTES: usize = 100;

/// The powers of a foreign function of which nothing is known.
pub(crate) fn foreign() -> Powers {
    Powers::one(HostCapability::Ffi)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(name: &str) -> Meaning {
        let table = Table::load().expect("valid");
        let sysroot = ["std", "core", "alloc"].map(str::to_owned).into_iter().collect();
        let crates = Crates::new(sysroot, HashSet::new());
        let (sight, spoofed) = (Sight::new(&crate::package::Graph::default()), Spoofed::new());
        Meanings::new(&table, &crates, Some(("rg".to_owned(), 3)), &sight, &spoofed).of(
            name,
            None,
            name.starts_with("_R"),
        )
    }

    #[test]
    fn std_is_found_by_where_it_is_defined() {
        let table = Table::load().expect("valid");
        let items = StdItems::new(&table);
        let of = |words: &[&'static str]| items.at(words).unwrap_or(Powers::NONE).iter().collect::<Vec<_>>();
        assert_eq!(of(&["std", "net", "tcp", "TcpStream", "connect"]), [HostCapability::NetworkConnect]);
        assert_eq!(of(&["std", "fs", "File", "open"]), [HostCapability::FilesystemRead]);
        assert_eq!(of(&["std", "fs", "File", "read"]), []);
        assert_eq!(of(&["std", "thread", "functions", "spawn"]), [HostCapability::Thread]);
        assert_eq!(
            of(&["std", "os", "unix", "net", "stream", "UnixStream", "connect"]),
            [HostCapability::NetworkUnix]
        );
        assert_eq!(of(&["alloc", "vec", "Vec", "push"]), []);
    }

    #[test]
    fn owners_are_packages_std_and_copies_of_std() {
        let main = meaning("_RNvCs6zhng0wDwMP_2rg4main");
        assert_eq!(main.owner, Owner::Package(3));
        let open = "_RINvMs2_NtCsjrHSEGnQ3l9_3std2fsNtB6_4File4openRNtNtB8_4path4PathECs6zhng0wDwMP_2rg";
        let open = meaning(open);
        assert_eq!(open.owner, Owner::StdCopy(Some(3)));
        assert_eq!(open.leaf, Powers::one(HostCapability::FilesystemRead));
        let socket = meaning("socket");
        assert_eq!((socket.owner, socket.is_unknown), (Owner::Foreign, false));
        let sqlite = meaning("sqlite3_open");
        assert_eq!((sqlite.leaf, sqlite.is_unknown), (foreign(), true));
    }

    #[test]
    fn long_names_are_shortened_in_their_arguments() {
        let long = "_RINvMs2_NtCsjrHSEGnQ3l9_3std2fsNtB6_4File4openRNtNtB8_4path4PathECslsb9ETE8384_6ignore";
        assert_eq!(shown(long), "<std::fs::File>::open::<&std::path::Path>");
        assert!(shown("plain") == "plain");
    }
}
