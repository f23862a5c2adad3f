//! Compiles the guests of wasm compartments: it finds a compiler for WebAssembly, fetches one where there is none, and makes
//! components of crates.
//!
//! ```text
//! Settings --find--> Toolchain --build_guest--> GuestArtifact
//!     └────setup───────▲
//! ```
//!
//! It does not look at what a component imports and does not run one: `cofferdam` does, which needs an engine for it. Nothing
//! here depends on an engine, so that a program can build guests without compiling one.
//!
//! # Authority
//! Everything that reaches the world takes an [`AmbientAuthority`] and is named `*_ambient`: it runs compilers, `rustup`,
//! `apt-get` and `dpkg-deb` as the user, and writes below the cache folder and the output folder only. Compiling a crate runs
//! its build scripts and procedural macros with all of the user's authority, as Cargo always does.

#![forbid(unsafe_code)]

mod c_compiler;
mod command;
mod debian;
mod encode;
mod error;
mod find;
mod fingerprint;
mod guest;
mod limits;
mod lock;
mod progress;
mod rust_std;
mod settings;
mod setup;
mod sources;
mod world;

pub use ambient_authority::AmbientAuthority;
pub use c_compiler::CCompiler;
pub use error::ToolchainError;
pub use find::{GuestTarget, Origin, Toolchain};
pub use guest::{
    CargoOutput, GuestArtifact, GuestCrate, GuestKind, build_guest_ambient, target_folder_ambient,
};
pub use progress::Progress;
pub use settings::{Programs, Settings};
pub use setup::{SetupReport, SetupRequest, setup_ambient};
pub use world::GuestWorld;
