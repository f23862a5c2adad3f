//! Cofferdam: run code you cannot trust, with no more authority than its one dependency edge was granted.
//!
//! A manifest says what a program holds and what it gives to each crate that it calls over an edge. A crate with
//! `backend = "wasm"` runs as a WASI component, one with `backend = "process"` as a native program that can compute and answer and do
//! nothing else, one with `backend = "inline"` is linked in and is not isolated. The caller's source is the same in all three.
//!
//! ```text
//! files --load--> Project --resolve--> GrantGraph --plan--> Plan --start--> Runtime --edge--> Edge --open--> a typed client
//! ```
//!
//! # A call
//! ```no_run
//! use ambient_authority::ambient_authority;
//! use cofferdam::{Runtime, edge};
//!
//! // What a crate with `cofferdam_guest::compartment!` has made of its WIT; here it is made on the spot.
//! cofferdam::client!({ inline: "package acme:text@1.0.0; world shouting { export shout: func(text: string) -> string; }" });
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The one place where this program's own authority is handed on: to the runtime, for what the manifest says.
//! let ambient = ambient_authority();
//! let runtime = Runtime::from_file_ambient("capabilities.toml", ambient)?
//!     .components_in("target/cofferdam/components") // where `cofferdam build` puts them
//!     .start_ambient(ambient)?;
//! let shouting = Shouting::open(runtime.edge(edge!("shout"))?)?;
//! println!("{}", shouting.shout("quiet")?);
//! # Ok(())
//! # }
//! ```
//!
//! [`Runtime`] starts, lists, replaces and revokes compartments; [`RuntimeBuilder`] has what a host decides beside the manifest.
//! [`client`](mod@client) has what clients stand on: [`client::Edge`], callbacks, [cancellation](client::Cancellation), and
//! [large data in chunks](client::chunks). [`plan()`] says what would run before anything does. An [`AuditLog`] has every grant,
//! violation, fault and refusal before the caller sees the outcome.
//!
//! # Features
//! | feature | what it adds |
//! | --- | --- |
//! | `wasm` | [`Runtime`], typed clients, and wasm compartments in wasmtime |
//! | `process` | process compartments, on Linux on x86-64; alone, without [`Runtime`] and without an engine |
//! | `http` | `wasi:http` for wasm compartments, under the same list of hosts as sockets |
//! | `async` | [`client::Edge::unblock`]: calls that do not block an executor |
//!
//! All are on by default, and each builds alone. Without any, manifests are read, decided about and planned.
//!
//! # Authority
//! Nothing here reaches for the host's own authority by itself. A function that does so takes an [`AmbientAuthority`] and is named
//! `*_ambient`; what a [`Runtime`] starts later, it starts with the one that it was made with.

#![cfg_attr(
    not(all(feature = "process", target_os = "linux", target_arch = "x86_64")),
    allow(
        dead_code,
        clippy::zero_sized_map_values,
        reason = "some of what compartments have, only processes and their callers ask for"
    )
)]

#[cfg(any(feature = "wasm", all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
mod audit;
#[cfg(feature = "wasm")]
pub mod client;
#[cfg(any(feature = "wasm", all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
mod home;
#[cfg(feature = "wasm")]
mod hot;
mod links;
mod load;
mod plan;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
pub mod process;
#[cfg(all(feature = "wasm", not(all(feature = "process", target_os = "linux", target_arch = "x86_64"))))]
#[path = "process_elsewhere.rs"]
pub mod process;
#[cfg(any(feature = "wasm", all(feature = "process", target_os = "linux", target_arch = "x86_64")))]
mod refusal;
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
pub use load::plugin::{COMPONENT_BYTES_MAX, MANIFEST_SECTION, component_claims, read_component_ambient};
pub use load::{
    CargoFailure, Checksums, LoadError, LoadOptions, Loaded, load_file_ambient, load_workspace_ambient,
};
pub use plan::{
    CompartmentPlan, ComponentPlan, GrantPlan, LandlockPlan, LimitPlan, LinkedPlan, MountPlan, Plan,
    SyscallPlan, WasmImportPlan, plan, verify_backends, verify_paths_ambient,
};
#[cfg(feature = "wasm")]
pub use runtime::{
    CompartmentState, CompartmentStatus, EdgeName, Plugin, Runtime, RuntimeBuilder, RuntimeError, Source,
};

/// The guide's Rust compiles: each of its blocks is a test.
#[cfg(all(doctest, feature = "wasm"))]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/plugins.md")]
    struct Plugins;
    #[doc = include_str!("../../../docs/guide/src/c-library.md")]
    struct CLibrary;
}
