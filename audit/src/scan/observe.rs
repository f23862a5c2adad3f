//! What a scan looked at: while all of that is as it was, so is what the scan would say.

use std::path::{Path as FilePath, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::limits::FILE_BYTES_MAX;

/// One look at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observation {
    path: PathBuf,
    saw: Saw,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Saw {
    /// A file, where it really lies, and the SHA-256 of what is in it.
    File(PathBuf, [u8; 32]),
    /// Nothing.
    Nothing,
    /// Whether a file was there.
    IsFile(bool),
    /// Whether it lay within a folder.
    Inside(PathBuf, bool),
}

impl Observation {
    pub(super) fn file(path: &FilePath, real: &FilePath, bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes).into();
        Self { path: path.to_owned(), saw: Saw::File(real.to_owned(), digest) }
    }

    pub(super) fn nothing(path: &FilePath) -> Self {
        Self { path: path.to_owned(), saw: Saw::Nothing }
    }

    pub(super) fn is_file(path: &FilePath) -> Self {
        Self { path: path.to_owned(), saw: Saw::IsFile(path.is_file()) }
    }

    pub(super) fn inside(path: &FilePath, folder: &FilePath) -> Self {
        Self { path: path.to_owned(), saw: Saw::Inside(folder.to_owned(), lies_inside(path, folder)) }
    }

    /// What was found, for looks that have a yes or no.
    pub(super) fn holds_true(&self) -> bool {
        matches!(self.saw, Saw::IsFile(true) | Saw::Inside(_, true))
    }

    /// Whether a look now would see the same.
    pub(crate) fn is_still_so(&self) -> bool {
        match &self.saw {
            Saw::File(real, digest) => {
                self.path.canonicalize().is_ok_and(|now| now == *real)
                    && real.metadata().is_ok_and(|of| of.is_file() && of.len() <= FILE_BYTES_MAX)
                    && std::fs::read(real).is_ok_and(|bytes| Sha256::digest(bytes).as_slice() == digest)
            }
            Saw::Nothing => self.path.canonicalize().is_err(),
            Saw::IsFile(was) => self.path.is_file() == *was,
            Saw::Inside(folder, was) => lies_inside(&self.path, folder) == *was,
        }
    }
}

fn lies_inside(path: &FilePath, folder: &FilePath) -> bool {
    path.canonicalize().is_ok_and(|path| path.starts_with(folder))
}
