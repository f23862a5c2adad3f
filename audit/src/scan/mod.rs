//! Layer S: the source of one package, read as the compiler would find it, written down as a [`Summary`].
//!
//! Follows each target's first file through its modules, `#[path]` and `include!`. Reads nothing outside the package, or for
//! a member of the workspace, outside the workspace.

mod bodies;
mod conditions;
mod glue;
mod macros;
mod modules;
mod observe;
mod text;
pub(crate) mod tokens;
mod uses;
mod walk;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path as FilePath, PathBuf};

use conditions::Conditions;
pub(crate) use observe::Observation;
use proc_macro2::TokenStream;
use uses::{Apart, Folders, Uses};

use crate::limits::{FILE_BYTES_MAX, ITEMS_MAX, MODULE_DEPTH_MAX, PACKAGE_BYTES_MAX, PACKAGE_FILES_MAX};
use crate::map::{Map, Set};
use crate::package::{Package, TargetKind};
use crate::predicate::{CfgSet, Predicate};
use crate::summary::{
    Condition, Import, Item, ItemKind, Owner, Path, Reference, Referent, Scope, ScopeIndex, Summary,
    TargetSummary, Text, Unknown,
};

/// Reads all targets of a package. `workspace` is the folder in which a member's sources may lie. With a platform, what is not
/// compiled for it and with the package's features is not read at all. The second is all that the scan looked at; `None` when
/// another look at the same might see something else.
pub(crate) fn scan(
    package: &Package,
    workspace: &FilePath,
    platform: Option<&CfgSet>,
) -> (Summary, Option<Vec<Observation>>) {
    let mut scanner = Scanner::new(package, workspace, platform);
    for target in &package.targets {
        scanner.plain_macros.clear();
        scanner.uses = Uses::default();
        scanner.written_out = 0;
        scanner.target = TargetSummary::default();
        scanner.paths.clear();
        scanner.condition.truncate(0);
        scanner.depth = 0;
        scanner.made.clear();
        let root = scanner.text("");
        scanner.target.scopes.push(Scope { parent: 0, block: false, name: root, condition: 0 });
        let name = scanner.text("(crate)");
        scanner.linked = scanner.add_item(0, name, ItemKind::Linked, 0, 1);
        if target.kind == TargetKind::Library && package.links.is_some() {
            scanner.capability("build.link", 1);
        }
        scanner.module_file(&target.source, 0, true);
        scanner.check_uses();
        scanner.join_glued();
        let mut done = std::mem::take(&mut scanner.target);
        done.files.sort_unstable();
        done.files.dedup();
        scanner.summary.targets.push(done);
    }
    let used = std::mem::take(&mut scanner.used_macros);
    let asked = std::mem::take(&mut scanner.asked_by_macros);
    // The use of one macro says nothing of another that has its name.
    let defined = std::mem::take(&mut scanner.defined_macros);
    let several = |name: &String| defined.get(name).is_some_and(|places| places.len() > 1);
    scanner.summary.unknowns.extend(
        asked.into_iter().filter(|(name, _)| !used.contains(name) || several(name)).map(|(_, one)| one),
    );
    // What is read where it is used was read with its rules, too.
    let mut told = HashSet::new();
    scanner
        .summary
        .unknowns
        .retain(|one| told.insert((one.file.clone(), one.line, one.condition, one.why.clone())));
    let summary = std::mem::take(&mut scanner.summary);
    let observed = scanner.observed.take();
    drop(scanner);
    // No token is left. The parser keeps the text of all that it read, so that spans can be looked up.
    proc_macro2::extra::invalidate_current_thread_spans();
    (summary, observed)
}

/// A package being read.
pub(crate) struct Scanner<'p> {
    summary: Summary,
    texts: HashMap<String, Text>,
    files: HashMap<PathBuf, u32>,
    /// Paths by whether they begin with `::`, as a number, and their segments.
    paths: Map<Vec<Text>, u32>,
    target: TargetSummary,
    folder: PathBuf,
    allowed: PathBuf,
    package: &'p Package,
    /// What is not compiled for it is not read.
    platform: Option<&'p CfgSet>,
    /// The predicates around the current place.
    condition: Conditions,
    /// The file that is read: its folder, the folder of its modules, and its number.
    place: FilePlace,
    scope: ScopeIndex,
    /// Where names are looked up as well, and bound: in tokens it is not known which scope is meant.
    also: Option<ScopeIndex>,
    /// Where the modules are bound that a macro among tokens is handed: it may be an item, and is read like statements.
    modules_of: Option<ScopeIndex>,
    /// The item whose body is read.
    item: usize,
    /// The item for what happens because the crate is linked.
    linked: usize,
    depth: usize,
    opened: usize,
    /// What `Self` stands for.
    self_path: Option<(bool, Vec<Text>)>,
    /// The rules of macros by example that take nothing, by name: what they write stands where they are used.
    plain_macros: HashMap<String, TokenStream>,
    /// Files that a macro's rules ask for and that are not beside it: they are beside its uses, if it is used.
    asked_by_macros: Vec<(String, Unknown)>,
    used_macros: HashSet<String>,
    /// Where macros are used, and which of them have rules that name files.
    uses: Uses,
    /// Folders in which files are looked for, as numbers.
    folders: HashMap<PathBuf, u32>,
    /// The macro whose input is read.
    handed_to: Option<String>,
    /// It, or one around it, may leave out conditions that stand in it.
    doubts: bool,
    /// Where macros by example of each name are: file, line and column.
    defined_macros: HashMap<String, HashSet<(u32, usize, usize)>>,
    /// Macros by example that write `extern` blocks.
    foreign_macros: HashSet<String>,
    /// Files and lines of modules whose own files nobody knows.
    computed: HashSet<(u32, usize)>,
    /// Uses of macros that take nothing, among tokens.
    written_out: usize,
    /// The macro whose rules are read.
    in_macro: Option<String>,
    /// For macros that write `prefix::$name`: the prefixes, and the scope in which they are written.
    glue: HashMap<String, Vec<(ScopeIndex, Vec<String>)>>,
    /// Uses of macros, with the names that they hand in.
    glued: Vec<Glued>,
    /// References that the current file has made already.
    made: Set<(usize, Reference)>,
    /// Tags that stand in comments of the current file, by line.
    tags: HashMap<u32, Vec<String>>,
    /// Lines of the current file that hold nothing but a comment or an attribute.
    comments: Vec<bool>,
    /// The current file is within the bounds of what may be parsed, and so is every part of it.
    shallow: bool,
    /// A word on its way to becoming a [`Text`].
    word: String,
    /// The key of a path on its way to becoming a number.
    key: Vec<Text>,
    /// `Self`.
    self_word: Text,
    /// All that was looked at, while that can be repeated.
    observed: Option<Vec<Observation>>,
}

/// A use of a macro: who uses it, where, and the names that it hands in.
#[derive(Debug)]
struct Glued {
    item: usize,
    condition: Vec<Predicate>,
    line: usize,
    name: String,
    words: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct FilePlace {
    number: u32,
    /// The file's own: what is included is named from there.
    file_folder: PathBuf,
    /// What `#[path]` begins in.
    folder: PathBuf,
    /// Where `mod name;` is looked for.
    modules: PathBuf,
    /// The same by number.
    folders: Folders,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    System(std::io::Error),
    #[error("is no regular file")]
    Special,
    #[error("lies outside the package")]
    Outside,
    #[error("is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the package has more than {PACKAGE_BYTES_MAX} bytes of source")]
    PackageTooLong,
    #[error("the package has more than {PACKAGE_FILES_MAX} source files")]
    TooMany,
    #[error("is not UTF-8")]
    Encoding,
}

impl<'p> Scanner<'p> {
    fn new(package: &'p Package, workspace: &FilePath, platform: Option<&'p CfgSet>) -> Self {
        let real = |path: &FilePath| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = real(&package.folder);
        // A package that comes from a registry may not reach into the sources of others.
        let allowed = if package.checksum.is_none() && folder.starts_with(real(workspace)) {
            real(workspace)
        } else {
            folder.clone()
        };
        let mut scanner = Self {
            summary: Summary { conditions: vec![Vec::new()], ..Summary::default() },
            texts: HashMap::new(),
            files: HashMap::new(),
            paths: Map::default(),
            target: TargetSummary::default(),
            folder,
            allowed,
            package,
            platform,
            condition: Conditions::default(),
            place: FilePlace::default(),
            scope: 0,
            also: None,
            modules_of: None,
            item: 0,
            linked: 0,
            depth: 0,
            opened: 0,
            self_path: None,
            plain_macros: HashMap::new(),
            asked_by_macros: Vec::new(),
            used_macros: HashSet::new(),
            uses: Uses::default(),
            folders: HashMap::new(),
            handed_to: None,
            doubts: false,
            defined_macros: HashMap::new(),
            foreign_macros: HashSet::new(),
            glue: HashMap::new(),
            glued: Vec::new(),
            computed: HashSet::new(),
            written_out: 0,
            in_macro: None,
            made: Set::default(),
            tags: HashMap::new(),
            comments: Vec::new(),
            shallow: false,
            word: String::new(),
            key: Vec::new(),
            self_word: 0,
            // What has a checksum does not change.
            observed: package.checksum.is_none().then(Vec::new),
        };
        scanner.text("");
        scanner.self_word = scanner.text("Self");
        scanner
    }

    /// Whether a condition never holds on the platform that is read for.
    fn is_off(&self, predicate: &Predicate) -> bool {
        self.platform
            .is_some_and(|platform| predicate.evaluate(platform, &self.package.features) == Some(false))
    }

    /// `syscall!(open(...))` of a macro that writes `libc::$name` names `libc::open`.
    fn join_glued(&mut self) {
        let glue = std::mem::take(&mut self.glue);
        for one in std::mem::take(&mut self.glued) {
            for (scope, prefix) in glue.get(&one.name).into_iter().flatten() {
                for word in &one.words {
                    let mut path = prefix.clone();
                    path.push(word.clone());
                    let to = Referent::Path(self.path(false, &path));
                    self.item = one.item;
                    self.scope = *scope;
                    self.condition.replace(&one.condition);
                    self.refer(to, one.line, None);
                }
            }
        }
        self.condition.truncate(0);
        self.scope = 0;
    }

    fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let number = Text::try_from(self.summary.texts.len()).expect("the size of a package is bounded");
        self.summary.texts.push(text.to_owned());
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// The text of an identifier, without the mark of a raw one.
    fn ident(&mut self, ident: &proc_macro2::Ident) -> Text {
        let mut word = std::mem::take(&mut self.word);
        word.clear();
        write!(word, "{ident}").expect("a string takes all");
        let text = self.text(word.strip_prefix("r#").unwrap_or(&word));
        self.word = word;
        text
    }

    fn texts(&mut self, words: &[String]) -> Vec<Text> {
        words.iter().map(|word| self.text(word)).collect()
    }

    fn path(&mut self, global: bool, segments: &[String]) -> u32 {
        let segments = self.texts(segments);
        self.path_number(global, &segments)
    }

    fn path_number(&mut self, global: bool, segments: &[Text]) -> u32 {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.push(Text::from(global));
        key.extend(segments);
        let number = if let Some(known) = self.paths.get(&key) {
            *known
        } else {
            let number = u32::try_from(self.target.paths.len()).expect("the size of a package is bounded");
            self.target.paths.push(Path { global, segments: segments.to_vec() });
            self.paths.insert(key.clone(), number);
            number
        };
        self.key = key;
        number
    }

    /// The predicates around the current place, as one condition.
    fn here(&mut self) -> Condition {
        self.condition.number(&mut self.summary.conditions)
    }

    fn add_item(
        &mut self,
        scope: ScopeIndex,
        name: Text,
        kind: ItemKind,
        condition: Condition,
        line: usize,
    ) -> usize {
        self.target.items.push(Item {
            scope,
            name,
            kind,
            condition,
            file: self.place.number,
            line: line_number(line),
            owner: Owner::Scope,
            references: Vec::new(),
            calls: Vec::new(),
            unsafes: Vec::new(),
        });
        self.target.items.len() - 1
    }

    fn add_scope(&mut self, name: &str, block: bool) -> ScopeIndex {
        let name = self.text(name);
        let condition = self.here();
        let scope = Scope { parent: self.scope, block, name, condition };
        self.target.scopes.push(scope);
        ScopeIndex::try_from(self.target.scopes.len() - 1).expect("the size of a package is bounded")
    }

    /// Notes that the current item uses a capability by its very form.
    fn capability(&mut self, name: &str, line: usize) {
        let to = Referent::Capability(self.text(name));
        self.refer(to, line, None);
    }

    fn refer(&mut self, to: Referent, line: usize, argument: Option<&str>) {
        let argument = argument
            .filter(|text| text.len() <= crate::limits::ARGUMENT_BYTES_MAX)
            .map(|text| self.text(text));
        let condition = self.here();
        let reference = Reference { to, scope: self.scope, condition, line: line_number(line), argument };
        let mut same = reference;
        same.line = 0;
        if self.made.insert((self.item, same)) {
            self.target.items[self.item].references.push(reference);
            if let Some(also) = self.also.filter(|also| *also != reference.scope) {
                self.target.items[self.item].references.push(Reference { scope: also, ..reference });
            }
        }
    }

    fn import(&mut self, path: &[String], global: bool, name: Option<&str>) {
        let import = Import {
            scope: self.scope,
            name: name.map(|name| self.text(name)),
            path: self.path(global, path),
            condition: self.here(),
        };
        if let Some(also) = self.also.filter(|also| *also != self.scope) {
            self.target.imports.push(Import { scope: also, ..import.clone() });
        }
        self.target.imports.push(import);
    }

    fn unknown(&mut self, file: &FilePath, line: usize, why: &str, generated: bool) {
        let condition = self.here();
        let file = file.strip_prefix(&self.folder).unwrap_or(file).display().to_string();
        let unknown = Unknown { file, line: line_number(line), condition, why: why.to_owned(), generated };
        match &self.in_macro {
            Some(name) => self.asked_by_macros.push((name.clone(), unknown)),
            None => self.summary.unknowns.push(unknown),
        }
    }

    /// Notes a look at the world, and says what was seen.
    fn look(&mut self, observation: Observation) -> bool {
        let holds = observation.holds_true();
        if let Some(observed) = &mut self.observed {
            observed.push(observation);
        }
        holds
    }

    fn is_file(&mut self, path: &FilePath) -> bool {
        self.look(Observation::is_file(path))
    }

    /// The text of a file, when it may be read.
    fn read(&mut self, path: &FilePath) -> Result<(PathBuf, String), ReadError> {
        let read = self.read_bytes(path);
        match &read {
            _ if self.observed.is_none() => {}
            Ok((real, bytes)) => _ = self.look(Observation::file(path, real, bytes)),
            Err(ReadError::System(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                self.look(Observation::nothing(path));
            }
            // Whatever that is, it is read anew the next time.
            Err(_) => self.observed = None,
        }
        let (real, bytes) = read?;
        let text = String::from_utf8(bytes).map_err(|_| ReadError::Encoding)?;
        self.summary.lines += text.bytes().filter(|byte| *byte == b'\n').count() as u64;
        Ok((real, text))
    }

    fn read_bytes(&mut self, path: &FilePath) -> Result<(PathBuf, Vec<u8>), ReadError> {
        let real = path.canonicalize().map_err(ReadError::System)?;
        if !real.starts_with(&self.allowed) {
            return Err(ReadError::Outside);
        }
        let metadata = real.metadata().map_err(ReadError::System)?;
        if !metadata.is_file() {
            return Err(ReadError::Special);
        }
        self.opened += 1;
        if self.opened > PACKAGE_FILES_MAX || self.target.items.len() > ITEMS_MAX {
            return Err(ReadError::TooMany);
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&real).map_err(ReadError::System)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(ReadError::System)?;
        let length = bytes.len() as u64;
        if length > FILE_BYTES_MAX {
            return Err(ReadError::TooLong);
        }
        self.summary.bytes += length;
        if self.summary.bytes > PACKAGE_BYTES_MAX {
            return Err(ReadError::PackageTooLong);
        }
        Ok((real, bytes))
    }

    fn file_number(&mut self, real: &FilePath) -> u32 {
        if let Some(known) = self.files.get(real).copied() {
            self.target.files.push(known);
            return known;
        }
        let number = u32::try_from(self.summary.files.len()).expect("the number of files is bounded");
        let name = real.strip_prefix(&self.folder).or_else(|_| real.strip_prefix(&self.allowed));
        self.summary.files.push(name.unwrap_or(real).display().to_string());
        self.files.insert(real.to_owned(), number);
        self.target.files.push(number);
        number
    }

    /// Reads a file as a module's body. `owns_folder`: its modules lie beside it, as those of `lib.rs` and `mod.rs` do.
    fn module_file(&mut self, path: &FilePath, line: usize, owns_folder: bool) {
        if self.depth >= MODULE_DEPTH_MAX {
            self.unknown(path, line, "modules are nested too deeply", false);
            return;
        }
        let (real, text) = match self.read(path) {
            Ok(read) => read,
            Err(error) => return self.unknown(path, line, &error.to_string(), false),
        };
        let folder = path.parent().unwrap_or(FilePath::new("")).to_owned();
        let modules =
            if owns_folder { folder.clone() } else { folder.join(path.file_stem().unwrap_or_default()) };
        let number = self.file_number(&real);
        let place = self.place_in(number, folder.clone(), folder, modules);
        self.in_file(place, &text, |scanner| scanner.source(path, &text));
    }

    /// Runs with another current file.
    fn in_file(&mut self, place: FilePlace, text: &str, run: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.place, place);
        let tags = std::mem::take(&mut self.tags);
        let comments = std::mem::take(&mut self.comments);
        let shallow = std::mem::replace(&mut self.shallow, false);
        let also = self.also.take();
        let modules_of = self.modules_of.take();
        let handed_to = self.handed_to.take();
        let doubts = std::mem::take(&mut self.doubts);
        self.read_tags(text);
        self.depth += 1;
        run(self);
        self.depth -= 1;
        self.place = before;
        self.tags = tags;
        self.comments = comments;
        self.shallow = shallow;
        self.also = also;
        self.modules_of = modules_of;
        self.handed_to = handed_to;
        self.doubts = doubts;
    }

    /// Comments of the form `// capability: mmap.file, raw-syscall` name what unsafe code below or beside them reaches.
    fn read_tags(&mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            self.comments.push(trimmed.starts_with("//") || trimmed.starts_with("#["));
            if let Some((_, names)) = line.split_once("// capability:") {
                let names = names.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty());
                let names: Vec<String> = names
                    .take_while(|name| capability_manifest::is_capability_name(name))
                    .map(str::to_owned)
                    .collect();
                self.tags.insert(line_number(number + 1), names);
            }
        }
    }

    /// The tags that are about a line: on it, or in the comment above.
    fn tags_at(&mut self, line: usize) -> Vec<Text> {
        let mut names: Vec<String> = Vec::new();
        // What a macro wrote has no line.
        for at in (1..=line).rev() {
            names.extend(self.tags.get(&line_number(at)).into_iter().flatten().cloned());
            // The line above, counted from 0.
            if at == 1 || !self.comments.get(at - 2).copied().unwrap_or(false) {
                break;
            }
        }
        names.iter().map(|name| self.text(name)).collect()
    }

    /// Parses a text; what the parser refuses is walked token by token.
    fn source(&mut self, path: &FilePath, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // A shebang is no token.
        let text = match text.strip_prefix("#!") {
            // The compiler looks behind comments for the bracket of an attribute; this leaves such a line in, and what is odd is not read.
            Some(rest) if !["[", "/*", "//"].iter().any(|one| rest.trim_start().starts_with(one)) => {
                rest.split_once('\n').map_or("", |(_, rest)| rest)
            }
            _ => text,
        };
        let text::Plain { text, shallow, ambiguous } = text::plain(text);
        if ambiguous {
            return self.unknown(
                path,
                0,
                "has a lifetime before a raw string, which compilers read in two ways",
                false,
            );
        }
        let Ok(tokens) = text.parse::<TokenStream>() else {
            return self.unknown(path, 0, "cannot be read as Rust", false);
        };
        let depth = if shallow { Ok(()) } else { tokens::check_depth(tokens.clone()) };
        self.shallow = depth.is_ok();
        match depth {
            Ok(()) => match syn::parse2::<syn::File>(tokens) {
                Ok(file) => {
                    // `#![cfg(...)]` of a whole file stands in its attributes.
                    let added = self.push_conditions(&file.attrs);
                    if added.is_some() {
                        self.inner_attributes(&file.attrs);
                        self.items(&file.items);
                    }
                    self.pop_conditions(added);
                }
                Err(_) => {
                    self.summary.by_token += 1;
                    // The parser has used the tokens up, and few files are refused.
                    self.file_tokens(text.parse().unwrap_or_default());
                }
            },
            Err(tokens::TooDeep::Nesting) => self.unknown(path, 0, "brackets are nested too deeply", false),
            Err(tokens::TooDeep::Chain) => {
                self.summary.by_token += 1;
                self.file_tokens(tokens);
            }
        }
    }

    /// `mod name;`: the file that it means, by the rules of the Rust reference ("module source filenames").
    fn module(&mut self, name: &str, line: usize, paths: &[(Vec<Predicate>, String)]) {
        self.note_apart(Apart::Whole, line);
        let mut named = false;
        for (predicates, path) in paths {
            named |= predicates.is_empty();
            if !self.doubts && predicates.iter().any(|one| self.is_off(one)) {
                continue;
            }
            let before = self.condition.len();
            self.condition.extend(predicates.iter().cloned());
            let path = self.place.folder.join(path);
            // Behind a condition that nobody here can decide, a file that is not there is not compiled either.
            if predicates.is_empty() || self.is_file(&path) {
                self.module_file(&path, line, true);
            }
            self.condition.truncate(before);
        }
        if named {
            return;
        }
        let beside = self.place.modules.join(format!("{name}.rs"));
        let inside = self.place.modules.join(name).join("mod.rs");
        if self.is_file(&beside) {
            self.module_file(&beside, line, false);
        } else if self.is_file(&inside) {
            self.module_file(&inside, line, true);
        } else if !paths.iter().any(|(_, path)| self.is_file(&self.place.folder.join(path)))
            && !self.computed.contains(&(self.place.number, line))
        {
            self.missing(&beside, line, "does not exist");
        }
    }
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}
