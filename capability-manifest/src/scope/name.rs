//! Names of variables, and of standard streams.

use std::fmt;

use super::pattern_set::Pattern;
use crate::limits::NAME_BYTES_MAX;

/// One name, or every name that begins so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamePattern {
    /// One name.
    Exact(String),
    /// Every name with that beginning, at least one byte of it given.
    Prefix(String),
}

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing written.
    #[error("a name may not be empty")]
    Empty,
    /// `*` alone or not at the end.
    #[error("`*` may only end a name that begins with something else, as in `RAYON_*`")]
    Wildcard,
    /// A character that no variable's name has (POSIX.1-2024, XBD 8.1, widened to printable ASCII without `=`).
    #[error("a variable's name is printable ASCII without `=` or spaces")]
    Character,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
}

impl NamePattern {
    /// `NAME` or `PREFIX*`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        if name.is_empty() {
            return Err(if is_prefix { NameError::Wildcard } else { NameError::Empty });
        }
        if name.contains('*') {
            return Err(NameError::Wildcard);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if !name.bytes().all(|b| b.is_ascii_graphic() && b != b'=') {
            return Err(NameError::Character);
        }
        Ok(if is_prefix { Self::Prefix(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }
}

impl Pattern for NamePattern {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(mine), Self::Exact(theirs)) => mine == theirs,
            (Self::Prefix(mine), Self::Exact(theirs) | Self::Prefix(theirs)) => theirs.starts_with(mine),
            (Self::Exact(_), Self::Prefix(_)) => false,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the stream of that name")]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl Stream {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Stdin, Self::Stdout, Self::Stderr];

    /// The word that a manifest uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Pattern for Stream {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
