//! Process compartments: a native guest behind a process boundary, with what its edge grants and nothing else.
//!
//! ```text
//! CompartmentPlan --lower--> Order --launcher--> confined guest <==ring==> ProcessCompartment::call
//!                                                      |
//!                                       supervisor: violations, output, the end
//! ```
//!
//! The launcher puts on namespaces, an empty root, limits, Landlock and the filter, in that order, and only then becomes the guest;
//! see `docs/process-backend.md` for what each layer stops. Linux on x86-64; elsewhere the module has a host that cannot be found, and says so.

mod attempt;
mod backtrace;
#[cfg(feature = "wasm")]
mod bridge;
mod broker;
mod compartment;
mod control;
mod doctor;
#[cfg(feature = "wasm")]
mod edge;
mod ended;
mod error;
mod filter;
mod greet;
mod groups;
mod hand;
mod hardening;
mod host;
mod launch;
pub mod limits;
mod lower;
mod lower_mounts;
mod output;
mod pool;
mod program;
mod server;
mod supervise;
mod symbols;

pub use compartment::{ProcessCompartment, Restart, StartOptions, Stdio};
pub use doctor::{Doctor, Finding, Tier, examine_ambient};
#[cfg(feature = "wasm")]
pub(crate) use edge::{ProcessEdge, Start};
#[cfg(feature = "wasm")]
pub(crate) use error::write_signal;
pub use error::{CallError, FaultKind, Frame, StartError, Violation};
pub use filter::RuleError;
pub use groups::CONTROL_GROUP_VARIABLE;
pub use hand::{Handed, Open, TakenBack};
pub use hardening::{ProgramSummary, inspect_program};
pub use host::{LAUNCHER_VARIABLE, ProcessHost, run_as_launcher};
pub use pool::ProcessPool;

pub use crate::refusal::{REFUSALS_KEPT_MAX, Refusal};
