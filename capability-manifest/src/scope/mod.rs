//! What a grant says beside its capability's name, and what "narrower" means for it.
//!
//! Every kind is a lattice of the same build: a set of patterns in canonical form and, for some, a bound. `covers` is the
//! partial order, `meet` the greatest lower bound; both are tested for their laws in `tests/properties.rs`.

mod host;
mod name;
mod path;
mod pattern_set;
mod quantity;

pub use host::{HostError, HostPattern, HostPort, IpBlock};
pub use name::{NameError, NamePattern, Stream};
pub(crate) use path::is_deceptive;
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
    /// Files and folders; at most `quota` bytes may be written there in all.
    Paths {
        /// Where.
        patterns: PatternSet<PathPattern>,
        /// Most bytes written; `None` is no quota.
        quota: Option<u64>,
    },
    /// Hosts and ports.
    Hosts(PatternSet<HostPort>),
    /// Hosts by name.
    HostNames(PatternSet<HostPattern>),
    /// Variables.
    Names(PatternSet<NamePattern>),
    /// Standard streams; at most `bytes` may pass through each.
    Streams {
        /// Which.
        streams: PatternSet<Stream>,
        /// Most bytes; `None` is no cap.
        bytes: Option<u64>,
    },
    /// At most so many at a time; `None` is no bound.
    Count(Option<u64>),
    /// A clock no finer than this, nanoseconds; zero is as fine as the host's.
    Resolution(u64),
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
            Self::Flag | Self::Count(_) | Self::Resolution(_) => false,
            Self::Paths { patterns, .. } => patterns.is_empty(),
            Self::Hosts(set) => set.is_empty(),
            Self::HostNames(set) => set.is_empty(),
            Self::Names(set) => set.is_empty(),
            Self::Streams { streams, .. } => streams.is_empty(),
        }
    }

    /// Whether `other` is at most `self`. False for scopes of different kinds.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Flag, Self::Flag) => true,
            (Self::Paths { patterns: a, quota: qa }, Self::Paths { patterns: b, quota: qb }) => {
                a.covers(b) && (b.is_empty() || bound_covers(*qa, *qb))
            }
            (Self::Hosts(a), Self::Hosts(b)) => a.covers(b),
            (Self::HostNames(a), Self::HostNames(b)) => a.covers(b),
            (Self::Names(a), Self::Names(b)) => a.covers(b),
            (Self::Streams { streams: a, bytes: ba }, Self::Streams { streams: b, bytes: bb }) => {
                a.covers(b) && (b.is_empty() || bound_covers(*ba, *bb))
            }
            (Self::Count(a), Self::Count(b)) => bound_covers(*a, *b),
            (Self::Resolution(a), Self::Resolution(b)) => a <= b,
            _ => false,
        }
    }

    /// What both give; `None` when that is nothing.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let met = match (self, other) {
            (Self::Flag, Self::Flag) => Self::Flag,
            (Self::Paths { patterns: a, quota: qa }, Self::Paths { patterns: b, quota: qb }) => {
                Self::Paths { patterns: a.meet(b), quota: bound_meet(*qa, *qb) }
            }
            (Self::Hosts(a), Self::Hosts(b)) => Self::Hosts(a.meet(b)),
            (Self::HostNames(a), Self::HostNames(b)) => Self::HostNames(a.meet(b)),
            (Self::Names(a), Self::Names(b)) => Self::Names(a.meet(b)),
            (Self::Streams { streams: a, bytes: ba }, Self::Streams { streams: b, bytes: bb }) => {
                Self::Streams { streams: a.meet(b), bytes: bound_meet(*ba, *bb) }
            }
            (Self::Count(a), Self::Count(b)) => Self::Count(bound_meet(*a, *b)),
            (Self::Resolution(a), Self::Resolution(b)) => Self::Resolution(*a.max(b)),
            _ => return None,
        };
        (!met.is_empty()).then_some(met)
    }

    /// The least scope of the same kind that gives what either gives. Scopes of different kinds never meet in one capability.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Paths { patterns: a, quota: qa }, Self::Paths { patterns: b, quota: qb }) => {
                Self::Paths { patterns: a.join(b), quota: bound_join(*qa, *qb) }
            }
            (Self::Hosts(a), Self::Hosts(b)) => Self::Hosts(a.join(b)),
            (Self::HostNames(a), Self::HostNames(b)) => Self::HostNames(a.join(b)),
            (Self::Names(a), Self::Names(b)) => Self::Names(a.join(b)),
            (Self::Streams { streams: a, bytes: ba }, Self::Streams { streams: b, bytes: bb }) => {
                Self::Streams { streams: a.join(b), bytes: bound_join(*ba, *bb) }
            }
            (Self::Count(a), Self::Count(b)) => Self::Count(bound_join(*a, *b)),
            (Self::Resolution(a), Self::Resolution(b)) => Self::Resolution(*a.min(b)),
            (mine, _) => mine.clone(),
        }
    }

    /// The same scope without its quota: the quota of `filesystem.write` does not bound the reading that it implies.
    #[must_use]
    pub fn without_quota(&self) -> Self {
        match self {
            Self::Paths { patterns, .. } => Self::Paths { patterns: patterns.clone(), quota: None },
            other => other.clone(),
        }
    }

    /// How many patterns it lists.
    pub fn len(&self) -> usize {
        match self {
            Self::Flag | Self::Count(_) | Self::Resolution(_) => 1,
            Self::Paths { patterns, .. } => patterns.iter().len(),
            Self::Hosts(set) => set.iter().len(),
            Self::HostNames(set) => set.iter().len(),
            Self::Names(set) => set.iter().len(),
            Self::Streams { streams, .. } => streams.iter().len(),
        }
    }

    /// The parts of `self` that `held` does not cover, as they are written.
    pub fn excess(&self, held: &Self) -> Vec<String> {
        fn over<P: Pattern + fmt::Display>(mine: &PatternSet<P>, held: &PatternSet<P>) -> Vec<String> {
            mine.not_covered_by(held).map(|pattern| format!("`{pattern}`")).collect()
        }
        match (self, held) {
            (Self::Paths { patterns: a, quota: qa }, Self::Paths { patterns: b, quota: qb }) => {
                let mut excess = over(a, b);
                if !bound_covers(*qb, *qa) {
                    excess.push(quota_text(*qa));
                }
                excess
            }
            (Self::Hosts(a), Self::Hosts(b)) => over(a, b),
            (Self::HostNames(a), Self::HostNames(b)) => over(a, b),
            (Self::Names(a), Self::Names(b)) => over(a, b),
            (Self::Streams { streams: a, bytes: ba }, Self::Streams { streams: b, bytes: bb }) => {
                let mut excess = over(a, b);
                if !bound_covers(*bb, *ba) {
                    excess.push(quota_text(*ba));
                }
                excess
            }
            (Self::Count(None), _) if !held.covers(self) => vec!["any number".to_owned()],
            (Self::Resolution(0), _) if !held.covers(self) => vec!["full resolution".to_owned()],
            (Self::Count(_) | Self::Resolution(_), _) if !held.covers(self) => vec![format!("`{self}`")],
            _ => Vec::new(),
        }
    }
}

fn quota_text(quota: Option<u64>) -> String {
    quota.map_or_else(|| "no quota".to_owned(), |bytes| format!("a quota of {}", ByteCount(bytes)))
}

fn list<P: Pattern + fmt::Display>(f: &mut fmt::Formatter<'_>, set: &PatternSet<P>) -> fmt::Result {
    for (index, pattern) in set.iter().enumerate() {
        write!(f, "{}{pattern}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// As people read it: `photos, assets (quota 64MiB)`. Empty for a flag.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag | Self::Count(None) | Self::Resolution(0) => Ok(()),
            Self::Paths { patterns, quota } => {
                list(f, patterns)?;
                quota.map_or(Ok(()), |bytes| write!(f, " (quota {})", ByteCount(bytes)))
            }
            Self::Hosts(set) => list(f, set),
            Self::HostNames(set) => list(f, set),
            Self::Names(set) => list(f, set),
            Self::Streams { streams, bytes } => {
                list(f, streams)?;
                bytes.map_or(Ok(()), |bytes| write!(f, " (at most {})", ByteCount(bytes)))
            }
            Self::Count(Some(count)) => write!(f, "max {count}"),
            Self::Resolution(nanoseconds) => write!(f, "resolution {}", Nanoseconds(*nanoseconds)),
        }
    }
}
