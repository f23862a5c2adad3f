//! Values as TOML, so that what is suggested can be pasted and what is parsed can be printed.

use std::fmt::Write as _;

use crate::capability::{Capability, HostCapability, ParameterKind};
use crate::manifest::{Compartment, EdgeGrants, EdgeKind, Limits, Manifest, Mount};
use crate::scope::{
    Bounded, ByteCount, Extent, Nanoseconds, NormalPath, PathPattern, Pattern, PatternSet, Scope,
};

/// `a -> b -> c`, with the middle left out when it is long.
pub fn path(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.len() <= SHOWN {
        return names.join(" -> ");
    }
    let (first, rest) = names.split_at(SHOWN / 2);
    let last = &rest[rest.len() - SHOWN / 2..];
    format!("{} -> ... ({} more) -> {}", first.join(" -> "), names.len() - SHOWN, last.join(" -> "))
}

/// One key as TOML, quoted where it must be.
pub fn key(word: &str) -> String {
    let is_bare =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_bare { word.to_owned() } else { string(word) }
}

/// A path of keys as TOML.
pub fn key_path(words: &[String]) -> String {
    words.iter().map(|word| key(word)).collect::<Vec<_>>().join(".")
}

/// A text as a TOML basic string.
pub fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list<P: Pattern + std::fmt::Display>(set: &PatternSet<P>) -> String {
    let entries: Vec<String> = set.iter().map(|pattern| string(&pattern.to_string())).collect();
    format!("[{}]", entries.join(", "))
}

fn path_entry(pattern: &PathPattern, mounts: &[&Mount]) -> Vec<String> {
    let path = string(pattern.path.as_str());
    let word = match pattern.extent {
        Extent::Tree => "path",
        Extent::File => "file",
    };
    if mounts.is_empty() {
        return vec![if pattern.extent == Extent::Tree { path } else { format!("{{ file = {path} }}") }];
    }
    mounts
        .iter()
        .map(|mount| format!("{{ {word} = {path}, at = {} }}", string(mount.guest.as_str())))
        .collect()
}

/// The value of a capability's parameters, as it stands behind its action's key.
fn value(scope: &Scope, mounts: &[Mount]) -> String {
    match scope {
        Scope::Flag | Scope::Count(None) | Scope::Resolution(0) => "true".to_owned(),
        Scope::Paths(set) => {
            let patterns: Vec<&PathPattern> = set.iter().map(|one| &one.pattern).collect();
            let mut entries = Vec::new();
            for pattern in &patterns {
                let here: Vec<&Mount> = mounts.iter().filter(|mount| mount.source == **pattern).collect();
                entries.extend(path_entry(pattern, &here));
            }
            // A mount whose path another entry covers is still a name of its own.
            for mount in mounts.iter().filter(|mount| !patterns.contains(&&mount.source)) {
                entries.extend(path_entry(&mount.source, &[mount]));
            }
            format!("[{}]", entries.join(", "))
        }
        Scope::Hosts(set) => list(set),
        Scope::HostNames(set) => list(set),
        Scope::Names(set) => list(set),
        Scope::Streams(set) => {
            let streams = list(&PatternSet::new(set.iter().map(|one| one.pattern)));
            match set.smallest_bound() {
                None => streams,
                Some(bytes) => {
                    format!("{{ streams = {streams}, bytes = {} }}", string(&ByteCount(bytes).to_string()))
                }
            }
        }
        Scope::Count(Some(max)) => format!("{{ max = {max} }}"),
        Scope::Bytes(bytes) => string(&ByteCount(*bytes).to_string()),
        Scope::Resolution(time) => format!("{{ resolution = {} }}", string(&Nanoseconds(*time).to_string())),
    }
}

/// The keys under which a clause is written, and the TOML of its value.
pub fn clause_parts(capability: &Capability, scope: &Scope) -> (Vec<String>, String) {
    (capability.key_path(), value(scope, &[]))
}

/// The quota that a table must name for a scope of paths. A table has one for all its paths: the smallest says never too much.
pub fn quota(scope: &Scope) -> Option<u64> {
    match scope {
        Scope::Paths(set) => set.smallest_bound(),
        _ => None,
    }
}

/// One clause as a line: `filesystem = { read = ["assets"] }`.
pub fn clause(capability: &Capability, scope: &Scope) -> String {
    with_mounts(capability, scope, &[])
}

/// The line of a grants table that would allow what a guest tried: with the path that it named, where that is known, and else with an example
/// and a comment which says what to put in its place. `extent` is what the path was named as.
pub fn suggestion(capability: &Capability, path: Option<(&str, Extent)>) -> String {
    suggestion_at(capability, path, None)
}

/// The same, for a path that has another name inside.
pub fn suggestion_at(capability: &Capability, path: Option<(&str, Extent)>, at: Option<&str>) -> String {
    let what = match capability.parameter() {
        ParameterKind::Paths | ParameterKind::PathsWithQuota => {
            let named = path.and_then(|(path, extent)| Some((NormalPath::parse(path).ok()?, extent)));
            if let Some((path, extent)) = named {
                // A program that is started is named as it is.
                let spawns = capability.host_capability() == Some(HostCapability::ProcessSpawn);
                let pattern = PathPattern { path, extent: if spawns { Extent::Tree } else { extent } };
                let mount = at.and_then(|at| NormalPath::parse(at).ok());
                let mounts = mount.map(|guest| Mount { source: pattern.clone(), guest });
                let scope = Scope::Paths(PatternSet::new([Bounded::free(pattern)]));
                return with_mounts(capability, &scope, mounts.as_slice());
            }
            "the paths"
        }
        ParameterKind::Hosts | ParameterKind::HostNames => "the hosts",
        ParameterKind::Names => "the variables",
        _ => return clause(capability, &crate::example_scope(capability)),
    };
    format!("{} # with {what} that you mean", clause(capability, &crate::example_scope(capability)))
}

fn with_mounts(capability: &Capability, scope: &Scope, mounts: &[Mount]) -> String {
    let keys = capability.key_path();
    let mut text = value(scope, mounts);
    if let Some(quota) = quota(scope) {
        let quota = string(&ByteCount(quota).to_string());
        text = format!("{{ {} = {text}, quota = {quota} }}", key(&keys[keys.len() - 1]));
        for word in keys[1..keys.len() - 1].iter().rev() {
            text = format!("{{ {} = {text} }}", key(word));
        }
    } else {
        for word in keys[1..].iter().rev() {
            text = format!("{{ {} = {text} }}", key(word));
        }
    }
    format!("{} = {text}", key(&keys[0]))
}

/// A clause under its full name, so that clauses of one class do not meet in one table: `"filesystem.read" = ["a"]`.
fn full_name_clause(clause: &crate::manifest::Clause) -> String {
    let (capability, scope) = (&clause.capability.value, &clause.scope.value);
    if quota(scope).is_some() {
        return with_mounts(capability, scope, &clause.mounts);
    }
    format!("{} = {}", string(&capability.to_string()), value(scope, &clause.mounts))
}

/// A whole manifest as a `capabilities.toml`. Parsing it gives an equal manifest.
pub fn manifest(manifest: &Manifest) -> String {
    let mut out = String::new();
    let line = |out: &mut String, text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    if let Some(workspace) = &manifest.workspace {
        if let Some(roots) = &workspace.roots {
            let roots: Vec<String> = roots.iter().map(|root| string(&root.value.to_string())).collect();
            line(&mut out, &format!("roots = [{}]", roots.join(", ")));
        }
        if let Some(holds) = &workspace.holds {
            line(&mut out, "\n[holds]");
            holds.value.iter().for_each(|clause| line(&mut out, &full_name_clause(clause)));
        }
        for grant in &workspace.grants {
            let from = grant.from.as_ref().map(ToString::to_string).unwrap_or_default();
            let edge = format!("{from} -> {}", grant.to.value);
            line(&mut out, &format!("\n[grants.{}]", string(&edge)));
            line(&mut out, &edge_grants(grant));
        }
        for (name, compartment) in &workspace.compartments {
            line(&mut out, &format!("\n[compartments.{}]", key(&name.value.to_string())));
            line(&mut out, &compartment_lines(compartment));
        }
    }
    for tables in &manifest.crates {
        let name = format!("crates.{}", key(&tables.name.value.to_string()));
        line(&mut out, &format!("\n[{name}]"));
        for (section, kind) in [("dependencies", EdgeKind::Normal), ("build-dependencies", EdgeKind::Build)] {
            let listed = tables.dependencies.iter().filter(|line| line.kind == kind);
            let listed: Vec<String> = listed.map(|line| string(&line.to.value.to_string())).collect();
            if !listed.is_empty() {
                line(&mut out, &format!("{section} = [{}]", listed.join(", ")));
            }
        }
        if !tables.consumes.is_empty() || tables.declared {
            line(&mut out, &format!("\n[{name}.consumes]"));
        }
        for consume in &tables.consumes {
            let reason = string(&consume.reason);
            let value =
                if consume.optional { format!("{{ reason = {reason}, optional = true }}") } else { reason };
            line(&mut out, &format!("{} = {value}", string(&consume.capability.value.to_string())));
        }
        if !tables.exports.is_empty() {
            line(&mut out, &format!("\n[{name}.exports]"));
        }
        for export in &tables.exports {
            let items: Vec<String> = export.items.iter().map(|item| string(item)).collect();
            let name = string(&export.capability.value.to_string());
            line(
                &mut out,
                &format!(
                    "{name} = {{ items = [{}], reason = {} }}",
                    items.join(", "),
                    string(&export.reason)
                ),
            );
        }
        if let Some(compartment) = &tables.compartment {
            line(&mut out, &format!("\n[{name}.compartment]"));
            line(&mut out, &compartment_lines(compartment));
        }
        for grant in &tables.grants {
            line(&mut out, &format!("\n[{name}.grants.{}]", key(&grant.to.value.to_string())));
            line(&mut out, &edge_grants(grant));
        }
    }
    out
}

fn edge_grants(grant: &EdgeGrants) -> String {
    // Each field by its name, so that none is left out: the consumer and the dependency are the table's key, the authority is the clauses'.
    let EdgeGrants { from: _, to: _, clauses, authority: _, reason, version, checksum, link } = grant;
    let mut lines: Vec<String> = clauses.iter().map(full_name_clause).collect();
    lines.extend(reason.as_ref().map(|reason| format!("reason = {}", string(reason))));
    lines.extend(version.as_ref().map(|version| format!("version = {}", string(&version.value.to_string()))));
    lines.extend(checksum.as_ref().map(|checksum| format!("checksum = {}", string(&checksum.value))));
    lines.extend(link.as_ref().map(|link| format!("link = {}", string(link.value.name()))));
    lines.join("\n")
}

fn compartment_lines(compartment: &Compartment) -> String {
    let Compartment { backend, component, world, limits: bounds, weakenings } = compartment;
    let mut lines = Vec::new();
    lines.extend(backend.as_ref().map(|backend| format!("backend = {}", string(backend.value.name()))));
    lines.extend(component.as_ref().map(|path| format!("component = {}", string(path.value.as_str()))));
    lines.extend(
        world.as_ref().map(|world| {
            format!("world = {}", string(&format!("{}#{}", world.value.path, world.value.world)))
        }),
    );
    let bounds = limits(bounds);
    if !bounds.is_empty() {
        let bounds: Vec<String> =
            bounds.iter().map(|(name, value)| format!("{name} = {}", limit_value(value))).collect();
        lines.push(format!("limits = {{ {} }}", bounds.join(", ")));
    }
    if !weakenings.is_empty() {
        let each: Vec<String> = weakenings
            .iter()
            .map(|(one, reason)| format!("{} = {}", one.value.name(), string(reason)))
            .collect();
        lines.push(format!("weakenings = {{ {} }}", each.join(", ")));
    }
    lines.join("\n")
}

fn limit_value(value: &str) -> String {
    if value.bytes().all(|b| b.is_ascii_digit()) { value.to_owned() } else { string(value) }
}

/// The limits that are set, by their names in a manifest.
pub fn limits(limits: &Limits) -> Vec<(&'static str, String)> {
    let Limits { memory, call_deadline, cpu_time, output, handles, calls_in_flight } = limits;
    let set = [
        ("memory", memory.map(|value| value.to_string())),
        ("call-deadline", call_deadline.map(|value| value.to_string())),
        ("cpu-time", cpu_time.map(|value| value.to_string())),
        ("output", output.map(|value| value.to_string())),
        ("handles", handles.map(|value| value.to_string())),
        ("calls-in-flight", calls_in_flight.map(|value| value.to_string())),
    ];
    set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
