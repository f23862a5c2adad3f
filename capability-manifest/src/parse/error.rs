//! What can be wrong in one file, before any other is looked at.

use crate::code::Code;
use crate::scope::{HostError, NameError, PathError, QuantityError};
use crate::suggest::one_of;
use crate::text::Location;

/// One thing wrong in a manifest, and where.
#[derive(Debug, Clone)]
pub struct ManifestError {
    /// What.
    pub kind: ManifestErrorKind,
    /// Where.
    pub at: Location,
}

/// What can be wrong in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum ManifestErrorKind {
    /// Not TOML.
    #[error("this is not valid TOML: {message}")]
    Syntax { message: String },
    /// A key that has no meaning there.
    #[error("unknown key `{key}` in {table}")]
    UnknownKey {
        key: String,
        table: &'static str,
        suggestion: Option<String>,
        known: &'static [&'static str],
    },
    /// A key that belongs elsewhere.
    #[error("`{key}` does not belong in {table}")]
    MisplacedKey { key: String, table: &'static str, belongs: &'static str },
    /// A value of the wrong type.
    #[error("{what} must be {expected}, not {found}")]
    WrongType { what: String, expected: &'static str, found: &'static str },
    /// A class of host capabilities has no such action.
    #[error("there is no capability `{name}`")]
    UnknownCapability { name: String, suggestion: Option<String> },
    /// Not a capability's name at all.
    #[error("`{name}` cannot be the name of a capability")]
    BadCapabilityName { name: String },
    /// A crate exports a name inside a class of the host's.
    #[error("`{name}` cannot be exported: {why}")]
    ExportForbidden { name: String, why: &'static str },
    /// A capability needs parameters and `true` was written.
    #[error("`{capability}` needs to know {what}; `true` would be everything")]
    ParameterMissing { capability: String, what: &'static str, example: &'static str },
    /// `false`.
    #[error("`{capability} = false` is not how to deny")]
    FalseGrant { capability: String },
    /// The same capability twice in one table.
    #[error("`{capability}` is granted twice in this table")]
    CapabilityTwice { capability: String, first: Location },
    /// The same edge, crate or world twice under different spellings.
    #[error("{what} is written twice")]
    Twice { what: String, first: Location },
    /// A list without entries.
    #[error("the list of {what} is empty")]
    EmptyList { what: String },
    /// A reason is missing or blank.
    #[error("{what} needs a reason")]
    ReasonMissing { what: String },
    /// A required key is missing.
    #[error("{what} needs `{key}`")]
    KeyMissing { what: String, key: &'static str },
    /// Not a usable path.
    #[error("`{text}` is not a path that can be granted: {error}")]
    BadPath { text: String, error: PathError },
    /// `at` is relative.
    #[error("`at` is where the receiver sees the path, and must begin with `/`")]
    AtRelative,
    /// `at` with no path, or with more than one.
    #[error("`at` names a place for one path, and this table grants {count}")]
    AtNeedsOnePath { count: usize },
    /// `at` in `holds`.
    #[error("`at` has no meaning in `holds`: the workspace sees its paths under their own names")]
    AtInHolds,
    /// Two paths at one place.
    #[error("two paths are placed at `{guest}`")]
    AtTwice { guest: String },
    /// `quota` without `write`.
    #[error("`quota` bounds what is written, and this table grants no `write`")]
    QuotaWithoutWrite,
    /// Not a host.
    #[error("`{text}` is not a host that can be granted: {error}")]
    BadHost { text: String, error: HostError },
    /// Not a variable's name.
    #[error("`{text}` is not a variable's name: {error}")]
    BadVariable { text: String, error: NameError },
    /// Not a standard stream.
    #[error("`{text}` is not a standard stream")]
    BadStream { text: String },
    /// Not a quantity.
    #[error("`{text}` is not {what}: {error}")]
    BadQuantity { text: String, what: &'static str, error: QuantityError },
    /// Not a count.
    #[error("{what} must be a whole number from 1 to {max}")]
    BadCount { what: &'static str, max: u64 },
    /// Not a crate's name.
    #[error("`{text}` is not a crate: write `name` or `name@1.2`")]
    BadCrate { text: String },
    /// Not an edge.
    #[error("`{text}` is not an edge")]
    BadEdge { text: String },
    /// Not a version requirement.
    #[error("`{text}` is not a version requirement: {error}")]
    BadVersion { text: String, error: String },
    /// A crate declared with a part of its version.
    #[error("`{text}` is declared without its whole version")]
    PartialVersion { text: String },
    /// Not a SHA-256.
    #[error("`{text}` is not a SHA-256 checksum: 64 hexadecimal digits, as in Cargo.lock")]
    BadChecksum { text: String },
    /// Not a backend.
    #[error("there is no backend `{text}`")]
    UnknownBackend { text: String, suggestion: Option<String> },
    /// Not a way to join two compartments.
    #[error("there is no link `{text}`")]
    UnknownLink { text: String, suggestion: Option<String> },
    /// Not a world.
    #[error("`{text}` is not a world: write `path/to/file.wit#world-name`")]
    BadWorld { text: String },
    /// Not a path of a component.
    #[error("`{text}` is not a path of a component: write `path/to/plugin.wasm`, relative to this file")]
    BadComponent { text: String },
    /// More than a limit allows.
    #[error("{what}: {found} where at most {max} are read")]
    TooMany { what: &'static str, found: usize, max: usize },
    /// Longer than a limit allows.
    #[error("{what} is {found} bytes long; at most {max} are read")]
    TooLong { what: &'static str, found: usize, max: usize },
    /// A name with characters that deceive a reader.
    #[error("{what} contains a control or text-direction character")]
    Deceptive { what: &'static str },
    /// Errors beyond the limit on how many are listed.
    #[error("{count} more errors in this file are not listed")]
    More { count: usize },
}

use ManifestErrorKind as K;

impl ManifestErrorKind {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            K::Syntax { .. } => Code::Syntax,
            K::UnknownKey { .. } | K::MisplacedKey { .. } => Code::UnknownKey,
            K::WrongType { .. } => Code::WrongType,
            K::UnknownCapability { .. } => Code::UnknownCapability,
            K::BadCapabilityName { .. } => Code::BadCapabilityName,
            K::ExportForbidden { .. } => Code::ExportForbidden,
            K::ParameterMissing { .. } => Code::ParameterMissing,
            K::FalseGrant { .. } => Code::FalseGrant,
            K::CapabilityTwice { .. } | K::Twice { .. } => Code::WrittenTwice,
            K::EmptyList { .. } => Code::EmptyList,
            K::ReasonMissing { .. } => Code::ReasonMissing,
            K::KeyMissing { .. } => Code::KeyMissing,
            K::BadPath { .. } | K::BadComponent { .. } => Code::BadPath,
            K::AtRelative | K::AtInHolds | K::AtNeedsOnePath { .. } | K::AtTwice { .. } => Code::BadPlacement,
            K::QuotaWithoutWrite => Code::QuotaWithoutWrite,
            K::BadHost { .. } => Code::BadHost,
            K::BadVariable { .. } => Code::BadVariable,
            K::BadStream { .. } => Code::BadStream,
            K::BadQuantity { .. } | K::BadCount { .. } => Code::BadQuantity,
            K::BadCrate { .. } => Code::BadCrate,
            K::BadEdge { .. } => Code::BadEdge,
            K::BadVersion { .. } | K::PartialVersion { .. } => Code::BadVersion,
            K::BadChecksum { .. } => Code::BadChecksum,
            K::UnknownBackend { .. } => Code::UnknownBackend,
            K::UnknownLink { .. } => Code::UnknownLink,
            K::BadWorld { .. } => Code::BadWorld,
            K::TooMany { .. } | K::TooLong { .. } | K::More { .. } => Code::TooLarge,
            K::Deceptive { .. } => Code::DeceptiveName,
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            K::UnknownKey { suggestion: Some(word), .. }
            | K::UnknownBackend { suggestion: Some(word), .. }
            | K::UnknownLink { suggestion: Some(word), .. } => {
                format!("did you mean `{word}`?")
            }
            K::UnknownKey { known, .. } => format!("the keys here are {}", one_of(known.iter().copied())),
            K::MisplacedKey { belongs, .. } => format!("it belongs in {belongs}"),
            K::UnknownCapability { suggestion: Some(word), .. } => format!("did you mean `{word}`?"),
            K::UnknownCapability { .. } => "`cofferdam explain capabilities` lists them".to_owned(),
            K::BadCapabilityName { .. } => {
                "a name is lowercase words of letters, digits and `-`, joined by dots: `gpu.submit`".to_owned()
            }
            K::ExportForbidden { .. } => "choose a name that begins with your crate's own word".to_owned(),
            K::ParameterMissing { example, .. } => format!("write what is needed, for example `{example}`"),
            K::CapabilityTwice { .. } => "put both into one entry".to_owned(),
            K::Twice { .. } => "keep one of the two".to_owned(),
            K::FalseGrant { .. } | K::EmptyList { .. } => "remove it: what is not granted is denied".to_owned(),
            K::ReasonMissing { .. } => "say in a sentence why, for the person who decides about it".to_owned(),
            K::KeyMissing { key, .. } => format!("add `{key} = ...`"),
            K::AtRelative => "for example `at = \"/icc\"`".to_owned(),
            K::AtNeedsOnePath { .. } => {
                "give each path its own place: `read = [{ path = \"a\", at = \"/a\" }, { path = \"b\", at = \"/b\" }]`"
                    .to_owned()
            }
            K::AtInHolds => "place the path in the table of the edge that grants it".to_owned(),
            K::AtTwice { .. } => "place one of them elsewhere".to_owned(),
            K::QuotaWithoutWrite => "remove the quota, or grant `write`".to_owned(),
            K::BadStream { .. } => "the streams are `stdin`, `stdout` and `stderr`".to_owned(),
            K::BadEdge { .. } => "write it as `\"consumer -> dependency\"`".to_owned(),
            K::BadVersion { .. } => "write it as in `[dependencies]`, for example `version = \"0.9\"`".to_owned(),
            K::PartialVersion { .. } => "write all of it, as in `zlib@1.2.3`, or leave it out".to_owned(),
            K::UnknownBackend { .. } => "the backends are `inline`, `wasm` and `process`".to_owned(),
            K::UnknownLink { .. } => "an edge is `isolated` or `fused`".to_owned(),
            K::WrongType { expected: "a list", found: "a string", .. } => "put it in brackets: `[\"...\"]`".to_owned(),
            K::TooMany { .. } | K::TooLong { .. } => "SPECIFICATION.md lists the limits and their reasons".to_owned(),
            _ => return None,
        })
    }

    /// A second place that the message speaks of.
    pub fn other_place(&self) -> Option<Location> {
        match self {
            K::CapabilityTwice { first, .. } | K::Twice { first, .. } => Some(*first),
            _ => None,
        }
    }
}
