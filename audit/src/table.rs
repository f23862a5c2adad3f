//! What code reaches by naming an item of std, a C symbol or a form: from the pages of `policies/capabilities/` and from
//! `policies/reach/`. Data, with reasons; this module only looks up.

use std::collections::{HashMap, HashSet};

use capability_manifest::{CapabilityPage, HostCapability};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The tables, ready to be asked.
#[derive(Debug)]
pub struct Table {
    std: HashMap<String, Vec<HostCapability>>,
    symbols: HashMap<String, Vec<HostCapability>>,
    methods: HashMap<String, Vec<Method>>,
    associated: HashMap<String, Vec<HostCapability>>,
    harmless: HashSet<String>,
    harmless_prefixes: Vec<String>,
    /// Beginnings of symbols that reach something.
    prefixes: Vec<(String, Vec<HostCapability>)>,
    /// Items of std that only compiled code names.
    compiled: HashMap<String, Vec<HostCapability>>,
    /// Of all that it was made of.
    pub(crate) digest: [u8; 32],
}

/// A method that is called without its type being named.
#[derive(Debug, Clone)]
pub(crate) struct Method {
    /// Names of which the crate must write one; none is always.
    pub(crate) evidence: Vec<String>,
    pub(crate) capabilities: Vec<HostCapability>,
}

/// A table of ours is wrong.
#[derive(Debug, thiserror::Error)]
#[error("`policies/**/{file}`: {message}")]
pub struct TableError {
    /// The file.
    pub file: &'static str,
    /// What is wrong.
    pub message: String,
}

const STD: &str = include_str!("../reach/std.toml");
const SYMBOLS: &str = include_str!("../reach/symbols.toml");
const COMPILED: &str = include_str!("../reach/compiled.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StdFile {
    constructor: Vec<ConstructorRow>,
    method: Vec<MethodRow>,
    associated: Vec<AssociatedRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstructorRow {
    item: String,
    capabilities: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodRow {
    names: Vec<String>,
    evidence: Vec<String>,
    capabilities: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssociatedRow {
    names: Vec<String>,
    capabilities: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SymbolsFile {
    group: Vec<SymbolGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SymbolGroup {
    reason: String,
    names: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompiledFile {
    group: Vec<SymbolGroup>,
    symbol: Vec<SymbolRow>,
    item: Vec<ItemRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SymbolRow {
    capabilities: Vec<String>,
    reason: String,
    names: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemRow {
    path: String,
    capabilities: Vec<String>,
    reason: String,
}

/// The capabilities of a row.
fn named(file: &'static str, names: &[String], reason: &str) -> Result<Vec<HostCapability>, TableError> {
    let wrong = |message: String| TableError { file, message };
    if reason.is_empty() {
        return Err(wrong("a reason is missing".to_owned()));
    }
    let find = |name: &String| {
        HostCapability::from_name(name).ok_or_else(|| wrong(format!("no capability `{name}`")))
    };
    names.iter().map(find).collect()
}

impl Table {
    /// Reads the tables that are part of this library.
    ///
    /// # Errors
    /// When one of them is wrong, which is a fault of this library.
    pub fn load() -> Result<Self, TableError> {
        let mut table = Self {
            std: HashMap::new(),
            symbols: HashMap::new(),
            methods: HashMap::new(),
            associated: HashMap::new(),
            harmless: HashSet::new(),
            harmless_prefixes: Vec::new(),
            prefixes: Vec::new(),
            compiled: HashMap::new(),
            digest: [0; 32],
        };
        let mut hash = Sha256::new();
        hash.update(STD);
        hash.update(SYMBOLS);
        hash.update(COMPILED);
        for capability in HostCapability::all() {
            let page = CapabilityPage::load(capability)
                .map_err(|error| TableError { file: "../capabilities", message: error.to_string() })?;
            hash.update(format!("{}{:?}", capability.name(), page.acquired_by));
            for item in &page.acquired_by.std {
                table.std.entry(canonical(item)).or_default().push(capability);
            }
            for symbol in &page.acquired_by.libc {
                table.symbols.entry(symbol.clone()).or_default().push(capability);
            }
        }
        table.read_std()?;
        table.read_symbols()?;
        table.read_compiled()?;
        table.digest = hash.finalize().into();
        Ok(table)
    }

    fn read_std(&mut self) -> Result<(), TableError> {
        let wrong = |message: String| TableError { file: "std.toml", message };
        let file: StdFile = toml::from_str(STD).map_err(|error| wrong(error.to_string()))?;
        let named = |names: &[String], reason: &str| named("std.toml", names, reason);
        for row in &file.constructor {
            let capabilities = named(&row.capabilities, &row.reason)?;
            self.std.entry(canonical(&row.item)).or_default().extend(capabilities);
        }
        for row in &file.method {
            let capabilities = named(&row.capabilities, &row.reason)?;
            for name in &row.names {
                let method = Method { evidence: row.evidence.clone(), capabilities: capabilities.clone() };
                self.methods.entry(name.clone()).or_default().push(method);
            }
        }
        for row in &file.associated {
            let capabilities = named(&row.capabilities, &row.reason)?;
            for name in &row.names {
                self.associated.insert(name.clone(), capabilities.clone());
            }
        }
        Ok(())
    }

    fn read_symbols(&mut self) -> Result<(), TableError> {
        let wrong = |message: String| TableError { file: "symbols.toml", message };
        let file: SymbolsFile = toml::from_str(SYMBOLS).map_err(|error| wrong(error.to_string()))?;
        for group in file.group {
            if group.reason.is_empty() {
                return Err(wrong("a reason is missing".to_owned()));
            }
            self.harmless.extend(group.names);
            self.harmless_prefixes.extend(group.prefixes);
        }
        Ok(())
    }

    fn read_compiled(&mut self) -> Result<(), TableError> {
        const FILE: &str = "compiled.toml";
        let file: CompiledFile = toml::from_str(COMPILED)
            .map_err(|error| TableError { file: FILE, message: error.to_string() })?;
        for group in file.group {
            named(FILE, &[], &group.reason)?;
            self.harmless.extend(group.names);
            self.harmless_prefixes.extend(group.prefixes);
        }
        for row in file.symbol {
            let capabilities = named(FILE, &row.capabilities, &row.reason)?;
            for name in row.names {
                self.symbols.entry(name).or_default().extend(&capabilities);
            }
            self.prefixes.extend(row.prefixes.into_iter().map(|prefix| (prefix, capabilities.clone())));
        }
        for row in file.item {
            let capabilities = named(FILE, &row.capabilities, &row.reason)?;
            self.compiled.insert(canonical(&row.path), capabilities);
        }
        Ok(())
    }

    /// What an item of std reaches, by its canonical path.
    pub(crate) fn of_std(&self, path: &str) -> &[HostCapability] {
        if let Some(found) = self.std.get(path) {
            return found;
        }
        let last = path.rsplit("::").next().unwrap_or(path);
        self.associated.get(last).map_or(&[], Vec::as_slice)
    }

    /// What a C symbol reaches. Empty when it is known to reach nothing; `ffi` when nothing is known of it.
    pub(crate) fn of_symbol(&self, symbol: &str) -> &[HostCapability] {
        self.find_symbol(symbol).unwrap_or(&[HostCapability::Ffi])
    }

    fn find_symbol(&self, symbol: &str) -> Option<&[HostCapability]> {
        if let Some(found) = self.known_symbol(symbol) {
            return Some(found);
        }
        // The same function for wide times or offsets: `__dlsym_time64`, `__recvmsg64`, `readdir$INODE64`.
        let plain = symbol.split('$').next().unwrap_or(symbol);
        let plain = plain.strip_suffix("_time64").or_else(|| plain.strip_suffix("64")).unwrap_or(plain);
        let bare = plain.strip_prefix("__").unwrap_or(plain);
        // What headers of glibc put in the place of a function: with a check of its bounds, or by a newer standard.
        let checked = symbol.strip_prefix("__").and_then(|name| name.strip_suffix("_chk"));
        let newer = symbol.strip_prefix("__isoc23_").or_else(|| symbol.strip_prefix("__isoc99_"));
        [Some(plain), Some(bare), checked, newer]
            .into_iter()
            .flatten()
            .find_map(|name| self.known_symbol(name))
    }

    fn known_symbol(&self, symbol: &str) -> Option<&[HostCapability]> {
        if let Some(found) = self.symbols.get(symbol) {
            return Some(found);
        }
        if let Some((_, found)) = self.prefixes.iter().find(|(prefix, _)| symbol.starts_with(prefix.as_str()))
        {
            return Some(found);
        }
        let harmless = self.harmless.contains(symbol)
            || self.harmless_prefixes.iter().any(|prefix| symbol.starts_with(prefix.as_str()));
        harmless.then_some(&[])
    }

    /// Whether a symbol is in the tables at all.
    pub(crate) fn knows_symbol(&self, symbol: &str) -> bool {
        self.find_symbol(symbol).is_some()
    }

    /// Every item of std that is in the tables, by its canonical path.
    pub(crate) fn std_items(&self) -> impl Iterator<Item = (&str, &[HostCapability])> {
        self.std.iter().chain(&self.compiled).map(|(path, found)| (path.as_str(), found.as_slice()))
    }

    /// Associated functions of traits of std, by their last name.
    pub(crate) fn associated_items(&self) -> impl Iterator<Item = (&str, &[HostCapability])> {
        self.associated.iter().map(|(name, found)| (name.as_str(), found.as_slice()))
    }

    /// What a method of that name may reach.
    pub(crate) fn of_method(&self, name: &str) -> &[Method] {
        self.methods.get(name).map_or(&[], Vec::as_slice)
    }
}

/// One spelling for items of std that have several: `core` and `alloc` are parts of `std`, `unix::io` is `fd`.
pub(crate) fn canonical(path: &str) -> String {
    let mut path = path.to_owned();
    for (from, to) in [
        ("core::", "std::"),
        ("alloc::", "std::"),
        ("std::os::unix::io::", "std::os::fd::"),
        ("std::os::fd::raw::", "std::os::fd::"),
        ("std::os::fd::owned::", "std::os::fd::"),
        ("std::os::wasi::io::", "std::os::fd::"),
        ("std::collections::hash_map::RandomState", "std::hash::RandomState"),
    ] {
        if let Some(rest) = path.strip_prefix(from) {
            path = format!("{to}{rest}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_load_and_answer() {
        let table = Table::load().expect("valid");
        assert_eq!(table.of_std("std::fs::read"), [HostCapability::FilesystemRead]);
        assert_eq!(table.of_std("std::fs::File"), []);
        assert_eq!(table.of_std(&canonical("std::fs::File::from_raw_fd")), [HostCapability::HandleForge]);
        assert_eq!(table.of_symbol("dlopen"), [HostCapability::Dlopen]);
        assert_eq!(table.of_symbol("__dlsym_time64"), [HostCapability::Dlopen]);
        assert_eq!(table.of_symbol("strlen"), []);
        assert_eq!(table.of_symbol("__printf_chk"), table.of_symbol("printf"));
        assert_eq!(table.of_symbol("__isoc23_strtol"), []);
        assert_eq!(table.of_symbol("__udivti3"), []);
        assert_eq!(table.of_symbol("sinf128"), []);
        assert_eq!(table.of_symbol("_ZNSt6threadC1Ev"), [HostCapability::Thread]);
        assert_eq!(table.of_symbol("_ZNSt6vectorIiE4push"), []);
        assert_eq!(table.of_symbol("strlen_and_more"), [HostCapability::Ffi]);
        assert_eq!(table.of_symbol("sqlite3_open"), [HostCapability::Ffi]);
        assert!(!table.of_method("exists").is_empty());
    }

    #[test]
    fn no_symbol_is_harmless_and_on_a_page() {
        let table = Table::load().expect("valid");
        let both: Vec<_> = table.harmless.iter().filter(|name| table.symbols.contains_key(*name)).collect();
        assert_eq!(both, Vec::<&String>::new());
    }
}
