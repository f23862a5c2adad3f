//! What one manifest file says: the second stage of the pipeline.
//!
//! A [`Manifest`] is well-formed but decides nothing: the crates it names may not exist, and what it grants may exceed what
//! the granter holds. [`crate::resolve()`] judges that. Equality ignores where values are written.

use std::sync::Arc;

use semver::VersionReq;

use crate::authority::Authority;
use crate::capability::{Backend, Capability};
use crate::link::Link;
use crate::scope::{ByteCount, Nanoseconds, NormalPath, PathPattern, Scope};
use crate::text::{FileId, Located};
use crate::weakening::Weakening;

/// One file's tables.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file.
    pub file: FileId,
    /// What the people who ship the program decide. In a standalone file: its top level.
    pub workspace: Option<WorkspaceTables>,
    /// The crates declared here: at most one in a `Cargo.toml`, any number in a standalone file.
    pub crates: Vec<CrateTables>,
}

/// A manifest is a claim and a wish; where its words stand is no part of what it says.
impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.workspace == other.workspace && self.crates == other.crates
    }
}

/// `[workspace.metadata.capabilities]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkspaceTables {
    /// The crates that begin with the workspace's authority; `None` is every member that no other member depends on.
    pub roots: Option<Vec<Located<CrateSpec>>>,
    /// The root's own authority. `None` when there is no `holds` table.
    pub holds: Option<Located<Vec<Clause>>>,
    /// Grants over edges between crates that one cannot edit.
    pub grants: Vec<EdgeGrants>,
    /// Backends and limits for crates that one cannot edit.
    pub compartments: Vec<(Located<CrateSpec>, Compartment)>,
}

/// A crate's own tables.
#[derive(Debug, Clone, PartialEq)]
pub struct CrateTables {
    /// The crate, with its version when a standalone file gives one.
    pub name: Located<CrateSpec>,
    /// Whether there is a capabilities table at all. Without one the crate is *undeclared*.
    pub declared: bool,
    /// Dependencies as the file lists them; in a `Cargo.toml` only for messages, in a standalone file these are the edges.
    pub dependencies: Vec<DependencyLine>,
    /// What the crate asks for.
    pub consumes: Vec<Consume>,
    /// What its own unsafe code can do for others.
    pub exports: Vec<Export>,
    /// Where its code runs.
    pub compartment: Option<Compartment>,
    /// What it gives to its dependencies.
    pub grants: Vec<EdgeGrants>,
}

/// One dependency as a file lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct DependencyLine {
    /// The package.
    pub to: Located<CrateSpec>,
    /// In which stage it is used.
    pub kind: EdgeKind,
    /// The name that the consumer's code uses, when it is not the package's.
    pub renamed: Option<String>,
}

/// How Cargo uses a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// Linked into the consumer.
    Normal,
    /// Linked into the consumer's build script.
    Build,
}

/// A crate by name, and by version where the name alone is not enough: `zlib` or `zlib@1.2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrateSpec {
    /// The package's name.
    pub name: String,
    /// The beginning of its version, in whole numbers: `1`, `1.2`, `1.2.3`.
    pub version: Option<String>,
}

impl CrateSpec {
    /// Whether a package of that name and version is meant.
    pub fn matches(&self, name: &str, version: &semver::Version) -> bool {
        if self.name != name {
            return false;
        }
        self.version.as_deref().is_none_or(|wanted| {
            let version = version.to_string();
            version
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
        })
    }
}

impl std::fmt::Display for CrateSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// One entry of `consumes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Consume {
    /// The capability asked for.
    pub capability: Located<Capability>,
    /// Why, for the person who grants it.
    pub reason: String,
    /// The crate works without it.
    pub optional: bool,
}

/// One entry of `exports`.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The name in the world.
    pub capability: Located<Capability>,
    /// The items that reach it.
    pub items: Vec<String>,
    /// What the consumer must know.
    pub reason: String,
}

/// `[... .compartment]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compartment {
    /// The backend; `None` is inline, or for an override, what the crate says itself.
    pub backend: Option<Located<Backend>>,
    /// A component that was built elsewhere, relative to the file that names it.
    pub component: Option<Located<NormalPath>>,
    /// The typed interface.
    pub world: Option<Located<WorldRef>>,
    /// Bounds on the running compartment.
    pub limits: Limits,
    /// What may be missing, with the reason. Only the workspace says so: a crate does not loosen its own confinement.
    pub weakenings: Vec<(Located<Weakening>, String)>,
}

/// A world in a WIT file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldRef {
    /// The file, relative to the crate.
    pub path: NormalPath,
    /// The world's name in it.
    pub world: String,
}

/// Bounds on a running compartment. `None` is the runtime's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Most memory, all memories together.
    pub memory: Option<ByteCount>,
    /// Longest time for one call, waiting included.
    pub call_deadline: Option<Nanoseconds>,
    /// Most processor time in all.
    pub cpu_time: Option<Nanoseconds>,
    /// Most bytes written to standard streams in all.
    pub output: Option<ByteCount>,
    /// Most handles open at a time.
    pub handles: Option<u64>,
    /// Most calls running at a time.
    pub calls_in_flight: Option<u64>,
}

/// A grants table for one edge.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeGrants {
    /// The consumer; `None` when the table is in the consumer's own manifest.
    pub from: Option<CrateSpec>,
    /// The dependency. Its location is the table's key.
    pub to: Located<CrateSpec>,
    /// What is granted.
    pub clauses: Vec<Clause>,
    /// The same as one authority, in the namespace of the crate that wrote it. Shared by all tables that say the same.
    pub authority: Arc<Authority>,
    /// Why.
    pub reason: Option<String>,
    /// The grant is good only for these versions of the dependency.
    pub version: Option<Located<VersionReq>>,
    /// The grant is good only for the package with this SHA-256, as in Cargo.lock; lowercase hexadecimal.
    pub checksum: Option<Located<String>>,
    /// How both ends are joined, when they are compartments; `None` is isolated.
    pub link: Option<Located<Link>>,
}

impl EdgeGrants {
    /// Whether the table says only how both ends are joined, or which bytes the dependency must have. Of capabilities it then says nothing,
    /// and narrows nothing.
    pub fn gives_nothing(&self) -> bool {
        self.clauses.is_empty() && (self.link.is_some() || self.checksum.is_some())
    }
}

/// One capability in a grants or holds table.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// The capability.
    pub capability: Located<Capability>,
    /// Its parameters. Paths are in the namespace of the crate that wrote them.
    pub scope: Located<Scope>,
    /// Where the receiver sees a path, when not under its own name.
    pub mounts: Vec<Mount>,
}

/// A path under another name for the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// As the granter knows it.
    pub source: PathPattern,
    /// As the receiver sees it; absolute.
    pub guest: NormalPath,
}
