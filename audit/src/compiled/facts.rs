//! What compiled code was found to do: per crate and per edge, in which state, by which layer, and by which way.

use std::collections::BTreeMap;

use capability_manifest::HostCapability;

use crate::package::PackageIndex;

/// The layers that look at code. Their union is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Source files.
    Source,
    /// Relocations of compiled objects, Rust's and those of C.
    Objects,
    /// Instructions that call the kernel.
    Opcodes,
    /// The graph of a linked program.
    Linked,
}

impl Layer {
    const ALL: [Self; 4] = [Self::Source, Self::Objects, Self::Opcodes, Self::Linked];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Objects => "objects",
            Self::Opcodes => "opcodes",
            Self::Linked => "linked",
        }
    }
}

/// A set of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layers(u8);

impl Layers {
    /// The set of one.
    pub fn one(layer: Layer) -> Self {
        Self(1 << layer as u8)
    }

    /// Both sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one is in it.
    pub fn has(self, layer: Layer) -> bool {
        self.0 & (1 << layer as u8) != 0
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        Layer::ALL.into_iter().filter(|layer| self.has(*layer)).map(Layer::name).collect()
    }
}

/// One place on a way through compiled code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompiledPlace {
    pub(crate) package: PackageIndex,
    /// The function's name as it is in the file.
    pub(crate) name: String,
    /// The program that it is in, and the address of what leads on; none in an object.
    pub(crate) at: Option<(usize, u64)>,
}

/// One use that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether a way from where a program begins leads there.
    pub(crate) is_used: bool,
    pub(crate) layers: Layers,
    pub(crate) way: Vec<CompiledPlace>,
    /// What is used at the end, by its name in the file.
    pub(crate) what: String,
}

/// What was found of one crate, or of one edge.
pub(crate) type Uses = BTreeMap<HostCapability, Found>;

/// What was found in one stage.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Of each package's own code.
    pub(crate) own: BTreeMap<PackageIndex, Uses>,
    /// Over each edge.
    pub(crate) edges: BTreeMap<(PackageIndex, PackageIndex), Uses>,
    /// Of a whole program that runs in the build, by the package whose build script or macro it is.
    pub(crate) whole: BTreeMap<PackageIndex, Uses>,
}

impl Facts {
    /// Adds what another look found. A use that is reached is the better example, then one with lines.
    pub(crate) fn join(&mut self, other: Self) {
        for (package, uses) in other.own {
            join_uses(self.own.entry(package).or_default(), uses);
        }
        for (edge, uses) in other.edges {
            join_uses(self.edges.entry(edge).or_default(), uses);
        }
        for (package, uses) in other.whole {
            join_uses(self.whole.entry(package).or_default(), uses);
        }
    }
}

pub(crate) fn join_uses(mine: &mut Uses, theirs: Uses) {
    for (capability, found) in theirs {
        match mine.entry(capability) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(found);
            }
            std::collections::btree_map::Entry::Occupied(mut known) => {
                let known = known.get_mut();
                let layers = known.layers.with(found.layers);
                let has_lines = |one: &Found| one.way.iter().any(|place| place.at.is_some());
                let is_used = known.is_used || found.is_used;
                if (found.is_used, has_lines(&found)) > (known.is_used, has_lines(known)) {
                    *known = found;
                }
                (known.layers, known.is_used) = (layers, is_used);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_example_is_kept_and_layers_add_up() {
        let place = |at| CompiledPlace { package: 0, name: "f".to_owned(), at };
        let found = |is_used, layer, at| Found {
            is_used,
            layers: Layers::one(layer),
            way: vec![place(at)],
            what: "socket".to_owned(),
        };
        let mut mine = Uses::from([(HostCapability::NetworkConnect, found(false, Layer::Objects, None))]);
        join_uses(
            &mut mine,
            Uses::from([(HostCapability::NetworkConnect, found(true, Layer::Linked, Some((0, 1))))]),
        );
        join_uses(
            &mut mine,
            Uses::from([(HostCapability::NetworkConnect, found(true, Layer::Opcodes, None))]),
        );
        let joined = &mine[&HostCapability::NetworkConnect];
        assert!(joined.is_used);
        assert_eq!(joined.way[0].at, Some((0, 1)));
        assert_eq!(joined.layers.names(), ["objects", "opcodes", "linked"]);
    }
}
