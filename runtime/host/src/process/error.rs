//! What can go wrong with a process compartment, and whose fault it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cofferdam_wire::order::Layer;

use super::filter::RuleError;

/// Why a compartment does not start. None of the guest's functions has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum StartError {
    /// There is no launcher.
    #[error(
        "no launcher: looked for {}; call `cofferdam::process::run_as_launcher` first in the program's `main`, and it is its own; or install one from a clone with `cargo install --path runtime/launcher`, or in a workspace that has its source \
         run `cargo build -p cofferdam-launcher`; or name it in COFFERDAM_LAUNCHER, or embed it with `ProcessHost::from_bytes`",
        list(.looked_for)
    )]
    NoLauncher { looked_for: Vec<PathBuf> },
    /// The launcher is there and cannot be used.
    #[error("cannot use the launcher `{path}`: {source}")]
    Launcher { path: String, source: std::io::Error },
    /// The guest's program cannot be used.
    #[error("`{edge}`: cannot run `{path}`: {message}")]
    Program { edge: String, path: String, message: String },
    /// The plan is for another backend.
    #[error("`{edge}`: the plan is for the backend `{backend}`, not process")]
    OtherBackend { edge: String, backend: String },
    /// A grant or limit that this release cannot hold the guest to.
    #[error("`{edge}`: this release cannot enforce {what} for a process, and does not run without")]
    CannotEnforce { edge: String, what: String },
    /// A granted path cannot be opened.
    #[error("`{edge}`: cannot give `{path}`, which the edge grants: {message}")]
    Path { edge: String, path: String, message: String },
    /// A rule of the filter cannot be lowered.
    #[error("`{edge}`: {source}")]
    Rule { edge: String, source: RuleError },
    /// A layer of the confinement failed, so nothing was run.
    #[error("`{edge}`: the layer `{}` failed: {detail}{}; `cofferdam doctor` says what this machine lacks", .layer.name(), reason(.source.as_ref()))]
    Layer { edge: String, layer: Layer, detail: String, source: Option<std::io::Error> },
    /// The guest is for another interface, or for another version of this crate.
    #[error("`{edge}`: the guest does not fit: {message}")]
    Handshake { edge: String, message: String },
    /// The host itself failed.
    #[error("`{edge}`: cannot start a process: {message}")]
    Host { edge: String, message: String },
    /// The guest ended before its first words.
    #[error(transparent)]
    Ended(#[from] CallError),
    /// The event cannot be recorded.
    #[error("cannot write the audit log: {0}")]
    Audit(#[from] std::io::Error),
}

impl StartError {
    /// The edge whose compartment does not start; `None` when it is the host that cannot start any.
    pub fn edge(&self) -> Option<&str> {
        match self {
            Self::Program { edge, .. }
            | Self::OtherBackend { edge, .. }
            | Self::CannotEnforce { edge, .. }
            | Self::Path { edge, .. }
            | Self::Rule { edge, .. }
            | Self::Layer { edge, .. }
            | Self::Handshake { edge, .. }
            | Self::Host { edge, .. } => Some(edge),
            Self::Ended(error) => error.edge(),
            Self::NoLauncher { .. } | Self::Launcher { .. } | Self::Audit(_) => None,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

fn reason(source: Option<&std::io::Error>) -> String {
    source.map(|source| format!(": {source}")).unwrap_or_default()
}

/// An attempt to do what the edge does not grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The system call's name.
    pub call: String,
    /// Its arguments, as the processor had them.
    pub arguments: [u64; 6],
    /// The path that it named, if it named one that could be read. The guest's own word.
    pub path: Option<String>,
    /// The capability that would have allowed it; `None` when no grant allows it.
    pub capability: Option<String>,
    /// The line of a manifest that would have.
    pub line: Option<String>,
    /// Where in the guest's program it was made.
    pub instruction: u64,
    /// The functions that led there, innermost first, at most [`super::limits::FRAMES_MAX`]. Found by unwinding a copy of the guest's
    /// stack with the tables of its own program: a hint for people, as a hostile guest can make it say anything. Empty when nothing
    /// could be found, or when it was made by a program that the guest had started.
    pub backtrace: Vec<Frame>,
}

/// One function of a backtrace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The address in the program's file, as tools that read symbols take it.
    pub address: u64,
    /// The function's name, if the program has symbols.
    pub function: Option<String>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => write!(f, "{function} ({:#x})", self.address),
            None => write!(f, "{:#x}", self.address),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.call)?;
        for (index, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument:#x}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(")")?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, " on {path:?}"))
    }
}

/// How a guest failed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// It panicked, with this message.
    Panic(String),
    /// It needed more memory than its limit.
    OutOfMemory,
    /// It recursed too deep.
    StackOverflow,
    /// A signal ended it: its number, and the last that it wrote to standard error.
    Signal(i32, String),
    /// It ended itself with this code.
    Exit(i32),
    /// It was killed from outside, together with the processes around it.
    Vanished,
    /// It broke the rules of the conversation.
    Protocol(String),
    /// It ended because another compartment that it called had no answer, and said so in these words of its own.
    Callee(String),
    /// It ended because a function of the host program, which it called back, failed: its name, and how.
    Host {
        /// With its interface.
        function: String,
        /// The words that follow "which".
        message: String,
    },
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(message) => write!(f, "panicked: {message}"),
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::StackOverflow => f.write_str("recursed too deep"),
            Self::Signal(number, words) => write_signal(f, *number, words),
            Self::Exit(code) => write!(f, "ended itself with code {code}"),
            Self::Vanished => f.write_str("was killed from outside"),
            Self::Protocol(message) => write!(f, "broke the rules of the conversation: {message}"),
            Self::Callee(message) => write!(f, "ended after a call of its own had failed: {message}"),
            Self::Host { function, message } => {
                write!(f, "called `{function}` of the host program, which {message}")
            }
        }
    }
}

impl FaultKind {
    /// Its name in the audit log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Panic(_) => "panic",
            Self::OutOfMemory => "memory",
            Self::StackOverflow => "stack",
            Self::Signal(..) => "signal",
            Self::Exit(_) => "exit",
            Self::Vanished => "vanished",
            Self::Protocol(_) => "protocol",
            Self::Callee(_) => "callee",
            Self::Host { .. } => "host",
        }
    }
}

/// How a signal ended a guest.
pub(crate) fn write_signal(f: &mut fmt::Formatter<'_>, number: i32, words: &str) -> fmt::Result {
    write!(f, "was ended by {}", signal_name(number))?;
    if words.is_empty() { Ok(()) } else { write!(f, ", its last words: {words}") }
}

/// The name of a signal on this platform.
fn signal_name(number: i32) -> String {
    let known = match number {
        4 => "SIGILL (illegal instruction)",
        6 => "SIGABRT (abort)",
        7 => "SIGBUS (bad memory access)",
        8 => "SIGFPE (arithmetic error)",
        9 => "SIGKILL",
        11 => "SIGSEGV (invalid memory reference)",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU (processor time)",
        31 => "SIGSYS (system call)",
        _ => return format!("signal {number}"),
    };
    known.to_owned()
}

/// Why a call has no result. After all but [`CallError::Usage`], [`CallError::UnknownFunction`] and [`CallError::Refused`] the
/// guest is gone, and the next call begins with a fresh one, if the compartment's [`super::Restart`] lets it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum CallError {
    /// The guest tried what its edge does not grant.
    #[error("`{edge}`: called {violation}, which {}", allowance(.violation))]
    Violation { edge: String, violation: Box<Violation> },
    /// The guest failed by itself.
    #[error("`{edge}`: the guest {kind}")]
    Fault { edge: String, kind: FaultKind },
    /// The call took too long.
    #[error("`{edge}`: no answer within {}", crate::audit::readable_time(*.deadline))]
    Deadline { edge: String, deadline: Duration },
    /// The guest needed more than a limit allows.
    #[error("`{edge}`: needed more {what} than its limit allows")]
    Limit { edge: String, what: &'static str },
    /// There is no such function.
    #[error("`{edge}`: the guest has no function `{function}`; it has {}", .known.join(", "))]
    UnknownFunction { edge: String, function: String, known: Vec<String> },
    /// The guest did not make the call: it could not decode the arguments, for instance.
    #[error("`{edge}`: the guest refused the call: {message}")]
    Refused { edge: String, message: String },
    /// The caller's arguments do not fit.
    #[error("`{edge}`: {message}")]
    Usage { edge: String, message: String },
    /// The guest is gone, and may not be started again.
    #[error("`{edge}`: the guest is gone, and its restart policy keeps it so")]
    NotRestarted { edge: String },
    /// A fresh guest did not start.
    #[error("`{edge}`: cannot start again: {source}")]
    Restart { edge: String, source: Box<StartError> },
    /// The event cannot be recorded, so the outcome is not handed on.
    #[error("cannot write the audit log: {0}")]
    Audit(#[source] std::io::Error),
}

impl CallError {
    /// The edge over which the call went wrong; `None` when it was the host that failed.
    pub fn edge(&self) -> Option<&str> {
        match self {
            Self::Violation { edge, .. }
            | Self::Fault { edge, .. }
            | Self::Deadline { edge, .. }
            | Self::Limit { edge, .. }
            | Self::UnknownFunction { edge, .. }
            | Self::Refused { edge, .. }
            | Self::Usage { edge, .. }
            | Self::NotRestarted { edge }
            | Self::Restart { edge, .. } => Some(edge),
            Self::Audit(_) => None,
        }
    }
}

fn allowance(violation: &Violation) -> String {
    match (&violation.capability, &violation.line) {
        (Some(capability), Some(line)) => {
            format!("the edge does not grant (`{capability}`); this line would allow it: {line}")
        }
        _ => "no grant allows".to_owned(),
    }
}
