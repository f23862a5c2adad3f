//! Wasm compartments: a WASI component in a store of its own, with exactly what its edge grants.
//!
//! An interface that is not granted is linked to nothing that gives authority: streams that are empty, a file system without
//! folders, sockets that cannot be made. Where an empty answer would still tell something (clocks, random numbers) or end
//! something (exit), the call is a [`CallError::Violation`] that names the edge. An import that is not known is refused
//! before any code of the component runs.
//!
//! What this stage cannot enforce yet it refuses to start, and never runs without: network grants, grants of single files, and
//! quotas on writing.

mod clock;
mod compartment;
mod error;
mod host;
mod inspect;
mod judge;
mod limits;
mod link;
mod stream;

pub use compartment::{Stdio, WasmCompartment};
pub use error::{CallError, FaultKind, StartError};
pub use host::WasmHost;
pub use inspect::{ComponentSummary, ImportSummary, capability_of_interface, inspect};
pub use judge::{ImportVerdict, JudgedImport, import_denial, judge_imports};
pub use limits::{
    CALL_DEADLINE_DEFAULT, EPOCH_TICK, HANDLES_DEFAULT, MEMORY_BYTES_DEFAULT, OUTPUT_BYTES_DEFAULT,
    TABLE_ELEMENTS_MAX, WASM_STACK_BYTES_MAX,
};
pub use wasmtime::component::Val;
