//! The three states in which a capability can be reached: used, compiled but not used, only under another `cfg`.
//!
//! Each is a verdict of its own about more of the code; what a wider one adds is in the wider state.

use std::collections::BTreeMap;

use capability_manifest::Capability;

use crate::audit::{Audit, Way, judged, known};
use crate::compiled::{Compiled, Layers};
use crate::link::stage::Extent;
use crate::package::{Graph, PackageIndex};
use crate::sources::Sources;
use crate::table::Table;

/// In which state a capability is reached. The first is the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A way from a root leads there. It has to be granted.
    Used,
    /// It is compiled, and no way from a root leads there.
    Compiled,
    /// It is not compiled for this platform and with these features.
    OtherCfg,
}

impl State {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Compiled => "compiled",
            Self::OtherCfg => "other-cfg",
        }
    }

    /// What it means, as the end of a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Used => "used here",
            Self::Compiled => "compiled but not used",
            Self::OtherCfg => "only under another cfg",
        }
    }
}

/// The verdicts about a graph in all states.
#[derive(Debug)]
pub struct States<'s> {
    /// What is used.
    pub used: Audit<'s>,
    compiled: Audit<'s>,
    any_cfg: Audit<'s>,
}

impl<'s> States<'s> {
    /// Judges a graph three times.
    pub fn new(
        graph: &'s Graph,
        sources: &'s Sources,
        table: &'s Table,
        compiled: Option<&'s Compiled>,
    ) -> Self {
        let extents = [Extent::Used, Extent::Compiled, Extent::AnyCfg];
        if compiled.is_none()
            && let [Some(used), Some(compiled), Some(any_cfg)] =
                extents.map(|extent| known(graph, sources, table, extent))
        {
            return Self { used, compiled, any_cfg };
        }
        // Read once, by this thread, before three ask for it.
        sources.summaries(graph);
        let of = |extent| judged(graph, sources, table, extent, compiled);
        let (used, (compiled, any_cfg)) =
            rayon::join(|| of(Extent::Used), || rayon::join(|| of(Extent::Compiled), || of(Extent::AnyCfg)));
        Self { used, compiled, any_cfg }
    }

    fn each(&self) -> [(State, &Audit<'s>); 3] {
        [(State::Used, &self.used), (State::Compiled, &self.compiled), (State::OtherCfg, &self.any_cfg)]
    }

    /// What a package's own code reaches by itself.
    pub fn own(&self, package: PackageIndex) -> BTreeMap<Capability, State> {
        let mut all = BTreeMap::new();
        for (state, verdict) in self.each() {
            for atom in verdict.own(package) {
                all.entry(atom.capability).or_insert(state);
            }
        }
        all
    }

    /// What an edge brings, or would bring.
    pub fn over(&self, from: PackageIndex, to: PackageIndex) -> BTreeMap<Capability, State> {
        let mut all = BTreeMap::new();
        for (state, verdict) in self.each() {
            let Some(need) = verdict.needs().get(&(from, to)) else { continue };
            for atom in need.run.union(&need.build) {
                all.entry(atom.capability.clone()).or_insert(state);
            }
        }
        all
    }

    /// The layers that say that a package's own code reaches a capability, in the state in which it does.
    pub fn layers_within(&self, package: PackageIndex, capability: &Capability, state: State) -> Layers {
        self.verdict(state).layers_within(package, capability)
    }

    /// The layers that say that an edge brings a capability, in the state in which it does.
    pub fn layers_over(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        capability: &Capability,
        state: State,
    ) -> Layers {
        self.verdict(state).layers_over(from, to, capability)
    }

    /// How a package's own code reaches a capability, in the state in which it does.
    pub fn way_within(&self, package: PackageIndex, capability: &Capability, state: State) -> Option<Way> {
        self.verdict(state).way_within(package, capability)
    }

    /// How an edge brings a capability, in the state in which it does.
    pub fn way_over(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        capability: &Capability,
        state: State,
    ) -> Option<Way> {
        self.verdict(state).way_over(from, to, capability)
    }

    fn verdict(&self, state: State) -> &Audit<'s> {
        match state {
            State::Used => &self.used,
            State::Compiled => &self.compiled,
            State::OtherCfg => &self.any_cfg,
        }
    }
}
