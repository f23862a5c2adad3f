//! What can be wrong between files: names that mean nothing, and graphs that are no graphs.

use crate::code::Code;
use crate::text::Location;

/// One thing wrong with a project, and where it is written.
#[derive(Debug, Clone)]
pub struct ProjectError {
    /// What.
    pub kind: ProjectErrorKind,
    /// Where, if it is written anywhere.
    pub at: Option<Location>,
}

/// What can be wrong with a project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum ProjectErrorKind {
    /// A name that no crate of the graph has.
    #[error("there is no crate `{name}` in the graph")]
    UnknownCrate { name: String, suggestion: Option<String> },
    /// A grant over an edge that does not exist.
    #[error("`{from}` does not depend on `{to}`")]
    NoSuchEdge { from: String, to: String, suggestion: Option<String> },
    /// A name that several crates have.
    #[error("`{name}` means more than one crate: {versions}")]
    AmbiguousCrate { name: String, versions: String, example: String },
    /// One crate twice.
    #[error("the crate `{name}` is declared twice")]
    CrateTwice { name: String },
    /// One edge in two tables of one file.
    #[error("two tables are about the edge `{from} -> {to}`")]
    EdgeTwice { from: String, to: String },
    /// Crates that depend on each other.
    #[error("crates depend on each other in a circle: {cycle}")]
    Cycle { cycle: String },
    /// More than a limit allows.
    #[error("{what}: {found} where at most {max} are resolved")]
    TooMany { what: &'static str, found: usize, max: usize },
    /// No crate begins with authority.
    #[error("no crate is a root: none of the workspace's members is left to begin with its authority")]
    NoRoots,
}

use ProjectErrorKind as K;

impl ProjectErrorKind {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            K::UnknownCrate { .. } => Code::UnknownCrate,
            K::NoSuchEdge { .. } => Code::NoSuchEdge,
            K::AmbiguousCrate { .. } => Code::AmbiguousCrate,
            K::CrateTwice { .. } | K::EdgeTwice { .. } => Code::WrittenTwice,
            K::Cycle { .. } => Code::DependencyCycle,
            K::TooMany { .. } => Code::TooLarge,
            K::NoRoots => Code::NoRoots,
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            K::UnknownCrate { suggestion: Some(name), .. } | K::NoSuchEdge { suggestion: Some(name), .. } => {
                format!("did you mean `{name}`?")
            }
            K::NoSuchEdge { from, .. } => {
                format!(
                    "a grant follows a dependency: remove it, or make `{from}` depend on the crate directly"
                )
            }
            K::AmbiguousCrate { example, .. } => format!("say which: `{example}`"),
            K::Cycle { .. } => "authority flows along dependencies, and cannot flow in a circle".to_owned(),
            K::TooMany { .. } => "SPECIFICATION.md lists the limits and their reasons".to_owned(),
            K::NoRoots => "name them: `roots = [\"app\"]`".to_owned(),
            K::EdgeTwice { .. } => "put both into one table".to_owned(),
            K::UnknownCrate { .. } | K::CrateTwice { .. } => return None,
        })
    }
}
