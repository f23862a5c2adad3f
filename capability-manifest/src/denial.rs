//! What the resolver refuses, and what it only remarks on: data, with codes, places and the lines that would mend it.

use crate::capability::{Backend, Capability};
use crate::code::Code;
use crate::project::{CrateIndex, EdgeIndex};
use crate::scope::Scope;
use crate::suggest::one_of;
use crate::text::{FileId, Location};

/// A refusal, before anything ran.
#[derive(Debug)]
pub struct Denial {
    /// What is refused.
    pub kind: DenialKind,
    /// The hop at which it is refused; `None` when the root itself lacks it.
    pub edge: Option<EdgeIndex>,
    /// The crates from a root to the one that is refused.
    pub chain: Vec<CrateIndex>,
    /// Where the request stands.
    pub at: Option<Location>,
    /// Where the other end stands, and what it says there.
    pub other: Vec<(Location, String)>,
    /// The lines that would mend it. Several when several hops lack it.
    pub fixes: Vec<Fix>,
}

impl Denial {
    /// A refusal of which nothing more is known.
    pub(crate) fn new(kind: DenialKind) -> Self {
        Self { kind, edge: None, chain: Vec::new(), at: None, other: Vec::new(), fixes: Vec::new() }
    }
}

/// Why the resolver refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum DenialKind {
    /// A crate needs what its consumer does not grant.
    #[error("`{consumer}` does not grant `{capability}` to `{provider}`, which needs it")]
    NotGranted { consumer: String, provider: String, capability: Capability },
    /// A root needs what the workspace does not hold.
    #[error("`{provider}` needs `{capability}`, and the workspace does not hold it")]
    NotHeld { provider: String, capability: Capability },
    /// A grant gives what the granter has not got.
    #[error("`{consumer}` grants {excess} to `{provider}`, {}", held_text(consumer, held.as_deref()))]
    ExceedsHoldings {
        consumer: String,
        provider: String,
        capability: Capability,
        excess: String,
        held: Option<String>,
        narrowed: Option<String>,
    },
    /// The backend has no such power to give.
    #[error("a {backend} compartment cannot be given `{capability}`, and `{provider}` would be one")]
    BackendCannotProvide { provider: String, backend: Backend, capability: Capability },
    /// A fused edge where one of its ends is no wasm compartment.
    #[error("`{consumer} -> {provider}` cannot be fused: {what} is no wasm compartment")]
    CannotFuse { consumer: String, provider: String, what: String },
    /// `at` for a crate that sees its process's own file system.
    #[error("`{provider}` is inline, so it sees paths under their own names: `at` cannot be honoured")]
    PlacementNeedsCompartment { provider: String },
    /// Different paths come to be at one place.
    #[error("the grants of `{consumer} -> {provider}` place different paths at `{guest}`")]
    PlacedTwice { consumer: String, provider: String, guest: String },
    /// No crate exports that name.
    #[error("no crate of the graph exports `{capability}`")]
    UnknownCapability { capability: Capability, suggestion: Option<String> },
    /// Neither the receiver nor anything below it exports that name.
    #[error(
        "`{consumer}` grants `{capability}` to `{provider}`, but neither it nor its dependencies export or consume it"
    )]
    NotExported { consumer: String, provider: String, capability: Capability },
    /// The pinned version or checksum is not the one in the graph.
    #[error("the grant from `{consumer}` to `{provider}` is pinned to {wanted}, and the graph has {found}")]
    PinMismatch { consumer: String, provider: String, wanted: String, found: String },
    /// A run-time power over an edge that exists only while compiling.
    #[error(
        "`{provider}` is used only while `{consumer}` is compiled, and `{capability}` is a power at run time"
    )]
    StageMismatch { consumer: String, provider: String, capability: Capability },
    /// More than a limit allows.
    #[error("{what}: {found} where at most {max} are resolved")]
    TooMany { what: &'static str, found: usize, max: usize },
    /// Denials beyond the limit on how many are listed.
    #[error("{count} more denials are not listed")]
    More { count: usize },
}

fn held_text(consumer: &str, held: Option<&str>) -> String {
    match held {
        Some("") | None => format!("which `{consumer}` does not hold itself"),
        Some(held) => format!("but `{consumer}` itself holds only {held}"),
    }
}

use DenialKind as K;

impl DenialKind {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            K::NotGranted { .. } => Code::NotGranted,
            K::NotHeld { .. } => Code::NotHeld,
            K::ExceedsHoldings { .. } => Code::GrantExceedsHoldings,
            K::BackendCannotProvide { .. } => Code::BackendCannotProvide,
            K::CannotFuse { .. } => Code::CannotFuse,
            K::PlacementNeedsCompartment { .. } => Code::PlacementNeedsCompartment,
            K::PlacedTwice { .. } => Code::BadPlacement,
            K::UnknownCapability { .. } => Code::UnknownCapability,
            K::NotExported { .. } => Code::NotExported,
            K::PinMismatch { .. } => Code::PinMismatch,
            K::StageMismatch { .. } => Code::StageMismatch,
            K::TooMany { .. } | K::More { .. } => Code::TooLarge,
        }
    }

    /// The capability that is refused, if the refusal is about one.
    pub fn capability(&self) -> Option<&Capability> {
        match self {
            K::NotGranted { capability, .. }
            | K::NotHeld { capability, .. }
            | K::ExceedsHoldings { capability, .. }
            | K::BackendCannotProvide { capability, .. }
            | K::UnknownCapability { capability, .. }
            | K::NotExported { capability, .. }
            | K::StageMismatch { capability, .. } => Some(capability),
            _ => None,
        }
    }

    /// What to do next, when no line is offered.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            K::BackendCannotProvide { capability, backend, .. } => {
                let able = Backend::ALL.into_iter().filter(|other| {
                    other != backend && *other != Backend::Inline && capability.provided_by(*other)
                });
                let able: Vec<&str> = able.map(Backend::name).collect();
                if able.is_empty() {
                    format!("no compartment can be given `{capability}`; only `backend = \"inline\"` has it, without isolation")
                } else {
                    format!("set `backend` to {}, which can", one_of(able.into_iter()))
                }
            }
            K::ExceedsHoldings { consumer, narrowed: Some(line), .. } => {
                format!("narrow it to what `{consumer}` holds, or see to it that `{consumer}` is given more:\n{line}")
            }
            K::ExceedsHoldings { consumer, held: Some(held), .. } => {
                let relative = if held.contains("`/") { "; relative paths are never below absolute ones" } else { "" };
                format!("grant what `{consumer}` holds, by the names it has there, or see to it that it is given more{relative}")
            }
            K::ExceedsHoldings { consumer, .. } => format!("remove it, or give it to `{consumer}` first"),
            K::CannotFuse { .. } => {
                "remove `link`, or run both ends with `backend = \"wasm\"`; isolated, the edge works as it is".to_owned()
            }
            K::PlacedTwice { .. } => "place them apart; a path within a placed one has its place there".to_owned(),
            K::PlacementNeedsCompartment { .. } => "remove `at`, or run the crate in a compartment".to_owned(),
            K::UnknownCapability { suggestion: Some(name), .. } => format!("did you mean `{name}`?"),
            K::UnknownCapability { .. } => {
                "`cofferdam explain capabilities` lists the host's; any other name must be in some crate's `exports`".to_owned()
            }
            K::NotExported { .. } => "remove the grant: nothing could use it".to_owned(),
            K::PinMismatch { .. } => "review the new version, then move the pin".to_owned(),
            K::StageMismatch { capability, .. } => format!("grant `{}` instead", capability.at_build()),
            K::TooMany { .. } => "SPECIFICATION.md lists the limits and their reasons".to_owned(),
            _ => return None,
        })
    }
}

/// A line that would mend a denial: a clause to be added to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// The file to edit.
    pub file: FileId,
    /// The table's path of keys; made when it is not there.
    pub table: Vec<String>,
    /// The capability to add.
    pub capability: Capability,
    /// Its parameters: what the granter holds, to be narrowed by whoever knows better.
    pub scope: Scope,
    /// Whether it may be written as it is. False when a parameter is only a placeholder.
    pub complete: bool,
}

/// Something worth a look that is not refused.
#[derive(Debug)]
pub struct Warning {
    /// What.
    pub kind: WarningKind,
    /// The edge it is about.
    pub edge: Option<EdgeIndex>,
    /// Where.
    pub at: Option<Location>,
}

/// What the resolver remarks on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum WarningKind {
    /// Granted, and nothing below uses it.
    #[error("`{consumer}` grants `{capability}` to `{provider}`, which does not ask for it")]
    UnusedGrant { consumer: String, provider: String, capability: Capability },
    /// Asked for as optional, and granted by nobody.
    #[error("`{provider}` could use `{capability}`, and nobody grants it")]
    NeverGranted { provider: String, capability: Capability },
    /// One copy of inline code with the authority of several edges.
    #[error("`{provider}` is inline and linked once, so over every edge it has the union: {union}")]
    InlineUnion { provider: String, union: String, edges: Vec<String> },
    /// A root is the host program, whatever its backend.
    #[error("`{root}` is a root, so it runs as the host program: its backend `{backend}` has {}", effect(*backend))]
    RootIsHost { root: String, backend: Backend },
    /// Held by the root, and used by nobody.
    #[error("the workspace holds `{capability}`, and no root uses it or passes it on")]
    UnusedHolding { capability: Capability },
}

fn effect(backend: Backend) -> &'static str {
    match backend {
        Backend::Wasm => "an effect under `cofferdam run` alone",
        Backend::Inline | Backend::Process => "no effect",
    }
}

impl WarningKind {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::UnusedGrant { .. } => Code::UnusedGrant,
            Self::NeverGranted { .. } => Code::NeverGranted,
            Self::InlineUnion { .. } => Code::InlineUnion,
            Self::UnusedHolding { .. } => Code::UnusedHolding,
            Self::RootIsHost { .. } => Code::RootIsHost,
        }
    }

    /// Whether it says that something granted or held is not used.
    pub fn is_about_unused(&self) -> bool {
        matches!(self, Self::UnusedGrant { .. } | Self::UnusedHolding { .. })
    }

    /// The capability it is about, if one.
    pub fn capability(&self) -> Option<&Capability> {
        match self {
            Self::UnusedGrant { capability, .. }
            | Self::NeverGranted { capability, .. }
            | Self::UnusedHolding { capability } => Some(capability),
            Self::InlineUnion { .. } | Self::RootIsHost { .. } => None,
        }
    }

    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::UnusedGrant { .. } | Self::UnusedHolding { .. } => {
                "remove it, so that it cannot be used one day".to_owned()
            }
            Self::RootIsHost { .. } => "remove the backend, or make it a dependency of a root".to_owned(),
            Self::NeverGranted { .. } => {
                "nothing needs to be done: the crate says that it works without".to_owned()
            }
            Self::InlineUnion { .. } => {
                "give the crate a backend to keep the edges apart, or grant the same over each".to_owned()
            }
        }
    }
}
