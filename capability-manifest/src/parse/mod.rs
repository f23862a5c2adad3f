//! Text to [`Manifest`]: the first stage of the pipeline. Pure, and total: any text gives a manifest or all of its errors.

mod claims;
mod clauses;
mod error;
mod parameters;
mod reader;

pub use error::{ManifestError, ManifestErrorKind};

use std::sync::Arc;

use semver::VersionReq;
use toml::de::{DeTable, DeValue};

use crate::authority::Authority;
use crate::limits::{CRATES_MAX, EDGES_MAX, NAME_BYTES_MAX};
use crate::link::Link;
use crate::manifest::{
    Clause, CrateSpec, CrateTables, DependencyLine, EdgeGrants, EdgeKind, Manifest, WorkspaceTables,
};
use crate::suggest::nearest;
use crate::text::{FileId, Located, Location, ManifestText};
use reader::{Key, Reader, Value, printable};

/// In which kind of file the tables stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `Cargo.toml`: under `package.metadata.capabilities` and `workspace.metadata.capabilities`; the rest is Cargo's.
    CargoToml,
    /// `Cofferdam.toml`: `workspace.metadata.capabilities` as in the root's `Cargo.toml`, and nothing else.
    WorkspaceToml,
    /// `capabilities.toml`: the workspace's tables at the top level, each crate's under `crates.NAME`.
    Standalone,
}

const PACKAGE_KEYS: &[&str] = &["consumes", "exports", "compartment", "grants"];
const WORKSPACE_KEYS: &[&str] = &["roots", "holds", "grants", "compartments"];
const STANDALONE_KEYS: &[&str] = &["roots", "holds", "grants", "compartments", "crates"];
const CRATE_KEYS: &[&str] =
    &["dependencies", "build-dependencies", "consumes", "exports", "compartment", "grants"];
const EDGE_KEYS: &[&str] = &["reason", "version", "checksum", "link"];

/// Parses one file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(file: FileId, text: &ManifestText, form: Form) -> Result<Manifest, Vec<ManifestError>> {
    let (root, syntax) = DeTable::parse_recoverable(text.as_str());
    let mut reader = Reader::new(file);
    for error in &syntax {
        let span = error.span().unwrap_or(0..0);
        let message = printable(error.message());
        reader.error(Location::new(file, &span), ManifestErrorKind::Syntax { message });
    }
    let mut manifest = Manifest { file, workspace: None, crates: Vec::new() };
    // Below a syntax error the tree may lack what was written, and every complaint about it would mislead.
    if syntax.is_empty() {
        match form {
            Form::CargoToml => cargo_toml(&mut reader, root.get_ref(), &mut manifest),
            Form::WorkspaceToml => {
                workspace_alone(&mut reader, root.get_ref());
                cargo_toml(&mut reader, root.get_ref(), &mut manifest);
            }
            Form::Standalone => standalone(&mut reader, root.get_ref(), &mut manifest),
        }
    }
    match reader.into_errors() {
        errors if errors.is_empty() => Ok(manifest),
        errors => Err(errors),
    }
}

/// Refuses all that is not on the way to `workspace.metadata.capabilities`: nobody would read it.
fn workspace_alone(reader: &mut Reader, root: &DeTable<'_>) {
    const WAY: [(&str, &[&str]); 3] = [
        ("Cofferdam.toml", &["workspace"]),
        ("[workspace]", &["metadata"]),
        ("[workspace.metadata]", &["capabilities"]),
    ];
    let mut at = Some(root);
    for (table, known) in WAY {
        let Some(here) = at else { return };
        for key in here.keys().filter(|key| key.get_ref() != known[0]) {
            reader.unknown_key(key, table, known);
        }
        let next = here.get(known[0]);
        at = next.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (next, at) {
            reader.table(value, table);
        }
    }
}

fn cargo_toml(reader: &mut Reader, root: &DeTable<'_>, manifest: &mut Manifest) {
    if let Some(package) = root.get("package").and_then(|value| value.get_ref().as_table())
        && let Some(name) = package.get("name")
        && let Some(text) = name.get_ref().as_str()
    {
        let name = Located { value: CrateSpec { name: text.to_owned(), version: None }, at: reader.at(name) };
        let mut tables = CrateTables::undeclared(name);
        tables.dependencies = cargo_dependencies(reader, root);
        if let Some(capabilities) = metadata(reader, package, "[package.metadata]") {
            let what = "[package.metadata.capabilities]";
            if let Some(table) = reader.table(capabilities, what) {
                for key in table.keys() {
                    let word = key.get_ref().as_ref();
                    if PACKAGE_KEYS.contains(&word) {
                    } else if WORKSPACE_KEYS.contains(&word) {
                        let belongs = "[workspace.metadata.capabilities] of the workspace's root";
                        let kind =
                            ManifestErrorKind::MisplacedKey { key: word.to_owned(), table: what, belongs };
                        reader.error(reader.at(key), kind);
                    } else {
                        reader.unknown_key(key, what, PACKAGE_KEYS);
                    }
                }
                crate_tables(reader, table, &mut tables);
            }
        }
        manifest.crates.push(tables);
    }
    if let Some(workspace) = root.get("workspace").and_then(|value| value.get_ref().as_table())
        && let Some(capabilities) = metadata(reader, workspace, "[workspace.metadata]")
        && let Some(table) = reader.table(capabilities, "[workspace.metadata.capabilities]")
    {
        let what = "[workspace.metadata.capabilities]";
        for key in table.keys() {
            let word = key.get_ref().as_ref();
            if WORKSPACE_KEYS.contains(&word) {
            } else if PACKAGE_KEYS.contains(&word) {
                let belongs = "[package.metadata.capabilities] of one crate";
                reader.error(
                    reader.at(key),
                    ManifestErrorKind::MisplacedKey { key: word.to_owned(), table: what, belongs },
                );
            } else {
                reader.unknown_key(key, what, WORKSPACE_KEYS);
            }
        }
        manifest.workspace = Some(workspace_tables(reader, table));
    }
}

/// `metadata.capabilities` of a package or workspace. A near miss is refused: it would silently declare nothing.
fn metadata<'v, 'i>(
    reader: &mut Reader,
    table: &'v DeTable<'i>,
    what: &'static str,
) -> Option<&'v Value<'i>> {
    let metadata = table.get("metadata")?.get_ref().as_table()?;
    for key in metadata.keys() {
        let word = key.get_ref().as_ref();
        if word != "capabilities" && nearest(word, ["capabilities"]).is_some() {
            reader.unknown_key(key, what, &["capabilities"]);
        }
    }
    metadata.get("capabilities")
}

/// The dependency lines of a `Cargo.toml`, for messages: Cargo itself says what the edges are.
fn cargo_dependencies(reader: &Reader, root: &DeTable<'_>) -> Vec<DependencyLine> {
    let mut lines = Vec::new();
    let mut collect = |table: &DeTable<'_>| {
        for (section, kind) in [("dependencies", EdgeKind::Normal), ("build-dependencies", EdgeKind::Build)] {
            let Some(section) = table.get(section).and_then(|value| value.get_ref().as_table()) else {
                continue;
            };
            for (key, value) in section {
                let renamed = value.get_ref().as_table().and_then(|table| table.get("package"));
                let renamed = renamed.and_then(|name| name.get_ref().as_str());
                let name = renamed.unwrap_or(key.get_ref());
                let to =
                    Located { value: CrateSpec { name: name.to_owned(), version: None }, at: reader.at(key) };
                let renamed = renamed.map(|_| key.get_ref().to_string());
                lines.push(DependencyLine { to, kind, renamed });
            }
        }
    };
    collect(root);
    if let Some(targets) = root.get("target").and_then(|value| value.get_ref().as_table()) {
        targets.values().filter_map(|target| target.get_ref().as_table()).for_each(&mut collect);
    }
    lines
}

fn standalone(reader: &mut Reader, root: &DeTable<'_>, manifest: &mut Manifest) {
    for key in root.keys() {
        let word = key.get_ref().as_ref();
        if STANDALONE_KEYS.contains(&word) {
        } else if PACKAGE_KEYS.contains(&word) {
            let belongs = "[crates.NAME]";
            let kind =
                ManifestErrorKind::MisplacedKey { key: word.to_owned(), table: "the top level", belongs };
            reader.error(reader.at(key), kind);
        } else {
            reader.unknown_key(key, "the top level", STANDALONE_KEYS);
        }
    }
    manifest.workspace = Some(workspace_tables(reader, root));
    let Some(crates) = root.get("crates").and_then(|value| reader.table(value, "`crates`")) else { return };
    let at = crates.keys().next().map_or_else(|| Location::new(manifest.file, &(0..0)), |key| reader.at(key));
    if reader.too_many(at, "crates", crates.len(), CRATES_MAX) {
        return;
    }
    let mut edges = 0;
    for (key, value) in crates {
        let Some(name) = key_spec(reader, key) else { continue };
        if name.value.version.as_deref().is_some_and(|version| semver::Version::parse(version).is_err()) {
            let text = printable(key.get_ref());
            reader.error(reader.at(key), ManifestErrorKind::PartialVersion { text });
            continue;
        }
        let Some(table) = reader.table(value, "a crate") else { continue };
        reader.only_keys(table, "a crate's table", CRATE_KEYS);
        let mut tables = CrateTables::undeclared(name);
        for (section, kind) in [("dependencies", EdgeKind::Normal), ("build-dependencies", EdgeKind::Build)] {
            let Some(value) = table.get(section) else { continue };
            let DeValue::Array(entries) = value.get_ref() else {
                reader.wrong_type(value, format!("`{section}`"), "a list");
                continue;
            };
            edges += entries.len();
            if reader.too_many(reader.at(value), "dependencies", edges, EDGES_MAX) {
                return;
            }
            for entry in entries {
                if let Some(to) = string_spec(reader, entry) {
                    tables.dependencies.push(DependencyLine { to, kind, renamed: None });
                }
            }
        }
        crate_tables(reader, table, &mut tables);
        tables.declared = CRATE_KEYS[2..].iter().any(|key| table.contains_key(*key));
        manifest.crates.push(tables);
    }
}

impl CrateTables {
    /// A crate of which nothing is declared.
    pub fn undeclared(name: Located<CrateSpec>) -> Self {
        Self {
            name,
            declared: false,
            dependencies: Vec::new(),
            consumes: Vec::new(),
            exports: Vec::new(),
            compartment: None,
            grants: Vec::new(),
        }
    }
}

/// `consumes`, `exports`, `compartment` and `grants`, wherever they stand.
fn crate_tables(reader: &mut Reader, table: &DeTable<'_>, tables: &mut CrateTables) {
    tables.declared = true;
    if let Some(value) = table.get("consumes") {
        tables.consumes = claims::consumes(reader, value);
    }
    if let Some(value) = table.get("exports") {
        tables.exports = claims::exports(reader, value);
    }
    if let Some(value) = table.get("compartment") {
        tables.compartment = Some(claims::compartment(reader, value, claims::By::Crate));
    }
    let Some(grants) = table.get("grants").and_then(|value| reader.table(value, "`grants`")) else { return };
    for (key, value) in grants {
        if key.get_ref().contains("->") {
            let belongs = "the workspace's own grants; here the consumer is this crate, and a key is the dependency alone";
            let kind = ManifestErrorKind::MisplacedKey {
                key: printable(key.get_ref()),
                table: "a crate's grants",
                belongs,
            };
            reader.error(reader.at(key), kind);
            continue;
        }
        let Some(to) = key_spec(reader, key) else { continue };
        if let Some(grant) = edge_grants(reader, None, to, value) {
            tables.grants.push(grant);
        }
    }
    edge_twice(reader, &tables.grants);
}

fn workspace_tables(reader: &mut Reader, table: &DeTable<'_>) -> WorkspaceTables {
    let mut workspace = WorkspaceTables::default();
    if let Some(value) = table.get("roots") {
        let entries = reader.list(value, "roots").unwrap_or_default();
        workspace.roots = Some(entries.iter().filter_map(|entry| string_spec(reader, entry)).collect());
    }
    if let Some(value) = table.get("holds")
        && let Some(holds) = reader.table(value, "`holds`")
    {
        let at = reader.at(value);
        let clauses = clauses::clauses(reader, holds, &[], at);
        for clause in clauses.iter().filter(|clause| !clause.mounts.is_empty()) {
            reader.error(clause.scope.at, ManifestErrorKind::AtInHolds);
        }
        workspace.holds = Some(Located { value: clauses, at });
    }
    if let Some(grants) = table.get("grants").and_then(|value| reader.table(value, "`grants`")) {
        for (key, value) in grants {
            let edge =
                key.get_ref().split_once("->").and_then(|(from, to)| spec(from.trim()).zip(spec(to.trim())));
            let Some((from, to)) = edge else {
                let text = printable(key.get_ref());
                reader.error(reader.at(key), ManifestErrorKind::BadEdge { text });
                continue;
            };
            let to = Located { value: to, at: reader.at(key) };
            if let Some(grant) = edge_grants(reader, Some(from), to, value) {
                workspace.grants.push(grant);
            }
        }
        // The tree is in the order of the keys' text, and `a->b` is another text than `a -> b`.
        workspace.grants.sort_by(|a, b| (&a.from, &a.to.value).cmp(&(&b.from, &b.to.value)));
        edge_twice(reader, &workspace.grants);
    }
    if let Some(compartments) =
        table.get("compartments").and_then(|value| reader.table(value, "`compartments`"))
    {
        for (key, value) in compartments {
            let Some(name) = key_spec(reader, key) else { continue };
            workspace.compartments.push((name, claims::compartment(reader, value, claims::By::Workspace)));
        }
    }
    workspace
}

/// The authority that clauses speak of, in the namespace of whoever wrote them.
pub(crate) fn authority_of(clauses: &[Clause]) -> Authority {
    Authority::new(clauses.iter().map(|clause| (clause.capability.value.clone(), clause.scope.value.clone())))
}

/// The body of one grants table.
fn edge_grants(
    reader: &mut Reader,
    from: Option<CrateSpec>,
    to: Located<CrateSpec>,
    value: &Value<'_>,
) -> Option<EdgeGrants> {
    let table = reader.table(value, "a grants table")?;
    let clauses = clauses::clauses(reader, table, EDGE_KEYS, to.at);
    let reason = table.get("reason").and_then(|reason| reader.reason(reason, "reason"));
    let version = table.get("version").and_then(|value| {
        let text = reader.name(value, "`version`")?;
        match VersionReq::parse(text) {
            // As it is printed, it has more spaces than it may have had.
            Ok(version) => {
                let (found, max) = (version.to_string().len(), NAME_BYTES_MAX);
                if found > max {
                    let kind = ManifestErrorKind::TooLong { what: "`version`, written out,", found, max };
                    reader.error(reader.at(value), kind);
                }
                Some(Located { value: version, at: reader.at(value) })
            }
            Err(error) => {
                let kind = ManifestErrorKind::BadVersion { text: text.to_owned(), error: error.to_string() };
                reader.error(reader.at(value), kind);
                None
            }
        }
    });
    let checksum = table.get("checksum").and_then(|value| {
        let text = reader.name(value, "`checksum`")?;
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some(Located { value: digits, at: reader.at(value) });
        }
        reader.error(reader.at(value), ManifestErrorKind::BadChecksum { text: text.to_owned() });
        None
    });
    let link = table.get("link").and_then(|value| link(reader, value));
    let only_pins = clauses.is_empty()
        && !table.contains_key("link")
        && !table.contains_key("checksum")
        && table.keys().all(|key| EDGE_KEYS.contains(&key.get_ref().as_ref()));
    if only_pins {
        reader.error(
            to.at,
            ManifestErrorKind::EmptyList { what: "capabilities in this grants table".to_owned() },
        );
    }
    let authority = Arc::new(authority_of(&clauses));
    Some(EdgeGrants { from, to, clauses, authority, reason, version, checksum, link })
}

fn link(reader: &mut Reader, value: &Value<'_>) -> Option<Located<Link>> {
    let text = reader.name(value, "`link`")?;
    let link = Link::from_name(text);
    if link.is_none() {
        let suggestion = nearest(text, Link::ALL.map(Link::name)).map(str::to_owned);
        reader.error(reader.at(value), ManifestErrorKind::UnknownLink { text: text.to_owned(), suggestion });
    }
    Some(Located { value: link?, at: reader.at(value) })
}

fn edge_twice(reader: &mut Reader, grants: &[EdgeGrants]) {
    let mut sorted: Vec<&EdgeGrants> = grants.iter().collect();
    sorted.sort_by(|a, b| (&a.from, &a.to.value, a.to.at).cmp(&(&b.from, &b.to.value, b.to.at)));
    for pair in sorted.windows(2) {
        if (&pair[0].from, &pair[0].to.value) == (&pair[1].from, &pair[1].to.value) {
            let kind = ManifestErrorKind::Twice { what: "this edge".to_owned(), first: pair[0].to.at };
            reader.error(pair[1].to.at, kind);
        }
    }
}

fn key_spec(reader: &mut Reader, key: &Key<'_>) -> Option<Located<CrateSpec>> {
    located_spec(reader, key.get_ref(), reader.at(key))
}

fn string_spec(reader: &mut Reader, value: &Value<'_>) -> Option<Located<CrateSpec>> {
    let text = reader.name(value, "a crate")?;
    located_spec(reader, text, reader.at(value))
}

fn located_spec(reader: &mut Reader, text: &str, at: Location) -> Option<Located<CrateSpec>> {
    let parsed = spec(text);
    if parsed.is_none() {
        reader.error(at, ManifestErrorKind::BadCrate { text: printable(text) });
    }
    Some(Located { value: parsed?, at })
}

/// `name` or `name@version`. Names are those that Cargo accepts: letters, digits, `-` and `_`, not beginning with a digit.
fn spec(text: &str) -> Option<CrateSpec> {
    let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
    let is_name = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let is_version = version.is_none_or(|version| {
        version.starts_with(|c: char| c.is_ascii_digit())
            && version.len() <= NAME_BYTES_MAX
            && version.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b))
    });
    (is_name && is_version).then(|| CrateSpec { name: name.to_owned(), version: version.map(str::to_owned) })
}
