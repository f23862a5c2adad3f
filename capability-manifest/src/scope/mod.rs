//! What a grant says beside its capability's name, and what "narrower" means for it.
//!
//! Every kind is a lattice of the same build: a set of patterns in canonical form and, for some, a bound. `covers` is the
//! partial order, `meet` the greatest lower bound; both are tested for their laws in `tests/properties.rs`.

mod bounded;
mod host;
mod name;
mod path;
mod pattern_set;
mod quantity;

pub use bounded::Bounded;
pub use host::{HostError, HostPattern, HostPort, IpBlock};
pub use name::{NameError, NamePattern, Stream};
pub use path::is_deceptive;
pub use path::{Extent, NormalPath, PathError, PathPattern};
pub use pattern_set::{Pattern, PatternSet};
pub use quantity::{ByteCount, Nanoseconds, QuantityError};

use std::fmt;

/// The parameters of one granted capability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// All of it.
    Flag,
    /// Files and folders, each with the most bytes that may be written there.
    Paths(PatternSet<Bounded<PathPattern>>),
    /// Hosts and ports.
    Hosts(PatternSet<HostPort>),
    /// Hosts by name.
    HostNames(PatternSet<HostPattern>),
    /// Variables.
    Names(PatternSet<NamePattern>),
    /// Standard streams, each with the most bytes that may pass through it.
    Streams(PatternSet<Bounded<Stream>>),
    /// At most so many at a time; `None` is no bound.
    Count(Option<u64>),
    /// A clock no finer than this, nanoseconds; zero is as fine as the host's.
    Resolution(u64),
    /// At most so many bytes.
    Bytes(u64),
}

/// `None` is the top.
fn bound_covers(mine: Option<u64>, theirs: Option<u64>) -> bool {
    mine.is_none_or(|mine| theirs.is_some_and(|theirs| theirs <= mine))
}

fn bound_meet(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (bound, None) | (None, bound) => bound,
    }
}

fn bound_join(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.zip(b).map(|(a, b)| a.max(b))
}

impl Scope {
    /// Whether it gives nothing at all (an empty set of patterns).
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Flag | Self::Count(_) | Self::Resolution(_) | Self::Bytes(_) => false,
            Self::Paths(set) => set.is_empty(),
            Self::Hosts(set) => set.is_empty(),
            Self::HostNames(set) => set.is_empty(),
            Self::Names(set) => set.is_empty(),
            Self::Streams(set) => set.is_empty(),
        }
    }

    /// Whether `other` is at most `self`. False for scopes of different kinds.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Flag, Self::Flag) => true,
            (Self::Paths(a), Self::Paths(b)) => a.covers(b),
            (Self::Hosts(a), Self::Hosts(b)) => a.covers(b),
            (Self::HostNames(a), Self::HostNames(b)) => a.covers(b),
            (Self::Names(a), Self::Names(b)) => a.covers(b),
            (Self::Streams(a), Self::Streams(b)) => a.covers(b),
            (Self::Count(a), Self::Count(b)) => bound_covers(*a, *b),
            (Self::Resolution(a), Self::Resolution(b)) => a <= b,
            (Self::Bytes(a), Self::Bytes(b)) => a >= b,
            _ => false,
        }
    }

    /// What both give; `None` when that is nothing.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let met = match (self, other) {
            (Self::Flag, Self::Flag) => Self::Flag,
            (Self::Paths(a), Self::Paths(b)) => Self::Paths(a.meet(b)),
            (Self::Hosts(a), Self::Hosts(b)) => Self::Hosts(a.meet(b)),
            (Self::HostNames(a), Self::HostNames(b)) => Self::HostNames(a.meet(b)),
            (Self::Names(a), Self::Names(b)) => Self::Names(a.meet(b)),
            (Self::Streams(a), Self::Streams(b)) => Self::Streams(a.meet(b)),
            (Self::Count(a), Self::Count(b)) => Self::Count(bound_meet(*a, *b)),
            (Self::Resolution(a), Self::Resolution(b)) => Self::Resolution(*a.max(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Self::Bytes(*a.min(b)),
            _ => return None,
        };
        (!met.is_empty()).then_some(met)
    }

    /// The least scope of the same kind that gives what either gives. Scopes of different kinds never meet in one capability.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Paths(a), Self::Paths(b)) => Self::Paths(a.join(b)),
            (Self::Hosts(a), Self::Hosts(b)) => Self::Hosts(a.join(b)),
            (Self::HostNames(a), Self::HostNames(b)) => Self::HostNames(a.join(b)),
            (Self::Names(a), Self::Names(b)) => Self::Names(a.join(b)),
            (Self::Streams(a), Self::Streams(b)) => Self::Streams(a.join(b)),
            (Self::Count(a), Self::Count(b)) => Self::Count(bound_join(*a, *b)),
            (Self::Resolution(a), Self::Resolution(b)) => Self::Resolution(*a.min(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Self::Bytes(*a.max(b)),
            (mine, _) => mine.clone(),
        }
    }

    /// The same scope without its bounds: the quota of `filesystem.write` does not bound the reading that it implies.
    #[must_use]
    pub fn without_bounds(&self) -> Self {
        match self {
            Self::Paths(set) => Self::Paths(set.unbounded()),
            other => other.clone(),
        }
    }

    /// How many patterns it lists.
    pub fn len(&self) -> usize {
        match self {
            Self::Flag | Self::Count(_) | Self::Resolution(_) | Self::Bytes(_) => 1,
            Self::Paths(set) => set.iter().len(),
            Self::Hosts(set) => set.iter().len(),
            Self::HostNames(set) => set.iter().len(),
            Self::Names(set) => set.iter().len(),
            Self::Streams(set) => set.iter().len(),
        }
    }

    /// The parts of `self` that `held` does not cover, as they are written.
    pub fn excess(&self, held: &Self) -> Vec<String> {
        fn over<P: Pattern + fmt::Display>(mine: &PatternSet<P>, held: &PatternSet<P>) -> Vec<String> {
            mine.not_covered_by(held).map(|pattern| format!("`{pattern}`")).collect()
        }
        match (self, held) {
            (Self::Paths(a), Self::Paths(b)) => over(a, b),
            (Self::Hosts(a), Self::Hosts(b)) => over(a, b),
            (Self::HostNames(a), Self::HostNames(b)) => over(a, b),
            (Self::Names(a), Self::Names(b)) => over(a, b),
            (Self::Streams(a), Self::Streams(b)) => over(a, b),
            (Self::Count(None), _) if !held.covers(self) => vec!["any number".to_owned()],
            (Self::Resolution(0), _) if !held.covers(self) => vec!["full resolution".to_owned()],
            (Self::Count(_) | Self::Resolution(_) | Self::Bytes(_), _) if !held.covers(self) => {
                vec![format!("`{self}`")]
            }
            _ => Vec::new(),
        }
    }
}

fn list<P: Pattern + fmt::Display>(f: &mut fmt::Formatter<'_>, set: &PatternSet<P>) -> fmt::Result {
    for (index, pattern) in set.iter().enumerate() {
        write!(f, "{}{pattern}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// As people read it: `photos, assets (at most 64MiB)`, each bound behind what it bounds. Empty for a flag.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag | Self::Count(None) | Self::Resolution(0) => Ok(()),
            Self::Paths(set) => list(f, set),
            Self::Hosts(set) => list(f, set),
            Self::HostNames(set) => list(f, set),
            Self::Names(set) => list(f, set),
            Self::Streams(set) => list(f, set),
            Self::Count(Some(count)) => write!(f, "max {count}"),
            Self::Resolution(nanoseconds) => write!(f, "resolution {}", Nanoseconds(*nanoseconds)),
            Self::Bytes(bytes) => write!(f, "at most {}", ByteCount(*bytes)),
        }
    }
}
