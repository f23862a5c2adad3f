//! Says what the code of each crate in a graph can reach, per dependency edge, from its source alone.
//!
//! ```text
//! Graph ──read──▶ Sources ──audit──▶ Audit: per edge, per crate, with the way
//!         scan, cache       link, follow
//! ```
//!
//! Nothing is built and nothing of what is read runs. What it cannot see is said in docs/static-analysis.md; what it cannot
//! analyse is listed, never left out.

#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "indices are 32 bits wide, and limits.rs bounds what they count"
)]

mod audit;
mod cache;
mod claims;
mod compiled;
mod digest;
mod facts;
pub mod limits;
mod link;
mod map;
mod package;
mod predicate;
mod revision;
mod scan;
mod sources;
mod states;
mod summary;
mod table;
mod whole;
mod workspace;

pub use audit::{Audit, AuditError, Need, UnknownSource, UnsafeReach, Way, audit, audit_extent};
pub use cache::Cache;
pub use claims::{Claim, Claims};
#[cfg(fuzzing)]
pub use compiled::fuzzing;
pub use compiled::{
    Artifacts, BuildError, BuildOptions, Compiled, Layer, Layers, Measure, UnknownSymbol, UnreadObject,
    build_ambient, examine_ambient, judge, record,
};
pub use digest::digests_ambient;
pub use link::sets::Atom;
pub use link::stage::{CodePlace, Extent};
pub use package::{Dependency, Graph, Package, PackageIndex, Target, TargetKind};
pub use predicate::{CfgSet, Predicate};
pub use sources::{Reading, Sources, read_sources_ambient};
pub use states::{State, States};
pub use table::{Table, TableError};
pub use workspace::names_a_triple;
