//! The result of a resolution without denials: who may do what over which edge.

use std::ops::Range;

use crate::capability::Capability;
use crate::link::Link;
use crate::project::CrateIndex;
use crate::scope::{NormalPath, PathPattern, Scope};

/// Proof that a consumer granted a capability over an edge, out of what it held itself.
///
/// Only [`crate::resolve()`] makes one; it cannot be cloned, built or changed elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    from: CrateIndex,
    to: CrateIndex,
    capability: Capability,
    scope: Scope,
}

impl Grant {
    pub(super) fn new(from: CrateIndex, to: CrateIndex, capability: Capability, scope: Scope) -> Self {
        Self { from, to, capability, scope }
    }

    /// The consumer, who grants.
    pub fn from(&self) -> CrateIndex {
        self.from
    }

    /// The dependency, which is granted.
    pub fn to(&self) -> CrateIndex {
        self.to
    }

    /// What.
    pub fn capability(&self) -> &Capability {
        &self.capability
    }

    /// How much of it. Paths are the host's.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// A compartment that will exist: one per edge, for each instance of the consumer.
#[derive(Debug, PartialEq, Eq)]
pub struct CompartmentGrant {
    krate: CrateIndex,
    consumer: CrateIndex,
    inside: Option<usize>,
    mounts: Vec<(NormalPath, PathPattern)>,
    grants: Range<usize>,
    link: Link,
}

impl CompartmentGrant {
    pub(super) fn new(
        krate: CrateIndex,
        consumer: CrateIndex,
        inside: Option<usize>,
        mounts: Vec<(NormalPath, PathPattern)>,
        grants: Range<usize>,
        link: Link,
    ) -> Self {
        Self { krate, consumer, inside, mounts, grants, link }
    }

    /// The crate that runs in it.
    pub fn krate(&self) -> CrateIndex {
        self.krate
    }

    /// The crate that calls it.
    pub fn consumer(&self) -> CrateIndex {
        self.consumer
    }

    /// The compartment, by its place in [`GrantGraph::compartments`], that the consumer runs in; `None` for the host program.
    pub fn inside(&self) -> Option<usize> {
        self.inside
    }

    /// How it is joined to the one that it is inside of.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Where it sees paths that it does not see under their own names, as (name inside, path on the host).
    pub fn mounts(&self) -> &[(NormalPath, PathPattern)] {
        &self.mounts
    }
}

/// Every grant and every compartment.
#[derive(Debug, PartialEq, Eq)]
pub struct GrantGraph {
    grants: Vec<Grant>,
    compartments: Vec<CompartmentGrant>,
}

impl GrantGraph {
    pub(super) fn new(grants: Vec<Grant>, compartments: Vec<CompartmentGrant>) -> Self {
        Self { grants, compartments }
    }

    /// Every grant over every edge, in every context.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Every compartment.
    pub fn compartments(&self) -> &[CompartmentGrant] {
        &self.compartments
    }

    /// The grants of one compartment.
    pub fn grants_of(&self, compartment: &CompartmentGrant) -> &[Grant] {
        &self.grants[compartment.grants.clone()]
    }
}
