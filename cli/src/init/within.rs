//! What is drafted below lines that were there before: no more than they give.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;

use cofferdam::manifest::manifest::Clause;
use cofferdam::manifest::scope::Scope;
use cofferdam::manifest::{Capability, CrateIndex, EdgeIndex, Location, Project, example_scope};

use super::Draft;
use crate::{Stop, render};

/// What code over an edge reaches and its consumer was not given: only a person can say which of the two is wrong.
pub(super) struct Narrowed {
    edge: EdgeIndex,
    capability: Capability,
    /// `None` where the source does not name it.
    wanted: Option<Scope>,
    /// What is granted in its place.
    pub(super) granted: Option<Scope>,
    /// The lines that decide.
    lines: Vec<Location>,
}

impl Draft<'_> {
    /// A line that is there already stays, so what is new below it is no more than it gives.
    pub(super) fn keep_within(&mut self) {
        let project = &self.loaded.project;
        let units = &self.units();
        let mut arriving: HashMap<CrateIndex, Vec<EdgeIndex>> = HashMap::new();
        for edge in project.edges() {
            arriving.entry(project.edge(edge).to).or_default().push(edge);
        }
        for index in project.in_order() {
            let here = units.get(index).copied().unwrap_or_default();
            let arriving = arriving.get(index).map_or(&[][..], Vec::as_slice);
            let into = |build: bool| {
                arriving.iter().copied().filter(move |edge| {
                    let consumer = units.get(&project.edge(*edge).from).copied().unwrap_or_default();
                    let build_edge = project.is_build_edge(*edge);
                    if build { build_edge || consumer.build } else { !build_edge && consumer.run }
                })
            };
            for edge in project.edges_from(*index) {
                let drafted = self.edges.get(&edge).into_iter().flatten();
                let fresh: Vec<(Capability, Scope)> = drafted
                    .filter(|(name, _)| written(project, edge, name).is_none())
                    .map(|(name, scope)| (name.clone(), scope.clone()))
                    .collect();
                for (capability, wanted) in fresh {
                    let mut lines = Vec::new();
                    let mut held = Vec::new();
                    if here.run {
                        held.extend(self.held(*index, &capability, into(false), &mut lines));
                    }
                    if here.build {
                        held.extend(self.held(*index, &capability.at_build(), into(true), &mut lines));
                    }
                    if held.iter().all(|held| held.covers(&wanted)) {
                        continue;
                    }
                    // Where the source names nothing, what is there is as good as the example.
                    let free = wanted.covers(&example_scope(&capability));
                    let of_all = |with: Option<Scope>| {
                        let mut held = held.iter().cloned();
                        with.or_else(|| held.next())
                            .and_then(|first| held.try_fold(first, |met, one| met.meet(&one)))
                    };
                    let granted = of_all(Some(wanted.clone())).or_else(|| of_all(None).filter(|_| free));
                    let grants = self.edges.entry(edge).or_default();
                    match &granted {
                        Some(scope) => grants.insert(capability.clone(), scope.clone()),
                        None => grants.remove(&capability),
                    };
                    let wanted = (!free).then_some(wanted);
                    self.narrowed.push(Narrowed { edge, capability, wanted, granted, lines });
                }
            }
        }
    }

    /// What a crate will have of a capability, all that brings it joined, and the lines that were there before.
    fn held(
        &self,
        index: CrateIndex,
        capability: &Capability,
        arriving: impl Iterator<Item = EdgeIndex>,
        lines: &mut Vec<Location>,
    ) -> Option<Scope> {
        let project = &self.loaded.project;
        let mut held: Vec<Scope> = Vec::new();
        if project.roots().contains(&index) {
            let clauses = project.workspace().holds.iter().flat_map(|holds| &holds.value);
            let before = of_clauses(clauses, capability);
            lines.extend(before.iter().map(|(_, line)| *line));
            held.extend(before.map(|(scope, _)| scope).or_else(|| self.holds.get(capability).cloned()));
        }
        for edge in arriving {
            let before = written(project, edge, capability);
            lines.extend(before.iter().map(|(_, line)| *line));
            let drafted = || self.edges.get(&edge)?.get(capability).cloned();
            held.extend(before.map(|(scope, _)| scope).or_else(drafted));
        }
        held.into_iter().reduce(|all, one| all.join(&one))
    }

    /// Says what lines that were there before do not allow, and names them.
    pub(super) fn say_narrowed(&self) -> Result<(), Stop> {
        let project = &self.loaded.project;
        let mut out = anstream::stderr();
        for Narrowed { edge, capability, wanted, granted, lines } in &self.narrowed {
            let ends = project.edge(*edge);
            let (from, to) = (project.name(ends.from), project.name(ends.to));
            let (from, to) = (render::printable(&from), render::printable(&to));
            let (granted, then) = match granted {
                Some(granted) => (format!("is granted only {granted}"), "widen it and the edge's own line"),
                None => ("is granted nothing of it".to_owned(), "widen it and run `init` again"),
            };
            let wanted =
                wanted.as_ref().map_or_else(|| "that its source does not name".to_owned(), Scope::to_string);
            writeln!(
                out,
                "warning: `{from} -> {to}` reaches {capability} {wanted} and {granted}, because `{from}` has no more"
            )?;
            let lines: BTreeSet<String> = lines.iter().map(|line| project.files().describe(*line)).collect();
            for line in lines {
                writeln!(out, "  {} decides: if more is meant, {then}", render::printable(&line))?;
            }
        }
        Ok(())
    }
}

/// What the tables about an edge say of a capability, and the line that says it.
fn written(project: &Project, edge: EdgeIndex, capability: &Capability) -> Option<(Scope, Location)> {
    let tables = project.grants(edge).filter_map(|table| of_clauses(table.clauses.iter(), capability));
    tables.reduce(|(all, line), (one, other)| {
        let narrower = if one.covers(&all) { line } else { other };
        (all.meet(&one).unwrap_or(all), narrower)
    })
}

fn of_clauses<'a>(
    clauses: impl Iterator<Item = &'a Clause>,
    capability: &Capability,
) -> Option<(Scope, Location)> {
    let said = clauses.filter(|clause| clause.capability.value == *capability);
    said.map(|clause| (clause.scope.value.clone(), clause.scope.at))
        .reduce(|(all, line), (one, _)| (all.join(&one), line))
}
