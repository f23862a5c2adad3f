//! Walks over a graph of compiled code: what is reached from where a program begins, what each crate does by itself, and what
//! comes over each edge.
//!
//! The rules are those of the source layer. A walk over an edge `A -> B` stays inside of what B depends on: leaving it is a call
//! back, and what is done there is the caller's. Code of the standard library that was compiled for a crate, and data without a
//! name, belong to whoever leads there.

use std::collections::{BTreeMap, VecDeque};

use capability_manifest::HostCapability;
use rayon::prelude::*;

use super::code_graph::CodeGraph;
use super::facts::{CompiledPlace, Facts, Found, Layer, Layers, Uses, join_uses};
use super::literal::Literals;
use super::names::Owner;
use super::powers::Powers;
use crate::link::live::is_cargos_variable;
use crate::map::{Map, Set};
use crate::package::{Graph, PackageIndex};

/// How far each package sees: itself and all that it depends on, as bits.
#[derive(Debug)]
pub(crate) struct Sight(Vec<Vec<u64>>);

impl Sight {
    pub(crate) fn new(graph: &Graph) -> Self {
        Self(crate::link::live::closures(graph))
    }

    pub(crate) fn sees(&self, from: PackageIndex, to: PackageIndex) -> bool {
        self.0[from][to / 64] & (1 << (to % 64)) != 0
    }
}

/// A graph, and what one has to know to walk over it.
pub(crate) struct Walk<'w, 'd> {
    pub(crate) code: &'w CodeGraph<'d>,
    pub(crate) graph: &'w Graph,
    pub(crate) sight: &'w Sight,
    /// The program's number, when the graph is of one.
    pub(crate) program: Option<usize>,
    /// The package whose build script it is.
    pub(crate) script_of: Option<PackageIndex>,
    /// Of a program that runs in the build: the literals in it. What Cargo hands to it is then no use of anything.
    pub(crate) in_build: Option<Literals<'d>>,
    pub(crate) layer: Layer,
}

/// Where a walk came from.
type Came = Map<u32, (u32, u64)>;

/// Reached by itself, and by which layer that was seen.
type Hit = (u32, u64, Option<u32>);

impl Walk<'_, '_> {
    /// What going over a reference reaches.
    fn crossing(&self, from: u32, to: u32, at: u64) -> Powers {
        let powers = self.code.crossing(from, to);
        let (Some(literals), false) = (&self.in_build, powers.is_empty()) else { return powers };
        let powers = powers.without(Powers::one(HostCapability::Stdio));
        let reading = Powers::one(HostCapability::EnvironmentRead);
        if powers.without(reading) == powers {
            return powers;
        }
        match literals.before_call(at) {
            Some(variable) if is_cargos_variable(&variable) => powers.without(reading),
            None if !literals.can_read() => powers.without(reading),
            _ => powers,
        }
    }

    fn calls_kernel(&self, node: u32) -> bool {
        self.code.nodes[node as usize].calls_kernel
    }

    /// Everything that some nodes lead to. Code of std that was compiled with it is not looked into.
    pub(crate) fn reached(&self, roots: &[u32]) -> Vec<bool> {
        let mut reached = vec![false; self.code.nodes.len()];
        let mut pending: Vec<u32> = roots.to_vec();
        while let Some(node) = pending.pop() {
            if std::mem::replace(&mut reached[node as usize], true) {
                continue;
            }
            if self.code.nodes[node as usize].meaning.owner == Owner::Std && !roots.contains(&node) {
                continue;
            }
            pending.extend(self.code.links(node).iter().map(|(to, _)| *to));
        }
        reached
    }

    /// What was found: `reached` tells what is used from what is only there.
    pub(crate) fn facts(&self, reached: &[bool]) -> Facts {
        let mut facts = Facts { own: self.own(reached), ..Facts::default() };
        facts.edges = self.edges(reached);
        facts
    }

    fn place(&self, node: u32, at: u64) -> Option<CompiledPlace> {
        let of = &self.code.nodes[node as usize];
        let (Owner::Package(package) | Owner::StdCopy(Some(package))) = of.meaning.owner else { return None };
        let name = of.name.unwrap_or_default().to_owned();
        Some(CompiledPlace { package, name, at: self.program.map(|program| (program, at)) })
    }

    fn found(&self, way: Vec<CompiledPlace>, (node, _, target): Hit, is_used: bool) -> Found {
        let (layer, what) = match target {
            Some(target) => (self.layer, self.code.nodes[target as usize].name.unwrap_or_default()),
            None => (Layer::Opcodes, self.code.nodes[node as usize].name.unwrap_or("code without a name")),
        };
        Found { is_used, layers: Layers::one(layer), way, what: what.to_owned() }
    }

    /// What each package's own code reaches by itself.
    fn own(&self, reached: &[bool]) -> BTreeMap<PackageIndex, Uses> {
        let mut all: BTreeMap<PackageIndex, Uses> = BTreeMap::new();
        for node in self.code.indices() {
            let owner = self.code.nodes[node as usize].meaning.owner;
            let (Owner::Package(package) | Owner::StdCopy(Some(package))) = owner else { continue };
            let is_used = reached[node as usize];
            let mut note = |powers: Powers, hit: Hit| {
                for capability in powers.iter() {
                    let uses = all.entry(package).or_default();
                    if uses.get(&capability).is_some_and(|known| known.is_used || !is_used) {
                        continue;
                    }
                    let way = self.place(node, hit.1).into_iter().collect();
                    join_uses(uses, Uses::from([(capability, self.found(way, hit, is_used))]));
                }
            };
            let kernel = Powers::one(HostCapability::RawSyscall);
            if self.calls_kernel(node) {
                note(kernel, (node, 0, None));
            }
            // Data without a name is a part of what refers to it.
            let mut seen: Set<u32> = Set::default();
            let mut pending: Vec<(u32, Option<u64>)> = vec![(node, None)];
            while let Some((from, first)) = pending.pop() {
                for (to, at) in self.code.links(from) {
                    let at = first.unwrap_or(*at);
                    let powers = self.crossing(from, *to, at);
                    if !powers.is_empty() {
                        note(powers, (from, at, Some(*to)));
                    }
                    if self.code.nodes[*to as usize].meaning.owner == Owner::Nobody && seen.insert(*to) {
                        if self.calls_kernel(*to) {
                            note(kernel, (*to, at, None));
                        }
                        pending.push((*to, Some(at)));
                    }
                }
            }
        }
        all
    }

    fn depends(&self, from: PackageIndex) -> impl Iterator<Item = PackageIndex> {
        let for_script = self.script_of == Some(from);
        let all = self.graph.packages[from].dependencies.iter();
        all.filter(move |one| one.build == for_script).map(|one| one.to)
    }

    /// What comes over each edge. An edge is crossed where code of one package refers to code of the other, by way of copies of
    /// std and data too.
    fn edges(&self, reached: &[bool]) -> BTreeMap<(PackageIndex, PackageIndex), Uses> {
        let mut of_package: BTreeMap<PackageIndex, Vec<u32>> = BTreeMap::new();
        for node in self.code.indices() {
            if let Some(package) = self.code.nodes[node as usize].package() {
                of_package.entry(package).or_default().push(node);
            }
        }
        let packages: Vec<(PackageIndex, Vec<u32>)> = of_package.into_iter().collect();
        let found: Vec<((PackageIndex, PackageIndex), Uses)> = packages
            .par_iter()
            .with_max_len(1)
            .flat_map_iter(|(package, nodes)| {
                let (used, unused): (Vec<u32>, Vec<u32>) =
                    nodes.iter().partition(|node| reached[**node as usize]);
                let mut edges: BTreeMap<PackageIndex, Uses> = BTreeMap::new();
                for (nodes, is_used) in [(used, true), (unused, false)] {
                    for (to, starts) in self.entries(*package, &nodes) {
                        join_uses(edges.entry(to).or_default(), self.brought(to, &starts, is_used));
                    }
                }
                let package = *package;
                edges.into_iter().map(move |(to, uses)| ((package, to), uses)).collect::<Vec<_>>()
            })
            .collect();
        found.into_iter().filter(|(_, uses)| !uses.is_empty()).collect()
    }

    /// Where code of a package enters each of those that it depends on.
    fn entries(&self, package: PackageIndex, nodes: &[u32]) -> BTreeMap<PackageIndex, Came> {
        let mut entries: BTreeMap<PackageIndex, Came> = BTreeMap::new();
        let direct: Vec<PackageIndex> = self.depends(package).collect();
        let mut seen: Set<u32> = Set::default();
        let mut pending: VecDeque<(u32, u32, Option<u64>)> =
            nodes.iter().map(|node| (*node, *node, None)).collect();
        while let Some((node, origin, first)) = pending.pop_front() {
            for (to, at) in self.code.links(node) {
                let at = first.unwrap_or(*at);
                let target = &self.code.nodes[*to as usize];
                if target.is_passed_through() {
                    if seen.insert(*to) {
                        pending.push_back((*to, origin, Some(at)));
                    }
                    continue;
                }
                let Some(other) = target.package().filter(|other| *other != package) else { continue };
                // A type of a crate further down got here through one of those that are named.
                let over: Vec<PackageIndex> = if direct.contains(&other) {
                    vec![other]
                } else {
                    direct.iter().copied().filter(|one| self.sight.sees(*one, other)).collect()
                };
                for one in over {
                    entries.entry(one).or_default().entry(*to).or_insert((origin, at));
                }
            }
        }
        entries
    }

    /// What some functions of a package reach, inside of what it depends on.
    fn brought(&self, package: PackageIndex, starts: &Came, is_used: bool) -> Uses {
        let mut uses = Uses::new();
        let mut came: Came = Map::default();
        let mut queue: VecDeque<u32> = VecDeque::new();
        for (node, (origin, at)) in starts {
            if !came.contains_key(node) {
                came.insert(*node, (*origin, *at));
                queue.push_back(*node);
            }
            // What is handed along is the caller's; that the code is foreign is not.
            let powers = self.code.entering(*origin, *node);
            self.note(&mut uses, powers, (*origin, *at, Some(*node)), &Map::default(), starts, is_used);
        }
        while let Some(node) = queue.pop_front() {
            if self.calls_kernel(node) {
                let kernel = Powers::one(HostCapability::RawSyscall);
                self.note(&mut uses, kernel, (node, 0, None), &came, starts, is_used);
            }
            for (to, at) in self.code.links(node) {
                let powers = self.crossing(node, *to, *at);
                if !powers.is_empty() {
                    self.note(&mut uses, powers, (node, *at, Some(*to)), &came, starts, is_used);
                }
                let target = &self.code.nodes[*to as usize];
                let is_inside = match target.meaning.owner {
                    Owner::Package(other) => self.sight.sees(package, other),
                    _ => target.is_passed_through(),
                };
                if is_inside && !came.contains_key(to) {
                    came.insert(*to, (node, *at));
                    queue.push_back(*to);
                }
            }
        }
        uses
    }

    fn note(&self, uses: &mut Uses, powers: Powers, hit: Hit, came: &Came, starts: &Came, is_used: bool) {
        for capability in powers.iter().filter(|one| !uses.contains_key(one)).collect::<Vec<_>>() {
            let way = self.way(hit, came, starts);
            uses.insert(capability, self.found(way, hit, is_used));
        }
    }

    /// The places from where an edge, or a program, is entered.
    fn way(&self, (node, at, _): Hit, came: &Came, starts: &Came) -> Vec<CompiledPlace> {
        let mut places: Vec<CompiledPlace> = Vec::new();
        let (mut node, mut at) = (node, at);
        loop {
            // Copies of std on the way tell nothing to people, but where nothing else is there.
            if self.code.nodes[node as usize].package().is_some() || places.is_empty() {
                places.extend(self.place(node, at));
            }
            match came.get(&node) {
                Some((before, line)) if *before != node => {
                    let is_start = starts.get(&node).is_some_and(|start| start.0 == *before);
                    (node, at) = (*before, *line);
                    if is_start {
                        places.extend(self.place(node, at));
                        break;
                    }
                }
                _ => break,
            }
        }
        places.reverse();
        places
    }

    /// What a program does as a whole, from where it begins.
    pub(crate) fn whole(&self, roots: &[u32]) -> Uses {
        let mut uses = Uses::new();
        let mut came: Came = roots.iter().map(|root| (*root, (*root, 0))).collect();
        let mut queue: VecDeque<u32> = roots.iter().copied().collect();
        let none: Came = Map::default();
        while let Some(node) = queue.pop_front() {
            if self.calls_kernel(node) {
                self.note(
                    &mut uses,
                    Powers::one(HostCapability::RawSyscall),
                    (node, 0, None),
                    &came,
                    &none,
                    true,
                );
            }
            for (to, at) in self.code.links(node) {
                let powers = self.crossing(node, *to, *at);
                if !powers.is_empty() {
                    self.note(&mut uses, powers, (node, *at, Some(*to)), &came, &none, true);
                }
                let is_inside =
                    !matches!(self.code.nodes[*to as usize].meaning.owner, Owner::Std | Owner::Foreign);
                if is_inside && !came.contains_key(to) {
                    came.insert(*to, (node, *at));
                    queue.push_back(*to);
                }
            }
        }
        uses
    }
}
