//! The exit codes: one enum, documented in README.md, never renumbered.

use std::process::ExitCode;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing is wrong.
    Ok = 0,
    /// A fault of this program.
    Bug = 1,
    /// The command line is wrong, or names something that is not there.
    Usage = 2,
    /// A manifest, or the workspace, is invalid or cannot be read.
    Invalid = 3,
    /// The resolver denies.
    Denied = 4,
    /// This machine cannot enforce the plan: a granted path is missing, or a grant cannot be enforced here.
    CannotEnforce = 5,
    /// A guest crashed, hung, overran a limit, or tried what it was not granted; or the program that `run` ran ended with failure.
    Guest = 6,
    /// The output could not be written, or nobody read it to its end: what it would have said is not known.
    Unread = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
