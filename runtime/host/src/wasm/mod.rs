//! Wasm compartments: a WASI component in a store of its own, with exactly what its edge grants.
//!
//! An interface that is not granted is linked to nothing that gives authority: streams that are empty, a file system without
//! folders, sockets that cannot be made. Where an empty answer would still tell something (clocks, random numbers) or end
//! something (exit), the call is a [`CallError::Violation`] that names the edge. An import that is not known is refused
//! before any code of the component runs.
//!
//! Compartments whose edges are fused are members of one unit: one component, composed of theirs, in one store. Every import
//! that gives a member something of the host is linked for that member alone, as its own edge grants it. docs/fused-links.md.
//!
//! Calls run on their caller's thread. Where nothing that a compartment or its edges reach can make a guest wait, a call enters
//! the component directly; where something can (files, network, clocks, standard input), it runs on a stack of its own, so
//! that a deadline ends it also while it waits.

mod cache;
mod call;
mod clock;
mod compartment;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
mod crossing;
mod entry;
mod error;
mod failure;
mod files;
mod forward;
mod host;
#[cfg(feature = "http")]
mod http;
mod inspect;
mod instance;
mod judge;
mod limits;
mod link;
mod member;
mod names;
mod outside;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
mod outward;
mod passing;
mod places;
mod pool;
mod provided;
mod settle;
mod signature;
mod standing;
mod state;
mod stream;
mod threads;
mod ticker;
mod typed;
mod unchecked;
mod unit;

pub use crate::refusal::{REFUSALS_KEPT_MAX, Refusal};
pub use cache::{CacheError, CacheSummary, CodeCache};
pub use compartment::{CompartmentOptions, Stdio, WasmCompartment};
pub use error::{CallError, FaultKind, StartError};
pub use files::ENTRY_BYTES;
pub use host::WasmHost;
pub use inspect::{ComponentSummary, ImportSummary, capability_of_interface, inspect};
pub use judge::{ImportVerdict, JudgedImport, import_denial, judge_imports};
pub use limits::{
    CACHE_BYTES_DEFAULT, CALL_DEADLINE_DEFAULT, CALL_DEPTH_MAX, CALLS_IN_FLIGHT_DEFAULT, DENIALS_MAX,
    EPOCH_TICK, HANDLES_DEFAULT, INSTANCES_MAX, LEARNED_ADDRESSES_MAX, MEMORY_BYTES_DEFAULT,
    NATIVE_STACK_BYTES, OUTPUT_BYTES_DEFAULT, TABLE_ELEMENTS_MAX, UNIT_MEMBERS_MAX, WASM_STACK_BYTES_MAX,
};
#[cfg(feature = "http")]
pub use limits::{HTTP_FIELD_BYTES_MAX, HTTP_WAIT_MAX};
pub use stream::{Input, Output};
pub use wasmtime::component::{Type, Val};

pub(crate) use compartment::Start;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
pub(crate) use crossing::WasmFunction;
pub(crate) use failure::event_of;
pub(crate) use inspect::digest;
pub(crate) use member::MemberStart;
pub(crate) use provided::HostCall;
pub(crate) use settle::may_wait;
pub(crate) use state::State;
