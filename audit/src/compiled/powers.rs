//! Sets of host capabilities as bits: small enough to keep one for each function of a program.

use capability_manifest::HostCapability;

/// A set of host capabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Powers(u64);

impl Powers {
    pub(crate) const NONE: Self = Self(0);

    /// The set of one.
    pub(crate) fn one(capability: HostCapability) -> Self {
        Self(1 << (capability as u32))
    }

    /// The set of several.
    pub(crate) fn of(capabilities: &[HostCapability]) -> Self {
        capabilities.iter().fold(Self::NONE, |all, one| all.with(Self::one(*one)))
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = HostCapability> {
        HostCapability::all().filter(move |one| self.0 & (1 << (*one as u32)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_bit_of_its_own() {
        let mut all = Powers::NONE;
        for capability in HostCapability::all() {
            assert!((capability as u32) < 64);
            let one = Powers::one(capability);
            assert!(all.without(one) == all, "{capability:?} shares its bit");
            all = all.with(one);
            assert_eq!(one.iter().collect::<Vec<_>>(), [capability]);
        }
        assert_eq!(all.iter().count(), HostCapability::all().count());
    }
}
