//! The manifest decides: what each crate may do is parsed, resolved and explained here, and nothing happens.
//!
//! ```text
//! ManifestText -> Manifest -> Project -> Resolution -> GrantGraph
//!              parse      build       resolve      granted
//! ```
//!
//! Everything is a pure function of its input: no file, clock, environment, thread or network is touched, and no `unsafe`
//! is used. What comes after (plans, compartments, calls) is in the crate `cofferdam`.
//!
//! The property that all of it serves: **along every path, authority never grows.** What a crate holds is at most the union
//! of what its consumers hold, and over an edge into a compartment it is exactly what that edge grants.
//!
//! ```
//! use capability_manifest::{Form, Files, ManifestText, ProjectBuilder, parse, resolve};
//!
//! let text = r#"
//!     [holds]
//!     filesystem = { read = ["assets"] }
//!     [crates.app]
//!     dependencies = ["codec"]
//!     [crates.app.grants.codec]
//!     filesystem = { read = ["assets/icc"], at = "/icc" }
//!     [crates.codec]
//!     consumes = { "filesystem.read" = "reads colour profiles" }
//!     compartment = { backend = "wasm" }
//! "#;
//! let mut files = Files::default();
//! let file = files.add(ManifestText::from_bytes("capabilities.toml", text.into())?);
//! let manifest = parse(file, files.get(file), Form::Standalone).expect("no errors");
//! let project = ProjectBuilder::standalone(files, manifest).expect("no errors");
//! let graph = resolve(&project).granted(&project).expect("no denials");
//! assert_eq!(graph.compartments().len(), 1);
//! assert_eq!(graph.grants()[0].scope().to_string(), "assets/icc");
//! # Ok::<(), capability_manifest::TextError>(())
//! ```

#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "indices are 32 bits wide, and limits.rs bounds what they count"
)]

mod authority;
mod capability;
mod code;
mod denial;
mod diagnostic;
mod explain;
pub mod limits;
mod link;
pub mod manifest;
mod page;
mod parse;
pub mod print;
mod project;
mod resolve;
pub mod scope;
mod suggest;
mod text;
mod weakening;

pub use authority::Authority;
pub use capability::{Backend, Capability, HostCapability, ParameterKind, Stage, is_capability_name};
pub use code::{Code, Severity};
pub use denial::{Denial, DenialKind, Fix, Warning, WarningKind};
pub use diagnostic::Diagnostic;
pub use explain::{Explanation, Route, Step, explain};
pub use link::Link;
pub use manifest::Manifest;
pub use page::{
    AcquiredBy, ArgumentCondition, BuildRules, CapabilityPage, LandlockRule, PageError, PageSeverity,
    PageStage, ProcessRules, SyscallAction, SyscallRule, WasmImport, WasmRules,
};
pub use parse::{Form, ManifestError, ManifestErrorKind, parse};
pub use project::{
    CrateIndex, Edge, EdgeIndex, Package, Project, ProjectBuilder, ProjectError, ProjectErrorKind,
};
pub use resolve::{
    CompartmentGrant, Flow, FlowIndex, Grant, GrantGraph, Holder, HolderIndex, Resolution, Trace, Unit,
    UnitIndex, View, resolve,
};
/// A scope to show in a suggestion for a capability that nobody has parameters for yet: an example where only a person can know.
pub fn example_scope(capability: &Capability) -> scope::Scope {
    resolve::default_scope(capability)
}

pub use scope::is_deceptive;
pub use suggest::nearest;
pub use text::{FileId, Files, Located, Location, ManifestText, TextError};
pub use weakening::Weakening;
