//! The grammar of `holds` and of grants tables: capability names, nested or dotted, and their parameters.

use toml::de::{DeTable, DeValue};

use super::error::ManifestErrorKind;
use super::reader::{Key, Reader, Value, printable};
use crate::capability::{
    Capability, HostCapability, ParameterKind, Stage, is_capability_name, is_host_class,
};
use crate::limits::{LIST_ENTRIES_MAX, PATH_BYTES_MAX};
use crate::manifest::{Clause, Mount};
use crate::scope::{
    ByteCount, Extent, HostPattern, HostPort, NamePattern, Nanoseconds, NormalPath, PathPattern, PatternSet,
    Scope, Stream,
};
use crate::suggest::nearest;
use crate::text::{Located, Location};

const STREAM_KEYS: &[&str] = &["streams", "bytes"];
const CLOCK_KEYS: &[&str] = &["resolution"];
const THREAD_KEYS: &[&str] = &["max"];
const PATH_KEYS: &[&str] = &["path", "file", "at"];

/// What a class's table says about all the paths in it.
#[derive(Default)]
struct Shared {
    guest: Option<Located<NormalPath>>,
    quota: Option<Located<u64>>,
}

/// Reads the clauses of a table; `reserved` keys are the caller's.
pub(super) fn clauses(
    reader: &mut Reader,
    table: &DeTable<'_>,
    reserved: &[&str],
    at: Location,
) -> Vec<Clause> {
    let mut clauses = Vec::new();
    named(reader, table, reserved, "", &mut clauses);
    if reader.too_many(at, "capabilities in one table", clauses.len(), LIST_ENTRIES_MAX) {
        return Vec::new();
    }
    clauses.sort_by(|a, b| {
        a.capability.value.cmp(&b.capability.value).then(a.capability.at.cmp(&b.capability.at))
    });
    for pair in clauses.windows(2) {
        if pair[0].capability.value == pair[1].capability.value {
            let kind = ManifestErrorKind::CapabilityTwice {
                capability: pair[1].capability.value.to_string(),
                first: pair[0].capability.at,
            };
            reader.error(pair[1].capability.at, kind);
        }
    }
    same_place_twice(reader, &clauses);
    clauses
}

/// Two different paths may not be placed at one path of the receiver.
fn same_place_twice(reader: &mut Reader, clauses: &[Clause]) {
    let mut seen: Vec<&Mount> = Vec::new();
    for clause in clauses {
        for mount in &clause.mounts {
            if seen.iter().any(|other| other.guest == mount.guest && other.source.path != mount.source.path) {
                reader.error(clause.scope.at, ManifestErrorKind::AtTwice { guest: mount.guest.to_string() });
            }
            seen.push(mount);
        }
    }
}

/// The entries of a table whose names begin with `prefix`.
fn named(reader: &mut Reader, table: &DeTable<'_>, reserved: &[&str], prefix: &str, out: &mut Vec<Clause>) {
    for (key, value) in table {
        let word = key.get_ref().as_ref();
        if reserved.contains(&word) {
            continue;
        }
        let name = format!("{prefix}{word}");
        if !is_capability_name(&name) {
            let kind = ManifestErrorKind::BadCapabilityName { name: printable(&name) };
            reader.error(reader.at(key), kind);
            continue;
        }
        entry(reader, key, value, &name, &Shared::default(), out);
    }
}

/// One name and its value: a capability, a class of them, or a name that some crate exports.
fn entry(
    reader: &mut Reader,
    key: &Key<'_>,
    value: &Value<'_>,
    name: &str,
    shared: &Shared,
    out: &mut Vec<Clause>,
) {
    match Capability::from_name(name) {
        capability @ Capability::Host(..) => one(reader, key, value, capability, shared, out),
        Capability::Exported(_) => {
            let run_name = name.strip_prefix("build.").unwrap_or(name);
            if is_host_class(name) || is_host_class(run_name) {
                class(reader, key, value, name, out);
            } else if name.split('.').next().is_some_and(is_host_class) {
                unknown_action(reader, key, name);
            } else {
                exported(reader, key, value, name, out);
            }
        }
    }
}

/// `filesystem = { read = [...], at = "/icc" }` or `mmap = true`.
fn class(reader: &mut Reader, key: &Key<'_>, value: &Value<'_>, name: &str, out: &mut Vec<Clause>) {
    let table = match value.get_ref() {
        DeValue::Table(table) => table,
        DeValue::Boolean(false) => {
            let kind = ManifestErrorKind::FalseGrant { capability: name.to_owned() };
            return reader.error(reader.at(value), kind);
        }
        DeValue::Boolean(true) if name != "build" => {
            let (stage, class) =
                name.strip_prefix("build.").map_or((Stage::Run, name), |class| (Stage::Build, class));
            for host in HostCapability::of_class(class) {
                one(reader, key, value, Capability::Host(stage, host), &Shared::default(), out);
            }
            return;
        }
        _ => return reader.wrong_type(value, format!("`{name}`"), "a table of its actions"),
    };
    if table.is_empty() {
        return reader
            .error(reader.at(value), ManifestErrorKind::EmptyList { what: format!("actions in `{name}`") });
    }
    let is_filesystem = name.ends_with("filesystem");
    let shared = if is_filesystem { shared_keys(reader, table) } else { Shared::default() };
    let first = out.len();
    for (action, value) in table {
        let word = action.get_ref().as_ref();
        if is_filesystem && (word == "at" || word == "quota") {
            continue;
        }
        let full = format!("{name}.{word}");
        if !is_capability_name(&full) {
            let kind = ManifestErrorKind::BadCapabilityName { name: printable(&full) };
            reader.error(reader.at(action), kind);
            continue;
        }
        entry(reader, action, value, &full, &shared, out);
    }
    let clauses = &out[first..];
    if let Some(guest) = &shared.guest {
        let mut sources: Vec<_> = clauses.iter().flat_map(|clause| paths_of(&clause.scope.value)).collect();
        sources.sort();
        sources.dedup();
        if sources.len() != 1 {
            reader.error(guest.at, ManifestErrorKind::AtNeedsOnePath { count: sources.len() });
        }
    }
    let writes =
        clauses.iter().any(|clause| clause.capability.value.parameter() == ParameterKind::PathsWithQuota);
    if let Some(quota) = &shared.quota
        && !writes
    {
        reader.error(quota.at, ManifestErrorKind::QuotaWithoutWrite);
    }
}

fn paths_of(scope: &Scope) -> Vec<PathPattern> {
    match scope {
        Scope::Paths { patterns, .. } => patterns.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

fn shared_keys(reader: &mut Reader, table: &DeTable<'_>) -> Shared {
    let guest = table.get("at").and_then(|value| {
        let guest = guest_path(reader, value)?;
        Some(Located { value: guest, at: reader.at(value) })
    });
    let quota = table.get("quota").and_then(|value| {
        let quota = byte_count(reader, value)?;
        Some(Located { value: quota, at: reader.at(value) })
    });
    Shared { guest, quota }
}

fn unknown_action(reader: &mut Reader, key: &Key<'_>, name: &str) {
    let kind = unknown_capability(name);
    reader.error(reader.at(key), kind);
}

/// The error for a name inside a class of the host's that is none of its actions.
pub(super) fn unknown_capability(name: &str) -> ManifestErrorKind {
    let run_name = name.strip_prefix("build.").unwrap_or(name);
    let suggestion = nearest(run_name, HostCapability::all().map(HostCapability::name)).map(|found| {
        if run_name.len() == name.len() || found.starts_with("build.") {
            found.to_owned()
        } else {
            format!("build.{found}")
        }
    });
    ManifestErrorKind::UnknownCapability { name: name.to_owned(), suggestion }
}

/// A name that no host capability has: `"gpu.submit" = true`, or nested tables down to it.
fn exported(reader: &mut Reader, key: &Key<'_>, value: &Value<'_>, name: &str, out: &mut Vec<Clause>) {
    match value.get_ref() {
        DeValue::Boolean(true) => out.push(Clause {
            capability: Located { value: Capability::Exported(name.into()), at: reader.at(key) },
            scope: Located { value: Scope::Flag, at: reader.at(value) },
            mounts: Vec::new(),
        }),
        DeValue::Boolean(false) => {
            let kind = ManifestErrorKind::FalseGrant { capability: name.to_owned() };
            reader.error(reader.at(value), kind);
        }
        DeValue::Table(table) if !table.is_empty() => {
            // A slip in a class's name shows in its actions: `filesytem = { read = [...] }`.
            match nearest(name, HostCapability::all().map(HostCapability::class)) {
                Some(class) => {
                    let kind = ManifestErrorKind::UnknownCapability {
                        name: name.to_owned(),
                        suggestion: Some(class.to_owned()),
                    };
                    reader.error(reader.at(key), kind);
                }
                None => named(reader, table, &[], &format!("{name}."), out),
            }
        }
        DeValue::Table(_) => {
            reader.error(
                reader.at(value),
                ManifestErrorKind::EmptyList { what: format!("actions in `{name}`") },
            );
        }
        _ => {
            let candidates = HostCapability::all().flat_map(|host| [host.name(), host.class()]);
            match nearest(name, candidates) {
                Some(found) => {
                    let kind = ManifestErrorKind::UnknownCapability {
                        name: name.to_owned(),
                        suggestion: Some(found.to_owned()),
                    };
                    reader.error(reader.at(key), kind);
                }
                None => {
                    reader.wrong_type(
                        value,
                        format!("`{name}`, a capability exported by a crate,"),
                        "`true`",
                    );
                }
            }
        }
    }
}

/// One host capability with its parameters.
fn one(
    reader: &mut Reader,
    key: &Key<'_>,
    value: &Value<'_>,
    capability: Capability,
    shared: &Shared,
    out: &mut Vec<Clause>,
) {
    if let DeValue::Boolean(false) = value.get_ref() {
        let kind = ManifestErrorKind::FalseGrant { capability: capability.to_string() };
        return reader.error(reader.at(value), kind);
    }
    let name = capability.to_string();
    let mut mounts = Vec::new();
    let scope = match capability.parameter() {
        ParameterKind::Flag => flag(reader, value, &name).then_some(Scope::Flag),
        ParameterKind::Paths => paths(reader, value, &name, shared, &mut mounts)
            .map(|patterns| Scope::Paths { patterns, quota: None }),
        ParameterKind::PathsWithQuota => {
            let quota = shared.quota.as_ref().map(|quota| quota.value);
            paths(reader, value, &name, shared, &mut mounts).map(|patterns| Scope::Paths { patterns, quota })
        }
        ParameterKind::Hosts => patterns(
            reader,
            value,
            &name,
            ("hosts and ports", "network = { connect = [\"img.example.org:443\"] }"),
            |text| {
                HostPort::parse(text)
                    .map_err(|error| ManifestErrorKind::BadHost { text: text.to_owned(), error })
            },
        )
        .map(Scope::Hosts),
        ParameterKind::HostNames => patterns(
            reader,
            value,
            &name,
            ("host names", "network = { dns = [\"img.example.org\"] }"),
            |text| {
                HostPattern::parse(text)
                    .and_then(|host| match host {
                        HostPattern::Block(_) => Err(crate::scope::HostError::Name(text.to_owned())),
                        name => Ok(name),
                    })
                    .map_err(|error| match error {
                        _ if text.contains(':') => crate::scope::HostError::PortUnwanted,
                        error => error,
                    })
                    .map_err(|error| ManifestErrorKind::BadHost { text: text.to_owned(), error })
            },
        )
        .map(Scope::HostNames),
        ParameterKind::Names => patterns(
            reader,
            value,
            &name,
            ("variables", "environment = { read = [\"HTTP_PROXY\"] }"),
            |text| {
                NamePattern::parse(text)
                    .map_err(|error| ManifestErrorKind::BadVariable { text: text.to_owned(), error })
            },
        )
        .map(Scope::Names),
        ParameterKind::Streams => streams(reader, value),
        ParameterKind::Count => count(reader, value),
        ParameterKind::Resolution => resolution(reader, value),
    };
    if let Some(scope) = scope {
        out.push(Clause {
            capability: Located { value: capability, at: reader.at(key) },
            scope: Located { value: scope, at: reader.at(value) },
            mounts,
        });
    }
}

fn flag(reader: &mut Reader, value: &Value<'_>, name: &str) -> bool {
    let is_true = matches!(value.get_ref(), DeValue::Boolean(true));
    if !is_true {
        reader.wrong_type(value, format!("`{name}`"), "`true`");
    }
    is_true
}

/// Whether the value is `true`, which says too little for a capability with parameters.
fn says_everything(
    reader: &mut Reader,
    value: &Value<'_>,
    name: &str,
    what: (&'static str, &'static str),
) -> bool {
    let everything = matches!(value.get_ref(), DeValue::Boolean(true));
    if everything {
        let kind = ManifestErrorKind::ParameterMissing {
            capability: name.to_owned(),
            what: what.0,
            example: what.1,
        };
        reader.error(reader.at(value), kind);
    }
    everything
}

/// A list of strings, each a pattern.
fn patterns<P: crate::scope::Pattern>(
    reader: &mut Reader,
    value: &Value<'_>,
    name: &str,
    what: (&'static str, &'static str),
    parse: impl Fn(&str) -> Result<P, ManifestErrorKind>,
) -> Option<PatternSet<P>> {
    if says_everything(reader, value, name, what) {
        return None;
    }
    let mut patterns = Vec::new();
    for entry in reader.list(value, what.0)? {
        let Some(text) = reader.name(entry, "an entry of this list") else { continue };
        match parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(kind) => reader.error(reader.at(entry), kind),
        }
    }
    Some(PatternSet::new(patterns))
}

/// A list of paths: a string, `{ path, at }`, or `{ file, at }` for one file alone.
fn paths(
    reader: &mut Reader,
    value: &Value<'_>,
    name: &str,
    shared: &Shared,
    mounts: &mut Vec<Mount>,
) -> Option<PatternSet<PathPattern>> {
    if says_everything(reader, value, name, ("which paths", "filesystem = { read = [\"assets\"] }")) {
        return None;
    }
    let mut patterns = Vec::new();
    for entry in reader.list(value, "paths")? {
        let (source, guest) = match entry.get_ref() {
            DeValue::Table(table) => {
                reader.only_keys(table, "a path's table", PATH_KEYS);
                let (text, extent) = match (table.get("path"), table.get("file")) {
                    (Some(path), None) => (path, Extent::Tree),
                    (None, Some(file)) => (file, Extent::File),
                    (Some(_), Some(file)) => {
                        let kind =
                            ManifestErrorKind::Twice { what: "the path".to_owned(), first: reader.at(entry) };
                        reader.error(reader.at(file), kind);
                        continue;
                    }
                    (None, None) => {
                        let kind =
                            ManifestErrorKind::KeyMissing { what: "a path's table".to_owned(), key: "path" };
                        reader.error(reader.at(entry), kind);
                        continue;
                    }
                };
                let guest = table.get("at").and_then(|at| guest_path(reader, at));
                (host_path(reader, text).map(|path| PathPattern { path, extent }), guest)
            }
            _ => (host_path(reader, entry).map(PathPattern::tree), None),
        };
        let Some(source) = source else { continue };
        if let Some(guest) = guest.or_else(|| shared.guest.as_ref().map(|guest| guest.value.clone())) {
            mounts.push(Mount { source: source.clone(), guest });
        }
        patterns.push(source);
    }
    mounts.sort_by(|a, b| a.guest.cmp(&b.guest));
    Some(PatternSet::new(patterns))
}

fn host_path(reader: &mut Reader, value: &Value<'_>) -> Option<NormalPath> {
    // A path's own errors are clearer than those of a string, so only its type and length are checked first.
    let DeValue::String(text) = value.get_ref() else {
        reader.wrong_type(value, "a path", "a string, or a table with `path` or `file`");
        return None;
    };
    NormalPath::parse(text)
        .map_err(|error| {
            let text = printable(text);
            reader.error(reader.at(value), ManifestErrorKind::BadPath { text, error });
        })
        .ok()
}

fn guest_path(reader: &mut Reader, value: &Value<'_>) -> Option<NormalPath> {
    reader.string(value, "`at`", PATH_BYTES_MAX)?;
    let path = host_path(reader, value)?;
    if path.is_absolute() {
        return Some(path);
    }
    reader.error(reader.at(value), ManifestErrorKind::AtRelative);
    None
}

/// `true`, a list of streams, or `{ streams = [...], bytes = "1MiB" }`.
fn streams(reader: &mut Reader, value: &Value<'_>) -> Option<Scope> {
    let (listed, bytes) = match value.get_ref() {
        DeValue::Boolean(true) => (None, None),
        DeValue::Table(table) => {
            reader.only_keys(table, "`stdio`", STREAM_KEYS);
            let bytes = match table.get("bytes") {
                Some(value) => Some(byte_count(reader, value)?),
                None => None,
            };
            (table.get("streams"), bytes)
        }
        _ => (Some(value), None),
    };
    let Some(listed) = listed else {
        return Some(Scope::Streams { streams: PatternSet::new(Stream::ALL), bytes });
    };
    let mut streams = Vec::new();
    for entry in reader.list(listed, "streams")? {
        let Some(text) = reader.name(entry, "a stream") else { continue };
        match Stream::ALL.into_iter().find(|stream| stream.name() == text) {
            Some(stream) => streams.push(stream),
            None => reader.error(reader.at(entry), ManifestErrorKind::BadStream { text: text.to_owned() }),
        }
    }
    (!streams.is_empty()).then(|| Scope::Streams { streams: PatternSet::new(streams), bytes })
}

/// `true`, or `{ max = 4 }`.
fn count(reader: &mut Reader, value: &Value<'_>) -> Option<Scope> {
    if let DeValue::Boolean(true) = value.get_ref() {
        return Some(Scope::Count(None));
    }
    let table = reader.table(value, "`thread`")?;
    reader.only_keys(table, "`thread`", THREAD_KEYS);
    let Some(max) = table.get("max") else {
        let kind = ManifestErrorKind::KeyMissing { what: "`thread`".to_owned(), key: "max" };
        reader.error(reader.at(value), kind);
        return None;
    };
    reader.count(max, "`max`", u64::from(u32::MAX)).map(|max| Scope::Count(Some(max)))
}

/// `true`, or `{ resolution = "1ms" }`.
fn resolution(reader: &mut Reader, value: &Value<'_>) -> Option<Scope> {
    if let DeValue::Boolean(true) = value.get_ref() {
        return Some(Scope::Resolution(0));
    }
    let table = reader.table(value, "`clock`")?;
    reader.only_keys(table, "`clock`", CLOCK_KEYS);
    let Some(resolution) = table.get("resolution") else {
        let kind = ManifestErrorKind::KeyMissing { what: "`clock`".to_owned(), key: "resolution" };
        reader.error(reader.at(value), kind);
        return None;
    };
    duration(reader, resolution).map(Scope::Resolution)
}

pub(super) fn byte_count(reader: &mut Reader, value: &Value<'_>) -> Option<u64> {
    let text = reader.name(value, "a size")?;
    ByteCount::parse(text)
        .map(|bytes| bytes.0)
        .map_err(|error| {
            let kind = ManifestErrorKind::BadQuantity { text: text.to_owned(), what: "a size", error };
            reader.error(reader.at(value), kind);
        })
        .ok()
}

pub(super) fn duration(reader: &mut Reader, value: &Value<'_>) -> Option<u64> {
    let text = reader.name(value, "a duration")?;
    Nanoseconds::parse(text)
        .map(|time| time.0)
        .map_err(|error| {
            let kind = ManifestErrorKind::BadQuantity { text: text.to_owned(), what: "a duration", error };
            reader.error(reader.at(value), kind);
        })
        .ok()
}
