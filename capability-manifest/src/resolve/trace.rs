//! How a resolution came about: who held what in which unit, and what flowed over which edge. Kept also when it was refused.

use std::sync::Arc;

use crate::authority::Authority;
use crate::capability::Capability;
use crate::project::{CrateIndex, EdgeIndex, Project};

use super::lower::View;

/// A holder's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderIndex(u32);

/// A flow's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowIndex(u32);

/// A unit's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitIndex(u32);

impl UnitIndex {
    /// The host program.
    pub const HOST: Self = Self(0);
    /// Everything that runs while crates are compiled.
    pub const BUILD: Self = Self(1);

    /// The number.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// Code that runs together: the host program, the build, or a compartment with its authority.
#[derive(Debug)]
pub struct Unit {
    /// The compartment's crate; `None` for the host program and the build.
    pub owner: Option<CrateIndex>,
    /// How paths are named inside.
    pub view: Arc<View>,
    /// How many compartments it is inside of, itself included.
    pub depth: usize,
    /// How many compartments have this context: one for each edge and instance that leads to it.
    pub instances: usize,
}

/// A crate in a unit, with all that it holds there.
#[derive(Debug)]
pub struct Holder {
    /// The crate.
    pub krate: CrateIndex,
    /// The unit.
    pub unit: UnitIndex,
    /// Whether it begins with the workspace's authority.
    pub is_root: bool,
    /// The union of what has arrived.
    pub authority: Arc<Authority>,
    /// The flows by which it is reached here.
    pub arrivals: Vec<FlowIndex>,
    root_authority: Option<Arc<Authority>>,
}

impl Holder {
    pub(super) fn root(krate: CrateIndex, authority: Arc<Authority>) -> Self {
        let root_authority = Some(Arc::clone(&authority));
        Self { krate, unit: UnitIndex::HOST, is_root: true, authority, arrivals: Vec::new(), root_authority }
    }

    pub(super) fn new(krate: CrateIndex, unit: UnitIndex, authority: Arc<Authority>) -> Self {
        Self { krate, unit, is_root: false, authority, arrivals: Vec::new(), root_authority: None }
    }

    /// What it has because it is a root; nothing when it is none.
    pub fn root_authority(&self) -> &Authority {
        static NOTHING: Authority = Authority::NOTHING;
        self.root_authority.as_deref().unwrap_or(&NOTHING)
    }
}

/// What flows over one edge in one context.
#[derive(Debug)]
pub struct Flow {
    /// The edge.
    pub edge: EdgeIndex,
    /// The consumer.
    pub from: HolderIndex,
    /// The dependency; `None` when resolution stopped before it was visited.
    pub to: Option<HolderIndex>,
    /// What is granted, in the host's terms.
    pub authority: Arc<Authority>,
    /// How the receiver would name paths.
    pub view: Arc<View>,
    /// A pin does not fit, so the tables about this edge do not count.
    pub unusable: bool,
    /// Capabilities that a table tries to grant and cannot: refused already, where they are granted.
    pub refused: Box<[Capability]>,
}

impl Flow {
    pub(super) fn new(
        from: HolderIndex,
        edge: EdgeIndex,
        authority: Arc<Authority>,
        view: Arc<View>,
    ) -> Self {
        Self { edge, from, to: None, authority, view, unusable: false, refused: Box::default() }
    }

    pub(super) fn nothing(from: HolderIndex, edge: EdgeIndex) -> Self {
        Self::new(from, edge, Arc::new(Authority::NOTHING), Arc::new(View::Identity))
    }
}

/// The whole story.
#[derive(Debug)]
pub struct Trace {
    units: Vec<Unit>,
    holders: Vec<Holder>,
    flows: Vec<Flow>,
}

impl Trace {
    /// Room for as many holders and flows as there are when every crate is inline.
    pub(super) fn new(project: &Project) -> Self {
        let view = Arc::new(View::Identity);
        let unit = || Unit { owner: None, view: Arc::clone(&view), depth: 0, instances: 1 };
        Self {
            units: vec![unit(), unit()],
            holders: Vec::with_capacity(project.crates().len()),
            flows: Vec::with_capacity(project.edges().len()),
        }
    }

    pub(super) fn add_unit(&mut self, unit: Unit) -> UnitIndex {
        self.units.push(unit);
        UnitIndex(self.units.len() as u32 - 1)
    }

    pub(super) fn add_holder(&mut self, holder: Holder) -> HolderIndex {
        self.holders.push(holder);
        HolderIndex(self.holders.len() as u32 - 1)
    }

    pub(super) fn add_flow(&mut self, flow: Flow) -> FlowIndex {
        self.flows.push(flow);
        FlowIndex(self.flows.len() as u32 - 1)
    }

    pub(super) fn arrive(&mut self, flow: FlowIndex, at: HolderIndex) {
        self.flows[flow.0 as usize].to = Some(at);
        self.holders[at.0 as usize].arrivals.push(flow);
    }

    pub(super) fn widen(&mut self, holder: HolderIndex, authority: Arc<Authority>) {
        self.holders[holder.0 as usize].authority = authority;
    }

    pub(super) fn add_instances(&mut self, unit: UnitIndex, instances: usize, depth: usize) {
        let unit = &mut self.units[unit.0 as usize];
        unit.instances = unit.instances.saturating_add(instances);
        unit.depth = unit.depth.max(depth);
    }

    /// One unit.
    pub fn unit(&self, index: UnitIndex) -> &Unit {
        &self.units[index.0 as usize]
    }

    /// One holder.
    pub fn holder(&self, index: HolderIndex) -> &Holder {
        &self.holders[index.0 as usize]
    }

    /// Every holder, consumers before their dependencies.
    pub fn holders(&self) -> impl Iterator<Item = (HolderIndex, &Holder)> {
        self.holders.iter().enumerate().map(|(index, holder)| (HolderIndex(index as u32), holder))
    }

    /// One flow.
    pub fn flow(&self, index: FlowIndex) -> &Flow {
        &self.flows[index.0 as usize]
    }

    /// Every flow.
    pub fn flows(&self) -> std::slice::Iter<'_, Flow> {
        self.flows.iter()
    }

    pub(super) fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// A crate's capability as it counts in a unit: in the build, every power is its build-stage twin.
    pub fn in_unit(&self, unit: UnitIndex, capability: &Capability) -> Capability {
        if unit == UnitIndex::BUILD { capability.at_build() } else { capability.clone() }
    }

    /// The crates from a root to a holder, by the first way that leads there.
    pub fn chain(&self, holder: HolderIndex) -> Vec<CrateIndex> {
        let mut chain = vec![self.holder(holder).krate];
        let mut at = holder;
        while let (false, Some(flow)) = (self.holder(at).is_root, self.holder(at).arrivals.first()) {
            at = self.flow(*flow).from;
            chain.push(self.holder(at).krate);
        }
        chain.reverse();
        chain
    }

    pub(super) fn chain_over(
        &self,
        project: &Project,
        from: HolderIndex,
        edge: EdgeIndex,
    ) -> Vec<CrateIndex> {
        let mut chain = self.chain(from);
        chain.push(project.edge(edge).to);
        chain
    }
}
