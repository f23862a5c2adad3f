//! The parameters of each kind of capability, as a grants table writes them.

use toml::de::{DeTable, DeValue};

use super::error::ManifestErrorKind;
use super::reader::{Reader, Value, printable};
use crate::capability::{Capability, ParameterKind};
use crate::limits::{LIST_ENTRIES_MAX, PATH_BYTES_MAX};
use crate::manifest::Mount;
use crate::scope::{
    ByteCount, Extent, HostError, HostPattern, HostPort, NamePattern, Nanoseconds, NormalPath, PathPattern,
    Pattern, PatternSet, Scope, Stream,
};
use crate::text::Located;

const STREAM_KEYS: &[&str] = &["streams", "bytes"];
const CLOCK_KEYS: &[&str] = &["resolution"];
const THREAD_KEYS: &[&str] = &["max"];
const PATH_KEYS: &[&str] = &["path", "file", "at"];

/// What a class's table says about all the paths in it.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) guest: Option<Located<NormalPath>>,
    pub(super) quota: Option<Located<u64>>,
}

pub(super) fn shared_keys(reader: &mut Reader, table: &DeTable<'_>) -> Shared {
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

/// What a grant must say beside the name, with an example; `None` when `true` says enough.
pub(super) fn needed(parameter: ParameterKind) -> Option<(&'static str, &'static str)> {
    match parameter {
        ParameterKind::Paths | ParameterKind::PathsWithQuota => {
            Some(("which paths", "filesystem = { read = [\"assets\"] }"))
        }
        ParameterKind::Hosts => {
            Some(("which hosts and ports", "network = { connect = [\"img.example.org:443\"] }"))
        }
        ParameterKind::HostNames => Some(("which host names", "network = { dns = [\"img.example.org\"] }")),
        ParameterKind::Bytes => Some(("how many bytes", "filesystem = { scratch = \"16MiB\" }")),
        ParameterKind::Names => Some(("which variables", "environment = { read = [\"HTTP_PROXY\"] }")),
        ParameterKind::Flag | ParameterKind::Streams | ParameterKind::Count | ParameterKind::Resolution => {
            None
        }
    }
}

/// The parameters of a capability that is neither `false` nor a `true` that says too little.
pub(super) fn scope(
    reader: &mut Reader,
    value: &Value<'_>,
    capability: &Capability,
    shared: &Shared,
    mounts: &mut Vec<Mount>,
) -> Option<Scope> {
    match capability.parameter() {
        ParameterKind::Flag => flag(reader, value, capability).then_some(Scope::Flag),
        ParameterKind::Paths => {
            paths(reader, value, shared, mounts).map(|set| Scope::Paths(PatternSet::bounded(&set, None)))
        }
        ParameterKind::PathsWithQuota => {
            let quota = shared.quota.as_ref().map(|quota| quota.value);
            paths(reader, value, shared, mounts).map(|set| Scope::Paths(PatternSet::bounded(&set, quota)))
        }
        ParameterKind::Hosts => patterns(reader, value, "hosts and ports", |text| {
            HostPort::parse(text).map_err(|error| bad_host(text, error))
        })
        .map(Scope::Hosts),
        ParameterKind::HostNames => patterns(reader, value, "host names", host_name).map(Scope::HostNames),
        ParameterKind::Names => patterns(reader, value, "variables", |text| {
            NamePattern::parse(text)
                .map_err(|error| ManifestErrorKind::BadVariable { text: text.to_owned(), error })
        })
        .map(Scope::Names),
        ParameterKind::Streams => streams(reader, value),
        ParameterKind::Count => count(reader, value),
        ParameterKind::Resolution => resolution(reader, value),
        ParameterKind::Bytes => byte_count(reader, value).map(Scope::Bytes),
    }
}

fn bad_host(text: &str, error: HostError) -> ManifestErrorKind {
    ManifestErrorKind::BadHost { text: text.to_owned(), error }
}

/// A name or suffix without a port; an address is no name.
fn host_name(text: &str) -> Result<HostPattern, ManifestErrorKind> {
    if text.contains(':') {
        return Err(bad_host(text, HostError::PortUnwanted));
    }
    match HostPattern::parse(text) {
        Ok(HostPattern::Block(_)) => Err(bad_host(text, HostError::Name(text.to_owned()))),
        Ok(name) => Ok(name),
        Err(error) => Err(bad_host(text, error)),
    }
}

fn flag(reader: &mut Reader, value: &Value<'_>, capability: &Capability) -> bool {
    let is_true = matches!(value.get_ref(), DeValue::Boolean(true));
    if !is_true {
        reader.wrong_type(value, format!("`{capability}`"), "`true`");
    }
    is_true
}

/// A list of strings, each a pattern.
fn patterns<P: Pattern>(
    reader: &mut Reader,
    value: &Value<'_>,
    what: &str,
    parse: impl Fn(&str) -> Result<P, ManifestErrorKind>,
) -> Option<PatternSet<P>> {
    let mut patterns = Vec::new();
    for entry in reader.list(value, what)? {
        let Some(text) = reader.name(entry, "an entry of this list") else { continue };
        match parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(kind) => reader.error(reader.at(entry), kind),
        }
    }
    let set = PatternSet::new(patterns);
    // A range that others take ports from is several patterns then.
    let found = set.iter().len();
    (!reader.too_many(reader.at(value), "entries in one list", found, LIST_ENTRIES_MAX)).then_some(set)
}

/// A list of paths: a string, `{ path, at }`, or `{ file, at }` for one file alone.
fn paths(
    reader: &mut Reader,
    value: &Value<'_>,
    shared: &Shared,
    mounts: &mut Vec<Mount>,
) -> Option<PatternSet<PathPattern>> {
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
    mounts.sort_by(|a, b| (&a.guest, &a.source).cmp(&(&b.guest, &b.source)));
    mounts.dedup();
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
            let bytes = table.get("bytes").and_then(|value| byte_count(reader, value));
            (table.get("streams"), bytes)
        }
        _ => (Some(value), None),
    };
    let Some(listed) = listed else {
        return Some(Scope::Streams(PatternSet::bounded(&PatternSet::new(Stream::ALL), bytes)));
    };
    let mut streams = Vec::new();
    for entry in reader.list(listed, "streams")? {
        let Some(text) = reader.name(entry, "a stream") else { continue };
        match Stream::ALL.into_iter().find(|stream| stream.name() == text) {
            Some(stream) => streams.push(stream),
            None => reader.error(reader.at(entry), ManifestErrorKind::BadStream { text: text.to_owned() }),
        }
    }
    (!streams.is_empty()).then(|| Scope::Streams(PatternSet::bounded(&PatternSet::new(streams), bytes)))
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
