//! Process compartments on a platform that has none: the host is not found, and the error says what to use instead.

use std::process::ExitCode;

use ambient_authority::AmbientAuthority;

/// No process is started as a launcher here.
pub fn run_as_launcher() -> Option<ExitCode> {
    None
}

/// Why a compartment does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This platform has no process compartments.
    #[error("process compartments need Linux on x86-64; use wasm compartments here (`backend = \"wasm\"`)")]
    Unsupported,
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
}
