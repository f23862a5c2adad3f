//! Cofferdam: run code you cannot trust, with no more authority than its one dependency edge was granted.
//!
//! Today this crate does the part before anything runs: it reads a workspace or a `capabilities.toml`, has
//! [`capability_manifest`] decide, and prints the plan of what would run. Starting compartments comes next.
//!
//! ```text
//! files --load--> Project --resolve--> GrantGraph --plan--> Plan
//! ```
//!
//! # Authority
//! Nothing here reaches for the host's own authority by itself. Every function that does so takes an
//! [`AmbientAuthority`] and is named `*_ambient`.
//!
//! ```no_run
//! use cofferdam::{AmbientAuthority, LoadOptions, load_workspace_ambient, plan};
//! use cofferdam::manifest::resolve;
//!
//! # fn example(ambient: AmbientAuthority) -> Result<(), Box<dyn std::error::Error>> {
//! let loaded = load_workspace_ambient(&LoadOptions::default(), ambient)?;
//! let resolution = resolve(&loaded.project);
//! for denial in resolution.denials() {
//!     println!("{}", denial.kind);
//! }
//! if let Some(graph) = resolution.granted(&loaded.project) {
//!     println!("{} compartments", plan(&loaded.project, &graph)?.compartments.len());
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "wasm")]
mod audit;
mod load;
mod plan;
#[cfg(feature = "wasm")]
pub mod wasm;

pub use ambient_authority::AmbientAuthority;
#[cfg(feature = "wasm")]
pub use audit::{AuditEvent, AuditLog};
pub use capability_manifest as manifest;
pub use load::{
    CargoFailure, Checksums, LoadError, LoadOptions, Loaded, load_file_ambient, load_workspace_ambient,
};
pub use plan::{
    CompartmentPlan, GrantPlan, LandlockPlan, LimitPlan, MountPlan, Plan, SyscallPlan, WasmImportPlan, plan,
    verify_paths_ambient,
};
