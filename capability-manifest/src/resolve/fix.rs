//! The lines that would mend a denial: for every hop that lacks a capability, the clause to add, and where.

use crate::capability::{Capability, ParameterKind, Stage};
use crate::denial::Fix;
use crate::project::{EdgeIndex, Project};
use crate::scope::{HostPattern, HostPort, NamePattern, NormalPath, PathPattern, PatternSet, Scope, Stream};

use super::trace::{FlowIndex, Trace, UnitIndex};

/// The hops from the nearest crate that holds the capability down to this flow.
pub(super) fn grant(project: &Project, trace: &Trace, flow: FlowIndex, capability: &Capability) -> Vec<Fix> {
    let mut hops = Vec::new();
    let mut at = flow;
    let (scope, complete, hold) = loop {
        let flow = trace.flow(at);
        hops.push(flow.edge);
        let holder = trace.holder(flow.from);
        let stays = trace.unit(holder.unit).view.mounts().is_empty();
        if let Some(held) = holder.authority.scope(capability) {
            break (held.into_owned(), stays, None);
        }
        match holder.arrivals.first() {
            Some(upstream) if !holder.is_root => at = *upstream,
            _ => {
                let (scope, complete) = default_scope(capability);
                break (scope, complete, hold_fix(project, capability));
            }
        }
    };
    let mut fixes: Vec<Fix> = hold.into_iter().collect();
    for edge in hops.into_iter().rev() {
        let in_build =
            trace.flows().any(|flow| flow.edge == edge && trace.holder(flow.from).unit == UnitIndex::BUILD);
        let capability = if in_build { at_run(capability) } else { capability.clone() };
        fixes.extend(tables(project, edge, &capability).into_iter().map(|(file, table)| Fix {
            file,
            table,
            capability: capability.clone(),
            scope: scope.clone(),
            complete,
        }));
    }
    fixes
}

/// The line that makes the workspace hold a capability.
pub(super) fn hold(project: &Project, capability: &Capability) -> Option<Fix> {
    hold_fix(project, capability)
}

fn hold_fix(project: &Project, capability: &Capability) -> Option<Fix> {
    let (scope, complete) = default_scope(capability);
    let table = if project.is_standalone() {
        vec!["holds".to_owned()]
    } else {
        ["workspace", "metadata", "capabilities", "holds"].map(str::to_owned).to_vec()
    };
    Some(Fix { file: project.workspace_file()?, table, capability: capability.clone(), scope, complete })
}

/// Inside the build, a crate speaks of its own powers by their plain names.
fn at_run(capability: &Capability) -> Capability {
    match capability {
        Capability::Host(Stage::Build, host) => Capability::host(*host),
        other => other.clone(),
    }
}

/// The tables about an edge that lack the capability, or the one to make.
fn tables(
    project: &Project,
    edge: EdgeIndex,
    capability: &Capability,
) -> Vec<(crate::text::FileId, Vec<String>)> {
    let ends = project.edge(edge);
    let own_name = |name: &str| name.to_owned();
    let (from, to) = (project.name(ends.from), project.name(ends.to));
    let own = project.editable_file(ends.from).map(|file| {
        let key = project.own_table_key(edge).unwrap_or_else(|| to.clone());
        let mut table: Vec<String> = if project.is_standalone() {
            vec![own_name("crates"), project.standalone_key(ends.from)]
        } else {
            ["package", "metadata", "capabilities"].map(str::to_owned).to_vec()
        };
        table.extend([own_name("grants"), key]);
        (file, table)
    });
    let workspace = project.workspace_file().map(|file| {
        let key = project.workspace_table_key(edge).unwrap_or_else(|| format!("{from} -> {to}"));
        let mut table: Vec<String> = if project.is_standalone() {
            Vec::new()
        } else {
            ["workspace", "metadata", "capabilities"].map(str::to_owned).to_vec()
        };
        table.extend([own_name("grants"), key]);
        (file, table)
    });
    let lacks = |grants: Option<&crate::manifest::EdgeGrants>| {
        grants
            .is_some_and(|grants| grants.clauses.iter().all(|clause| clause.capability.value != *capability))
    };
    let (has_own, has_workspace) = (project.own_table(edge), project.workspace_table(edge));
    match (has_own.is_some(), has_workspace.is_some()) {
        (false, false) => own.or(workspace).into_iter().collect(),
        _ => {
            let own = own.filter(|_| lacks(has_own));
            let workspace = workspace.filter(|_| lacks(has_workspace));
            own.into_iter().chain(workspace).collect()
        }
    }
}

/// What to suggest when nobody holds the capability yet, and whether it may be written without a human's thought.
pub(crate) fn default_scope(capability: &Capability) -> (Scope, bool) {
    match capability.parameter() {
        ParameterKind::Flag => (Scope::Flag, true),
        ParameterKind::Paths | ParameterKind::PathsWithQuota => {
            let folder = NormalPath::parse(".").expect("`.` is a path");
            let is_program = capability.host_capability() == Some(crate::HostCapability::ProcessSpawn);
            (
                Scope::Paths { patterns: PatternSet::new([PathPattern::tree(folder)]), quota: None },
                !is_program,
            )
        }
        ParameterKind::Hosts => {
            let host = HostPort::parse("host.example:443").expect("a valid example");
            (Scope::Hosts(PatternSet::new([host])), false)
        }
        ParameterKind::HostNames => {
            let host = HostPattern::parse("host.example").expect("a valid example");
            (Scope::HostNames(PatternSet::new([host])), false)
        }
        ParameterKind::Names => {
            let name = NamePattern::parse("VARIABLE").expect("a valid example");
            (Scope::Names(PatternSet::new([name])), false)
        }
        ParameterKind::Streams => {
            (Scope::Streams { streams: PatternSet::new(Stream::ALL), bytes: None }, true)
        }
        ParameterKind::Count => (Scope::Count(None), true),
        ParameterKind::Resolution => (Scope::Resolution(0), true),
    }
}
