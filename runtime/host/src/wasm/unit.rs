//! A unit: the compartments that fused edges join, composed into one component before the engine sees it.
//!
//! Every import of every member goes to an import of the unit with a name of its own, a *label*, so that each can be bound to
//! what that member's edge grants. Shared are only interfaces that act on handles which somebody holds already, and those that
//! have nothing but types. Interfaces of which such a one uses a type are imported beside it; no member can call them, and they
//! are linked to refusals all the same. The composer merges imports whose names it thinks equal without a word; what it made is therefore
//! compared with what was asked for, and anything else does not start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use wac_graph::types::{InterfaceId, ItemKind, Package, Types};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, types::ComponentInstance};

use super::error::StartError;
use super::forward::{self, Route, compatible};
use super::host::WasmHost;
use super::limits::UNIT_MEMBERS_MAX;
use super::link::provides;

/// Interfaces of WASI that act on handles, and make none that reach anything: whoever holds nothing can do nothing with them.
const SHARED: [&str; 10] = [
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:filesystem/types",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/udp",
];

/// A member, before composing. The first is the one that the unit's caller calls.
pub(super) struct Piece<'a> {
    pub(super) edge: &'a str,
    /// The member that calls it; 0 for the first.
    pub(super) inside: usize,
    pub(super) component: &'a [u8],
    /// Where its isolated edges lead.
    pub(super) routes: &'a [Route],
}

/// Whose an import of a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// The member, by its place in the unit.
    pub(super) member: usize,
    /// The name by which the member knows it.
    pub(super) name: String,
}

/// Whose the imports of a compartment's component are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Imports {
    /// There is one member, and all are its own.
    Own,
    /// By label.
    Labelled(BTreeMap<String, Import>),
}

/// What an import of a component stands for.
pub(super) enum Whose<'a> {
    /// One member's, by the name that it has there.
    Member(usize, &'a str),
    /// Nobody's, and everybody's.
    Shared,
}

impl Imports {
    pub(super) fn whose<'a>(&'a self, name: &'a str) -> Whose<'a> {
        match self {
            Self::Own => Whose::Member(0, name),
            Self::Labelled(labels) => match labels.get(name) {
                Some(import) => Whose::Member(import.member, &import.name),
                None => Whose::Shared,
            },
        }
    }
}

/// One component for all members.
pub(super) struct Composed {
    pub(super) bytes: Vec<u8>,
    pub(super) labels: BTreeMap<String, Import>,
    /// Interfaces that are there for their types, without versions.
    pub(super) used: BTreeSet<String>,
}

/// Composes a unit.
pub(super) fn compose(host: &WasmHost, pieces: &[Piece<'_>]) -> Result<Composed, StartError> {
    let edge = pieces[0].edge;
    if pieces.len() > UNIT_MEMBERS_MAX {
        let (edge, found) = (edge.to_owned(), pieces.len());
        return Err(StartError::UnitTooLarge { edge, found, max: UNIT_MEMBERS_MAX });
    }
    // The composer is made for components that one's own compiler wrote, and gives up on some others by a panic.
    let composed = catch_unwind(AssertUnwindSafe(|| Composer::new(host, pieces)?.wire()?.encode()));
    composed.unwrap_or_else(|_| Err(cannot(edge, "the composer does not understand one of the components")))
}

fn cannot(edge: &str, message: impl std::fmt::Display) -> StartError {
    StartError::CannotCompose { edge: edge.to_owned(), message: message.to_string() }
}

struct Composer<'a> {
    host: &'a WasmHost,
    pieces: &'a [Piece<'a>],
    graph: CompositionGraph,
    packages: Vec<PackageId>,
    nodes: Vec<NodeId>,
    labels: BTreeMap<String, Import>,
}

impl<'a> Composer<'a> {
    /// Every member as a node. A component on several edges is there once, and instantiated for each.
    fn new(host: &'a WasmHost, pieces: &'a [Piece<'a>]) -> Result<Self, StartError> {
        let mut graph = CompositionGraph::new();
        let mut known: HashMap<&[u8], PackageId> = HashMap::new();
        let (mut packages, mut nodes) = (Vec::new(), Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            let package = match known.get(piece.component) {
                Some(package) => *package,
                None => {
                    let name = format!("unit:member{index}");
                    let bytes = piece.component.to_vec();
                    let read = Package::from_bytes(&name, None, bytes, graph.types_mut());
                    let read = read.map_err(|error| StartError::NotAComponent {
                        edge: piece.edge.to_owned(),
                        message: one_line(&format!("{error:#}")),
                    })?;
                    graph.register_package(read).map_err(|error| cannot(piece.edge, error))?
                }
            };
            known.insert(piece.component, package);
            packages.push(package);
            nodes.push(graph.instantiate(package));
        }
        Ok(Self { host, pieces, graph, packages, nodes, labels: BTreeMap::new() })
    }

    fn imports(&self, member: usize) -> Vec<(String, ItemKind)> {
        let world = self.graph[self.packages[member]].ty();
        self.graph.types()[world].imports.iter().map(|(name, kind)| (name.clone(), *kind)).collect()
    }

    fn exports(&self, member: usize) -> Vec<String> {
        let world = self.graph[self.packages[member]].ty();
        self.graph.types()[world].exports.keys().cloned().collect()
    }

    /// Joins fused ends, labels all other imports that can do anything, and exports what the first member exports.
    fn wire(mut self) -> Result<Self, StartError> {
        for member in 0..self.pieces.len() {
            for (index, (name, kind)) in self.imports(member).into_iter().enumerate() {
                self.wire_one(member, index, &name, kind)?;
            }
        }
        for name in self.exports(0) {
            let export = self.graph.alias_instance_export(self.nodes[0], &name);
            let export = export.map_err(|error| cannot(self.pieces[0].edge, error))?;
            self.graph.export(export, &name).map_err(|error| cannot(self.pieces[0].edge, error))?;
        }
        Ok(self)
    }

    fn wire_one(
        &mut self,
        member: usize,
        index: usize,
        name: &str,
        kind: ItemKind,
    ) -> Result<(), StartError> {
        let piece = &self.pieces[member];
        match kind {
            ItemKind::Instance(id) if is_shared(name) || only_types(self.graph.types(), id) => return Ok(()),
            ItemKind::Instance(_) | ItemKind::Func(_) => {}
            _ => {
                let (edge, imports) = (piece.edge.to_owned(), vec![format!("`{name}`")]);
                return Err(StartError::UnknownImports { edge, imports });
            }
        }
        let argument = match self.provider(member, name)? {
            Some((callee, export)) => self
                .graph
                .alias_instance_export(self.nodes[callee], &export)
                .map_err(|error| cannot(piece.edge, error))?,
            None => {
                let label = format!("edge{member}-import{index}");
                let kind = anonymous(&mut self.graph, kind);
                self.labels.insert(label.clone(), Import { member, name: name.to_owned() });
                self.graph.import(label, kind).map_err(|error| cannot(piece.edge, error))?
            }
        };
        self.graph
            .set_instantiation_argument(self.nodes[member], name, argument)
            .map_err(|error| cannot(piece.edge, format!("`{name}`: {}", reasons(&error))))
    }

    /// The member over whose fused edge an import comes, and the name that it has there. What the host provides comes from no
    /// edge.
    fn provider(&self, member: usize, import: &str) -> Result<Option<(usize, String)>, StartError> {
        if provides(self.host, import) {
            return Ok(None);
        }
        let piece = &self.pieces[member];
        let mut found = Vec::new();
        for callee in (1..self.pieces.len()).filter(|callee| self.pieces[*callee].inside == member) {
            let export = self.exports(callee).into_iter().find(|export| compatible(import, export));
            found.extend(export.map(|export| (callee, export)));
        }
        let isolated = forward::offering(self.host, piece.routes, import);
        if found.is_empty() || found.len() + isolated.len() == 1 {
            return Ok(found.pop());
        }
        let fused = found.iter().map(|(callee, _)| self.pieces[*callee].edge.to_owned());
        let edges = fused.chain(isolated.into_iter().map(|(to, _)| to.edge().to_owned()));
        Err(StartError::AmbiguousImport {
            edge: piece.edge.to_owned(),
            import: import.to_owned(),
            providers: edges.map(|edge| format!("`{edge}`")).collect(),
        })
    }

    fn encode(self) -> Result<Composed, StartError> {
        // The engine validates, with the features that it allows.
        let used = self.used();
        let options = EncodeOptions { validate: false, ..EncodeOptions::default() };
        let bytes =
            self.graph.encode(options).map_err(|error| cannot(self.pieces[0].edge, reasons(&error)))?;
        Ok(Composed { bytes, labels: self.labels, used })
    }

    /// The interfaces of which a member's imports use types.
    fn used(&self) -> BTreeSet<String> {
        let types = self.graph.types();
        let members = 0..self.pieces.len();
        let imports = members.flat_map(|member| self.imports(member));
        let mut next: Vec<InterfaceId> = imports
            .filter_map(|(_, kind)| match kind {
                ItemKind::Instance(id) => Some(id),
                _ => None,
            })
            .collect();
        let mut used = BTreeSet::new();
        while let Some(interface) = next.pop() {
            for one in types[interface].uses.values() {
                let name = types[one.interface].id.as_deref().unwrap_or_default();
                if used.insert(plain(name).to_owned()) {
                    next.push(one.interface);
                }
            }
        }
        used
    }
}

/// An error with what is behind it, in one line.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    one_line(&text)
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

pub(super) fn is_shared(name: &str) -> bool {
    SHARED.contains(&plain(name))
}

/// A name without its version.
fn plain(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// Nothing can be called in it, and no handle of it made.
fn only_types(types: &Types, interface: InterfaceId) -> bool {
    types[interface].exports.values().all(|kind| match kind {
        ItemKind::Type(ty) => !matches!(ty, wac_graph::types::Type::Resource(_)),
        _ => false,
    })
}

/// The same interface without its name, so that nothing takes two of them for one.
fn anonymous(graph: &mut CompositionGraph, kind: ItemKind) -> ItemKind {
    let ItemKind::Instance(id) = kind else { return kind };
    let mut interface = graph.types()[id].clone();
    interface.id = None;
    ItemKind::Instance(graph.types_mut().add_interface(interface))
}

/// Compares the imports of what was composed with what each member was to have.
pub(super) fn verify(
    host: &WasmHost,
    edge: &str,
    component: &Component,
    composed: &Composed,
) -> Result<(), StartError> {
    let engine = host.engine();
    let types = component.component_type();
    let harmless = |name: &str, item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => {
            is_shared(name) || composed.used.contains(plain(name)) || has_only_types(host, instance)
        }
        ComponentItem::Type(_) => true,
        _ => false,
    };
    let imports = types.imports(engine).map(|(name, item)| (name, harmless(name, &item.ty)));
    compare(composed.labels.keys().map(String::as_str), imports).map_err(|differences| {
        let edge = edge.to_owned();
        StartError::ImportsDiffer { edge, differences }
    })
}

/// The same as the engine sees it.
pub(super) fn has_only_types(host: &WasmHost, instance: &ComponentInstance) -> bool {
    instance.exports(host.engine()).all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
}

/// Every label is there, and beside them is nothing that can do anything.
fn compare<'a>(
    labels: impl Iterator<Item = &'a str>,
    imports: impl Iterator<Item = (&'a str, bool)>,
) -> Result<(), Vec<String>> {
    let mut missing: BTreeSet<&str> = labels.collect();
    let mut differences = Vec::new();
    for (name, harmless) in imports {
        if !missing.remove(name) && !harmless {
            differences.push(format!("`{name}` belongs to no edge"));
        }
    }
    differences.extend(missing.into_iter().map(|label| format!("`{label}` was merged with another")));
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 3] = ["edge0-import1", "edge1-import1", "edge1-import2"];

    fn compared(imports: &[(&'static str, bool)]) -> Result<(), Vec<String>> {
        compare(LABELS.into_iter(), imports.iter().copied())
    }

    #[test]
    fn the_imports_of_a_unit_are_those_of_its_edges_and_shared_ones() {
        let whole =
            [(LABELS[0], false), ("wasi:io/streams@0.2.6", true), (LABELS[1], false), (LABELS[2], false)];
        assert_eq!(compared(&whole), Ok(()));
    }

    #[test]
    fn a_label_that_was_lost_is_found() {
        let lost = compared(&[(LABELS[0], false), (LABELS[2], false)]);
        assert_eq!(lost, Err(vec!["`edge1-import1` was merged with another".to_owned()]));
    }

    #[test]
    fn an_import_with_power_and_without_a_label_is_found() {
        let mut imports = LABELS.map(|label| (label, false)).to_vec();
        imports.push(("wasi:filesystem/preopens@0.2.6", false));
        let unlabelled = compared(&imports);
        assert_eq!(unlabelled, Err(vec!["`wasi:filesystem/preopens@0.2.6` belongs to no edge".to_owned()]));
        // The same label twice is one too many.
        assert!(
            compared(&[(LABELS[0], false), (LABELS[0], false), (LABELS[1], false), (LABELS[2], false)])
                .is_err()
        );
    }
}
