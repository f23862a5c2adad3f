//! What a grants table says, in the host's own terms.
//!
//! A crate writes paths as it sees them, and a compartment sees a path where its consumer placed it. Lowering follows those
//! placements back to the host, so that grants from any depth can be compared, and a crate can name only what it was given.

use std::sync::Arc;

use crate::authority::Authority;
use crate::capability::{Backend, Capability, Stage};
use crate::manifest::{Clause, EdgeGrants, EdgeKind, Mount};
use crate::parse::authority_of;
use crate::project::{EdgeIndex, Project};
use crate::scope::{Bounded, NormalPath, PathPattern, Pattern, PatternSet, Scope};

use super::trace::{HolderIndex, Trace, UnitIndex};

/// How paths are named inside a unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum View {
    /// As on the host.
    Identity,
    /// Only these are visible, under these names.
    Mounts(Vec<(NormalPath, PathPattern)>),
}

impl View {
    /// What is visible, as (name inside, path on the host); empty when everything has its own name.
    pub fn mounts(&self) -> &[(NormalPath, PathPattern)] {
        match self {
            Self::Identity => &[],
            Self::Mounts(mounts) => mounts,
        }
    }

    /// The path on the host of a path named inside; `None` when nothing is visible there.
    fn lower(&self, pattern: &PathPattern) -> Option<PathPattern> {
        let Self::Mounts(mounts) = self else { return Some(pattern.clone()) };
        let visible = mounts
            .iter()
            .filter_map(|(guest, source)| Some((guest, source, guest.suffix_of(&pattern.path)?)));
        let (_, source, suffix) = visible.max_by_key(|(guest, ..)| guest.as_str().len())?;
        Some(PathPattern { path: source.path.join(suffix), extent: pattern.extent })
    }
}

/// Why a clause is refused.
pub(super) enum Why {
    /// More than the granter holds.
    Exceeds { excess: String, held: Option<String>, narrowed: Option<String>, wanted: Scope },
    /// A run-time power over a build edge.
    Stage,
    /// `at` for an inline crate.
    Placement,
    /// Two paths at one place, by two tables.
    PlacedTwice { guest: String },
}

/// A clause that is refused.
pub(super) struct Refusal<'p> {
    pub(super) clause: &'p Clause,
    pub(super) capability: Capability,
    pub(super) why: Why,
}

/// What goes over an edge.
pub(super) struct Sent<'p> {
    pub(super) authority: Arc<Authority>,
    pub(super) view: Arc<View>,
    pub(super) refusals: Vec<Refusal<'p>>,
}

/// What the workspace holds, and the values that most edges share.
pub(super) struct Shared {
    holds: Arc<Authority>,
    nothing: Arc<Authority>,
    identity: Arc<View>,
}

impl Shared {
    pub(super) fn new(project: &Project) -> Self {
        let holds = project.workspace().holds.as_ref().map(|holds| holds.value.as_slice());
        Self {
            holds: Arc::new(authority_of(holds.unwrap_or_default())),
            nothing: Arc::new(Authority::NOTHING),
            identity: Arc::new(View::Identity),
        }
    }

    /// The root's authority.
    pub(super) fn holds(&self) -> Arc<Authority> {
        Arc::clone(&self.holds)
    }

    /// What a holder grants over an edge.
    pub(super) fn send<'p>(
        &self,
        project: &'p Project,
        trace: &Trace,
        from: HolderIndex,
        edge: EdgeIndex,
    ) -> Sent<'p> {
        let holder = trace.holder(from);
        let unit = trace.unit(holder.unit);
        let in_build = holder.unit == UnitIndex::BUILD || project.is_build_edge(edge);
        let inline = in_build || project.backend(project.edge(edge).to) == Backend::Inline;
        let view = if inline { &unit.view } else { &self.identity };
        if project.giving(edge).next().is_none() {
            return Sent {
                authority: Arc::clone(&self.nothing),
                view: Arc::clone(view),
                refusals: Vec::new(),
            };
        }
        let held = &holder.authority;
        let plain = !in_build
            && *unit.view == View::Identity
            && project.giving(edge).all(|grant| {
                grant.clauses.iter().all(|clause| clause.mounts.is_empty())
                    && (Arc::ptr_eq(held, &grant.authority) || held.covers(&grant.authority))
            });
        if plain {
            let authority = meet_all(project.giving(edge).map(|grant| Arc::clone(&grant.authority)));
            return Sent { authority, view: Arc::clone(view), refusals: Vec::new() };
        }
        let mut lowering = Lowering {
            project,
            trace,
            from,
            edge,
            in_build,
            inline,
            refusals: Vec::new(),
            names: Vec::new(),
        };
        let authority = meet_all(project.giving(edge).map(|grant| Arc::new(lowering.table(grant))));
        let view = if inline {
            Arc::clone(view)
        } else {
            let view = lowering.view(&authority);
            let mut clauses = project.grants(edge).flat_map(|grant| &grant.clauses);
            if let Some(clause) = clauses.find(|clause| !clause.mounts.is_empty()) {
                lowering.refuse_collisions(clause, &view);
            }
            Arc::new(view)
        };
        Sent { authority, view, refusals: lowering.refusals }
    }
}

/// The consumer's own table and the workspace's: each can only narrow the other.
fn meet_all(tables: impl Iterator<Item = Arc<Authority>>) -> Arc<Authority> {
    tables
        .reduce(|a, b| if Arc::ptr_eq(&a, &b) || a == b { a } else { Arc::new(a.meet(&b)) })
        .unwrap_or_else(|| Arc::new(Authority::NOTHING))
}

/// The union of two authorities, shared where one includes the other.
pub(super) fn join(a: &Arc<Authority>, b: &Arc<Authority>) -> Arc<Authority> {
    if Arc::ptr_eq(a, b) || a.covers(b) {
        Arc::clone(a)
    } else if b.covers(a) {
        Arc::clone(b)
    } else {
        Arc::new(a.join(b))
    }
}

struct Lowering<'p, 'r> {
    project: &'r Project,
    trace: &'r Trace,
    from: HolderIndex,
    edge: EdgeIndex,
    in_build: bool,
    inline: bool,
    refusals: Vec<Refusal<'p>>,
    /// Each lowered path, under the name that the receiver would see it by, and whether `at` said so.
    names: Vec<(NormalPath, PathPattern, bool)>,
}

impl<'p> Lowering<'p, '_> {
    fn table(&mut self, grant: &'p EdgeGrants) -> Authority {
        let mut entries = Vec::new();
        for clause in &grant.clauses {
            if let Some(entry) = self.clause(clause) {
                entries.push(entry);
            }
        }
        Authority::new(entries)
    }

    fn clause(&mut self, clause: &'p Clause) -> Option<(Capability, Scope)> {
        let written = &clause.capability.value;
        let capability = if self.trace.holder(self.from).unit == UnitIndex::BUILD {
            written.at_build()
        } else if self.in_build
            && matches!(written, Capability::Host(Stage::Run, _))
            && !written.granted_by_default()
        {
            // With a normal edge beside this one, the table is about both, and the clause is for the other.
            if !self.has_normal_edge_too() {
                self.refusals.push(Refusal { clause, capability: written.clone(), why: Why::Stage });
            }
            return None;
        } else {
            written.clone()
        };
        if !clause.mounts.is_empty() && self.inline {
            self.refusals.push(Refusal { clause, capability: capability.clone(), why: Why::Placement });
        }
        let (scope, mut excess) = self.scope(clause, &capability);
        let held = self.trace.holder(self.from).authority.scope(&capability);
        if !excess.is_empty() || !held.as_ref().is_some_and(|held| held.covers(&scope)) {
            if let (Some(held), true) = (&held, excess.is_empty()) {
                excess.extend(scope.excess(held));
            }
            let excess = described(&capability, &excess.join(", "));
            let plain_names = self.trace.unit(self.trace.holder(self.from).unit).view.mounts().is_empty();
            let narrowed = held.as_ref().filter(|_| plain_names && clause.mounts.is_empty());
            let narrowed = narrowed.and_then(|held| scope.meet(held));
            let narrowed = narrowed.map(|narrowed| crate::print::clause(written, &narrowed));
            let held = held.map(|held| described(&capability, &self.visible(&held)));
            let why = Why::Exceeds { excess, held, narrowed, wanted: scope.clone() };
            self.refusals.push(Refusal { clause, capability: capability.clone(), why });
        }
        Some((capability, scope))
    }

    fn has_normal_edge_too(&self) -> bool {
        let edge = self.project.edge(self.edge);
        !self.project.package(edge.to).proc_macro
            && self.project.edges_from(edge.from).any(|other| {
                let other = self.project.edge(other);
                other.to == edge.to && other.kind == EdgeKind::Normal
            })
    }

    /// The scope on the host, and the paths, as they are written, that the granter cannot see or does not hold.
    fn scope(&mut self, clause: &Clause, capability: &Capability) -> (Scope, Vec<String>) {
        let Scope::Paths(written) = &clause.scope.value else {
            return (clause.scope.value.clone(), Vec::new());
        };
        let view = &self.trace.unit(self.trace.holder(self.from).unit).view;
        let held = self.trace.holder(self.from).authority.scope(capability);
        let held =
            held.as_deref().and_then(|held| if let Scope::Paths(held) = held { Some(held) } else { None });
        let mut lowered = Vec::new();
        let mut excess = Vec::new();
        for one in written {
            let pattern = view.lower(&one.pattern).map(|pattern| Bounded { pattern, bytes: one.bytes });
            if held.is_some_and(|held| pattern.as_ref().is_none_or(|pattern| !held.covers_pattern(pattern))) {
                excess.push(format!("`{one}`"));
            }
            lowered.extend(pattern);
        }
        let is_placed =
            |one: &Bounded<PathPattern>| clause.mounts.iter().any(|mount| mount.source == one.pattern);
        for source in written.iter().filter(|one| !is_placed(one)).map(|one| &one.pattern) {
            self.names.extend(view.lower(source).map(|lowered| (source.path.clone(), lowered, false)));
        }
        for Mount { source, guest } in &clause.mounts {
            self.names.extend(view.lower(source).map(|lowered| (guest.clone(), lowered, true)));
        }
        (Scope::Paths(PatternSet::new(lowered)), excess)
    }

    /// A held scope in the names that the granter sees.
    fn visible(&self, held: &Scope) -> String {
        let view = &self.trace.unit(self.trace.holder(self.from).unit).view;
        let (View::Mounts(mounts), Scope::Paths(held_paths)) = (view.as_ref(), held) else {
            return quoted(held);
        };
        let names: Vec<String> = mounts
            .iter()
            .filter(|(_, source)| held_paths.covers_any_of(source))
            .map(|(guest, source)| {
                format!("`{}`", PathPattern { path: guest.clone(), extent: source.extent })
            })
            .collect();
        names.join(", ")
    }

    /// Each table places its paths apart; what is left of them, or of two tables together, must be apart too.
    fn refuse_collisions(&mut self, clause: &'p Clause, view: &View) {
        let mounts = view.mounts();
        let collision =
            mounts.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].1.path != pair[1].1.path);
        if let Some([(guest, _), _]) = collision {
            let (capability, guest) = (clause.capability.value.clone(), guest.to_string());
            self.refusals.push(Refusal { clause, capability, why: Why::PlacedTwice { guest } });
        }
    }

    /// The names by which the receiver sees what it is granted.
    fn view(&self, authority: &Authority) -> View {
        if self.names.iter().all(|(guest, source, placed)| !placed && *guest == source.path) {
            return View::Identity;
        }
        let granted = authority.iter().filter_map(|(_, scope)| match scope {
            Scope::Paths(set) => Some(set),
            _ => None,
        });
        let granted: Vec<&PathPattern> = granted.flatten().map(|one| &one.pattern).collect();
        let mut mounts = Vec::new();
        for (guest, source, placed) in &self.names {
            // A path named by `at` in one table is not also visible under its own name from the other.
            if !placed && self.names.iter().any(|(_, other, placed)| *placed && other == source) {
                continue;
            }
            for pattern in &granted {
                if let Some(both) = source.meet(pattern) {
                    let suffix = source.path.suffix_of(&both.path).expect("a meet is below both").to_owned();
                    mounts.push((guest.join(&suffix), both));
                }
            }
        }
        mounts.sort();
        mounts.dedup();
        View::Mounts(mounts)
    }
}

fn quoted(scope: &Scope) -> String {
    let text = scope.to_string();
    if text.is_empty() {
        text
    } else {
        text.split(", ").map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ")
    }
}

fn described(capability: &Capability, parameters: &str) -> String {
    if parameters.is_empty() { format!("`{capability}`") } else { format!("`{capability}` of {parameters}") }
}
