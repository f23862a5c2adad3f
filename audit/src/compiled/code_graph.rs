//! Compiled code as a graph: functions and data, and what each refers to. Made from relocatable objects and from linked programs
//! alike.

use std::collections::HashMap;

use capability_manifest::HostCapability;
use rayon::prelude::*;

use super::names::{FileOptions, Handed, Meaning, Meanings, Owner, foreign};
use super::powers::Powers;
use crate::limits::NODES_MAX;
use crate::map::Map;
use crate::package::PackageIndex;

/// One function, or one piece of data, before names are looked at.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Piece<'d> {
    /// Its name, when it has one.
    pub(crate) name: Option<&'d str>,
    /// Whether the same name elsewhere means the same.
    pub(crate) is_global: bool,
    /// Whether its code or data is here, and not only its name.
    pub(crate) is_defined: bool,
    /// Whether it holds an instruction that calls the kernel.
    pub(crate) calls_kernel: bool,
    /// Whether it is called by whoever loads the program.
    pub(crate) runs_unasked: bool,
}

/// One reference between pieces, and the address at which it stands: 0 where there are none.
pub(crate) type Link = (u32, u32, u64);

/// What one file says.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "pieces is what they are")]
pub(crate) struct Pieces<'d> {
    pub(crate) pieces: Vec<Piece<'d>>,
    pub(crate) links: Vec<Link>,
    /// The package whose file it is.
    pub(crate) home: Option<PackageIndex>,
    /// Compiled from C or assembly, not by the Rust compiler.
    pub(crate) is_foreign: bool,
    /// Read by parts that hold no code of a form that can be read.
    pub(crate) unread: usize,
}

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node<'d> {
    pub(crate) name: Option<&'d str>,
    pub(crate) meaning: Meaning,
    pub(crate) calls_kernel: bool,
    /// Runs before `main`, or when the program ends.
    pub(crate) runs_unasked: bool,
    /// Defined in C or assembly.
    pub(crate) is_foreign: bool,
}

impl Node<'_> {
    pub(crate) fn package(&self) -> Option<PackageIndex> {
        match self.meaning.owner {
            Owner::Package(package) => Some(package),
            _ => None,
        }
    }

    /// Whether it stands for whoever leads there.
    pub(crate) fn is_passed_through(&self) -> bool {
        matches!(self.meaning.owner, Owner::Nobody | Owner::StdCopy(_))
    }

    fn is_std(&self) -> bool {
        matches!(self.meaning.owner, Owner::Std | Owner::StdCopy(_))
    }
}

/// The graph.
#[derive(Debug)]
pub(crate) struct CodeGraph<'d> {
    pub(crate) nodes: Vec<Node<'d>>,
    first: Vec<u32>,
    links: Vec<(u32, u64)>,
    /// Of data: the functions that were handed to whoever refers to it.
    context: Map<u32, Handed>,
    /// Symbols of which nothing is known, with a package that refers to them.
    pub(crate) unknown: Vec<(PackageIndex, String)>,
}

impl<'d> CodeGraph<'d> {
    /// Joins what files say.
    pub(crate) fn new(files: Vec<Pieces<'d>>, meanings: &Meanings<'_>) -> Self {
        let joined = Joined::new(files);
        let nodes: Vec<Node<'d>> = joined
            .pieces
            .par_iter()
            .with_min_len(512)
            .map(|(piece, home, is_foreign)| {
                let home = home.filter(|_| piece.is_defined);
                let meaning =
                    piece.name.map_or(Meaning::NOBODY, |name| meanings.of(name, home, piece.is_defined));
                let is_foreign = *is_foreign || meaning.is_foreign;
                Node {
                    name: piece.name,
                    meaning,
                    calls_kernel: piece.calls_kernel,
                    runs_unasked: piece.runs_unasked,
                    is_foreign,
                }
            })
            .collect();
        let mut graph = Self {
            first: Vec::new(),
            links: Vec::new(),
            nodes,
            context: Map::default(),
            unknown: Vec::new(),
        };
        graph.connect(joined.links);
        graph.find_contexts();
        graph.find_unknown();
        graph
    }

    fn connect(&mut self, mut links: Vec<Link>) {
        links.sort_unstable();
        links.dedup_by_key(|(from, to, _)| (*from, *to));
        self.first = vec![0; self.nodes.len() + 1];
        for (from, ..) in &links {
            self.first[*from as usize + 1] += 1;
        }
        for at in 1..self.first.len() {
            self.first[at] += self.first[at - 1];
        }
        self.links = links.into_iter().map(|(_, to, at)| (to, at)).collect();
    }

    /// What a node refers to, and where.
    pub(crate) fn links(&self, node: u32) -> &[(u32, u64)] {
        &self.links[self.first[node as usize] as usize..self.first[node as usize + 1] as usize]
    }

    pub(crate) fn indices(&self) -> std::ops::Range<u32> {
        0..self.nodes.len() as u32
    }

    fn find_contexts(&mut self) {
        let mut pending: Vec<(u32, Handed)> = Vec::new();
        for node in self.indices() {
            let handed = &self.nodes[node as usize].meaning.handed;
            if !handed.is_empty() {
                pending.push((node, handed.clone()));
            }
        }
        while let Some((node, handed)) = pending.pop() {
            for (to, _) in self.links(node).to_vec() {
                if self.nodes[to as usize].meaning.owner != Owner::Nobody {
                    continue;
                }
                let known = self.context.entry(to).or_default();
                let before = known.len();
                for one in &handed {
                    if !known.contains(one) {
                        known.push(*one);
                    }
                }
                if known.len() > before {
                    let known = known.clone();
                    pending.push((to, known));
                }
            }
        }
    }

    fn find_unknown(&mut self) {
        let mut found: HashMap<u32, PackageIndex> = HashMap::new();
        for node in self.indices() {
            let from = &self.nodes[node as usize];
            let (Owner::Package(package) | Owner::StdCopy(Some(package))) = from.meaning.owner else {
                continue;
            };
            for (to, _) in self.links(node) {
                if self.nodes[*to as usize].meaning.is_unknown {
                    found.entry(*to).or_insert(package);
                }
            }
        }
        let mut unknown: Vec<(PackageIndex, String)> = found
            .into_iter()
            .filter_map(|(node, package)| Some((package, self.nodes[node as usize].name?.to_owned())))
            .collect();
        unknown.sort();
        self.unknown = unknown;
    }

    /// What going from one node to another reaches by itself.
    pub(crate) fn crossing(&self, from: u32, to: u32) -> Powers {
        let (source, target) = (&self.nodes[from as usize], &self.nodes[to as usize]);
        if source.is_std() {
            // What std does inside is its own business; its copies call what they are handed.
            let calls = target.meaning.owner == Owner::Foreign && source.meaning.owner != Owner::Std;
            return if calls { target.meaning.leaf } else { Powers::NONE };
        }
        let mut reached = match target.meaning.owner {
            _ if target.meaning.options == Some(FileOptions::Writes) => {
                Powers::one(HostCapability::FilesystemWrite)
            }
            _ if target.meaning.options == Some(FileOptions::Opens) => self.opened(from),
            Owner::Std | Owner::StdCopy(_) | Owner::Foreign => target.meaning.leaf,
            Owner::Package(_) => self.entering(from, to),
            Owner::Nobody => Powers::NONE,
        };
        for (item, powers) in &target.meaning.handed {
            let was_handed = |handed: &Handed| handed.iter().any(|(known, _)| known == item);
            if !was_handed(&source.meaning.handed) && !self.context.get(&from).is_some_and(was_handed) {
                reached = reached.with(*powers);
            }
        }
        reached
    }
}

impl CodeGraph<'_> {
    /// What calling a function of a package reaches by itself: nothing, unless it is code of another language, or goes by a symbol
    /// that another crate gives itself.
    pub(crate) fn entering(&self, from: u32, to: u32) -> Powers {
        let (source, target) = (&self.nodes[from as usize], &self.nodes[to as usize]);
        let is_foreign = target.meaning.is_plain
            && target.package().is_some()
            && source.package().is_some()
            && !source.is_foreign
            && (target.is_foreign || source.package() != target.package());
        if is_foreign { foreign() } else { Powers::NONE }
    }

    /// What opening a file in a function reaches: writing, when the same function says so.
    fn opened(&self, from: u32) -> Powers {
        let is_write =
            |(to, _): &(u32, u64)| self.nodes[*to as usize].meaning.options == Some(FileOptions::Writes);
        let writes = self.links(from).iter().any(is_write);
        Powers::one(if writes { HostCapability::FilesystemWrite } else { HostCapability::FilesystemRead })
    }
}

type Owned<'d> = (Piece<'d>, Option<PackageIndex>, bool);

/// Files with one number for each name.
struct Joined<'d> {
    pieces: Vec<Owned<'d>>,
    links: Vec<Link>,
}

impl<'d> Joined<'d> {
    fn new(files: Vec<Pieces<'d>>) -> Self {
        let mut joined = Self { pieces: Vec::new(), links: Vec::new() };
        let mut by_name: HashMap<&'d str, u32> = HashMap::new();
        for file in files {
            let numbers: Vec<u32> = file
                .pieces
                .into_iter()
                .map(|piece| {
                    let owned = (piece, file.home, file.is_foreign);
                    match piece.name.filter(|_| piece.is_global) {
                        Some(name) => {
                            let next = joined.pieces.len() as u32;
                            let number = *by_name.entry(name).or_insert(next);
                            if number == next {
                                joined.push(owned);
                            } else {
                                joined.pieces[number as usize].join(owned);
                            }
                            number
                        }
                        None => joined.push(owned),
                    }
                })
                .collect();
            let links = file.links.into_iter();
            joined
                .links
                .extend(links.map(|(from, to, at)| (numbers[from as usize], numbers[to as usize], at)));
        }
        joined
    }

    fn push(&mut self, owned: Owned<'d>) -> u32 {
        assert!(self.pieces.len() < NODES_MAX, "readers refuse files that are larger");
        self.pieces.push(owned);
        self.pieces.len() as u32 - 1
    }
}

trait Join {
    fn join(&mut self, other: Self);
}

impl Join for Owned<'_> {
    fn join(&mut self, (piece, home, is_foreign): Self) {
        self.0.calls_kernel |= piece.calls_kernel;
        self.0.runs_unasked |= piece.runs_unasked;
        if piece.is_defined && !self.0.is_defined {
            self.0.is_defined = true;
            (self.1, self.2) = (home, is_foreign);
        }
    }
}
