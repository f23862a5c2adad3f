//! Bounds on everything that a manifest controls.
//!
//! A manifest is written by the author of the code that we do not trust, so each of its sizes is bounded
//! before anything is allocated or walked in proportion to it. Each bound has a test at the limit and one past it.

/// Largest manifest text, bytes. The largest `Cargo.toml` on the public registry is well under 1 MiB.
pub const MANIFEST_BYTES_MAX: usize = 8 << 20;

/// Most crates in one graph. Ten times the largest workspaces in public use.
pub const CRATES_MAX: usize = 131_072;

/// Most dependency edges in one graph.
pub const EDGES_MAX: usize = 1_048_576;

/// Longest chain of dependencies from a root, in edges. Bounds the length of every explanation.
pub const DEPENDENCY_DEPTH_MAX: usize = 4_096;

/// Most entries in one list (paths, hosts, names, items) and most clauses in one grants table.
pub const LIST_ENTRIES_MAX: usize = 1_024;

/// Longest path, bytes. `PATH_MAX` of Linux (`linux/limits.h`), its final NUL included.
pub const PATH_BYTES_MAX: usize = 4_096;

/// Longest reason, bytes. A reason is a sentence; this is a page.
pub const REASON_BYTES_MAX: usize = 2_048;

/// Longest name of a crate, capability, variable or item, bytes. Cargo's registry allows 64 for a crate.
pub const NAME_BYTES_MAX: usize = 256;

/// Longest host name, bytes (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

/// Most compartments that one resolution may create.
pub const COMPARTMENTS_MAX: usize = 4_096;

/// Deepest nesting of compartments. Each level of a call chain takes native stack on the host, so the runtime needs a bound.
pub const COMPARTMENT_DEPTH_MAX: usize = 16;

/// Most (crate, context) pairs that one resolution may visit: an inline crate is visited once in each context that links it.
pub const HOLDERS_MAX: usize = 524_288;

/// Most patterns in one scope of an inline crate, whose authority is the union over its consumers.
pub const UNION_PATTERNS_MAX: usize = 4_096;

/// Most different names that the crates of one graph export or consume beside the host's.
pub const EXPORTED_NAMES_MAX: usize = 1_024;

/// Most errors reported for one file, and most denials for one resolution. The rest are counted, not listed.
pub const FINDINGS_MAX: usize = 200;
