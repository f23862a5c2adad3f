//! The names beside the host's: which crates export or consume them, and from where they can be reached.

use std::collections::{BTreeMap, HashMap};

use crate::capability::{Capability, HostCapability};
use crate::project::{CrateIndex, Project};
use crate::suggest::nearest;

/// Which crates export or consume the names that are not the host's.
pub(super) struct Exporters {
    names: Vec<(Capability, Vec<CrateIndex>)>,
    exported: Vec<bool>,
    reach: HashMap<usize, Vec<bool>>,
}

impl Exporters {
    pub(super) fn new(project: &Project) -> Self {
        let mut users: BTreeMap<Capability, (bool, Vec<CrateIndex>)> = BTreeMap::new();
        for index in project.crates() {
            let Some(tables) = project.tables(index) else { continue };
            let exports = tables.exports.iter().map(|export| (&export.capability.value, true));
            let consumes = tables.consumes.iter().map(|consume| (&consume.capability.value, false));
            for (name, exported) in
                exports.chain(consumes).filter(|(name, _)| matches!(name, Capability::Exported(_)))
            {
                let entry = users.entry(name.clone()).or_default();
                entry.0 |= exported;
                entry.1.push(index);
            }
        }
        let exported = users.values().map(|(exported, _)| *exported).collect();
        let names = users.into_iter().map(|(name, (_, users))| (name, users)).collect();
        Self { names, exported, reach: HashMap::new() }
    }

    fn place(&self, capability: &Capability) -> Option<usize> {
        self.names.binary_search_by(|(name, _)| name.cmp(capability)).ok()
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether some crate exports the name.
    pub(super) fn is_exported(&self, capability: &Capability) -> bool {
        self.place(capability).is_some_and(|at| self.exported[at])
    }

    /// The known name nearest to a word.
    pub(super) fn nearest(&self, name: &str) -> Option<String> {
        let exported = self.names.iter().zip(&self.exported).filter(|(_, exported)| **exported);
        let exported: Vec<String> = exported.map(|((name, _), _)| name.to_string()).collect();
        let host = HostCapability::all().flat_map(|host| [host.name(), host.class()]);
        nearest(name, host.chain(exported.iter().map(String::as_str))).map(str::to_owned)
    }

    /// Whether `from` or anything below it exports or consumes the name.
    pub(super) fn reaches(&mut self, project: &Project, from: CrateIndex, capability: &Capability) -> bool {
        let Some(at) = self.place(capability) else { return false };
        let users = &self.names[at].1;
        let reach = self.reach.entry(at).or_insert_with(|| {
            let mut reach = vec![false; project.crates().len()];
            for user in users {
                reach[user.0 as usize] = true;
            }
            for &index in project.in_order().iter().rev() {
                let below = project.edges_from(index).any(|edge| reach[project.edge(edge).to.0 as usize]);
                reach[index.0 as usize] |= below;
            }
            reach
        });
        reach[from.0 as usize]
    }
}
