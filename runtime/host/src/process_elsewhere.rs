//! Process compartments on a platform that has none: the host is not found, and the error says what to use instead.

use ambient_authority::AmbientAuthority;

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
