//! What compiled code reaches: three layers beside the one that reads source.
//!
//! ```text
//! Artifacts ──examine──▶ Compiled: objects (relocations), opcodes (system calls), linked (graphs of programs)
//! ```
//!
//! They see what source does not show: what macros and build scripts wrote, generic functions with the types that they are used
//! with, C code, system calls without a symbol. They see nothing of what this platform and these features do not compile. The
//! verdict is the union of all layers.

mod archive;
mod build;
mod code_graph;
#[cfg(test)]
mod complete;
mod examine;
mod facts;
mod flags;
#[cfg(fuzzing)]
pub mod fuzzing;
mod identify;
pub mod judge;
mod lines;
mod linked;
mod literal;
mod mangled;
mod names;
mod opcode;
mod powers;
pub mod record;
mod relocatable;
mod sysroot;
mod walk;

pub use build::{Artifacts, BuildError, BuildOptions, build_ambient};
pub use examine::{Compiled, Measure, UnknownSymbol, UnreadObject, examine_ambient};
pub(crate) use facts::{Found, Uses};
pub use facts::{Layer, Layers};
pub(crate) use names::shown;
