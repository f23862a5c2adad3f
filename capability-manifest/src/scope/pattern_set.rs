//! Sets of patterns, ordered by what they cover.
//!
//! A set stands for everything that at least one of its patterns covers. It is kept as an antichain: no pattern in it
//! covers another or a piece of another, and they are sorted, so that equal authority has one spelling.

/// One pattern: a partial order by `covers`, in which any two patterns have a meet or nothing in common.
pub trait Pattern: Clone + Ord {
    /// Whether everything that `other` matches is matched by `self`. Reflexive, transitive, antisymmetric.
    fn covers(&self, other: &Self) -> bool;

    /// What both match; `None` when nothing is. The default is for patterns of which two match nothing in common unless
    /// one covers the other, as folders do.
    fn meet(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// The one pattern that matches exactly what the two match together, when there is one (adjacent port ranges).
    fn join(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(self.clone())
        } else if other.covers(self) {
            Some(other.clone())
        } else {
            None
        }
    }

    /// Whether the patterns together cover `self`. Where one pattern can be covered piecewise, this says how.
    fn is_covered_by(&self, patterns: &[Self]) -> bool {
        patterns.iter().any(|pattern| pattern.covers(self))
    }

    /// Takes from each pattern what others of the set cover, so that equal sets have one spelling. Nothing to do for
    /// patterns that are covered whole or not at all.
    fn reduce(_patterns: &mut Vec<Self>) {}
}

/// A set of patterns in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternSet<P>(Vec<P>);

impl<P: Pattern> PatternSet<P> {
    /// The canonical set of the given patterns.
    pub fn new(patterns: impl IntoIterator<Item = P>) -> Self {
        let mut patterns: Vec<P> = patterns.into_iter().collect();
        if patterns.len() > 1 {
            patterns.sort();
            patterns.dedup();
            absorb(&mut patterns);
            P::reduce(&mut patterns);
            patterns.sort();
        }
        Self(patterns)
    }

    /// Nothing is matched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, sorted.
    pub fn iter(&self) -> std::slice::Iter<'_, P> {
        self.0.iter()
    }

    /// Whether the set covers `pattern`.
    pub fn covers_pattern(&self, pattern: &P) -> bool {
        pattern.is_covered_by(&self.0)
    }

    /// Whether the set covers each pattern of `other`. True only when nothing grows.
    pub fn covers(&self, other: &Self) -> bool {
        self.0 == other.0 || other.0.iter().all(|theirs| self.covers_pattern(theirs))
    }

    /// The patterns of `self` that `other` does not cover.
    pub fn not_covered_by<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a P> {
        self.0.iter().filter(|mine| !other.covers_pattern(mine))
    }

    /// The greatest set that both cover.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        if self.0 == other.0 {
            return self.clone();
        }
        Self::new(self.0.iter().flat_map(|mine| other.0.iter().filter_map(|theirs| mine.meet(theirs))))
    }

    /// The least set that covers both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        if self.covers(other) {
            return self.clone();
        }
        Self::new(self.0.iter().chain(&other.0).cloned())
    }
}

/// Joins patterns pairwise until no two can be. Each join removes one and is looked at again, so it ends.
fn absorb<P: Pattern>(patterns: &mut Vec<P>) {
    let mut next = 0;
    // Those before a pattern were compared with it in their turn; one that is a join was not there then.
    let mut first = 1;
    while next < patterns.len() {
        let found = (first..patterns.len())
            .filter(|&other| other != next)
            .find_map(|other| patterns[next].join(&patterns[other]).map(|joined| (other, joined)));
        if let Some((other, joined)) = found {
            patterns[next] = joined;
            patterns.remove(other);
            next -= usize::from(other < next);
            first = 0;
        } else {
            next += 1;
            first = next + 1;
        }
    }
}

impl<'a, P: Pattern> IntoIterator for &'a PatternSet<P> {
    type Item = &'a P;
    type IntoIter = std::slice::Iter<'a, P>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
