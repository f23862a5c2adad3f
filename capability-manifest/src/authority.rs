//! Everything a crate holds, or is granted over one edge: capabilities, each with its scope.
//!
//! Authority is ordered capability by capability. `filesystem.write` includes `filesystem.read` of the same paths, so the
//! order, the meet and the canonical form all look through that implication.

use std::borrow::Cow;
use std::fmt;

use crate::capability::Capability;
use crate::scope::{PatternSet, Scope};

/// A set of capabilities with scopes, in canonical form: sorted, none empty, nothing listed that another entry implies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Authority(Vec<(Capability, Scope)>);

impl Authority {
    /// No authority at all.
    pub const NOTHING: Self = Self(Vec::new());

    /// The canonical form of the given entries. Entries of one capability are joined.
    pub fn new(entries: impl IntoIterator<Item = (Capability, Scope)>) -> Self {
        let mut entries: Vec<(Capability, Scope)> =
            entries.into_iter().filter(|(_, scope)| !scope.is_empty()).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = kept.1.join(&later.1);
            }
            same
        });
        Self(entries).without_implied()
    }

    /// Drops the patterns that an implying capability already gives: `read a` beside `write a`.
    fn without_implied(mut self) -> Self {
        for index in 0..self.0.len() {
            let Some(implied) = self.0[index].0.implied_by().and_then(|name| self.listed(&name)) else {
                continue;
            };
            if let (Scope::Paths(set), Scope::Paths(implied)) = (&self.0[index].1, implied) {
                let rest = set.iter().filter(|one| !implied.covers_any_of(&one.pattern)).cloned();
                self.0[index].1 = Scope::Paths(PatternSet::new(rest));
            }
        }
        self.0.retain(|(_, scope)| !scope.is_empty());
        self
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The capabilities and their scopes, in the table's order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Capability, Scope)> {
        self.0.iter()
    }

    /// The scope listed under that very name.
    fn listed(&self, capability: &Capability) -> Option<&Scope> {
        let index = self.0.binary_search_by(|(name, _)| name.cmp(capability)).ok()?;
        Some(&self.0[index].1)
    }

    /// The scope in which a capability is held, directly or because another one implies it.
    pub fn scope(&self, capability: &Capability) -> Option<Cow<'_, Scope>> {
        let listed = self.listed(capability);
        let implied = capability.implied_by().and_then(|name| self.listed(&name));
        match (listed, implied) {
            (Some(listed), Some(implied)) => Some(Cow::Owned(listed.join(&implied.without_bounds()))),
            (Some(listed), None) => Some(Cow::Borrowed(listed)),
            (None, Some(implied)) => Some(Cow::Owned(implied.without_bounds())),
            (None, None) => capability.granted_by_default().then_some(Cow::Borrowed(&Scope::Flag)),
        }
    }

    /// Whether `self` includes that scope of that capability.
    pub fn covers_scope(&self, capability: &Capability, scope: &Scope) -> bool {
        self.scope(capability).is_some_and(|held| held.covers(scope))
    }

    /// The partial order: whether everything in `other` is in `self`.
    pub fn covers(&self, other: &Self) -> bool {
        self.0 == other.0 || other.0.iter().all(|(capability, scope)| self.covers_scope(capability, scope))
    }

    /// What both include: the greatest lower bound.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        if self.0 == other.0 {
            return self.clone();
        }
        let implied_only = |of: &Self| -> Vec<Capability> {
            let write = of.iter().filter_map(|(capability, _)| match capability {
                Capability::Host(stage, crate::HostCapability::FilesystemWrite) => {
                    Some(Capability::Host(*stage, crate::HostCapability::FilesystemRead))
                }
                _ => None,
            });
            write.collect()
        };
        let mut names: Vec<Capability> = self.iter().map(|(capability, _)| capability.clone()).collect();
        names.extend(implied_only(self));
        names.sort();
        names.dedup();
        Self::new(names.into_iter().filter_map(|capability| {
            let met = self.scope(&capability)?.meet(other.scope(&capability)?.as_ref())?;
            Some((capability, met))
        }))
    }

    /// What either includes: an upper bound, and the union for code that is linked once.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        if self.covers(other) {
            return self.clone();
        }
        if other.covers(self) {
            return other.clone();
        }
        Self::new(self.0.iter().chain(&other.0).cloned())
    }

    /// The same powers, used while compiling.
    #[must_use]
    pub fn at_build(&self) -> Self {
        Self::new(self.0.iter().map(|(capability, scope)| (capability.at_build(), scope.clone())))
    }

    /// The longest list of patterns in any one scope.
    pub fn patterns_max(&self) -> usize {
        self.0.iter().map(|(_, scope)| scope.len()).max().unwrap_or(0)
    }
}

impl<'a> IntoIterator for &'a Authority {
    type Item = &'a (Capability, Scope);
    type IntoIter = std::slice::Iter<'a, (Capability, Scope)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `filesystem.read assets, photos; mmap.file`.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (index, (capability, scope)) in self.0.iter().enumerate() {
            let scope = scope.to_string();
            let gap = if scope.is_empty() { "" } else { " " };
            write!(f, "{}{capability}{gap}{scope}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
