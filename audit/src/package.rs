//! The graph to judge, as data: nothing here is looked up.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::predicate::CfgSet;

/// A package's number in [`Graph::packages`].
pub type PackageIndex = usize;

/// The packages, and what is set while they are compiled.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The packages.
    pub packages: Vec<Package>,
    /// What the compiler sets for the target.
    pub cfg: CfgSet,
    /// The folder of the workspace: sources of its members may lie anywhere in it.
    pub workspace: PathBuf,
}

/// A package.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// What Cargo calls it in its messages.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 from Cargo.lock. Only what has one is cached: its files do not change.
    pub checksum: Option<String>,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// The targets that are compiled for its users; for a root also its programs.
    pub targets: Vec<Target>,
    /// Active features.
    pub features: BTreeSet<String>,
    /// Dependencies that are active for the platform.
    pub dependencies: Vec<Dependency>,
    /// Begins with the workspace's authority: all of its code counts as used.
    pub root: bool,
    /// May be edited here.
    pub member: bool,
    /// The native library that it says it links.
    pub links: Option<String>,
}

/// One target.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is.
    pub kind: TargetKind,
    /// Its name as code writes it.
    pub name: String,
    /// Its first file.
    pub source: PathBuf,
    /// Rust 2015: paths in `use` begin at the crate's root.
    pub edition_2015: bool,
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A library.
    Library,
    /// A procedural macro.
    ProcMacro,
    /// A program.
    Program,
    /// A build script.
    BuildScript,
}

/// One dependency.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The name that code writes.
    pub name: String,
    /// The package.
    pub to: PackageIndex,
    /// For the build script, not for the crate.
    pub build: bool,
}
