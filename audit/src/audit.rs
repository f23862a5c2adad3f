//! The verdict: what each crate reaches, and what each edge brings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use capability_manifest::Capability;

use crate::compiled::{Compiled, Layer, Layers};
use crate::facts::Facts;
use crate::link::sets::Atom;
use crate::link::stage::{CodePlace, Extent};
use crate::package::{Graph, PackageIndex};
use crate::sources::Sources;
use crate::table::{Table, TableError};
use crate::whole::Whole;

/// Why sources could not be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The threads that parse could not be started.
    #[error("cannot start threads to read sources: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A table of ours is wrong.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// What an edge brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// When the consumer is part of a program.
    pub run: BTreeSet<Atom>,
    /// When the consumer is part of the build.
    pub build: BTreeSet<Atom>,
}

/// Source that could not be analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSource {
    /// The package.
    pub package: PackageIndex,
    /// The file.
    pub file: String,
    /// The line that asks for it, 0 for the whole file.
    pub line: u32,
    /// Why.
    pub why: String,
    /// It is made by the package's own build script.
    pub generated: bool,
}

/// Unsafe code that reaches authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafeReach {
    /// Where.
    pub at: CodePlace,
    /// What it reaches, by name.
    pub reaches: BTreeSet<Capability>,
    /// What its comment names.
    pub tags: BTreeSet<String>,
}

/// How a capability is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The places, the consumer's first.
    pub places: Vec<CodePlace>,
    /// What is used at the end: an item of std, a C symbol, a form.
    pub what: String,
}

/// The verdict about a graph. What it says is known at once where an earlier run found it out; ways are searched when they are
/// asked for.
#[derive(Debug)]
pub struct Audit<'s> {
    facts: Facts,
    whole: OnceLock<Whole<'s>>,
    graph: &'s Graph,
    sources: &'s Sources,
    table: &'s Table,
    extent: Extent,
    /// What compiled code says beside the source, when it was looked at.
    compiled: Option<&'s Compiled>,
}

/// Judges a graph by what is used.
pub fn audit<'s>(graph: &'s Graph, sources: &'s Sources, table: &'s Table) -> Audit<'s> {
    audit_extent(graph, sources, table, Extent::Used, None)
}

/// Judges a graph by more or less of its code, and by what was compiled of it. Without that, it may say again what an earlier run
/// said of the same.
///
/// # Authority
/// Reads and writes the cache that `sources` were read with.
pub fn audit_extent<'s>(
    graph: &'s Graph,
    sources: &'s Sources,
    table: &'s Table,
    extent: Extent,
    compiled: Option<&'s Compiled>,
) -> Audit<'s> {
    let known = || known(graph, sources, table, extent);
    let known = if compiled.is_none() { known() } else { None };
    known.unwrap_or_else(|| judged(graph, sources, table, extent, compiled))
}

/// What an earlier run said by source.
pub(crate) fn known<'s>(
    graph: &'s Graph,
    sources: &'s Sources,
    table: &'s Table,
    extent: Extent,
) -> Option<Audit<'s>> {
    let (cache, key) = sources.place_of_verdict(graph, table, extent)?;
    let facts = Facts::of_wire(cache.read("verdict", &key)?, graph)?;
    Some(Audit { facts, whole: OnceLock::new(), graph, sources, table, extent, compiled: None })
}

/// Judges, and keeps what it says by source.
pub(crate) fn judged<'s>(
    graph: &'s Graph,
    sources: &'s Sources,
    table: &'s Table,
    extent: Extent,
    compiled: Option<&'s Compiled>,
) -> Audit<'s> {
    let whole = Whole::new(graph, sources.summaries(graph), table, extent, compiled);
    let facts = Facts::of(&whole, graph, sources.summaries(graph));
    if let (None, Some((cache, key))) = (compiled, sources.place_of_verdict(graph, table, extent)) {
        cache.write("verdict", &key, &facts.wire());
    }
    Audit { facts, whole: whole.into(), graph, sources, table, extent, compiled }
}

impl<'s> Audit<'s> {
    fn whole(&self) -> &Whole<'s> {
        if let Some(known) = self.whole.get() {
            return known;
        }
        // Not inside of the lock: threads that wait for it might be those that judge.
        let summaries = self.sources.summaries(self.graph);
        let whole = Whole::new(self.graph, summaries, self.table, self.extent, self.compiled);
        self.whole.get_or_init(|| whole)
    }

    /// Every edge of the graph with what it brings.
    pub fn needs(&self) -> &BTreeMap<(PackageIndex, PackageIndex), Need> {
        &self.facts.needs
    }

    /// What a root holds at least: what its own code reaches, and what its edges bring.
    pub fn root_need(&self, package: PackageIndex) -> BTreeSet<Atom> {
        self.facts.roots.get(&package).cloned().unwrap_or_else(|| self.whole().root_need(package))
    }

    /// What a package's own used code reaches, in programs and in the build: itself, not what it depends on.
    pub fn own(&self, package: PackageIndex) -> BTreeSet<Atom> {
        self.facts.own[package].clone()
    }

    /// Whether a package is linked for this platform at all.
    pub fn is_linked(&self, package: PackageIndex) -> bool {
        self.facts.linked[package]
    }

    /// How an edge brings a capability.
    pub fn way_over(&self, from: PackageIndex, to: PackageIndex, capability: &Capability) -> Option<Way> {
        self.whole().way_over(from, to, capability)
    }

    /// How a package's own code reaches a capability.
    pub fn way_within(&self, package: PackageIndex, capability: &Capability) -> Option<Way> {
        self.whole().way_within(package, capability)
    }

    /// The layers that say that an edge brings a capability.
    pub fn layers_over(&self, from: PackageIndex, to: PackageIndex, capability: &Capability) -> Layers {
        if self.compiled.is_some() {
            return self.whole().layers_over(from, to, capability);
        }
        let need = self.facts.needs.get(&(from, to));
        let brings = |need: &Need| need.run.union(&need.build).any(|atom| atom.capability == *capability);
        if need.is_some_and(brings) { Layers::one(Layer::Source) } else { Layers::default() }
    }

    /// The layers that say that a package's own code reaches a capability.
    pub fn layers_within(&self, package: PackageIndex, capability: &Capability) -> Layers {
        if self.compiled.is_some() {
            return self.whole().layers_within(package, capability);
        }
        let reaches = self.facts.own[package].iter().any(|atom| atom.capability == *capability);
        if reaches { Layers::one(Layer::Source) } else { Layers::default() }
    }

    /// What could not be analysed of what is linked.
    pub fn unknowns(&self) -> Vec<UnknownSource> {
        self.facts.unknowns.clone()
    }

    /// Files, lines and files read token by token, of all packages.
    pub fn extent(&self) -> (usize, u64, u32) {
        self.facts.extent
    }

    /// Unsafe code of a package that reaches authority, and how much unsafe code only handles memory.
    pub fn unsafe_code(&self, package: PackageIndex) -> (Vec<UnsafeReach>, usize) {
        self.facts.unsafe_code[package].clone()
    }
}
