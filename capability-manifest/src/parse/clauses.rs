//! The grammar of `holds` and of grants tables: capability names, nested or dotted.

use toml::de::{DeTable, DeValue};

use super::error::ManifestErrorKind;
use super::parameters::{Shared, needed, scope, shared_keys};
use super::reader::{Key, Reader, Value, printable};
use crate::capability::{
    Capability, HostCapability, ParameterKind, Stage, is_capability_name, is_host_class,
};
use crate::limits::LIST_ENTRIES_MAX;
use crate::manifest::{Clause, Mount};
use crate::scope::{PathPattern, Scope};
use crate::suggest::nearest;
use crate::text::{Located, Location};

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
            if let Some((what, example)) =
                HostCapability::of_class(class).find_map(|host| needed(host.parameter()))
            {
                let kind = ManifestErrorKind::ParameterMissing { capability: name.to_owned(), what, example };
                return reader.error(reader.at(value), kind);
            }
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
        Scope::Paths(set) => set.iter().map(|one| one.pattern.clone()).collect(),
        _ => Vec::new(),
    }
}

fn unknown_action(reader: &mut Reader, key: &Key<'_>, name: &str) {
    let kind = unknown_capability(name);
    reader.error(reader.at(key), kind);
}

/// The error for a name inside a class of the host's that is none of its actions.
pub(super) fn unknown_capability(name: &str) -> ManifestErrorKind {
    let (stage, run_name) = name.strip_prefix("build.").map_or(("", name), |run_name| ("build.", run_name));
    let (class, action) = run_name.split_once('.').unwrap_or(("build", run_name));
    let actions = HostCapability::of_class(class).filter_map(|host| host.name().split_once('.'));
    let in_class = nearest(action, actions.map(|(_, action)| action)).map(|action| {
        if run_name.contains('.') { format!("{stage}{class}.{action}") } else { format!("build.{action}") }
    });
    let whole = || {
        nearest(run_name, HostCapability::all().map(HostCapability::name))
            .map(|found| format!("{stage}{found}"))
    };
    let suggestion =
        in_class.or_else(|| if HostCapability::of_class(class).next().is_none() { whole() } else { None });
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
    match (value.get_ref(), needed(capability.parameter())) {
        (DeValue::Boolean(false), _) => {
            let kind = ManifestErrorKind::FalseGrant { capability: capability.to_string() };
            return reader.error(reader.at(value), kind);
        }
        (DeValue::Boolean(true), Some((what, example))) => {
            let kind =
                ManifestErrorKind::ParameterMissing { capability: capability.to_string(), what, example };
            return reader.error(reader.at(value), kind);
        }
        _ => {}
    }
    let mut mounts = Vec::new();
    if let Some(scope) = scope(reader, value, &capability, shared, &mut mounts) {
        out.push(Clause {
            capability: Located { value: capability, at: reader.at(key) },
            scope: Located { value: scope, at: reader.at(value) },
            mounts,
        });
    }
}
