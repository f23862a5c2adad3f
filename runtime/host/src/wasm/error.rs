//! What can go wrong with a compartment, and whose fault it is.

use std::time::Duration;

use capability_manifest::Capability;

/// Why a compartment does not start. None of its code has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum StartError {
    /// The engine cannot be made.
    #[error("wasm cannot run here: {0}")]
    Engine(String),
    /// The bytes are no component, or one that this engine does not accept.
    #[error("`{edge}`: not a component that can run here: {message}")]
    NotAComponent { edge: String, message: String },
    /// The component wants what nobody here knows.
    #[error("`{edge}`: the component imports {}, which nothing here provides", .imports.join(", "))]
    UnknownImports { edge: String, imports: Vec<String> },
    /// The plan is for another backend.
    #[error("`{edge}`: the plan is for the backend `{backend}`, not wasm")]
    OtherBackend { edge: String, backend: String },
    /// Its exports are not those of the world that its caller expects.
    #[error("`{edge}`: the component does not fit `{world}`:\n{}", .differences.join("\n"))]
    DoesNotFit { edge: String, world: String, differences: Vec<String> },
    /// Two edges offer what the component imports.
    #[error("`{edge}`: the component imports `{import}`, which {} all export; it may have only one of them", .providers.join(", "))]
    AmbiguousImport { edge: String, import: String, providers: Vec<String> },
    /// Components that do not go together.
    #[error(
        "`{edge}`: cannot be composed with what is fused to it: {message}; `link = \"isolated\"` needs no composing"
    )]
    CannotCompose { edge: String, message: String },
    /// After composing, an import is missing or is nobody's.
    #[error("`{edge}`: composing the unit changed its imports, so the grants of its edges would not hold: {}", .differences.join(", "))]
    ImportsDiffer { edge: String, differences: Vec<String> },
    /// More compartments in one unit than a limit allows.
    #[error(
        "`{edge}`: {found} compartments are fused into one unit, and at most {max} can be; isolate some of the edges"
    )]
    UnitTooLarge { edge: String, found: usize, max: usize },
    /// A member has a limit of its own that is less than the unit's.
    #[error(
        "`{edge}`: its limit `{limit} = {wanted}` is less than that of its unit, `{unit}`, which has {has}; fused compartments \
         share their limits"
    )]
    UnitLimit { edge: String, unit: String, limit: &'static str, wanted: String, has: String },
    /// The manifest says `inline`, and the code is not part of this program.
    #[error("`{edge}`: {}", .reasons.join("; "))]
    NotLinked { edge: String, reasons: Vec<String> },
    /// What was built is older than the sources that it was built from.
    #[error("`{edge}`: what was built of `{krate}` is older than `{}`; {how} makes it anew", .newer.display())]
    Stale { edge: String, krate: String, newer: std::path::PathBuf, how: String },
    /// A type that cannot go from one compartment to another.
    #[error(
        "`{edge}`: `{function}` passes {what}, which cannot leave its own store; use `link = \"fused\"` or pass a value"
    )]
    CannotCross { edge: String, function: String, what: &'static str },
    /// No component for the crate.
    #[error("`{edge}`: there is no component for `{krate}`; {hint}")]
    NoComponent { edge: String, krate: String, hint: String },
    /// The component is not the one that was decided about.
    #[error("`{edge}`: the component's SHA-256 is {found}, and {wanted} was pinned")]
    WrongDigest { edge: String, found: String, wanted: String },
    /// No compartment of the plan is for that edge.
    #[error("there is no edge `{edge}` from the host program to a compartment; {}", edges_text(.edges))]
    NoEdge { edge: String, edges: Vec<String> },
    /// The edge was taken back.
    #[error("`{edge}`: the edge was revoked")]
    Revoked { edge: String },
    /// The edge does not have what was to be taken back.
    #[error("`{edge}` is not granted `{capability}`, so there is nothing to take back")]
    NotGranted { edge: String, capability: String },
    /// A grant or limit that this release cannot hold the guest to.
    #[error("`{edge}`: this release cannot enforce {what} for wasm, and does not run without")]
    CannotEnforce { edge: String, what: String },
    /// A granted folder cannot be opened.
    #[error("`{edge}`: cannot open `{path}`, which the edge grants: {message}")]
    Path { edge: String, path: String, message: String },
    /// A process does not start.
    #[error(transparent)]
    Process(#[from] crate::process::StartError),
    /// The code that runs when a component is made failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The event cannot be recorded.
    #[error("cannot write the audit log: {0}")]
    Audit(#[from] std::io::Error),
}

impl StartError {
    /// The edge whose compartment does not start; `None` when it is the host that cannot start any.
    pub fn edge(&self) -> Option<&str> {
        match self {
            Self::NotAComponent { edge, .. }
            | Self::UnknownImports { edge, .. }
            | Self::OtherBackend { edge, .. }
            | Self::DoesNotFit { edge, .. }
            | Self::AmbiguousImport { edge, .. }
            | Self::CannotCompose { edge, .. }
            | Self::ImportsDiffer { edge, .. }
            | Self::UnitTooLarge { edge, .. }
            | Self::UnitLimit { edge, .. }
            | Self::NotLinked { edge, .. }
            | Self::Stale { edge, .. }
            | Self::CannotCross { edge, .. }
            | Self::NoComponent { edge, .. }
            | Self::WrongDigest { edge, .. }
            | Self::NoEdge { edge, .. }
            | Self::Revoked { edge }
            | Self::NotGranted { edge, .. }
            | Self::CannotEnforce { edge, .. }
            | Self::Path { edge, .. } => Some(edge),
            Self::Process(error) => error.edge(),
            Self::Call(error) => error.edge(),
            Self::Engine(_) | Self::Audit(_) => None,
        }
    }

    pub(super) fn not_a_component(edge: &str, error: &wasmtime::Error) -> Self {
        Self::NotAComponent { edge: edge.to_owned(), message: one_line(error) }
    }
}

fn edges_text(edges: &[String]) -> String {
    if edges.is_empty() { "the plan has none".to_owned() } else { format!("there are {}", edges.join(", ")) }
}

/// How a guest failed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// It panicked: with this message, where the guest could tell it. A component cannot: it runs into `unreachable`.
    Panic(Option<String>),
    /// It needed more memory than its limit, and said so.
    OutOfMemory,
    /// It recursed too deep.
    StackOverflow,
    /// Another trap: a wrong address, a division by zero, ...
    Trap(String),
    /// It ended itself with this code.
    Exit(i32),
    /// A signal ended it: its number, and the last that it wrote to standard error.
    Signal(i32, String),
    /// It was killed from outside, together with the processes around it.
    Vanished,
    /// It broke the rules of the component model.
    Protocol(String),
    /// One of the compartments of a unit failed so, and all of them with it.
    InUnit {
        /// How.
        kind: Box<FaultKind>,
        /// The edges that are fused into the unit, beside the one that the error names.
        fused: Vec<String>,
    },
}

impl FaultKind {
    /// How it failed, in a unit or not.
    pub fn itself(&self) -> &Self {
        match self {
            Self::InUnit { kind, .. } => kind,
            other => other,
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Panic(None) => f.write_str("panicked"),
            Self::Panic(Some(message)) => write!(f, "panicked: {message}"),
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::StackOverflow => f.write_str("recursed too deep"),
            Self::Trap(message) => write!(f, "trapped: {message}"),
            Self::Exit(code) => write!(f, "ended itself with code {code}"),
            Self::Signal(number, words) => crate::process::write_signal(f, *number, words),
            Self::Vanished => f.write_str("was killed from outside"),
            Self::Protocol(message) => write!(f, "broke the rules of the conversation: {message}"),
            Self::InUnit { kind, fused } => {
                write!(f, "{kind}; it is one unit with what runs behind {}", fused.join(", "))
            }
        }
    }
}

/// Why a call has no result. After all but [`CallError::Usage`] and [`CallError::UnknownFunction`] the next call begins with a
/// fresh instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum CallError {
    /// The guest tried what its edge does not grant.
    #[error("`{edge}`: called `{attempt}`, {}", allowance(.capability.as_ref(), .line.as_ref()))]
    Violation { edge: String, capability: Option<Capability>, attempt: String, line: Option<String> },
    /// The guest failed by itself.
    #[error("`{edge}`: the guest {kind}")]
    Fault { edge: String, kind: FaultKind },
    /// The call took too long, waiting included.
    #[error("`{edge}`: no answer within {}", crate::audit::readable_time(*.deadline))]
    Deadline { edge: String, deadline: Duration },
    /// The guest needed more than a limit allows.
    #[error("`{edge}`: needed more {what} than its limit allows")]
    Limit { edge: String, what: &'static str },
    /// Another compartment, which the guest called over an edge of its own, had no answer, and the guest's interface has no
    /// way to say so.
    #[error("`{edge}`: called over `{}`, which failed: {source}", .source.edge().unwrap_or("an edge"))]
    Callee { edge: String, source: Box<CallError> },
    /// A function of the host program, which the guest called back, failed: not the guest, and not what it answered. The guest is told
    /// no more than that.
    #[error("`{edge}`: {}", host_failed(.function, .message))]
    Host { edge: String, function: String, message: String },
    /// Its caller ended it, from another thread.
    #[error("`{edge}`: the call was cancelled")]
    Cancelled { edge: String },
    /// The edge, or a grant that the guest was using, was taken back.
    #[error("`{edge}`: {what} was revoked")]
    Revoked { edge: String, what: &'static str },
    /// The handle's instance is gone: it failed, was stopped, or was replaced.
    #[error("`{edge}`: the handle is of an instance that is gone")]
    StaleHandle { edge: String },
    /// The guest is gone, and its restart policy keeps it so.
    #[error("`{edge}`: the guest is gone, and its restart policy keeps it so")]
    Gone { edge: String },
    /// The instance could not be made.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    /// There is no such function.
    #[error("`{edge}`: the component exports no function `{function}`; {}", known_text(.known))]
    UnknownFunction { edge: String, function: String, known: Vec<String> },
    /// The caller's arguments do not fit.
    #[error("`{edge}`: {message}")]
    Usage { edge: String, message: String },
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
            | Self::Callee { edge, .. }
            | Self::Host { edge, .. }
            | Self::Cancelled { edge }
            | Self::Revoked { edge, .. }
            | Self::StaleHandle { edge }
            | Self::Gone { edge }
            | Self::UnknownFunction { edge, .. }
            | Self::Usage { edge, .. } => Some(edge),
            Self::Start(error) => error.edge(),
            Self::Audit(_) => None,
        }
    }
}

/// What would have allowed an attempt.
fn allowance(capability: Option<&Capability>, line: Option<&String>) -> String {
    match (capability, line) {
        (Some(capability), Some(line)) => {
            format!("and the edge does not grant `{capability}`; this line would allow it: {line}")
        }
        _ => "which no grant allows".to_owned(),
    }
}

/// A function of the host program failed.
pub(super) fn host_failed(function: &str, message: &str) -> String {
    format!("the guest called `{function}` of the host program, which {message}")
}

fn known_text(known: &[String]) -> String {
    if known.is_empty() { "it exports none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

/// An error of the engine in one line.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().trim_end_matches([':', '[', ' ']).to_owned()
}
