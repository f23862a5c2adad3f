//! What a verdict says, without what led to it: small enough to be kept between runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use capability_manifest::Capability;
use serde::{Deserialize, Serialize};

use crate::audit::{Need, UnknownSource, UnsafeReach};
use crate::link::sets::Atom;
use crate::link::stage::CodePlace;
use crate::package::{Graph, PackageIndex};
use crate::summary::Summary;
use crate::whole::Whole;

/// What a verdict says. Lists have one entry for each package of the graph.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) needs: BTreeMap<(PackageIndex, PackageIndex), Need>,
    /// What each root holds at least.
    pub(crate) roots: BTreeMap<PackageIndex, BTreeSet<Atom>>,
    /// What each package's own code reaches.
    pub(crate) own: Vec<BTreeSet<Atom>>,
    pub(crate) linked: Vec<bool>,
    pub(crate) unsafe_code: Vec<(Vec<UnsafeReach>, usize)>,
    pub(crate) unknowns: Vec<UnknownSource>,
    /// Files, lines, and files read token by token.
    pub(crate) extent: (usize, u64, u32),
}

/// The same, as it is written: atoms by number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wire {
    atoms: Vec<(String, Option<String>)>,
    needs: Vec<(usize, usize, Vec<u32>, Vec<u32>)>,
    roots: Vec<(usize, Vec<u32>)>,
    own: Vec<Vec<u32>>,
    linked: Vec<bool>,
    unsafe_code: Vec<(Vec<WireUnsafe>, usize)>,
    unknowns: Vec<(usize, String, u32, String, bool)>,
    extent: (usize, u64, u32),
}

#[derive(Debug, Serialize, Deserialize)]
struct WireUnsafe {
    package: usize,
    item: String,
    file: String,
    line: u32,
    reaches: Vec<String>,
    tags: BTreeSet<String>,
}

impl Facts {
    pub(crate) fn of(whole: &Whole<'_>, graph: &Graph, summaries: &[Summary]) -> Self {
        let packages = 0..graph.packages.len();
        let roots = packages.clone().filter(|package| graph.packages[*package].root);
        Self {
            needs: whole.needs.clone(),
            roots: roots.map(|package| (package, whole.root_need(package))).collect(),
            own: packages.clone().map(|package| whole.own(package)).collect(),
            linked: packages.clone().map(|package| whole.is_linked(package)).collect(),
            unsafe_code: packages.map(|package| whole.unsafe_code(package)).collect(),
            unknowns: whole.unknowns(),
            extent: summaries.iter().fold((0, 0, 0), |(files, lines, tokens), summary| {
                (files + summary.files.len(), lines + summary.lines, tokens + summary.by_token)
            }),
        }
    }

    pub(crate) fn wire(&self) -> Wire {
        let mut numbers: HashMap<Atom, u32> = HashMap::new();
        let mut atoms = Vec::new();
        let mut listed = |set: &BTreeSet<Atom>| -> Vec<u32> {
            let mut number = |atom: &Atom| {
                *numbers.entry(atom.clone()).or_insert_with(|| {
                    atoms.push((atom.capability.to_string(), atom.argument.clone()));
                    (atoms.len() - 1) as u32
                })
            };
            set.iter().map(&mut number).collect()
        };
        let needs = self.needs.iter();
        let needs = needs.map(|((from, to), need)| (*from, *to, listed(&need.run), listed(&need.build)));
        let needs = needs.collect();
        let roots = self.roots.iter().map(|(package, set)| (*package, listed(set))).collect();
        let own = self.own.iter().map(&mut listed).collect();
        let unsafe_code = self.unsafe_code.iter().map(|(sites, memory)| {
            let sites = sites.iter().map(|site| WireUnsafe {
                package: site.at.package,
                item: site.at.item.clone(),
                file: site.at.file.clone(),
                line: site.at.line,
                reaches: site.reaches.iter().map(Capability::to_string).collect(),
                tags: site.tags.clone(),
            });
            (sites.collect(), *memory)
        });
        let unknowns = self.unknowns.iter().map(|unknown| {
            let UnknownSource { package, file, line, why, generated } = unknown;
            (*package, file.clone(), *line, why.clone(), *generated)
        });
        Wire {
            needs,
            roots,
            own,
            linked: self.linked.clone(),
            unsafe_code: unsafe_code.collect(),
            unknowns: unknowns.collect(),
            extent: self.extent,
            atoms,
        }
    }

    /// `None` when it does not fit the graph.
    pub(crate) fn of_wire(wire: Wire, graph: &Graph) -> Option<Self> {
        let count = graph.packages.len();
        let package = |index: usize| (index < count).then_some(index);
        if [wire.own.len(), wire.linked.len(), wire.unsafe_code.len()] != [count; 3] {
            return None;
        }
        let atoms: Vec<Atom> = wire
            .atoms
            .into_iter()
            .map(|(name, argument)| Atom { capability: Capability::from_name(&name), argument })
            .collect();
        let set = |numbers: Vec<u32>| -> Option<BTreeSet<Atom>> {
            numbers.into_iter().map(|number| atoms.get(number as usize).cloned()).collect()
        };
        let mut needs = BTreeMap::new();
        for (from, to, run, build) in wire.needs {
            needs.insert((package(from)?, package(to)?), Need { run: set(run)?, build: set(build)? });
        }
        let mut roots = BTreeMap::new();
        for (index, held) in wire.roots {
            roots.insert(package(index)?, set(held)?);
        }
        let site = |site: WireUnsafe| -> Option<UnsafeReach> {
            let WireUnsafe { package: index, item, file, line, reaches, tags } = site;
            Some(UnsafeReach {
                at: CodePlace { package: package(index)?, item, file, line },
                reaches: reaches.iter().map(|name| Capability::from_name(name)).collect(),
                tags,
            })
        };
        let unsafe_code = wire
            .unsafe_code
            .into_iter()
            .map(|(sites, memory)| Some((sites.into_iter().map(site).collect::<Option<Vec<_>>>()?, memory)));
        let unknowns = wire.unknowns.into_iter().map(|(index, file, line, why, generated)| {
            Some(UnknownSource { package: package(index)?, file, line, why, generated })
        });
        Some(Self {
            needs,
            roots,
            own: wire.own.into_iter().map(set).collect::<Option<_>>()?,
            linked: wire.linked,
            unsafe_code: unsafe_code.collect::<Option<_>>()?,
            unknowns: unknowns.collect::<Option<_>>()?,
            extent: wire.extent,
        })
    }
}
