//! The lines that would mend a denial: for every hop that lacks a capability, the clause to add, and where.

use crate::capability::{Capability, HostCapability, ParameterKind, Stage};
use crate::denial::Fix;
use crate::manifest::EdgeGrants;
use crate::project::{EdgeIndex, Project};
use crate::scope::{
    Bounded, HostPattern, HostPort, NamePattern, NormalPath, PathPattern, PatternSet, Scope, Stream,
};

use super::trace::{FlowIndex, HolderIndex, Trace, UnitIndex};

/// For a crate that lacks a capability over a flow: the hops from the nearest crate that holds it down to there.
pub(super) fn grant(project: &Project, trace: &Trace, flow: FlowIndex, capability: &Capability) -> Vec<Fix> {
    let flow = trace.flow(flow);
    climb(project, trace, flow.from, vec![flow.edge], capability, None)
}

/// For a crate that grants what it has not got at all: the hops from the nearest crate that holds it down to the granter.
pub(super) fn supply(
    project: &Project,
    trace: &Trace,
    granter: HolderIndex,
    capability: &Capability,
    wanted: &Scope,
) -> Vec<Fix> {
    climb(project, trace, granter, Vec::new(), capability, Some(wanted))
}

/// Goes from consumer to consumer until one holds the capability, or the root is reached.
fn climb(
    project: &Project,
    trace: &Trace,
    mut giver: HolderIndex,
    mut hops: Vec<EdgeIndex>,
    capability: &Capability,
    wanted: Option<&Scope>,
) -> Vec<Fix> {
    let (scope, complete, hold) = loop {
        let holder = trace.holder(giver);
        if let Some(held) = holder.authority.scope(capability) {
            let scope = wanted.filter(|wanted| held.covers(wanted)).cloned().unwrap_or(held.into_owned());
            break (seen_from(trace, giver, scope), true, None);
        }
        match holder.arrivals.first() {
            Some(upstream) if !holder.is_root => {
                hops.push(trace.flow(*upstream).edge);
                giver = trace.flow(*upstream).from;
            }
            _ => {
                let fix = hold_fix(project, capability, wanted);
                let scope = fix.as_ref().map_or_else(|| default_scope(capability), |fix| fix.scope.clone());
                break (scope, false, fix);
            }
        }
    };
    if scope.is_empty() {
        return Vec::new();
    }
    // Where a crate on the way sees paths under other names, or the build begins, the next hop may have to say another name.
    let has_other_names = |edge: &EdgeIndex| {
        let mut givers =
            trace.flows().filter(|flow| flow.edge == *edge).map(|flow| trace.holder(flow.from).unit);
        givers.any(|unit| !trace.unit(unit).view.mounts().is_empty())
    };
    let is_paths = matches!(scope, Scope::Paths(_));
    let renamed = is_paths && (hops.len() > 1 || hops.iter().any(|edge| project.is_build_edge(*edge)));
    let complete = complete && !(renamed && hops.iter().any(has_other_names));
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

/// Paths of the host under the names by which a crate sees them.
fn seen_from(trace: &Trace, holder: HolderIndex, scope: Scope) -> Scope {
    let mounts = trace.unit(trace.holder(holder).unit).view.mounts();
    match &scope {
        Scope::Paths(held) if !mounts.is_empty() => {
            let visible = mounts.iter().filter(|(_, source)| held.covers_any_of(source));
            Scope::Paths(PatternSet::new(visible.map(|(guest, source)| {
                let pattern = PathPattern { path: guest.clone(), extent: source.extent };
                Bounded { pattern, bytes: held.smallest_bound() }
            })))
        }
        _ => scope,
    }
}

/// The line that makes the workspace hold a capability.
pub(super) fn hold(project: &Project, capability: &Capability) -> Option<Fix> {
    hold_fix(project, capability, None)
}

fn hold_fix(project: &Project, capability: &Capability, wanted: Option<&Scope>) -> Option<Fix> {
    let scope = wanted.cloned().unwrap_or_else(|| default_scope(capability));
    let table = if project.is_standalone() {
        vec!["holds".to_owned()]
    } else {
        ["workspace", "metadata", "capabilities", "holds"].map(str::to_owned).to_vec()
    };
    // A claim, and a grant beyond what its crate has, are the word of whoever wrote that crate: what the workspace holds, a person says.
    let complete = false;
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
    let (from, to) = (project.key(ends.from), project.key(ends.to));
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
    let lacks = |grants: Option<&EdgeGrants>| {
        grants
            .is_some_and(|grants| grants.clauses.iter().all(|clause| clause.capability.value != *capability))
    };
    // A table about the link or a checksum alone narrows nothing, until a capability is put into it.
    let giving = |table: Option<&EdgeGrants>| table.is_some_and(|table| !table.gives_nothing());
    let (has_own, has_workspace) = (project.own_table(edge), project.workspace_table(edge));
    match (giving(has_own), giving(has_workspace)) {
        (false, false) if project.workspace_is_apart() => workspace.into_iter().collect(),
        (false, false) => own.or(workspace).into_iter().collect(),
        (true, false) => own.filter(|_| lacks(has_own)).into_iter().collect(),
        (false, true) => workspace.filter(|_| lacks(has_workspace)).into_iter().collect(),
        (true, true) => {
            let own = own.filter(|_| lacks(has_own));
            let workspace = workspace.filter(|_| lacks(has_workspace));
            own.into_iter().chain(workspace).collect()
        }
    }
}

/// What to suggest when nobody holds the capability yet.
pub(crate) fn default_scope(capability: &Capability) -> Scope {
    match capability.parameter() {
        ParameterKind::Flag => Scope::Flag,
        ParameterKind::Paths | ParameterKind::PathsWithQuota => {
            let example = match capability.host_capability() {
                Some(HostCapability::ProcessSpawn) => "/usr/bin/program",
                Some(HostCapability::Device) => "/dev/ttyUSB0",
                Some(HostCapability::NetworkUnix) => "run/service.sock",
                _ => ".",
            };
            let path = NormalPath::parse(example).expect("a valid example");
            Scope::Paths(PatternSet::new([Bounded::free(PathPattern::tree(path))]))
        }
        ParameterKind::Hosts => {
            let host = HostPort::parse("host.example:443").expect("a valid example");
            Scope::Hosts(PatternSet::new([host]))
        }
        ParameterKind::HostNames => {
            let host = HostPattern::parse("host.example").expect("a valid example");
            Scope::HostNames(PatternSet::new([host]))
        }
        ParameterKind::Names => {
            let name = NamePattern::parse("VARIABLE").expect("a valid example");
            Scope::Names(PatternSet::new([name]))
        }
        ParameterKind::Streams => Scope::Streams(PatternSet::new(Stream::ALL.map(Bounded::free))),
        ParameterKind::Count => Scope::Count(None),
        ParameterKind::Resolution => Scope::Resolution(0),
        ParameterKind::Bytes => Scope::Bytes(16 << 20),
    }
}
