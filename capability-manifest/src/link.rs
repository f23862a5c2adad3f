//! How the two ends of an edge between compartments are joined.

use std::fmt;

/// Whether a compartment has a store of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Link {
    /// Its own store: a fault, a limit and a deadline are its own, and only values cross the edge.
    #[default]
    Isolated,
    /// One unit with its consumer's compartment: calls cost next to nothing, grants stay those of each edge, fate and limits are
    /// shared.
    Fused,
}

impl Link {
    /// Every way, strongest isolation first.
    pub const ALL: [Self; 2] = [Self::Isolated, Self::Fused];

    /// The word that a manifest uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Fused => "fused",
        }
    }

    /// The way with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|link| link.name() == name)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
