//! Graph x declarations x root authority -> grant graph, or every denial.
//!
//! Crates are visited once each, consumers before dependencies, so the cost is linear in crates and edges times the contexts
//! in which they are linked. A context is a *unit*: the host program, the build, or a compartment with its authority.
//! Code that is inline is visited once in each unit that links it, and has the union of what its consumers there give it.

mod exporters;
mod fix;
mod grant;
mod lower;
mod trace;
mod warn;

pub(crate) use fix::default_scope;
pub use grant::{CompartmentGrant, Grant, GrantGraph};
pub use lower::View;
pub use trace::{Flow, FlowIndex, Holder, HolderIndex, Trace, Unit, UnitIndex};

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::authority::Authority;
use crate::capability::{Backend, Capability};
use crate::denial::{Denial, DenialKind, Warning};
use crate::limits::{
    COMPARTMENT_DEPTH_MAX, COMPARTMENTS_MAX, EXPORTED_NAMES_MAX, FINDINGS_MAX, HOLDERS_MAX,
    UNION_PATTERNS_MAX,
};
use crate::link::Link;
use crate::manifest::{Clause, EdgeGrants};
use crate::project::{CrateIndex, EdgeIndex, Project};
use crate::text::Location;
use exporters::Exporters;
use lower::Shared;

/// What the resolver decided.
#[derive(Debug)]
pub struct Resolution {
    denials: Vec<Denial>,
    warnings: Vec<Warning>,
    trace: Trace,
}

impl Resolution {
    /// Everything refused. Empty when the grant graph exists.
    pub fn denials(&self) -> &[Denial] {
        &self.denials
    }

    /// Everything worth a look.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// How each decision came about, granted or not; [`crate::explain()`] reads it.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The grants, when nothing was refused.
    pub fn granted(&self, project: &Project) -> Option<GrantGraph> {
        self.denials.is_empty().then(|| grant_graph(project, &self.trace))
    }
}

/// Decides what each crate is granted over each edge.
///
/// Pure: equal projects give equal resolutions, whatever the order of their files, crates and edges was.
pub fn resolve(project: &Project) -> Resolution {
    let mut resolver = Resolver {
        project,
        shared: Shared::new(project),
        trace: Trace::new(project),
        pending: vec![Vec::new(); project.crates().len()],
        unit_of: HashMap::new(),
        many: HashMap::new(),
        compartments: 0,
        denials: Vec::new(),
        unlisted: 0,
        seen: HashSet::new(),
        exporters: Exporters::new(project),
        halted: false,
    };
    resolver.check_names();
    let names = resolver.exporters.len();
    if names > EXPORTED_NAMES_MAX {
        resolver.halt("names beside the host's", names, EXPORTED_NAMES_MAX);
    }
    for &index in project.in_order() {
        if resolver.halted {
            break;
        }
        resolver.visit(index);
    }
    let mut warnings = if resolver.halted { Vec::new() } else { warn::warnings(project, &resolver.trace) };
    // Where something is missing, what seems unused may be what was meant.
    if !resolver.denials.is_empty() {
        warnings.retain(|warning| !warning.kind.is_about_unused());
    }
    resolver.finish(warnings)
}

/// What makes two denials one: code, edge, capability, place.
type DenialKey = (&'static str, Option<EdgeIndex>, Option<Capability>, Option<Location>);

/// Holders of one crate that are looked through; more are looked up.
const FEW_HOLDERS: usize = 8;

struct Resolver<'p> {
    project: &'p Project,
    shared: Shared,
    trace: Trace,
    /// Flows that have reached each crate and wait for its visit.
    pending: Vec<Vec<FlowIndex>>,
    unit_of: HashMap<(CrateIndex, Arc<Authority>, Arc<View>), UnitIndex>,
    /// Holders of the crates that have more than [`FEW_HOLDERS`].
    many: HashMap<(CrateIndex, UnitIndex), HolderIndex>,
    compartments: usize,
    denials: Vec<Denial>,
    unlisted: usize,
    /// Denials already reported, by what a reader would call the same: one per edge, capability and place, not one per context.
    seen: HashSet<DenialKey>,
    exporters: Exporters,
    halted: bool,
}

impl Resolver<'_> {
    fn deny(&mut self, denial: Denial) {
        let key = (denial.kind.code().name(), denial.edge, denial.kind.capability().cloned(), denial.at);
        if !self.seen.insert(key) {
            return;
        }
        if self.lists_more() {
            self.denials.push(denial);
        } else {
            self.unlisted += 1;
        }
    }

    /// Whether another denial would be listed. Past that it is only counted, and looking for its fix would be wasted.
    fn lists_more(&self) -> bool {
        self.denials.len() < FINDINGS_MAX
    }

    fn halt(&mut self, what: &'static str, found: usize, max: usize) {
        self.halted = true;
        let kind = DenialKind::TooMany { what, found, max };
        self.deny(Denial::new(kind));
    }

    fn finish(mut self, warnings: Vec<Warning>) -> Resolution {
        self.denials.sort_by_key(|denial| (denial.at.is_none(), denial.at, denial.edge));
        if self.unlisted > 0 {
            let kind = DenialKind::More { count: self.unlisted };
            self.denials.push(Denial::new(kind));
        }
        Resolution { denials: self.denials, warnings, trace: self.trace }
    }

    /// Names in `holds` and `grants` that no crate exports and the host does not know.
    fn check_names(&mut self) {
        let workspace = self.project.workspace();
        let holds = workspace.holds.iter().flat_map(|holds| &holds.value);
        let from_workspace = workspace.grants.iter().flat_map(|grant| &grant.clauses);
        let own: Vec<_> = self.project.crates().filter_map(|index| self.project.tables(index)).collect();
        let from_crates = own.iter().flat_map(|tables| tables.grants.iter().flat_map(|grant| &grant.clauses));
        let granted = holds.chain(from_workspace).chain(from_crates).map(|clause| &clause.capability);
        let consumed =
            own.iter().flat_map(|tables| tables.consumes.iter().map(|consume| &consume.capability));
        let unknown: Vec<(Capability, Location)> = granted
            .chain(consumed)
            .filter(|name| {
                matches!(name.value, Capability::Exported(_)) && !self.exporters.is_exported(&name.value)
            })
            .map(|name| (name.value.clone(), name.at))
            .collect();
        for (capability, at) in unknown {
            let suggestion = self.exporters.nearest(&capability.to_string());
            let kind = DenialKind::UnknownCapability { capability, suggestion };
            self.deny(Denial { at: Some(at), ..Denial::new(kind) });
        }
    }

    /// Gathers what has reached a crate into its holders, checks what it consumes, and sends on what it grants.
    fn visit(&mut self, index: CrateIndex) {
        let mut holders: Vec<HolderIndex> = Vec::new();
        if self.project.roots().binary_search(&index).is_ok() {
            let authority = self.shared.holds();
            holders.push(self.trace.add_holder(Holder::root(index, authority)));
        }
        let mut arrivals = std::mem::take(&mut self.pending[index.0 as usize]);
        arrivals.sort_by_key(|flow| {
            let flow = self.trace.flow(*flow);
            (flow.edge, self.trace.holder(flow.from).unit, flow.from)
        });
        for arrival in arrivals {
            let unit = self.unit_for(index, arrival);
            self.receive(index, unit, arrival, &mut holders);
            if self.halted {
                return;
            }
        }
        for holder in holders {
            self.check_consumes(holder);
            for edge in self.project.edges_from(index) {
                self.send(holder, edge);
            }
            if self.trace.flow_count() > HOLDERS_MAX {
                let found = self.trace.flow_count();
                return self.halt("edges in all contexts", found, HOLDERS_MAX);
            }
        }
    }

    /// The unit in which a crate runs when it is reached by that flow.
    fn unit_for(&mut self, index: CrateIndex, arrival: FlowIndex) -> UnitIndex {
        let flow = self.trace.flow(arrival);
        let consumer_unit = self.trace.holder(flow.from).unit;
        if consumer_unit == UnitIndex::BUILD || self.project.is_build_edge(flow.edge) {
            return UnitIndex::BUILD;
        }
        if self.project.backend(index) == Backend::Inline {
            return consumer_unit;
        }
        let (depth, instances) =
            (self.trace.unit(consumer_unit).depth + 1, self.trace.unit(consumer_unit).instances);
        // Each instance of the consumer has one of its own, also where equal authority makes them one context.
        self.compartments = self.compartments.saturating_add(instances);
        if self.compartments > COMPARTMENTS_MAX {
            self.halt("compartments", self.compartments, COMPARTMENTS_MAX);
        } else if depth > COMPARTMENT_DEPTH_MAX {
            self.halt("compartments inside each other", depth, COMPARTMENT_DEPTH_MAX);
        }
        let flow = self.trace.flow(arrival);
        let key = (index, Arc::clone(&flow.authority), Arc::clone(&flow.view));
        if let Some(unit) = self.unit_of.get(&key) {
            let unit = *unit;
            self.trace.add_instances(unit, instances, depth);
            return unit;
        }
        let unit = Unit { owner: Some(index), view: Arc::clone(&flow.view), depth, instances };
        let unit = self.trace.add_unit(unit);
        self.unit_of.insert(key, unit);
        unit
    }

    /// Joins a flow into the holder of a crate in a unit: one of `holders`, or a new one.
    fn receive(
        &mut self,
        index: CrateIndex,
        unit: UnitIndex,
        arrival: FlowIndex,
        holders: &mut Vec<HolderIndex>,
    ) {
        let authority = Arc::clone(&self.trace.flow(arrival).authority);
        // Most crates have one holder; those of compartments are found by their unit, which is new more often than not.
        let unit_of = |holder: HolderIndex| self.trace.holder(holder).unit;
        let known = if holders.len() <= FEW_HOLDERS {
            holders.iter().rev().find(|holder| unit_of(**holder) == unit).copied()
        } else {
            self.many.get(&(index, unit)).copied()
        };
        let holder = if let Some(holder) = known {
            let joined = lower::join(&self.trace.holder(holder).authority, &authority);
            if joined.patterns_max() > UNION_PATTERNS_MAX {
                self.halt(
                    "patterns in the union of one inline crate",
                    joined.patterns_max(),
                    UNION_PATTERNS_MAX,
                );
            }
            self.trace.widen(holder, joined);
            holder
        } else {
            let added = self.trace.add_holder(Holder::new(index, unit, authority));
            holders.push(added);
            // All of them, once they are no longer few; then each.
            let unlisted = match holders.len() - 1 {
                ..FEW_HOLDERS => 0,
                FEW_HOLDERS => holders.len(),
                _ => 1,
            };
            for holder in &holders[holders.len() - unlisted..] {
                self.many.insert((index, self.trace.holder(*holder).unit), *holder);
            }
            added
        };
        self.trace.arrive(arrival, holder);
    }

    /// Rule 3: what a crate consumes must be granted over each edge by which it is reached. Rule 6: its unit must provide it.
    fn check_consumes(&mut self, holder: HolderIndex) {
        let index = self.trace.holder(holder).krate;
        let Some(tables) = self.project.tables(index) else { return };
        let unit = self.trace.holder(holder).unit;
        let backend =
            self.trace.unit(unit).owner.map_or(Backend::Inline, |owner| self.project.backend(owner));
        for consume in &tables.consumes {
            let capability = self.trace.in_unit(unit, &consume.capability.value);
            if matches!(capability, Capability::Exported(_)) && !self.exporters.is_exported(&capability) {
                continue; // nobody could grant it: `check_names` has said so
            }
            let mut granted = false;
            if self.trace.holder(holder).is_root {
                if self.trace.holder(holder).root_authority().scope(&capability).is_some() {
                    granted = true;
                } else if !consume.optional {
                    self.deny_not_held(index, &capability, consume.capability.at);
                }
            }
            for at in 0..self.trace.holder(holder).arrivals.len() {
                let arrival = self.trace.holder(holder).arrivals[at];
                let flow = self.trace.flow(arrival);
                let refused_already = flow.unusable || flow.refused.contains(&capability);
                if flow.authority.scope(&capability).is_some() {
                    granted = true;
                } else if !consume.optional && !refused_already {
                    self.deny_not_granted(arrival, &capability, consume.capability.at);
                }
            }
            // Where nobody below could use it either, the grant itself is refused, edge by edge.
            let refused_already =
                self.trace.unit(unit).owner == Some(index) && !self.project.passes_on(index, &capability);
            if granted && !capability.provided_by(backend) && !refused_already {
                let provider = self.project.name(index);
                let kind = DenialKind::BackendCannotProvide { provider, backend, capability };
                self.deny_at_holder(kind, holder, Some(consume.capability.at));
            }
        }
    }

    fn deny_at_holder(&mut self, kind: DenialKind, holder: HolderIndex, at: Option<Location>) {
        let chain = self.trace.chain(holder);
        let edge = self.trace.holder(holder).arrivals.first().map(|flow| self.trace.flow(*flow).edge);
        let owner = self.trace.unit(self.trace.holder(holder).unit).owner;
        let backend_line = owner
            .and_then(|owner| self.project.located_backend(owner))
            .map(|backend| (backend.at, format!("`{}` is chosen here", backend.value)));
        self.deny(Denial { edge, chain, at, other: backend_line.into_iter().collect(), ..Denial::new(kind) });
    }

    fn deny_not_held(&mut self, index: CrateIndex, capability: &Capability, at: Location) {
        let kind = DenialKind::NotHeld { provider: self.project.name(index), capability: capability.clone() };
        let other = self
            .project
            .workspace()
            .holds
            .as_ref()
            .map(|holds| (holds.at, "what the workspace holds".to_owned()));
        let fixes = fix::hold(self.project, capability).into_iter().collect();
        self.deny(Denial {
            chain: vec![index],
            at: Some(at),
            other: other.into_iter().collect(),
            fixes,
            ..Denial::new(kind)
        });
    }

    fn deny_not_granted(&mut self, arrival: FlowIndex, capability: &Capability, at: Location) {
        let flow = self.trace.flow(arrival);
        let edge = self.project.edge(flow.edge);
        let consumer = self.project.name(edge.from);
        let kind = DenialKind::NotGranted {
            consumer: consumer.clone(),
            provider: self.project.name(edge.to),
            capability: capability.clone(),
        };
        let grants_it = |grant: &EdgeGrants| {
            grant.clauses.iter().any(|clause| clause.capability.value.at_build() == capability.at_build())
        };
        let tables: Vec<(Location, &str)> = self
            .project
            .grants(flow.edge)
            .filter(|grant| !grant.gives_nothing())
            .map(|grant| {
                let word = if grants_it(grant) {
                    "this table grants a part of it; only what every table about the edge grants counts"
                } else {
                    "this table does not grant it"
                };
                (grant.to.at, word)
            })
            .collect();
        let other = match tables.as_slice() {
            [] => edge
                .line
                .or_else(|| self.project.name_line(edge.from))
                .map(|line| vec![(line, format!("`{consumer}` grants it nothing"))]),
            tables => Some(tables.iter().map(|(at, word)| (*at, (*word).to_owned())).collect()),
        };
        let mut chain = self.trace.chain(flow.from);
        chain.push(edge.to);
        let fixes = if self.lists_more() {
            fix::grant(self.project, &self.trace, arrival, capability)
        } else {
            Vec::new()
        };
        let edge = Some(flow.edge);
        self.deny(Denial {
            edge,
            chain,
            at: Some(at),
            other: other.unwrap_or_default(),
            fixes,
            ..Denial::new(kind)
        });
    }

    /// Rules 2 and 6: lowers what the tables about an edge say into the holder's terms, checks it, and lets it flow.
    fn send(&mut self, from: HolderIndex, edge: EdgeIndex) {
        let to = self.project.edge(edge).to;
        let unusable = self.check_pin(from, edge);
        let flow = if unusable {
            Flow::nothing(from, edge)
        } else {
            let sent = self.shared.send(self.project, &self.trace, from, edge);
            let exceeding =
                sent.refusals.iter().filter(|refusal| matches!(refusal.why, lower::Why::Exceeds { .. }));
            let refused = exceeding.map(|refusal| refusal.capability.clone()).collect();
            for refusal in sent.refusals {
                self.refuse(from, edge, refusal);
            }
            Flow { refused, ..Flow::new(from, edge, sent.authority, sent.view) }
        };
        let flow = self.trace.add_flow(Flow { unusable, ..flow });
        self.check_backend(flow, to);
        self.check_link(from, edge);
        self.pending[to.0 as usize].push(flow);
    }

    /// Whether a pin of this edge's tables does not fit the dependency in the graph: then its grants are no good.
    fn check_pin(&mut self, from: HolderIndex, edge: EdgeIndex) -> bool {
        let package = self.project.package(self.project.edge(edge).to);
        let mut misfit = None;
        for grant in self.project.grants(edge) {
            if let Some(version) =
                grant.version.as_ref().filter(|wanted| !wanted.value.matches(&package.version))
            {
                misfit = Some((
                    format!("version `{}`", version.value),
                    format!("`{}`", package.version),
                    version.at,
                ));
            }
            if let Some(wanted) =
                grant.checksum.as_ref().filter(|wanted| package.checksum.as_ref() != Some(&wanted.value))
            {
                let found =
                    package.checksum.as_ref().map_or("no checksum".to_owned(), |found| format!("`{found}`"));
                misfit = Some((format!("checksum `{}`", wanted.value), found, wanted.at));
            }
        }
        let Some((wanted, found, at)) = misfit else { return false };
        let (consumer, provider) = self.ends(edge);
        let kind = DenialKind::PinMismatch { consumer, provider, wanted, found };
        let chain = self.trace.chain_over(self.project, from, edge);
        self.deny(Denial { edge: Some(edge), chain, at: Some(at), ..Denial::new(kind) });
        true
    }

    fn ends(&self, edge: EdgeIndex) -> (String, String) {
        let edge = self.project.edge(edge);
        (self.project.name(edge.from), self.project.name(edge.to))
    }

    fn refuse(&mut self, from: HolderIndex, edge: EdgeIndex, refusal: lower::Refusal<'_>) {
        let (consumer, provider) = self.ends(edge);
        let clause: &Clause = refusal.clause;
        let capability = refusal.capability;
        let mut other = Vec::new();
        let mut fixes = Vec::new();
        let kind = match refusal.why {
            lower::Why::Exceeds { excess, held, narrowed, wanted } => {
                let upstream =
                    self.trace.holder(from).arrivals.first().map(|flow| self.trace.flow(*flow).edge);
                let source = match upstream {
                    Some(edge) => self.project.grants(edge).map(|grant| grant.to.at).next(),
                    None => self.project.workspace().holds.as_ref().map(|holds| holds.at),
                };
                other.extend(source.map(|at| (at, format!("what `{consumer}` itself is given"))));
                if held.is_none() && self.lists_more() {
                    fixes = fix::supply(self.project, &self.trace, from, &capability, &wanted);
                }
                DenialKind::ExceedsHoldings { consumer, provider, capability, excess, held, narrowed }
            }
            lower::Why::Stage => DenialKind::StageMismatch { consumer, provider, capability },
            lower::Why::PlacedTwice { guest } => DenialKind::PlacedTwice { consumer, provider, guest },
            lower::Why::Placement => DenialKind::PlacementNeedsCompartment { provider },
        };
        let chain = self.trace.chain_over(self.project, from, edge);
        let at = Some(clause.scope.at);
        self.deny(Denial { edge: Some(edge), chain, at, other, fixes, ..Denial::new(kind) });
    }

    /// Rule 6 for what a compartment is given, and rule about exported names: somebody below must be able to use them.
    fn check_backend(&mut self, flow: FlowIndex, to: CrateIndex) {
        let (from, edge) = (self.trace.flow(flow).from, self.trace.flow(flow).edge);
        let in_build = self.project.is_build_edge(edge) || self.trace.holder(from).unit == UnitIndex::BUILD;
        let backend = if in_build { Backend::Inline } else { self.project.backend(to) };
        let authority = Arc::clone(&self.trace.flow(flow).authority);
        for (capability, _) in authority.iter() {
            if matches!(capability, Capability::Exported(_)) && self.exporters.is_exported(capability) {
                if !self.exporters.reaches(self.project, to, capability) {
                    let (consumer, provider) = self.ends(edge);
                    let kind = DenialKind::NotExported { consumer, provider, capability: capability.clone() };
                    self.deny_at_edge(kind, from, edge, capability);
                }
            } else if !capability.provided_by(backend) && !self.project.passes_on(to, capability) {
                let (_, provider) = self.ends(edge);
                let kind =
                    DenialKind::BackendCannotProvide { provider, backend, capability: capability.clone() };
                self.deny_at_edge(kind, from, edge, capability);
            }
        }
    }

    /// A fused edge joins two wasm compartments: the one that the consumer's code runs in, and the dependency's own.
    fn check_link(&mut self, from: HolderIndex, edge: EdgeIndex) {
        let Some(link) = self.project.link(edge).filter(|link| link.value == Link::Fused) else { return };
        let at = link.at;
        let (consumer, to) = (self.project.edge(edge).from, self.project.edge(edge).to);
        let build_only = self.project.is_build_edge(edge)
            && !self
                .project
                .edges_from(consumer)
                .any(|other| self.project.edge(other).to == to && !self.project.is_build_edge(other));
        let unit = self.trace.holder(from).unit;
        let described = |owner: CrateIndex| {
            let (name, backend) = (self.project.name(owner), self.project.backend(owner));
            if backend == Backend::Inline {
                format!("`{name}`, which is inline,")
            } else {
                format!("`{name}`, a {backend} compartment,")
            }
        };
        let owner = self.trace.unit(unit).owner;
        let what = if build_only {
            "what runs while a program is compiled".to_owned()
        } else if unit == UnitIndex::BUILD || self.project.is_build_edge(edge) {
            return; // compiled in, as every compartment is there
        } else if self.project.backend(to) != Backend::Wasm {
            described(to)
        } else {
            match owner {
                None => "the host program".to_owned(),
                Some(owner) if self.project.backend(owner) != Backend::Wasm => described(owner),
                Some(_) => return,
            }
        };
        let other = [Some(to), owner].into_iter().flatten();
        let other = other.filter(|end| self.project.backend(*end) != Backend::Wasm);
        let other = other.filter_map(|end| self.project.located_backend(end));
        let other =
            other.map(|backend| (backend.at, format!("`{}` is chosen here", backend.value))).collect();
        let (consumer, provider) = self.ends(edge);
        let kind = DenialKind::CannotFuse { consumer, provider, what };
        let chain = self.trace.chain_over(self.project, from, edge);
        self.deny(Denial { edge: Some(edge), chain, at: Some(at), other, ..Denial::new(kind) });
    }

    fn deny_at_edge(
        &mut self,
        kind: DenialKind,
        from: HolderIndex,
        edge: EdgeIndex,
        capability: &Capability,
    ) {
        let clauses = self.project.grants(edge).flat_map(|grant| &grant.clauses);
        let at = clauses
            .filter(|clause| clause.capability.value.at_build() == capability.at_build())
            .map(|clause| clause.capability.at)
            .next();
        let to = self.project.edge(edge).to;
        let other = match &kind {
            DenialKind::BackendCannotProvide { .. } => self
                .project
                .located_backend(to)
                .map(|backend| (backend.at, format!("`{}` is chosen here", backend.value))),
            _ => None,
        };
        let chain = self.trace.chain_over(self.project, from, edge);
        self.deny(Denial {
            edge: Some(edge),
            chain,
            at,
            other: other.into_iter().collect(),
            ..Denial::new(kind)
        });
    }
}

impl Project {
    /// Whether any of a crate's edges has a table that grants the capability onwards.
    fn passes_on(&self, index: CrateIndex, capability: &Capability) -> bool {
        self.edges_from(index).flat_map(|edge| self.grants(edge)).flat_map(|grant| &grant.clauses).any(
            |clause| {
                clause.capability.value == *capability
                    || clause.capability.value.implied_by().as_ref() == Some(capability)
            },
        )
    }
}

/// Makes the grants. The only place that does.
fn grant_graph(project: &Project, trace: &Trace) -> GrantGraph {
    let mut grants = Vec::new();
    // The flows that lead into compartments, by the unit that they leave.
    let mut entries: HashMap<UnitIndex, Vec<(&Flow, Range<usize>)>> = HashMap::new();
    for flow in trace.flows() {
        let Some(to) = flow.to else { continue };
        let first = grants.len();
        for (capability, scope) in flow.authority.iter() {
            let edge = project.edge(flow.edge);
            grants.push(Grant::new(edge.from, edge.to, capability.clone(), scope.clone()));
        }
        let (from, to) = (trace.holder(flow.from).unit, trace.holder(to));
        if to.unit != from && trace.unit(to.unit).owner == Some(to.krate) {
            entries.entry(from).or_default().push((flow, first..grants.len()));
        }
    }
    // A unit is a context; each instance of its owner has its own compartments inside. Their number was bounded above.
    let mut compartments: Vec<CompartmentGrant> = Vec::new();
    let mut waiting = VecDeque::from([(UnitIndex::HOST, None)]);
    while let Some((unit, inside)) = waiting.pop_front() {
        for (flow, range) in entries.get(&unit).into_iter().flatten() {
            let Some(to) = flow.to.map(|to| trace.holder(to)) else { continue };
            let mounts = flow.view.mounts().to_vec();
            let consumer = trace.holder(flow.from).krate;
            let link = project.link(flow.edge).map_or(Link::Isolated, |link| link.value);
            compartments.push(CompartmentGrant::new(to.krate, consumer, inside, mounts, range.clone(), link));
            waiting.push_back((to.unit, Some(compartments.len() - 1)));
        }
    }
    GrantGraph::new(grants, compartments)
}
