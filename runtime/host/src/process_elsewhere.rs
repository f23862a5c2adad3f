//! Process compartments where there are none: on a platform without them, or in a build without the feature `process`. The host is not
//! found, and the error says what to use instead.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use std::process::ExitCode;

use ambient_authority::AmbientAuthority;
use capability_manifest::Capability;
use cofferdam_wire::value::Resource;

use crate::audit::AuditLog;
use crate::client::{Cancellation, Compartment, Function, Key, Pinned, Provided};
use crate::plan::CompartmentPlan;
use crate::wasm::{CallError, StartError as WasmStartError, Stdio, WasmHost};

/// No process is started as a launcher here.
pub fn run_as_launcher() -> Option<ExitCode> {
    None
}

/// Why a compartment does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This platform, or this build, has no process compartments.
    #[error(
        "process compartments need Linux on x86-64 and the feature `process` of `cofferdam`; use wasm compartments here \
         (`backend = \"wasm\"`)"
    )]
    Unsupported,
    /// What cannot be had.
    #[error("`{edge}`: this release cannot enforce {what} for a process, and does not run without")]
    #[expect(missing_docs, reason = "fields are named by the message that uses them")]
    CannotEnforce { edge: String, what: String },
}

impl StartError {
    /// The edge whose compartment does not start; `None` when none can start here.
    pub fn edge(&self) -> Option<&str> {
        match self {
            Self::Unsupported => None,
            Self::CannotEnforce { edge, .. } => Some(edge),
        }
    }
}

/// Never found here.
#[derive(Debug)]
pub enum ProcessHost {}

impl ProcessHost {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    ///
    /// # Authority
    /// None is used.
    pub fn find_ambient(_: AmbientAuthority) -> Result<Self, StartError> {
        Err(StartError::Unsupported)
    }

    pub(crate) fn prepare(self: &Arc<Self>) {
        match **self {}
    }
}

/// What a caller may choose about a start: nothing here.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct StartOptions {}

/// What a compartment would be made from.
#[expect(dead_code, reason = "nothing is ever made from it")]
pub(crate) struct Start {
    pub(crate) plan: CompartmentPlan,
    pub(crate) program: Vec<u8>,
    pub(crate) folder: PathBuf,
    pub(crate) instances: usize,
    pub(crate) options: StartOptions,
    pub(crate) edges: Vec<Compartment>,
    pub(crate) provided: Vec<Provided>,
    pub(crate) threads: WasmHost,
}

/// There is never one.
#[derive(Debug, Clone)]
pub(crate) struct ProcessEdge(Infallible);

/// Every use of something that cannot be.
macro_rules! never {
    ($($(#[$attribute:meta])* fn $name:ident(&self $(, $argument:ty)*) $(-> $result:ty)?;)*) => {
        $($(#[$attribute])* pub(crate) fn $name(&self $(, _: $argument)*) $(-> $result)? {
            match self.0 {}
        })*
    };
}

impl ProcessEdge {
    pub(crate) fn start(host: &Arc<ProcessHost>, _: Start, _: &AuditLog) -> Result<Self, WasmStartError> {
        match **host {}
    }

    never! {
        fn edge(&self) -> &str;
        fn id(&self) -> u64;
        fn exports(&self) -> Vec<String>;
        fn instances(&self) -> (usize, usize);
        fn counts(&self) -> (u64, u64);
        fn memory_peak(&self) -> Option<u64>;
        fn digest(&self) -> String;
        fn take_stdio(&self) -> Stdio;
        fn take_refusals(&self) -> Vec<crate::refusal::Refusal>;
        #[cfg(feature = "async")]
        fn threads(&self) -> &WasmHost;
        fn find(&self, &Key) -> Result<usize, Vec<String>>;
        fn drop_resource(&self, u64, Resource);
        fn stop(&self) -> Result<(), WasmStartError>;
        fn revoke(&self) -> Result<(), WasmStartError>;
        fn revoke_grant(&self, &Capability) -> Result<(), WasmStartError>;
        fn replace(&self, &[u8]) -> Result<(), WasmStartError>;
    }

    pub(crate) fn call_slot<F: Function>(
        &self,
        _: usize,
        _: Option<Pinned>,
        _: &F::Params<'_>,
        _: Option<&Cancellation>,
    ) -> Result<(F::Results, u64), CallError> {
        match self.0 {}
    }
}

pub(crate) fn write_signal(f: &mut fmt::Formatter<'_>, number: i32, _: &str) -> fmt::Result {
    write!(f, "was ended by signal {number}")
}
