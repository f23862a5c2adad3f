//! Graphs from what `cargo metadata` says.

use std::collections::{BTreeSet, HashMap};

use cargo_metadata::{DependencyKind, Metadata, PackageId, TargetKind as CargoKind};

use crate::package::{Dependency, Graph, Package, PackageIndex, Target, TargetKind};
use crate::predicate::{CfgSet, Predicate};

/// Whether any dependency is only for one named platform.
pub fn names_a_triple(metadata: &Metadata) -> bool {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    nodes.flat_map(|node| &node.deps).flat_map(|dependency| &dependency.dep_kinds).any(|kind| {
        kind.target.as_ref().is_some_and(|platform| Predicate::parse_text(&platform.to_string()).is_none())
    })
}

impl Graph {
    /// The graph of a workspace. `host` is the platform's triple. `describe` says of each package, in the order of the metadata,
    /// whether it is a root, and its checksum.
    pub fn of_workspace(
        metadata: &Metadata,
        cfg: CfgSet,
        host: Option<&str>,
        mut describe: impl FnMut(&cargo_metadata::Package) -> (bool, Option<String>),
    ) -> Self {
        let numbers: HashMap<&PackageId, PackageIndex> =
            metadata.packages.iter().enumerate().map(|(number, package)| (&package.id, number)).collect();
        let members: BTreeSet<&PackageId> = metadata.workspace_members.iter().collect();
        let mut packages: Vec<Package> = metadata
            .packages
            .iter()
            .map(|package| {
                let (root, checksum) = describe(package);
                let member = members.contains(&package.id);
                Package { checksum, root, member, ..described(package, root) }
            })
            .collect();
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let Some(&from) = numbers.get(&node.id) else { continue };
            packages[from].features = node.features.iter().map(ToString::to_string).collect();
            for dependency in &node.deps {
                let Some(&to) = numbers.get(&dependency.pkg) else { continue };
                for kind in &dependency.dep_kinds {
                    let build = match kind.kind {
                        DependencyKind::Normal => false,
                        DependencyKind::Build => true,
                        _ => continue,
                    };
                    let active = kind.target.as_ref().is_none_or(|platform| {
                        let platform = platform.to_string();
                        match Predicate::parse_text(&platform) {
                            Some(predicate) => predicate.evaluate(&cfg, &BTreeSet::new()) != Some(false),
                            None => host == Some(platform.as_str()),
                        }
                    });
                    if active {
                        let name = dependency.name.clone();
                        packages[from].dependencies.push(Dependency { name, to, build });
                    }
                }
            }
        }
        Self { packages, cfg, workspace: metadata.workspace_root.as_std_path().to_owned() }
    }

    /// One package by itself, a root with its default features and without what it depends on.
    pub fn of_package(package: &cargo_metadata::Package, cfg: CfgSet) -> Self {
        let mut features = BTreeSet::new();
        let mut pending = vec!["default".to_owned()];
        while let Some(feature) = pending.pop() {
            if let Some(more) = package.features.get(&feature)
                && features.insert(feature)
            {
                pending.extend(more.iter().cloned());
            }
        }
        let package = Package { root: true, features, ..described(package, false) };
        Self { workspace: package.folder.clone(), packages: vec![package], cfg }
    }
}

fn described(package: &cargo_metadata::Package, root: bool) -> Package {
    Package {
        id: package.id.repr.clone(),
        name: package.name.to_string(),
        version: package.version.to_string(),
        checksum: None,
        folder: package
            .manifest_path
            .parent()
            .map(|folder| folder.as_std_path().to_owned())
            .unwrap_or_default(),
        targets: targets(package, root),
        features: BTreeSet::new(),
        dependencies: Vec::new(),
        root: false,
        member: false,
        links: package.links.clone(),
    }
}

/// What of a package is compiled for who uses it; of a root also its programs.
fn targets(package: &cargo_metadata::Package, root: bool) -> Vec<Target> {
    let mut targets = Vec::new();
    for target in &package.targets {
        let is_library = |kind: &CargoKind| {
            matches!(
                kind,
                CargoKind::Lib
                    | CargoKind::RLib
                    | CargoKind::DyLib
                    | CargoKind::CDyLib
                    | CargoKind::StaticLib
            )
        };
        let kind = if target.kind.contains(&CargoKind::ProcMacro) {
            TargetKind::ProcMacro
        } else if target.kind.iter().any(is_library) {
            TargetKind::Library
        } else if target.kind.contains(&CargoKind::CustomBuild) {
            TargetKind::BuildScript
        } else if root && target.kind.contains(&CargoKind::Bin) {
            TargetKind::Program
        } else {
            continue;
        };
        targets.push(Target {
            kind,
            name: target.name.replace('-', "_"),
            source: target.src_path.as_std_path().to_owned(),
            edition_2015: target.edition == cargo_metadata::Edition::E2015,
        });
    }
    targets
}
