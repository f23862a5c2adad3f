//! One process at a time: an advisory lock on a file, which the system lets go when its holder ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::ToolchainError;
use crate::error::AtPath as _;
use crate::progress::{Progress, Tell};

/// Held until dropped.
pub(crate) struct Held {
    _file: File,
}

/// Waits for the lock, and says so when it must.
pub(crate) fn hold(path: &Path, waiting: &str, tell: Tell<'_>) -> Result<Held, ToolchainError> {
    let file = File::options().create(true).append(true).open(path).at("open", path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            tell(Progress::Note(waiting));
            file.lock().at("lock", path)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
    }
    Ok(Held { _file: file })
}
