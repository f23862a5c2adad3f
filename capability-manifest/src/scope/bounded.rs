//! Patterns with a bound on how many bytes may pass.
//!
//! The bound belongs to the pattern and not to the set: who may write one folder without end and another by the kilobyte may
//! not write the second without end, however the two came together.

use std::fmt;

use super::ByteCount;
use super::pattern_set::{Pattern, PatternSet};

/// A pattern, and the most bytes for it; `None` is no bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounded<P> {
    /// What.
    pub pattern: P,
    /// At most so many bytes.
    pub bytes: Option<u64>,
}

impl<P> Bounded<P> {
    /// A pattern without a bound.
    pub fn free(pattern: P) -> Self {
        Self { pattern, bytes: None }
    }
}

impl<P: Pattern> PatternSet<Bounded<P>> {
    /// The patterns with one bound for all.
    pub fn bounded(patterns: &PatternSet<P>, bytes: Option<u64>) -> Self {
        Self::new(patterns.iter().cloned().map(|pattern| Bounded { pattern, bytes }))
    }

    /// The same patterns without their bounds.
    #[must_use]
    pub fn unbounded(&self) -> Self {
        Self::new(self.iter().map(|one| Bounded::free(one.pattern.clone())))
    }

    /// Whether the pattern is covered, whatever the bound.
    pub fn covers_any_of(&self, pattern: &P) -> bool {
        self.iter().any(|one| one.pattern.covers(pattern))
    }

    /// The smallest of the bounds: what a table with one bound for all can say without saying too much.
    pub fn smallest_bound(&self) -> Option<u64> {
        self.iter().filter_map(|one| one.bytes).min()
    }
}

fn covers_bound(mine: Option<u64>, theirs: Option<u64>) -> bool {
    mine.is_none_or(|mine| theirs.is_some_and(|theirs| theirs <= mine))
}

impl<P: Pattern> Pattern for Bounded<P> {
    fn covers(&self, other: &Self) -> bool {
        covers_bound(self.bytes, other.bytes) && self.pattern.covers(&other.pattern)
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        let bytes = match (self.bytes, other.bytes) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (bound, None) | (None, bound) => bound,
        };
        Some(Self { pattern: self.pattern.meet(&other.pattern)?, bytes })
    }
}

impl<P: fmt::Display> fmt::Display for Bounded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pattern)?;
        self.bytes.map_or(Ok(()), |bytes| write!(f, " (at most {})", ByteCount(bytes)))
    }
}
