//! `consumes`, `exports` and `compartment`: what a crate says of itself.

use toml::de::{DeTable, DeValue};

use super::clauses::unknown_capability;
use super::error::ManifestErrorKind;
use super::parameters::{byte_count, duration};
use super::reader::{Key, Reader, Value, printable};
use crate::capability::{Backend, Capability, HostCapability, Stage, is_capability_name, is_host_class};
use crate::limits::{LIST_ENTRIES_MAX, PATH_BYTES_MAX};
use crate::manifest::{Compartment, Consume, Export, Limits, WorldRef};
use crate::scope::{ByteCount, Nanoseconds, NormalPath};
use crate::suggest::nearest;
use crate::text::Located;
use crate::weakening::Weakening;

const CONSUME_KEYS: &[&str] = &["reason", "optional"];
const EXPORT_KEYS: &[&str] = &["items", "reason"];
const COMPARTMENT_KEYS: &[&str] = &["backend", "component", "world", "limits", "weakenings"];
const WEAKENING_KEYS: &[&str] = &[Weakening::Namespaces.name(), Weakening::Speculation.name()];
const LIMIT_KEYS: &[&str] = &["memory", "call-deadline", "cpu-time", "output", "handles", "calls-in-flight"];

/// The entries of a claims table, flattened: `filesystem.read = "..."` and `"filesystem.read" = "..."` are one.
fn entries<'v, 'i>(
    reader: &mut Reader,
    table: &'v DeTable<'i>,
    prefix: &str,
    leaf: &dyn Fn(&DeTable<'i>) -> bool,
    out: &mut Vec<(String, &'v Key<'i>, &'v Value<'i>)>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if !is_capability_name(&name) {
            let kind = ManifestErrorKind::BadCapabilityName { name: printable(&name) };
            reader.error(reader.at(key), kind);
            continue;
        }
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() && !leaf(inner) => {
                entries(reader, inner, &format!("{name}."), leaf, out);
            }
            _ => out.push((name, key, value)),
        }
    }
}

/// The capabilities that a name in a claim stands for: itself, or the actions of a class.
fn named(reader: &mut Reader, key: &Key<'_>, name: &str) -> Vec<Capability> {
    let capability = Capability::from_name(name);
    if matches!(capability, Capability::Host(..)) {
        return vec![capability];
    }
    let (stage, class) =
        name.strip_prefix("build.").map_or((Stage::Run, name), |class| (Stage::Build, class));
    if name != "build" && is_host_class(class) {
        return HostCapability::of_class(class).map(|host| Capability::Host(stage, host)).collect();
    }
    if name.split('.').next().is_some_and(is_host_class) {
        reader.error(reader.at(key), unknown_capability(name));
        return Vec::new();
    }
    vec![capability]
}

/// `consumes = { "filesystem.read" = "opens the index" }`, or `{ reason = "...", optional = true }` for the text.
pub(super) fn consumes(reader: &mut Reader, value: &Value<'_>) -> Vec<Consume> {
    let Some(table) = reader.table(value, "`consumes`") else { return Vec::new() };
    let mut found = Vec::new();
    let leaf = |inner: &DeTable<'_>| inner.keys().any(|key| CONSUME_KEYS.contains(&key.get_ref().as_ref()));
    entries(reader, table, "", &leaf, &mut found);
    let mut consumes = Vec::new();
    for (name, key, value) in found {
        let (reason, optional) = match value.get_ref() {
            DeValue::Table(details) => {
                reader.only_keys(details, "an entry of `consumes`", CONSUME_KEYS);
                let Some(reason) = details.get("reason") else {
                    reader.error(
                        reader.at(key),
                        ManifestErrorKind::ReasonMissing { what: format!("`{name}`") },
                    );
                    continue;
                };
                let optional = details
                    .get("optional")
                    .is_some_and(|flag| reader.boolean(flag, "`optional`").unwrap_or(false));
                (reader.reason(reason, &name), optional)
            }
            DeValue::Boolean(_) => {
                reader
                    .error(reader.at(value), ManifestErrorKind::ReasonMissing { what: format!("`{name}`") });
                continue;
            }
            _ => (reader.reason(value, &name), false),
        };
        let Some(reason) = reason else { continue };
        for capability in named(reader, key, &name) {
            let capability = Located { value: capability, at: reader.at(key) };
            consumes.push(Consume { capability, reason: reason.clone(), optional });
        }
    }
    consumes.sort_by(|a, b| {
        a.capability.value.cmp(&b.capability.value).then(a.capability.at.cmp(&b.capability.at))
    });
    twice(reader, consumes.iter().map(|consume| &consume.capability));
    bounded(reader, value, consumes)
}

/// `exports = { "mmap.file" = { items = ["Mmap::map"], reason = "..." } }`.
pub(super) fn exports(reader: &mut Reader, value: &Value<'_>) -> Vec<Export> {
    let Some(table) = reader.table(value, "`exports`") else { return Vec::new() };
    let mut found = Vec::new();
    let leaf = |inner: &DeTable<'_>| inner.keys().any(|key| EXPORT_KEYS.contains(&key.get_ref().as_ref()));
    entries(reader, table, "", &leaf, &mut found);
    let mut exports = Vec::new();
    for (name, key, value) in found {
        let Some(details) = reader.table(value, &format!("the export `{name}`")) else { continue };
        reader.only_keys(details, "an entry of `exports`", EXPORT_KEYS);
        let items = details.get("items").map(|items| item_names(reader, items));
        let reason = details.get("reason").map(|reason| reader.reason(reason, &name));
        match (&items, &reason) {
            (None, _) => {
                let kind =
                    ManifestErrorKind::KeyMissing { what: format!("the export `{name}`"), key: "items" };
                reader.error(reader.at(key), kind);
            }
            (_, None) => {
                reader.error(
                    reader.at(key),
                    ManifestErrorKind::ReasonMissing { what: format!("the export `{name}`") },
                );
            }
            _ => {}
        }
        if let Some(why) = forbidden(&name) {
            reader.error(reader.at(key), ManifestErrorKind::ExportForbidden { name, why });
            continue;
        }
        let (Some(Some(items)), Some(Some(reason))) = (items, reason) else { continue };
        for capability in named(reader, key, &name) {
            let capability = Located { value: capability, at: reader.at(key) };
            exports.push(Export { capability, items: items.clone(), reason: reason.clone() });
        }
    }
    exports.sort_by(|a, b| {
        a.capability.value.cmp(&b.capability.value).then(a.capability.at.cmp(&b.capability.at))
    });
    twice(reader, exports.iter().map(|export| &export.capability));
    bounded(reader, value, exports)
}

/// Why a name may not be exported, if it may not.
fn forbidden(name: &str) -> Option<&'static str> {
    let class = name.split('.').next().unwrap_or_default();
    let is_host = matches!(Capability::from_name(name), Capability::Host(..)) || is_host_class(name);
    if class == "build" {
        Some("`build` is the host's, for what happens while a crate is compiled")
    } else if is_host_class(class) && !is_host {
        Some("the names in this class are the host's")
    } else {
        None
    }
}

fn item_names(reader: &mut Reader, value: &Value<'_>) -> Option<Vec<String>> {
    let entries = reader.list(value, "items")?;
    Some(entries.iter().filter_map(|entry| reader.name(entry, "an item").map(str::to_owned)).collect())
}

fn twice<'c>(reader: &mut Reader, sorted: impl Iterator<Item = &'c Located<Capability>>) {
    let sorted: Vec<_> = sorted.collect();
    for pair in sorted.windows(2) {
        if pair[0].value == pair[1].value {
            let kind = ManifestErrorKind::Twice { what: format!("`{}`", pair[1].value), first: pair[0].at };
            reader.error(pair[1].at, kind);
        }
    }
}

fn bounded<T>(reader: &mut Reader, value: &Value<'_>, list: Vec<T>) -> Vec<T> {
    let at = reader.at(value);
    if reader.too_many(at, "entries in one list", list.len(), LIST_ENTRIES_MAX) { Vec::new() } else { list }
}

/// `backend`, `component`, `world` and `limits`.
pub(super) fn compartment(reader: &mut Reader, value: &Value<'_>, by: By) -> Compartment {
    let Some(table) = reader.table(value, "`compartment`") else { return Compartment::default() };
    reader.only_keys(table, "`compartment`", COMPARTMENT_KEYS);
    Compartment {
        backend: table.get("backend").and_then(|value| backend(reader, value)),
        component: table.get("component").and_then(|value| component(reader, value)),
        world: table.get("world").and_then(|value| world(reader, value)),
        limits: table.get("limits").map(|value| limits(reader, value)).unwrap_or_default(),
        weakenings: table.get("weakenings").map(|value| weakenings(reader, value, by)).unwrap_or_default(),
    }
}

/// Who wrote a table about a compartment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The crate that runs in it.
    Crate,
    /// The people who ship the program.
    Workspace,
}

/// `{ namespaces = "why" }`.
fn weakenings(reader: &mut Reader, value: &Value<'_>, by: By) -> Vec<(Located<Weakening>, String)> {
    let Some(table) = reader.table(value, "`weakenings`") else { return Vec::new() };
    if by == By::Crate {
        let kind = ManifestErrorKind::MisplacedKey {
            key: "weakenings".to_owned(),
            table: "a crate's own `compartment`",
            belongs: "the workspace's `compartments`: who ships the program accepts them, not the crate that they loosen",
        };
        reader.error(reader.at(value), kind);
        return Vec::new();
    }
    reader.only_keys(table, "`weakenings`", WEAKENING_KEYS);
    if table.is_empty() {
        reader.error(reader.at(value), ManifestErrorKind::EmptyList { what: "`weakenings`".to_owned() });
    }
    let mut found = Vec::new();
    for (key, value) in table {
        let named = Weakening::ALL.into_iter().find(|one| one.name() == key.get_ref().as_ref());
        if let Some((weakening, reason)) = named.zip(reader.reason(value, key.get_ref())) {
            found.push((Located { value: weakening, at: reader.at(key) }, reason));
        }
    }
    found
}

fn backend(reader: &mut Reader, value: &Value<'_>) -> Option<Located<Backend>> {
    let text = reader.name(value, "`backend`")?;
    let backend = Backend::from_name(text);
    if backend.is_none() {
        let suggestion = nearest(text, Backend::ALL.map(Backend::name)).map(str::to_owned);
        reader
            .error(reader.at(value), ManifestErrorKind::UnknownBackend { text: text.to_owned(), suggestion });
    }
    Some(Located { value: backend?, at: reader.at(value) })
}

fn component(reader: &mut Reader, value: &Value<'_>) -> Option<Located<NormalPath>> {
    let text = reader.string(value, "`component`", PATH_BYTES_MAX)?;
    let path = NormalPath::parse(text).ok();
    if path.is_none() {
        reader.error(reader.at(value), ManifestErrorKind::BadComponent { text: text.to_owned() });
    }
    Some(Located { value: path?, at: reader.at(value) })
}

fn world(reader: &mut Reader, value: &Value<'_>) -> Option<Located<WorldRef>> {
    let text = reader.string(value, "`world`", PATH_BYTES_MAX)?;
    let is_world = |word: &str| is_capability_name(word) && !word.contains('.');
    let parsed = text.split_once('#').filter(|(_, world)| is_world(world)).and_then(|(path, world)| {
        let path = NormalPath::parse(path).ok().filter(|path| !path.is_absolute())?;
        Some(WorldRef { path, world: world.to_owned() })
    });
    if parsed.is_none() {
        reader.error(reader.at(value), ManifestErrorKind::BadWorld { text: text.to_owned() });
    }
    Some(Located { value: parsed?, at: reader.at(value) })
}

fn limits(reader: &mut Reader, value: &Value<'_>) -> Limits {
    let Some(table) = reader.table(value, "`limits`") else { return Limits::default() };
    reader.only_keys(table, "`limits`", LIMIT_KEYS);
    let max = u64::from(u32::MAX);
    Limits {
        memory: table.get("memory").and_then(|value| byte_count(reader, value)).map(ByteCount),
        call_deadline: table.get("call-deadline").and_then(|value| duration(reader, value)).map(Nanoseconds),
        cpu_time: table.get("cpu-time").and_then(|value| duration(reader, value)).map(Nanoseconds),
        output: table.get("output").and_then(|value| byte_count(reader, value)).map(ByteCount),
        handles: table.get("handles").and_then(|value| reader.count(value, "`handles`", max)),
        calls_in_flight: table
            .get("calls-in-flight")
            .and_then(|value| reader.count(value, "`calls-in-flight`", max)),
    }
}
