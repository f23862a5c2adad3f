//! Why a crate has a capability, or has it not: the chain of who gave what, or the hop where it stops.

use crate::capability::Capability;
use crate::project::{CrateIndex, Project};
use crate::resolve::{HolderIndex, Resolution, Trace, UnitIndex};
use crate::text::Location;

/// The story of one crate (or edge) and one capability.
#[derive(Debug)]
pub struct Explanation {
    /// The crate.
    pub subject: CrateIndex,
    /// Only what comes from this consumer, when asked about an edge.
    pub consumer: Option<CrateIndex>,
    /// The capability.
    pub capability: Capability,
    /// Whether the crate says that it consumes it, and where.
    pub asked_at: Option<Location>,
    /// One for each consumer and context by which the crate is reached.
    pub routes: Vec<Route>,
    /// What an inline crate has besides, because it is linked once.
    pub union: Option<String>,
}

/// One way from a root to the crate.
#[derive(Debug)]
pub struct Route {
    /// The hops, the root's first. When it is refused, the last is the one where it stops.
    pub steps: Vec<Step>,
    /// Whether the capability arrives.
    pub arrives: bool,
    /// The crates behind the hop where it stops, down to the subject.
    pub beyond: Vec<CrateIndex>,
}

/// One hop.
#[derive(Debug)]
pub struct Step {
    /// Who gives; `None` for the workspace.
    pub from: Option<CrateIndex>,
    /// Who is given.
    pub to: CrateIndex,
    /// What is given, in the host's terms; `None` when nothing.
    pub scope: Option<String>,
    /// The line that gives it, or the table or dependency line that does not.
    pub at: Option<Location>,
    /// The table's reason.
    pub reason: Option<String>,
    /// The giver gives more than it holds.
    pub exceeds: bool,
}

/// Explains one capability of a crate, or of the edge from `consumer` to it.
pub fn explain(
    project: &Project,
    resolution: &Resolution,
    subject: CrateIndex,
    consumer: Option<CrateIndex>,
    capability: &Capability,
) -> Explanation {
    let trace = resolution.trace();
    let asked_at = project.tables(subject).and_then(|tables| {
        let asked = tables
            .consumes
            .iter()
            .find(|consume| consume.capability.value.at_build() == capability.at_build());
        asked.map(|consume| consume.capability.at)
    });
    let mut routes = Vec::new();
    let mut union = None;
    for (index, holder) in trace.holders().filter(|(_, holder)| holder.krate == subject) {
        let wanted = trace.in_unit(holder.unit, capability);
        if holder.is_root && consumer.is_none() {
            routes.push(finish(vec![root_step(project, holder.root_authority(), subject, &wanted)]));
        }
        for arrival in &holder.arrivals {
            let from = trace.flow(*arrival).from;
            if consumer.is_none_or(|consumer| trace.holder(from).krate == consumer) {
                routes.push(route(project, trace, index, *arrival, &wanted));
            }
        }
        if holder.arrivals.len() + usize::from(holder.is_root) > 1
            && let Some(scope) = holder.authority.scope(&wanted)
        {
            union = Some(scope.to_string());
        }
    }
    Explanation { subject, consumer, capability: capability.clone(), asked_at, routes, union }
}

/// Follows a flow back to a root, at each hop preferring a consumer that was given the capability itself.
fn route(
    project: &Project,
    trace: &Trace,
    subject: HolderIndex,
    arrival: crate::resolve::FlowIndex,
    capability: &Capability,
) -> Route {
    let mut steps = Vec::new();
    let mut at = Some(arrival);
    let mut holder = subject;
    let mut wanted = capability.clone();
    while let Some(index) = at {
        let flow = trace.flow(index);
        let giver = trace.holder(flow.from);
        let edge = project.edge(flow.edge);
        let scope = flow.authority.scope(&wanted);
        let granting = project.grants(flow.edge).find_map(|grant| {
            let clause = grant.clauses.iter().find(|clause| {
                let name = &clause.capability.value;
                *name == wanted || name.at_build() == wanted || wanted.implied_by().as_ref() == Some(name)
            });
            clause.map(|clause| (clause.capability.at, grant.reason.clone()))
        });
        let fallback = || project.grants(flow.edge).next().map(|grant| grant.to.at).or(edge.line);
        let exceeds = scope.as_ref().is_some_and(|scope| !giver.authority.covers_scope(&wanted, scope));
        steps.push(Step {
            from: Some(giver.krate),
            to: trace.holder(holder).krate,
            at: granting.as_ref().map(|(at, _)| *at).or_else(fallback),
            reason: granting.and_then(|(_, reason)| reason),
            scope: scope.map(|scope| scope.to_string()),
            exceeds,
        });
        holder = flow.from;
        let leaves_build = giver.unit != UnitIndex::BUILD;
        if leaves_build && !matches!(wanted, Capability::Exported(_)) && project.is_build_edge(flow.edge) {
            wanted = wanted.at_build();
        }
        if giver.is_root {
            steps.push(root_step(project, giver.root_authority(), giver.krate, &wanted));
            break;
        }
        let gives = |flow: &&crate::resolve::FlowIndex| trace.flow(**flow).authority.scope(&wanted).is_some();
        at = giver.arrivals.iter().find(gives).or(giver.arrivals.first()).copied();
    }
    steps.reverse();
    finish(steps)
}

fn root_step(
    project: &Project,
    authority: &crate::Authority,
    root: CrateIndex,
    capability: &Capability,
) -> Step {
    let scope = authority.scope(capability).map(|scope| scope.to_string());
    let holds = project.workspace().holds.as_ref();
    let line = holds.map(|holds| {
        let clause = holds.value.iter().find(|clause| {
            clause.capability.value == *capability
                || capability.implied_by().as_ref() == Some(&clause.capability.value)
        });
        clause.map_or(holds.at, |clause| clause.capability.at)
    });
    Step { from: None, to: root, scope, at: line, reason: None, exceeds: false }
}

/// Cuts a chain at the first hop that gives nothing, or more than its giver holds.
fn finish(mut steps: Vec<Step>) -> Route {
    let mut beyond = Vec::new();
    let stop = steps.iter().position(|step| step.scope.is_none() || step.exceeds);
    if let Some(stop) = stop {
        beyond.extend(steps.drain(stop + 1..).map(|step| step.to));
    }
    Route { arrives: stop.is_none(), steps, beyond }
}
