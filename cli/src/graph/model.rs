//! What is drawn: the crates that have a part in some capability, and the edges between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cofferdam::manifest::{Backend, CrateIndex, EdgeIndex, Project, Resolution, UnitIndex};

use crate::document::{CrateDocument, EdgeDocument, EdgeName, GraphDocument, VERSION};

/// A graph small enough to be shown whole although nothing is declared in it.
const WHOLE_MAX: usize = 60;

/// The part of a project that is drawn.
pub(super) struct Drawing {
    pub(super) crates: Vec<Node>,
    pub(super) edges: Vec<Link>,
    /// Crates left out because they have no part in any capability.
    pub(super) hidden: usize,
}

/// A crate.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) backend: Backend,
    pub(super) root: bool,
    pub(super) declared: bool,
    pub(super) holds: Vec<String>,
}

/// An edge between crates of the drawing, by their places in it.
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) build: bool,
    pub(super) grants: Vec<String>,
    pub(super) denied: Vec<String>,
}

impl Drawing {
    pub(super) fn new(
        project: &Project,
        resolution: &Resolution,
        focus: Option<(CrateIndex, usize)>,
        all: bool,
    ) -> Self {
        let trace = resolution.trace();
        let mut grants: BTreeMap<EdgeIndex, BTreeSet<String>> = BTreeMap::new();
        let mut holds: BTreeMap<CrateIndex, BTreeSet<String>> = BTreeMap::new();
        for flow in trace.flows() {
            let entries = flow.authority.iter().map(|(capability, scope)| {
                let scope = scope.to_string();
                if scope.is_empty() { capability.to_string() } else { format!("{capability} {scope}") }
            });
            grants.entry(flow.edge).or_default().extend(entries);
        }
        for (_, holder) in trace.holders() {
            let context = match trace.unit(holder.unit).owner {
                Some(owner) if owner != holder.krate => format!("in {}: ", project.name(owner)),
                None if holder.unit == UnitIndex::BUILD => "in the build: ".to_owned(),
                _ => String::new(),
            };
            holds.entry(holder.krate).or_default().insert(format!("{context}{}", holder.authority));
        }
        let mut denied: BTreeMap<EdgeIndex, BTreeSet<String>> = BTreeMap::new();
        let mut involved: BTreeSet<CrateIndex> = BTreeSet::new();
        for denial in resolution.denials() {
            involved.extend(&denial.chain);
            if let Some(edge) = denial.edge {
                let what = denial
                    .kind
                    .capability()
                    .map_or_else(|| denial.kind.code().to_string(), ToString::to_string);
                denied.entry(edge).or_default().insert(what);
            }
        }
        let chosen = choose(project, resolution, focus, all, &involved);
        let reached: BTreeSet<CrateIndex> = trace.holders().map(|(_, holder)| holder.krate).collect();
        let places: BTreeMap<CrateIndex, usize> =
            chosen.iter().enumerate().map(|(place, index)| (*index, place)).collect();
        let crates = chosen.iter().map(|&index| Node {
            name: project.name(index),
            version: project.package(index).version.to_string(),
            backend: project.backend(index),
            root: project.roots().contains(&index),
            declared: project.tables(index).is_some(),
            holds: holds.remove(&index).unwrap_or_default().into_iter().collect(),
        });
        let mut edges = Vec::new();
        for index in project.edges() {
            let edge = project.edge(index);
            if let (Some(from), Some(to)) = (places.get(&edge.from), places.get(&edge.to)) {
                edges.push(Link {
                    from: *from,
                    to: *to,
                    build: project.is_build_edge(index),
                    grants: grants.remove(&index).unwrap_or_default().into_iter().collect(),
                    denied: denied.remove(&index).unwrap_or_default().into_iter().collect(),
                });
            }
        }
        let crates: Vec<Node> = crates.collect();
        let hidden = if focus.is_some() { 0 } else { reached.len().saturating_sub(crates.len()) };
        Self { crates, edges, hidden }
    }

    pub(super) fn document(&self) -> GraphDocument {
        GraphDocument {
            document: "graph",
            version: VERSION,
            crates: self
                .crates
                .iter()
                .map(|node| CrateDocument {
                    name: node.name.clone(),
                    version: node.version.clone(),
                    backend: node.backend.name(),
                    root: node.root,
                    declared: node.declared,
                    holds: node.holds.clone(),
                })
                .collect(),
            edges: self
                .edges
                .iter()
                .map(|link| EdgeDocument {
                    ends: EdgeName {
                        from: self.crates[link.from].name.clone(),
                        to: self.crates[link.to].name.clone(),
                    },
                    build: link.build,
                    grants: link.grants.clone(),
                    denied: link.denied.clone(),
                })
                .collect(),
            hidden: self.hidden,
        }
    }
}

/// The crates to draw, sorted.
fn choose(
    project: &Project,
    resolution: &Resolution,
    focus: Option<(CrateIndex, usize)>,
    all: bool,
    involved: &BTreeSet<CrateIndex>,
) -> Vec<CrateIndex> {
    let trace = resolution.trace();
    let reached: BTreeSet<CrateIndex> = trace.holders().map(|(_, holder)| holder.krate).collect();
    if let Some((center, depth)) = focus {
        return near(project, center, depth);
    }
    if all || (!project.has_declarations() && reached.len() <= WHOLE_MAX) {
        return reached.into_iter().collect();
    }
    let mut chosen: BTreeSet<CrateIndex> = involved.clone();
    chosen.extend(project.roots());
    for (_, holder) in trace.holders() {
        if !holder.authority.is_empty() || project.tables(holder.krate).is_some() {
            chosen.insert(holder.krate);
        }
    }
    chosen.into_iter().collect()
}

/// The crates at most `depth` edges away, in either direction.
fn near(project: &Project, center: CrateIndex, depth: usize) -> Vec<CrateIndex> {
    let mut consumers: BTreeMap<CrateIndex, Vec<CrateIndex>> = BTreeMap::new();
    for index in project.edges() {
        let edge = project.edge(index);
        consumers.entry(edge.to).or_default().push(edge.from);
    }
    let mut chosen = BTreeSet::from([center]);
    for downwards in [true, false] {
        let mut queue = VecDeque::from([(center, 0)]);
        let mut seen = BTreeSet::from([center]);
        while let Some((at, distance)) = queue.pop_front() {
            if distance == depth {
                continue;
            }
            let next: Vec<CrateIndex> = if downwards {
                project.edges_from(at).map(|edge| project.edge(edge).to).collect()
            } else {
                consumers.get(&at).cloned().unwrap_or_default()
            };
            for index in next {
                if seen.insert(index) {
                    queue.push_back((index, distance + 1));
                }
            }
        }
        chosen.extend(seen);
    }
    chosen.into_iter().collect()
}
