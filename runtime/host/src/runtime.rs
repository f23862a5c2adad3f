//! A running plan: one compartment for each edge, made when it is first used or at once, and managed while it runs.

mod build;
mod error;
mod linked;
mod plugin;
mod stale;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ambient_authority::AmbientAuthority;
pub use build::{RuntimeBuilder, Source};
use capability_manifest::{Backend, Capability, Link};
pub use error::RuntimeError;
pub use plugin::Plugin;

use crate::audit::{AuditEvent, AuditLog};
use crate::client::{Compartment, Edge, Provided};
use crate::load::plugin::read;
use crate::plan::{CompartmentPlan, Plan};
use crate::process::{self, ProcessEdge, ProcessHost};
use crate::wasm::{
    CompartmentOptions, MemberStart, Start, StartError, Stdio, WasmCompartment, WasmHost, digest, may_wait,
};

/// The compartments of a plan. Cheap to clone; `Send` and `Sync`.
///
/// Dropping the last clone and the last [`Edge`] ends them.
///
/// ```no_run
/// use ambient_authority::ambient_authority;
/// use cofferdam::{Runtime, edge};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ambient = ambient_authority();
/// let runtime = Runtime::from_file_ambient("capabilities.toml", ambient)?.start_ambient(ambient)?;
/// let codec = runtime.edge(edge!("codec"))?;
/// println!("{:?}", codec.functions());
/// for compartment in runtime.list() {
///     println!("{}: {} calls, {} failed", compartment.edge, compartment.calls.0, compartment.calls.1);
/// }
/// runtime.revoke(edge!("codec"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    host: WasmHost,
    processes: Mutex<Option<Arc<ProcessHost>>>,
    folder: PathBuf,
    log: AuditLog,
    components: HashMap<String, Source>,
    /// The command that makes what is missing.
    how_to_build: String,
    components_folder: Option<PathBuf>,
    options: HashMap<String, CompartmentOptions>,
    process_options: HashMap<String, process::StartOptions>,
    default_options: CompartmentOptions,
    host_manifest: Option<plugin::HostManifest>,
    /// Entries are added, and taken out, by holders of [`Starting`] only.
    entries: Mutex<Vec<Entry>>,
    starting: Mutex<()>,
    linked: Mutex<Vec<linked::LinkedEntry>>,
    /// What the host program implements, by edge.
    provided: HashMap<String, Vec<Provided>>,
    sources: HashMap<(String, String), PathBuf>,
    ambient: AmbientAuthority,
}

/// One compartment, started or not.
#[derive(Clone)]
struct Entry {
    plan: CompartmentPlan,
    running: Option<Compartment>,
    revoked: bool,
    /// The component of a plugin, or the one that took the place of what it was started with.
    given: Option<Arc<[u8]>>,
}

impl Entry {
    fn new(plan: CompartmentPlan) -> Self {
        Self { plan, running: None, revoked: false, given: None }
    }
}

/// Held by whoever starts compartments. Starting one can take seconds, in which every other edge is listed, revoked and stopped as ever.
struct Starting<'r>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'r, ()>);

/// An edge by the names of its ends. Made by [`edge!`](crate::edge!) in the consumer, which cannot give another name than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EdgeName<'a> {
    /// The crate that calls.
    pub consumer: &'a str,
    /// The crate that is called.
    pub krate: &'a str,
}

/// Where a compartment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompartmentStatus {
    /// Its number in the plan.
    pub number: usize,
    /// `consumer -> crate`.
    pub edge: String,
    /// The compartment that the consumer runs in; `None` for the host program.
    pub inside: Option<usize>,
    /// `wasm` or `process`; `inline` for an edge to a crate that is linked in, and no compartment.
    pub backend: String,
    /// What it is doing.
    pub state: CompartmentState,
    /// Calls so far, and how many of them failed. Over a fused edge, the host sees none.
    pub calls: (u64, u64),
    /// SHA-256 of the component that new calls go to, once it is started.
    pub digest: Option<String>,
    /// Most memory that one instance has had, bytes: all linear memories of a component, what a process had resident. `None` before
    /// the first call, and for what has no memory of its own.
    pub memory_peak: Option<u64>,
}

/// What a compartment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompartmentState {
    /// Nothing: it is made with the first use.
    NotStarted,
    /// It is ready, with so many instances waiting and running.
    Started {
        /// Instances that wait for a call.
        idle: usize,
        /// Instances that are in one.
        busy: usize,
    },
    /// Its edge was taken back.
    Revoked,
}

impl Runtime {
    /// A consumer's end of an edge from the host program. Its compartment, and those that it calls, are made now if they are not
    /// yet.
    ///
    /// # Errors
    /// When there is no such edge, or its compartment cannot be started.
    pub fn edge(&self, name: EdgeName<'_>) -> Result<Edge, StartError> {
        if let Some(linked) = self.linked_edge(name) {
            return linked;
        }
        let entries = self.lock();
        let index = Self::find(&entries, name)?;
        // Started already: there is nothing to wait for.
        let entry = &entries[unit_of(&entries, index)];
        if let Some(running) = entry.running.as_ref().filter(|_| !entry.revoked) {
            return Ok(Edge::new(running.clone()));
        }
        drop(entries);
        let starting = self.starting();
        let index = Self::find(&self.lock(), name)?;
        Ok(Edge::new(self.started(&starting, index)?))
    }

    /// Every compartment, in the order of the plan.
    pub fn list(&self) -> Vec<CompartmentStatus> {
        let entries = self.lock();
        let status = |index: usize| {
            let entry = &entries[index];
            // A fused compartment runs with its unit.
            let running = entries[unit_of(&entries, index)].running.as_ref();
            CompartmentStatus {
                number: entry.plan.number,
                edge: entry.plan.edge(),
                inside: entry.plan.inside,
                backend: entry.plan.backend.clone(),
                state: match running {
                    _ if entry.revoked => CompartmentState::Revoked,
                    None => CompartmentState::NotStarted,
                    Some(running) => {
                        let (idle, busy) = running.instances();
                        CompartmentState::Started { idle, busy }
                    }
                },
                calls: entry.running.as_ref().map_or((0, 0), Compartment::counts),
                digest: running.and_then(|running| running.member_digest(entry.plan.number)),
                memory_peak: entry.running.as_ref().and_then(Compartment::memory_peak),
            }
        };
        let mut all: Vec<_> = (0..entries.len()).map(status).collect();
        all.extend(self.list_linked(entries.len() + 1));
        all
    }

    /// What a compartment wrote to its granted streams since the last time, when output is captured; nothing while it has not
    /// started. For those that no [`Edge`] of the host program leads to: behind other compartments, or fused into a unit. `number` is
    /// that of [`Runtime::list`].
    ///
    /// # Errors
    /// When there is no such compartment.
    pub fn take_stdio(&self, number: usize) -> Result<Stdio, StartError> {
        let entries = self.lock();
        let Some(index) = entries.iter().position(|entry| entry.plan.number == number) else {
            let edges = entries.iter().map(|entry| format!("`{}`", entry.plan.edge())).collect();
            return Err(StartError::NoEdge { edge: format!("compartment {number}"), edges });
        };
        let running = entries[unit_of(&entries, index)].running.as_ref();
        Ok(running.map(|running| running.take_stdio_of(number)).unwrap_or_default())
    }

    /// What runs, as the plan that it was started from, less what was revoked.
    pub fn plan(&self) -> Plan {
        let linked = self.0.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let linked = linked.iter().filter(|entry| !entry.revoked).map(|entry| entry.plan.clone()).collect();
        Plan { compartments: self.lock().iter().map(|entry| entry.plan.clone()).collect(), linked }
    }

    /// Ends a compartment. Running calls are told no at their next operation; the next [`Runtime::edge`] makes a new one.
    ///
    /// # Errors
    /// When there is no such edge, or the end cannot be recorded.
    pub fn stop(&self, name: EdgeName<'_>) -> Result<(), StartError> {
        if let Some(stopped) = self.stop_linked(name) {
            return stopped;
        }
        let mut entries = self.lock();
        let index = Self::find(&entries, name)?;
        match entries[index].running.take() {
            Some(running) => running.stop(),
            None => Ok(()),
        }
    }

    /// Takes an edge back for good, and all edges behind it.
    ///
    /// # Errors
    /// When there is no such edge, or the revocation cannot be recorded; it is revoked all the same.
    pub fn revoke(&self, name: EdgeName<'_>) -> Result<(), StartError> {
        if let Some(revoked) = self.revoke_linked(name) {
            return revoked;
        }
        let mut entries = self.lock();
        let index = Self::find(&entries, name)?;
        let mut outcome = Ok(());
        for index in behind(&entries, index) {
            entries[index].revoked = true;
            let revoked = match entries[index].running.take() {
                Some(running) => running.revoke(),
                None => {
                    let event = AuditEvent::Revoked { edge: entries[index].plan.edge(), capability: None };
                    self.0.log.record(&event).map_err(StartError::from)
                }
            };
            outcome = outcome.and(revoked);
        }
        outcome
    }

    /// Takes one grant back from an edge, and from all edges behind it, which had it from there. Running calls are told no at
    /// their next operation on anything of the host's; later ones have the rest.
    ///
    /// # Errors
    /// When the edge does not have the grant, or the revocation cannot be recorded; it is revoked all the same.
    pub fn revoke_grant(&self, name: EdgeName<'_>, capability: &Capability) -> Result<(), StartError> {
        let mut entries = self.lock();
        let index = Self::find(&entries, name)?;
        let has = |plan: &CompartmentPlan| plan.grants.iter().any(|grant| grant.capability == *capability);
        if !has(&entries[index].plan) {
            let (edge, capability) = (entries[index].plan.edge(), capability.to_string());
            return Err(StartError::NotGranted { edge, capability });
        }
        let mut outcome = Ok(());
        for index in behind(&entries, index) {
            let unit = unit_of(&entries, index);
            let running = entries[unit].running.clone();
            let entry = &mut entries[index];
            if !has(&entry.plan) {
                continue;
            }
            let revoked = match &running {
                Some(Compartment::Wasm(running)) => running.revoke_grant_of(&entry.plan, capability),
                Some(Compartment::Process(running)) => running.revoke_grant(capability),
                Some(Compartment::Linked(_)) | None => {
                    let capability = Some(capability.to_string());
                    let event = AuditEvent::Revoked { edge: entry.plan.edge(), capability };
                    self.0.log.record(&event).map_err(StartError::from)
                }
            };
            entry.plan.revoke(capability);
            outcome = outcome.and(revoked);
        }
        outcome
    }

    /// Puts another component in the place of one that may be running. Calls that run finish on the old one. Where the host's
    /// manifest pins a digest, only that component is accepted.
    ///
    /// # Errors
    /// When there is no such edge, or the new component does not fit; the old one then stays.
    pub fn replace(&self, name: EdgeName<'_>, component: &[u8]) -> Result<(), StartError> {
        let starting = self.starting();
        let entries = self.lock();
        let index = Self::find(&entries, name)?;
        let edge = entries[index].plan.edge();
        drop(entries);
        let pinned = self.0.host_manifest.as_ref().and_then(|manifest| manifest.pin(name));
        if let Some(wanted) = pinned {
            let found = digest(component);
            if found != wanted {
                return Err(StartError::WrongDigest { edge, found, wanted });
            }
        }
        match self.started(&starting, index)? {
            Compartment::Wasm(running) => running.replace(component),
            Compartment::Process(running) => running.replace(component),
            Compartment::Linked(_) => unreachable!("no entry is of an inline crate"),
        }?;
        // Also what it is started from again, after it was stopped.
        self.lock()[index].given = Some(component.into());
        Ok(())
    }

    /// Waits until nobody else starts anything.
    fn starting(&self) -> Starting<'_> {
        Starting(self.0.starting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(entries: &[Entry], name: EdgeName<'_>) -> Result<usize, StartError> {
        let from_host = |entry: &&Entry| entry.plan.inside.is_none();
        let named = |entry: &Entry| {
            let consumer = entry.plan.consumer == name.consumer;
            consumer
                && (entry.plan.krate == name.krate || entry.plan.krate.split('@').next() == Some(name.krate))
        };
        let found: Vec<usize> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.plan.inside.is_none() && named(entry))
            .map(|(index, _)| index)
            .collect();
        match found.as_slice() {
            [only] => Ok(*only),
            _ => Err(StartError::NoEdge {
                edge: format!("{} -> {}", name.consumer, name.krate),
                edges: entries
                    .iter()
                    .filter(from_host)
                    .map(|entry| format!("`{}`", entry.plan.edge()))
                    .collect(),
            }),
        }
    }

    /// The compartment of an entry, or the unit that it is fused into, made now if it is not yet: first those that it calls.
    fn started(&self, starting: &Starting<'_>, index: usize) -> Result<Compartment, StartError> {
        loop {
            let entries = self.lock().clone();
            let index = unit_of(&entries, index);
            let entry = &entries[index];
            if entry.revoked {
                return Err(StartError::Revoked { edge: entry.plan.edge() });
            }
            if let Some(running) = &entry.running {
                return Ok(running.clone());
            }
            let (running, members) = if entry.plan.backend == Backend::Process.name() {
                (Compartment::Process(self.process(starting, &entries, index)?), vec![index])
            } else {
                self.unit(starting, &entries, index)?
            };
            let mut now = self.lock();
            if members.iter().all(|one| !now[*one].revoked && now[*one].plan == entries[*one].plan) {
                now[index].running = Some(running.clone());
                return Ok(running);
            }
            drop(now);
            // What it was started with was taken back meanwhile. It has not been called; from the beginning, with what is left.
            running.stop()?;
        }
    }

    /// A component, with those that are fused to it. Gives the entries that it is made of.
    fn unit(
        &self,
        starting: &Starting<'_>,
        entries: &[Entry],
        index: usize,
    ) -> Result<(Compartment, Vec<usize>), StartError> {
        let tree = behind(entries, root_of(entries, index));
        let waits = tree.iter().any(|member| may_wait(&entries[*member].plan));
        let mut places = vec![index];
        let mut members = vec![self.member(starting, entries, index, 0)?];
        let mut next = 0;
        while let Some(number) = members.get(next).map(|member| member.plan.number) {
            for inner in inside(entries, number).filter(|inner| is_fused(&entries[*inner])) {
                members.push(self.member(starting, entries, inner, next)?);
                places.push(inner);
            }
            next += 1;
        }
        let start = Start { members, folder: &self.0.folder, waits };
        let running = WasmCompartment::launch_ambient(&self.0.host, start, &self.0.log, self.0.ambient)?;
        Ok((Compartment::Wasm(running), places))
    }

    /// A process compartment.
    fn process(
        &self,
        starting: &Starting<'_>,
        entries: &[Entry],
        index: usize,
    ) -> Result<ProcessEdge, StartError> {
        let plan = entries[index].plan.clone();
        let inner: Vec<usize> = inside(entries, plan.number).collect();
        if let Some(fused) = inner.iter().find(|inner| is_fused(&entries[**inner])) {
            let what = format!("`link = \"fused\"` on `{}`", entries[*fused].plan.edge());
            return Err(process::StartError::CannotEnforce { edge: plan.edge(), what }.into());
        }
        let edges = inner.into_iter().map(|inner| self.started(starting, inner));
        let edges = edges.collect::<Result<Vec<_>, _>>()?;
        if let Ok(host) = self.process_host() {
            host.prepare();
        }
        let program = self.component(&entries[index])?;
        let options = self.0.options.get(&plan.edge()).unwrap_or(&self.0.default_options);
        let start = process::Start {
            program,
            folder: self.0.folder.clone(),
            instances: options.instances,
            options: self.0.process_options.get(&plan.edge()).copied().unwrap_or_default(),
            edges,
            provided: self.0.provided.get(&plan.edge()).cloned().unwrap_or_default(),
            threads: self.0.host.clone(),
            plan,
        };
        ProcessEdge::start(&self.process_host()?, start, &self.0.log)
    }

    /// What starts processes, found when the first one is started.
    fn process_host(&self) -> Result<Arc<ProcessHost>, StartError> {
        let mut found = self.0.processes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*found {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(ProcessHost::find_ambient(self.0.ambient)?);
        *found = Some(Arc::clone(&host));
        Ok(host)
    }

    /// What a compartment is started from, with those that it calls over isolated edges.
    fn member(
        &self,
        starting: &Starting<'_>,
        entries: &[Entry],
        index: usize,
        caller: usize,
    ) -> Result<MemberStart, StartError> {
        let plan = entries[index].plan.clone();
        let isolated = inside(entries, plan.number).filter(|inner| !is_fused(&entries[*inner]));
        let isolated: Vec<usize> = isolated.collect();
        let edges = isolated.into_iter().map(|inner| self.started(starting, inner));
        let edges = edges.collect::<Result<Vec<_>, _>>()?;
        let component = self.component(&entries[index])?;
        let options = self.0.options.get(&plan.edge()).unwrap_or(&self.0.default_options).clone();
        let provided = self.0.provided.get(&plan.edge()).cloned().unwrap_or_default();
        Ok(MemberStart { plan, component, options, inside: caller, edges, provided })
    }

    /// The bytes of a compartment's component, as its plan pins them.
    fn component(&self, entry: &Entry) -> Result<Vec<u8>, StartError> {
        if let Some(given) = &entry.given {
            return Ok(given.to_vec());
        }
        let plan = &entry.plan;
        let edge = plan.edge();
        let name = plan.krate.split('@').next().unwrap_or(&plan.krate);
        let unreadable = |path: &Path, error: &dyn std::fmt::Display| StartError::NoComponent {
            edge: plan.edge(),
            krate: plan.krate.clone(),
            hint: format!("`{}`: {error}", path.display()),
        };
        let given = self.0.components.get(&plan.krate).or_else(|| self.0.components.get(name));
        let bytes = match (given, &plan.component, &self.0.components_folder) {
            (Some(Source::Bytes(bytes)), ..) => bytes.to_vec(),
            (Some(Source::File(path)), ..) => read(path).map_err(|error| unreadable(path, &error))?,
            (None, Some(component), _) => {
                let path = self.0.folder.join(&component.path);
                read(&path).map_err(|error| unreadable(&path, &error))?
            }
            (None, None, Some(folder)) => {
                let how = &self.0.how_to_build;
                let found = built(folder, name, &plan.version, plan.backend == Backend::Process.name());
                let path = found.map_err(|missing| StartError::NoComponent {
                    edge: plan.edge(),
                    krate: plan.krate.clone(),
                    hint: missing.hint(how),
                })?;
                let bytes =
                    read(&path).map_err(|error| unreadable(&path, &format!("{error}; {how} makes it")))?;
                let known = self.0.sources.get(&(name.to_owned(), plan.version.clone())).cloned();
                let sources = stale::sources_of(&path, known);
                if let Some(newer) = sources.and_then(|sources| sources.newer(&path)) {
                    return Err(StartError::Stale {
                        edge,
                        krate: plan.krate.clone(),
                        newer,
                        how: how.clone(),
                    });
                }
                bytes
            }
            (None, None, None) => {
                let hint = "name one with `component = \"...\"` in its compartment table, or give one to the builder";
                return Err(StartError::NoComponent {
                    edge,
                    krate: plan.krate.clone(),
                    hint: hint.to_owned(),
                });
            }
        };
        match plan.component.as_ref().and_then(|component| component.sha256.as_ref()) {
            // What was decided about is what runs, whatever became of the file meanwhile.
            Some(wanted) if given.is_none() && *wanted != digest(&bytes) => {
                Err(StartError::WrongDigest { edge, found: digest(&bytes), wanted: wanted.clone() })
            }
            _ => Ok(bytes),
        }
    }
}

/// The endings of what `cofferdam build` makes for wasm and for processes.
const COMPONENT: &str = ".wasm";
const PROGRAM: &str = ".elf";

/// Why no file is the one that was built of a crate whose version nobody gave.
struct NotBuilt {
    /// The file that would be, with `VERSION` in place of its version.
    wanted: PathBuf,
    /// Those that could be; none, or several.
    found: Vec<String>,
}

impl NotBuilt {
    fn hint(&self, how: &str) -> String {
        let wanted = self.wanted.display();
        if self.found.is_empty() {
            return format!("there is no `{wanted}`, of any version; {how} makes it");
        }
        format!("`{wanted}` could be `{}`; remove what is not meant", self.found.join("` or `"))
    }
}

/// The file that `cofferdam build` made of a crate. A `capabilities.toml` need not give versions: then it is the only one of that
/// name.
fn built(folder: &Path, name: &str, version: &str, process: bool) -> Result<PathBuf, NotBuilt> {
    let ending = if process { PROGRAM } else { COMPONENT };
    let exact = folder.join(format!("{name}-{version}{ending}"));
    if version != "0.0.0" || exact.exists() {
        return Ok(exact);
    }
    let is_version = |file: &str| {
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        rest.and_then(|rest| rest.strip_suffix(ending))
            .is_some_and(|rest| semver::Version::parse(rest).is_ok())
    };
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    found.retain(|file| is_version(file));
    found.sort_unstable();
    match found.as_slice() {
        [only] => Ok(folder.join(only)),
        _ => Err(NotBuilt { wanted: folder.join(format!("{name}-VERSION{ending}")), found }),
    }
}

/// An entry and all that are inside it, outermost first.
fn behind(entries: &[Entry], index: usize) -> Vec<usize> {
    let mut found = vec![index];
    let mut next = 0;
    while let Some(at) = found.get(next).copied() {
        let number = entries[at].plan.number;
        found.extend((0..entries.len()).filter(|other| entries[*other].plan.inside == Some(number)));
        next += 1;
    }
    found
}

/// The compartments that one calls, less those whose edge was taken back.
fn inside(entries: &[Entry], number: usize) -> impl Iterator<Item = usize> {
    let inside = move |index: &usize| entries[*index].plan.inside == Some(number) && !entries[*index].revoked;
    (0..entries.len()).filter(inside)
}

fn is_fused(entry: &Entry) -> bool {
    entry.plan.link == Link::Fused.name()
}

/// The entry that runs as the unit which an entry belongs to: itself, unless it is fused to what calls it.
fn unit_of(entries: &[Entry], mut index: usize) -> usize {
    // A chain is never longer than there are entries, whatever a plan made by hand says.
    for _ in 0..entries.len() {
        let outer = entries[index].plan.inside.filter(|_| is_fused(&entries[index]));
        match outer.and_then(|outer| entries.iter().position(|entry| entry.plan.number == outer)) {
            Some(outer) => index = outer,
            None => break,
        }
    }
    index
}

fn root_of(entries: &[Entry], mut index: usize) -> usize {
    while let Some(inside) = entries[index].plan.inside {
        match entries.iter().position(|entry| entry.plan.number == inside) {
            Some(outer) => index = outer,
            None => break,
        }
    }
    index
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list().iter().map(|status| &status.edge)).finish()
    }
}

/// The calling crate's edge to a dependency: `runtime.edge(cofferdam::edge!("png-decode"))`.
#[macro_export]
macro_rules! edge {
    ($krate:expr) => {
        $crate::EdgeName { consumer: ::core::env!("CARGO_PKG_NAME"), krate: $krate }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_a_version_is_the_only_file_of_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let hint = || built(folder.path(), "words", "0.0.0", false).map_err(|missing| missing.hint("HOW"));
        let at = |file: &str| folder.path().join(file);
        let wanted = at("words-VERSION.wasm").display().to_string();
        assert_eq!(hint(), Err(format!("there is no `{wanted}`, of any version; HOW makes it")));
        std::fs::write(at("words-0.1.0.wasm"), "").expect("writable");
        std::fs::write(at("words-list-0.1.0.wasm"), "").expect("writable");
        assert_eq!(hint(), Ok(at("words-0.1.0.wasm")));
        std::fs::write(at("words-0.2.0.wasm"), "").expect("writable");
        let several = "could be `words-0.1.0.wasm` or `words-0.2.0.wasm`; remove what is not meant";
        assert_eq!(hint(), Err(format!("`{wanted}` {several}")));
        let exact = built(folder.path(), "words", "0.3.0", false).map_err(|missing| missing.hint("HOW"));
        assert_eq!(exact, Ok(at("words-0.3.0.wasm")), "a version that is given is looked for alone");
    }
}
