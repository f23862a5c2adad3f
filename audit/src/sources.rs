//! The source of every package of a graph: read, or known from an earlier run and not looked at until somebody asks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ambient_authority::AmbientAuthority;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::audit::AuditError;
use crate::cache::{Asked, Cache, Key};
use crate::limits::{CACHE_TOTAL_BYTES_MAX, STACK_BYTES};
use crate::link::stage::{Extent, split};
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::predicate::CfgSet;
use crate::revision::JUDGE;
use crate::scan::scan;
use crate::summary::Summary;
use crate::table::Table;

/// The source of every package of a graph.
#[derive(Debug)]
pub struct Sources {
    reading: Reading,
    /// The packages that are linked.
    wanted: Vec<PackageIndex>,
    /// For each of them, what its source is, where that is known.
    keys: Vec<Option<Key>>,
    /// One for each package of the graph, empty for those that are not linked.
    summaries: OnceLock<Vec<Summary>>,
    /// Something was changed after the keys were made.
    moved: AtomicBool,
    cache: Option<Cache>,
    pool: rayon::ThreadPool,
    /// Packages whose summary was in the cache.
    pub cached: usize,
}

/// How much source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// What is compiled for the graph's platform and features: enough for what is used and compiled.
    Platform,
    /// All of it: needed for [`Extent::AnyCfg`].
    Everything,
}

/// Reads the source of every package that is linked for the graph's platform. `progress` is told how many of how many are done.
/// When the cache has all of them, they are read from there the first time that somebody needs more than the verdict.
///
/// # Errors
/// When no threads can be started. A source that cannot be read is part of the result, not an error.
///
/// # Authority
/// Reads the packages' folders, and for members the workspace's; reads and writes the cache's folder. The result keeps that
/// authority.
pub fn read_sources_ambient(
    graph: &Graph,
    reading: Reading,
    cache: Option<&Cache>,
    progress: &(dyn Fn(usize, usize) + Sync),
    _: AmbientAuthority,
) -> Result<Sources, AuditError> {
    let (run, build) = split(graph);
    let wanted: Vec<PackageIndex> = run.union(&build).copied().collect();
    let pool = rayon::ThreadPoolBuilder::new().stack_size(STACK_BYTES).build()?;
    let platform = (reading == Reading::Platform).then_some(&graph.cfg);
    let known = |index: &PackageIndex| {
        let cache = cache?;
        cache.key_of(asked(graph, *index, platform)).filter(|key| cache.has(key))
    };
    let keys: Vec<Option<Key>> = pool.install(|| wanted.par_iter().map(known).collect());
    let cached = keys.iter().filter(|key| key.is_some()).count();
    let all_cached = cached == wanted.len();
    let mut sources = Sources {
        reading,
        wanted,
        keys,
        summaries: OnceLock::new(),
        moved: AtomicBool::new(false),
        cache: cache.cloned(),
        pool,
        cached,
    };
    if !all_cached {
        let (summaries, keys, cached) = sources.read(graph, progress);
        sources.keys = keys;
        sources.cached = cached;
        sources.summaries = summaries.into();
        sources.keep_files(graph);
        if let Some(cache) = cache {
            cache.prune(CACHE_TOTAL_BYTES_MAX);
        }
    }
    Ok(sources)
}

fn asked<'g>(graph: &'g Graph, index: PackageIndex, platform: Option<&'g CfgSet>) -> Asked<'g> {
    Asked { package: &graph.packages[index], workspace: &graph.workspace, platform }
}

/// One package that was read: its summary, what it is, and whether the cache had it.
type ReadPackage = (Summary, Option<Key>, bool);

impl Sources {
    fn read(
        &self,
        graph: &Graph,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> (Vec<Summary>, Vec<Option<Key>>, usize) {
        let platform = (self.reading == Reading::Platform).then_some(&graph.cfg);
        let done = AtomicUsize::new(0);
        let one = |(index, key): (&PackageIndex, &Option<Key>)| -> ReadPackage {
            let asked = asked(graph, *index, platform);
            let known =
                self.cache.as_ref().zip(*key).and_then(|(cache, key)| cache.load(&key, asked.package));
            let read = match known {
                Some(summary) => (summary, *key, true),
                None => {
                    let (summary, looks) = scan(asked.package, asked.workspace, platform);
                    let cache = self.cache.as_ref();
                    let key = cache.and_then(|cache| cache.store(asked, &summary, looks.as_deref()));
                    (summary, key, false)
                }
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, self.wanted.len());
            read
        };
        let read: Vec<ReadPackage> =
            self.pool.install(|| self.wanted.par_iter().zip(&self.keys).with_max_len(1).map(one).collect());
        let mut summaries = vec![Summary::default(); graph.packages.len()];
        let mut keys = Vec::with_capacity(read.len());
        let mut cached = 0;
        for (index, (summary, key, was_cached)) in self.wanted.iter().zip(read) {
            summaries[*index] = summary;
            keys.push(key);
            cached += usize::from(was_cached);
        }
        (summaries, keys, cached)
    }

    /// What every package's source says.
    pub(crate) fn summaries(&self, graph: &Graph) -> &[Summary] {
        if let Some(known) = self.summaries.get() {
            return known;
        }
        // Not inside of the lock: threads that wait for it might be those that read.
        let (read, keys, _) = self.read(graph, &|_, _| {});
        if keys != self.keys {
            // It was changed meanwhile: a verdict about this must not stand under the key of what was there.
            self.moved.store(true, Ordering::Relaxed);
        }
        self.summaries.get_or_init(|| read)
    }

    /// What all of it is. `None` when that is not known.
    fn key(&self) -> Option<Key> {
        if self.moved.load(Ordering::Relaxed) {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        for (package, key) in self.wanted.iter().zip(&self.keys) {
            hash.update((*package as u64).to_le_bytes());
            hash.update(key.as_ref()?);
        }
        Some(hash.finalize().into())
    }

    /// Keeps which files each target was read from.
    fn keep_files(&self, graph: &Graph) {
        if let (Some(cache), Some(key)) = (&self.cache, self.key()) {
            let all: Vec<Vec<Vec<String>>> = self.summaries(graph).iter().map(files).collect();
            cache.write("files", &key, &all);
        }
    }

    /// The files that each target of each package was read from, relative to the package.
    fn files(&self, graph: &Graph) -> Vec<Vec<Vec<String>>> {
        let fits = |all: &Vec<Vec<Vec<String>>>| {
            all.len() == graph.packages.len()
                && self.wanted.iter().all(|index| all[*index].len() == graph.packages[*index].targets.len())
        };
        let kept = self.cache.as_ref().zip(self.key()).filter(|_| self.summaries.get().is_none());
        kept.and_then(|(cache, key)| cache.read("files", &key))
            .filter(fits)
            .unwrap_or_else(|| self.summaries(graph).iter().map(files).collect())
    }

    /// The files that the targets of a kind were read from, for each package that has such a target.
    pub(crate) fn files_of(&self, graph: &Graph, kind: TargetKind) -> Vec<(PackageIndex, Vec<String>)> {
        let mut found = Vec::new();
        for (package, targets) in self.files(graph).into_iter().enumerate() {
            let of_kind = targets.into_iter().zip(&graph.packages[package].targets);
            let mut files: Vec<String> =
                of_kind.filter(|(_, target)| target.kind == kind).flat_map(|(files, _)| files).collect();
            files.sort();
            files.dedup();
            if !files.is_empty() {
                found.push((package, files));
            }
        }
        found
    }

    /// Where verdicts about these sources are kept, and under which key.
    pub(crate) fn place_of_verdict(
        &self,
        graph: &Graph,
        table: &Table,
        extent: Extent,
    ) -> Option<(&Cache, Key)> {
        let cache = self.cache.as_ref()?;
        let mut hash = Sha256::new();
        hash.update(self.key()?);
        hash.update(JUDGE.to_le_bytes());
        hash.update(table.digest);
        hash.update([extent as u8]);
        hash.update(format!("{:?}", graph.cfg));
        for package in &graph.packages {
            let dependencies: Vec<_> =
                package.dependencies.iter().map(|one| (&one.name, one.to, one.build)).collect();
            let targets: Vec<_> = package
                .targets
                .iter()
                .map(|one| (one.kind, &one.name, &one.source, one.edition_2015))
                .collect();
            let (root, member) = (package.root, package.member);
            hash.update(format!(
                "{:?}",
                (&package.name, &package.features, dependencies, targets, &package.links, root, member)
            ));
        }
        Some((cache, hash.finalize().into()))
    }
}

fn files(summary: &Summary) -> Vec<Vec<String>> {
    let name = |file: &u32| summary.files[*file as usize].clone();
    summary.targets.iter().map(|target| target.files.iter().map(name).collect()).collect()
}
