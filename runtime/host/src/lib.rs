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

#[cfg(any(feature = "wasm", all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
mod audit;
#[cfg(feature = "wasm")]
pub mod client;
#[cfg(any(feature = "wasm", all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
mod home;
mod load;
mod plan;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
pub mod process;
#[cfg(all(feature = "process", not(all(target_os = "linux", target_arch = "x86_64"))))]
#[path = "process_elsewhere.rs"]
pub mod process;
#[cfg(feature = "wasm")]
mod runtime;
#[cfg(feature = "wasm")]
pub mod wasm;

pub use ambient_authority::AmbientAuthority;
#[cfg(any(feature = "wasm", all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
pub use audit::{AuditEvent, AuditLog};
pub use capability_manifest as manifest;
#[cfg(feature = "wasm")]
pub use cofferdam_bindgen::client;
#[cfg(feature = "wasm")]
pub use load::plugin::{COMPONENT_BYTES_MAX, MANIFEST_SECTION};
pub use load::{
    CargoFailure, Checksums, LoadError, LoadOptions, Loaded, load_file_ambient, load_workspace_ambient,
};
pub use plan::{
    CompartmentPlan, ComponentPlan, GrantPlan, LandlockPlan, LimitPlan, LinkedPlan, MountPlan, Plan,
    SyscallPlan, WasmImportPlan, plan, verify_paths_ambient,
};
#[cfg(feature = "wasm")]
pub use runtime::{
    CompartmentState, CompartmentStatus, EdgeName, Plugin, Runtime, RuntimeBuilder, RuntimeError, Source,
};
