//! What is granted and never used, asked for and never granted, and joined by being linked once.

use crate::authority::Authority;
use crate::capability::{Backend, Capability};
use crate::denial::{Warning, WarningKind};
use crate::limits::FINDINGS_MAX;
use crate::project::{CrateIndex, Project};

use super::trace::{Trace, UnitIndex};

pub(super) fn warnings(project: &Project, trace: &Trace) -> Vec<Warning> {
    let mut warnings = Vec::new();
    unused_grants(project, trace, &mut warnings);
    never_granted(project, trace, &mut warnings);
    unused_holdings(project, &mut warnings);
    confined_roots(project, &mut warnings);
    warnings.sort_by_key(|warning: &Warning| (warning.at.is_none(), warning.at, warning.edge));
    inline_unions(project, trace, &mut warnings);
    warnings.truncate(FINDINGS_MAX);
    warnings
}

/// The same power, whatever the stage.
fn same(a: &Capability, b: &Capability) -> bool {
    a == b || a.at_build() == b.at_build()
}

/// Whether a crate asks for a capability, offers it, or gives it on. `None` when it does not say.
fn uses(project: &Project, index: CrateIndex, capability: &Capability) -> Option<bool> {
    let tables = project.tables(index)?;
    let consumed = tables.consumes.iter().map(|consume| &consume.capability.value);
    let exported = tables.exports.iter().map(|export| &export.capability.value);
    let asked = consumed.chain(exported).any(|name| same(name, capability));
    let granted_on =
        project.edges_from(index).flat_map(|edge| project.grants(edge)).flat_map(|grant| &grant.clauses);
    Some(
        asked
            || granted_on.into_iter().any(|clause| {
                let name = &clause.capability.value;
                same(name, capability)
                    || name.implied_by().is_some_and(|implying| same(&implying, capability))
            }),
    )
}

fn unused_grants(project: &Project, trace: &Trace, out: &mut Vec<Warning>) {
    let mut reached = vec![false; project.edges().len()];
    for flow in trace.flows() {
        reached[flow.edge.0 as usize] = true;
    }
    for edge in project.edges().filter(|edge| reached[edge.0 as usize]) {
        let ends = project.edge(edge);
        for clause in project.grants(edge).flat_map(|grant| &grant.clauses) {
            let capability = &clause.capability.value;
            if uses(project, ends.to, capability) == Some(false) && !capability.granted_by_default() {
                let kind = WarningKind::UnusedGrant {
                    consumer: project.name(ends.from),
                    provider: project.name(ends.to),
                    capability: capability.clone(),
                };
                out.push(Warning { kind, edge: Some(edge), at: Some(clause.capability.at) });
            }
        }
    }
}

fn never_granted(project: &Project, trace: &Trace, out: &mut Vec<Warning>) {
    let mut holders: Vec<Vec<&super::Holder>> = vec![Vec::new(); project.crates().len()];
    for (_, holder) in trace.holders() {
        holders[holder.krate.0 as usize].push(holder);
    }
    for index in project.crates() {
        let (Some(tables), here) = (project.tables(index), &holders[index.0 as usize]) else { continue };
        for consume in tables.consumes.iter().filter(|consume| consume.optional && !here.is_empty()) {
            let wanted = &consume.capability.value;
            let granted = here
                .iter()
                .any(|holder| holder.authority.scope(&trace.in_unit(holder.unit, wanted)).is_some());
            if !granted {
                let kind =
                    WarningKind::NeverGranted { provider: project.name(index), capability: wanted.clone() };
                out.push(Warning { kind, edge: None, at: Some(consume.capability.at) });
            }
        }
    }
}

fn unused_holdings(project: &Project, out: &mut Vec<Warning>) {
    let holds = project.workspace().holds.iter().flat_map(|holds| &holds.value);
    for clause in holds {
        let capability = &clause.capability.value;
        let unused = project.roots().iter().all(|root| uses(project, *root, capability) == Some(false));
        if unused && !project.roots().is_empty() {
            let kind = WarningKind::UnusedHolding { capability: capability.clone() };
            out.push(Warning { kind, edge: None, at: Some(clause.capability.at) });
        }
    }
}

fn confined_roots(project: &Project, out: &mut Vec<Warning>) {
    for root in project.roots() {
        if let Some(backend) =
            project.located_backend(*root).filter(|backend| backend.value != Backend::Inline)
        {
            let kind = WarningKind::RootIsHost { root: project.name(*root), backend: backend.value };
            out.push(Warning { kind, edge: None, at: Some(backend.at) });
        }
    }
}

fn inline_unions(project: &Project, trace: &Trace, out: &mut Vec<Warning>) {
    for (_, holder) in trace.holders() {
        let arrivals = &holder.arrivals;
        if holder.unit == UnitIndex::BUILD || arrivals.len() < 2 || holder.authority.is_empty() {
            continue;
        }
        let partial = |authority: &Authority| !authority.covers(&holder.authority);
        if arrivals.iter().any(|flow| partial(&trace.flow(*flow).authority)) {
            let edges = arrivals.iter().map(|flow| {
                let flow = trace.flow(*flow);
                format!("`{}` gives it {}", project.name(trace.holder(flow.from).krate), flow.authority)
            });
            let edges = edges.collect();
            let kind = WarningKind::InlineUnion {
                provider: project.name(holder.krate),
                union: holder.authority.to_string(),
                edges,
            };
            out.push(Warning { kind, edge: None, at: project.name_line(holder.krate) });
        }
    }
}
