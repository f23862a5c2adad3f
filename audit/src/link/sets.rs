//! Sets of atoms: a capability, and where it is known the argument it is used with.

use capability_manifest::Capability;

use crate::limits::ARGUMENTS_MAX;

/// A capability with an argument: the variable that is read, the file that is opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom {
    /// The capability, at its stage.
    pub capability: Capability,
    /// The argument, where it is a literal.
    pub argument: Option<String>,
}

const WORDS: usize = 17;

/// A set of [`Atom`]s by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AtomSet([u64; WORDS]);

impl Default for AtomSet {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl AtomSet {
    pub(crate) fn insert(&mut self, atom: u16) {
        self.0[usize::from(atom) / 64] |= 1 << (atom % 64);
    }

    pub(crate) fn contains(&self, atom: u16) -> bool {
        self.0[usize::from(atom) / 64] & (1 << (atom % 64)) != 0
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..(WORDS * 64) as u16).filter(|atom| self.contains(*atom))
    }
}

/// Every atom of a graph, once.
#[derive(Debug, Default)]
pub(crate) struct Atoms {
    numbers: std::collections::HashMap<Atom, u16>,
    list: Vec<Atom>,
}

impl Atoms {
    /// The number of an atom. Past [`ARGUMENTS_MAX`] arguments are no longer told apart, and the capability stands alone.
    pub(crate) fn number(&mut self, mut atom: Atom) -> u16 {
        if let Some(known) = self.numbers.get(&atom) {
            return *known;
        }
        if self.list.len() >= ARGUMENTS_MAX && atom.argument.is_some() {
            atom.argument = None;
            return self.number(atom);
        }
        // Without arguments there are at most twice as many atoms as host capabilities: 74 of the 128 that are left.
        let number = u16::try_from(self.list.len()).expect("bounded above");
        assert!(usize::from(number) < WORDS * 64, "there are fewer host capabilities");
        self.numbers.insert(atom.clone(), number);
        self.list.push(atom);
        number
    }

    pub(crate) fn get(&self, number: u16) -> &Atom {
        &self.list[usize::from(number)]
    }
}
