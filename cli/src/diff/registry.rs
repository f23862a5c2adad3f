//! Crates as they lie in Cargo's own cache of the registry: nothing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ambient_authority::AmbientAuthority;
use cargo_metadata::{DependencyKind, MetadataCommand};
use cofferdam::manifest::Capability;
use cofferdam_audit::{Extent, TargetKind, audit_extent, digests_ambient};
use serde::Deserialize;

use super::{Facts, Snapshot};
use crate::Stop;
use crate::code::Code;
use crate::reach::way_lines;

/// `name@1.2.3`.
pub(super) fn version(word: &str, ambient: AmbientAuthority) -> Result<Snapshot, Stop> {
    let (name, version) = word.split_once('@').unwrap_or((word, ""));
    let folder = folder(name, version).ok_or_else(|| {
        Stop::Usage(format!(
            "`{word}` is not in Cargo's cache; add it to some project and run `cargo fetch` there"
        ))
    })?;
    Ok(Snapshot {
        crates: BTreeMap::from([(name.to_owned(), facts(&folder, ambient)?)]),
        edges: BTreeMap::new(),
    })
}

/// Where Cargo unpacked a package.
fn folder(name: &str, version: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")))?;
    let registries = std::fs::read_dir(home.join("registry/src")).ok()?;
    let wanted = format!("{name}-{version}");
    if wanted.contains(['/', '\\']) {
        return None;
    }
    let mut found = registries.flatten().map(|registry| registry.path().join(&wanted));
    found.find(|folder| folder.join("Cargo.toml").is_file())
}

/// What one package's own code reaches, all of it taken as used, with its default features.
fn facts(folder: &Path, ambient: AmbientAuthority) -> Result<Facts, Stop> {
    let mut command = MetadataCommand::new();
    command.manifest_path(folder.join("Cargo.toml")).no_deps().other_options(["--offline".to_owned()]);
    let metadata = command
        .exec()
        .map_err(|error| Stop::Usage(format!("`{}` cannot be read: {error}", folder.display())))?;
    let Some(package) = metadata.packages.first() else {
        return Err(Stop::Usage(format!("`{}` has no package", folder.display())));
    };
    let code = Code::of_package(package, ambient)?;
    let verdict = audit_extent(&code.graph, &code.sources, &code.table, Extent::Compiled, None);
    let own: BTreeSet<Capability> = verdict
        .own(0)
        .into_iter()
        .map(|atom| atom.capability)
        .filter(|capability| !capability.granted_by_default())
        .collect();
    Ok(Facts {
        version: package.version.to_string(),
        own: own
            .into_iter()
            .map(|capability| {
                let way = verdict.way_within(0, &capability);
                let lines = way.map_or_else(Vec::new, |way| way_lines(&code, &way));
                (capability, lines)
            })
            .collect(),
        build_script: digests_ambient(&code.graph, &code.sources, TargetKind::BuildScript, ambient)
            .remove(&0),
        dependencies: package
            .dependencies
            .iter()
            .filter(|one| one.kind != DependencyKind::Development && !one.optional)
            .map(|one| one.name.clone())
            .collect(),
        unread: None,
    })
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Two lock files. Only what is in one of them and not in the other is read.
pub(super) fn locks(old: &Path, new: &Path, ambient: AmbientAuthority) -> Result<(Snapshot, Snapshot), Stop> {
    let (before, after) = (read(old)?, read(new)?);
    let full = |one: &Locked| (one.name.clone(), one.version.clone());
    let was: BTreeSet<(String, String)> = before.package.iter().map(full).collect();
    let is: BTreeSet<(String, String)> = after.package.iter().map(full).collect();
    let several: BTreeSet<String> = [&was, &is]
        .into_iter()
        .flat_map(|side| {
            let mut names: BTreeMap<&str, usize> = BTreeMap::new();
            for (name, _) in side {
                *names.entry(name).or_default() += 1;
            }
            names.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name.to_owned())
        })
        .collect();
    let snapshot = |lock: &Lock, other: &BTreeSet<(String, String)>| -> Result<Snapshot, Stop> {
        let mut snapshot = Snapshot::default();
        for one in &lock.package {
            let key = if several.contains(&one.name) {
                format!("{}@{}", one.name, one.version)
            } else {
                one.name.clone()
            };
            let dependencies: BTreeSet<String> = one
                .dependencies
                .iter()
                .map(|text| text.split(' ').next().unwrap_or(text).to_owned())
                .collect();
            for to in &dependencies {
                snapshot.edges.insert((one.name.clone(), to.clone()), BTreeMap::new());
            }
            if other.contains(&full(one)) {
                continue;
            }
            let mut known = match (&one.source, folder(&one.name, &one.version)) {
                (Some(_), Some(folder)) => facts(&folder, ambient)?,
                (Some(_), None) => {
                    Facts { unread: Some("it is not in Cargo's cache".to_owned()), ..Facts::default() }
                }
                (None, _) => Facts {
                    unread: Some("it comes from no registry; compare revisions instead".to_owned()),
                    ..Facts::default()
                },
            };
            known.version.clone_from(&one.version);
            known.dependencies = dependencies;
            snapshot.crates.insert(key, known);
        }
        Ok(snapshot)
    };
    Ok((snapshot(&before, &is)?, snapshot(&after, &was)?))
}

fn read(path: &Path) -> Result<Lock, Stop> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Stop::Read(path.display().to_string(), error))?;
    toml::from_str(&text)
        .map_err(|error| Stop::Usage(format!("`{}` is no lock file: {}", path.display(), error.message())))
}
