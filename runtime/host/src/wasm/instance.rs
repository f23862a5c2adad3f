//! One instance of a compartment's component, in a store of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use capability_manifest::HostCapability;
use capability_manifest::scope::{NamePattern, Scope, Stream};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentExportIndex, Func, Instance, InstancePre, ResourceTable, TypedFunc,
};
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::clock::Coarse;
use super::error::StartError;
use super::files::{FilePolicy, FolderRule, MemberFiles, Quota};
use super::limits::{EPOCH_TICK, HANDLES_DEFAULT, Limiter, MEMORY_BYTES_DEFAULT, OUTPUT_BYTES_DEFAULT};
use super::member::Member;
use super::names::NetworkPolicy;
use super::state::{Reach, State};
use super::stream::Captured;
use super::ticker::Ticker;
use super::unchecked::{Answer, Arguments, FittingFunc};
use super::unit::Imports;
use crate::client::{Cancellation, Function};
use crate::links;
use crate::plan::{CompartmentPlan, MountPlan};

/// A component, linked for the grants that hold now. Replaced as a whole when either changes.
pub(super) struct Settled {
    /// Counts the versions of a compartment.
    pub(super) version: u64,
    /// The compartment's own, and of a unit, every other member's.
    pub(super) members: Vec<SettledMember>,
    pub(super) component: Component,
    pub(super) imports: Imports,
    pub(super) pre: InstancePre<State>,
}

/// What changes of a member when its grants or its component do.
#[derive(Clone)]
pub(super) struct SettledMember {
    pub(super) plan: CompartmentPlan,
    /// SHA-256 of its component, lowercase hexadecimal.
    pub(super) digest: String,
    /// The granted variables, as they were when the grants were settled.
    pub(super) environment: Vec<(String, String)>,
    /// Its component, where another member's replacement makes a new unit of it.
    pub(super) bytes: Option<Arc<[u8]>>,
}

impl Settled {
    /// The compartment's own plan. Its limits are those of the whole unit.
    pub(super) fn plan(&self) -> &CompartmentPlan {
        &self.members[0].plan
    }

    /// An export, in an interface or of the component itself.
    pub(super) fn find(
        &self,
        interface: Option<&str>,
        function: &str,
    ) -> Option<(ComponentItem, ComponentExportIndex)> {
        match interface {
            None => self.component.get_export(None, function),
            Some(interface) => {
                let (_, instance) = self.component.get_export(None, interface)?;
                self.component.get_export(Some(&instance), function)
            }
        }
    }
}

/// What may still be written under each granted path, by its name on the host.
pub(super) type Quotas = std::collections::BTreeMap<String, Quota>;

/// The quotas of a plan, all unspent.
pub(super) fn quotas(plan: &CompartmentPlan) -> Quotas {
    let Some(Scope::Paths(paths)) = plan.scope(HostCapability::FilesystemWrite) else { return Quotas::new() };
    let bounded = paths.iter().filter_map(|one| Some((one.pattern.path.to_string(), Quota::new(one.bytes?))));
    bounded.collect()
}

/// An instance that can be called.
pub(super) struct Running {
    pub(super) serial: u64,
    pub(super) version: u64,
    /// It was taken from the pool's hot place.
    pub(super) hot: bool,
    /// Calls that it had. Only its holder writes, so that a call costs no exchange between processors.
    pub(super) tally: Arc<AtomicU64>,
    pub(super) store: Store<State>,
    /// Standard output and error of every member.
    pub(super) output: Vec<Captured>,
    instance: Instance,
    settled: Arc<Settled>,
    functions: Vec<Option<FittingFunc>>,
    /// Functions that other compartments call.
    passing: Vec<Option<FittingFunc>>,
}

/// Serial numbers of instances: a handle is of one instance, and no number is used twice.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// A store that is ready for its instance.
pub(super) struct Prepared {
    pub(super) store: Store<State>,
    output: Vec<Captured>,
}

impl Prepared {
    /// Opens what the grants name, for each member apart, and bounds what the instance may take.
    pub(super) fn new(
        settled: &Settled,
        folder: &Path,
        members: &[Member],
        born: u64,
    ) -> Result<Self, StartError> {
        let (mut reaches, mut rules, mut output) = (Vec::new(), Vec::new(), Vec::new());
        for (member, settled) in members.iter().zip(&settled.members) {
            let opened = open(member, settled, folder)?;
            reaches.push(opened.reach);
            let has_root = settled.plan.mounts.iter().any(begins_every_path);
            rules.push(MemberFiles { rules: opened.rules, has_root, standing: Arc::clone(&member.standing) });
            output.extend(opened.output);
        }
        let limits = &settled.plan().limits;
        let memory = limits.memory.map_or(MEMORY_BYTES_DEFAULT, |bytes| bytes.0);
        let handles = usize::try_from(limits.handles.unwrap_or(HANDLES_DEFAULT)).unwrap_or(usize::MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles);
        let limiter = Limiter::new(memory, members.len());
        let standing = Arc::clone(&members[0].standing);
        let state = State::new(reaches, table, FilePolicy::new(rules), limiter, standing, born);
        let mut store = Store::new(settled.component.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_trap();
        // Handles of the host's objects are bounded by the table, and those of the guest's own by the store.
        store.set_max_component_handles(handles);
        store.set_hostcall_fuel(usize::try_from(memory).unwrap_or(usize::MAX));
        Ok(Self { store, output })
    }

    pub(super) fn running(self, instance: Instance, settled: Arc<Settled>) -> Box<Running> {
        Box::new(Running {
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            version: settled.version,
            hot: false,
            tally: Arc::default(),
            store: self.store,
            output: self.output,
            instance,
            settled,
            functions: Vec::new(),
            passing: Vec::new(),
        })
    }
}

/// One member's side of a store.
struct Opened {
    reach: Reach,
    rules: Vec<FolderRule>,
    output: [Captured; 2],
}

/// Opens what the grants of one member name.
fn open(member: &Member, settled: &SettledMember, folder: &Path) -> Result<Opened, StartError> {
    let plan = &settled.plan;
    let network = NetworkPolicy::new(plan, Arc::clone(&member.standing));
    let mut builder = WasiCtxBuilder::new();
    let sockets = network.has_sockets();
    builder.allow_tcp(sockets).allow_udp(sockets).allow_ip_name_lookup(network.has_names());
    let judge = network.clone();
    builder.socket_addr_check(move |address, used| {
        let allowed = judge.allows(address, used);
        Box::pin(async move { allowed })
    });
    for (name, value) in &settled.environment {
        builder.env(name, value);
    }
    builder.args(&member.options.arguments);
    let mut rules = Vec::new();
    for mount in &plan.mounts {
        rules.push(open_mount(&mut builder, plan, mount, folder, &member.quotas)?);
    }
    if let Some(Scope::Resolution(resolution)) = plan.scope(HostCapability::Clock) {
        builder.wall_clock(Coarse::new(*resolution)).monotonic_clock(Coarse::new(*resolution));
    }
    let output = plan.limits.output.map_or(OUTPUT_BYTES_DEFAULT, |bytes| bytes.0);
    let (mut stdout, mut stderr) = (member.stdout.capture(0), member.stderr.capture(0));
    if let Some(Scope::Streams(streams)) = plan.scope(HostCapability::Stdio) {
        let granted = |stream| streams.iter().find(|one| one.pattern == stream);
        let cap = |bytes: Option<u64>| bytes.unwrap_or(output).min(output);
        if let Some(one) = granted(Stream::Stdout) {
            stdout = member.stdout.capture(cap(one.bytes));
            builder.stdout(stdout.clone());
        }
        if let Some(one) = granted(Stream::Stderr) {
            stderr = member.stderr.capture(cap(one.bytes));
            builder.stderr(stderr.clone());
        }
        if let Some(one) = granted(Stream::Stdin) {
            member.options.input.connect(&mut builder, one.bytes);
        }
    }
    Ok(Opened { reach: Reach::new(builder.build(), network), rules, output: [stdout, stderr] })
}

/// Opens one granted path. A single file is opened through its folder, which then shows nothing else.
fn open_mount(
    builder: &mut WasiCtxBuilder,
    plan: &CompartmentPlan,
    mount: &MountPlan,
    folder: &Path,
    quotas: &Quotas,
) -> Result<FolderRule, StartError> {
    let failed = |message: String| StartError::Path { edge: plan.edge(), path: mount.host.clone(), message };
    let writes = mount.capabilities.iter().any(|name| name == HostCapability::FilesystemWrite.name());
    let perms = if writes { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
    let host = links::follow(plan, mount, folder).map_err(&failed)?;
    let (host, at, only) = if mount.file {
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let at = Path::new(&mount.at);
        let (Some(outside), Some(inside)) = (name(&host), name(at)) else {
            return Err(failed("it has no name of a file".to_owned()));
        };
        if !std::fs::metadata(&host).is_ok_and(|found| found.is_file()) {
            return Err(failed("it is not a file".to_owned()));
        }
        let parent = host.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let inside_parent = at.parent().and_then(Path::to_str).filter(|path| !path.is_empty()).unwrap_or(".");
        (parent.to_owned(), inside_parent.to_owned(), Some((inside, outside)))
    } else if host.is_dir() {
        (host, mount.at.clone(), None)
    } else {
        return Err(failed("it is not a folder".to_owned()));
    };
    let (_held, host) = links::hold(&host).map_err(&failed)?;
    builder.preopened_dir(&host, &at, perms).map_err(|error| failed(format!("{error:#}")))?;
    let quota = writes.then(|| quota_of(plan, mount, quotas)).flatten();
    let host = match &only {
        None => Some(mount.host.clone()),
        Some(_) if begins_every_path(mount) => None,
        Some(_) => Some(mount.host.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned()),
    };
    // `data` is `/data` inside.
    let elsewhere = mount.at.trim_start_matches('/') != mount.host.trim_start_matches('/');
    let at = (elsewhere && only.is_none()).then(|| mount.at.clone());
    Ok(FolderRule { host, at, writes, outside: false, only, quota })
}

/// Whether a guest's library takes every path for one below the folder that a mount opens: it strips these beginnings.
fn begins_every_path(mount: &MountPlan) -> bool {
    let folder =
        if mount.file { mount.at.rsplit_once('/').map_or("", |(folder, _)| folder) } else { &mount.at };
    folder.split('/').all(|part| matches!(part, "" | "."))
}

/// The quota of a mounted path: the most generous of those that cover it, none when one of them has no bound.
fn quota_of(plan: &CompartmentPlan, mount: &MountPlan, quotas: &Quotas) -> Option<Quota> {
    let Some(Scope::Paths(paths)) = plan.scope(HostCapability::FilesystemWrite) else { return None };
    let covers = |path: &str| {
        mount.host == path
            || path == "."
            || mount.host.strip_prefix(path).is_some_and(|rest| rest.starts_with('/') || path.ends_with('/'))
    };
    let covering = paths.iter().filter(|one| covers(&one.pattern.path.to_string()));
    let mut best: Option<(u64, &Quota)> = None;
    for one in covering {
        let bytes = one.bytes?;
        let quota = quotas.get(&one.pattern.path.to_string())?;
        if best.is_none_or(|(other, _)| bytes > other) {
            best = Some((bytes, quota));
        }
    }
    best.map(|(_, quota)| quota.clone())
}

impl Running {
    /// A function with its types, compared once for each instance.
    pub(super) fn function<'a, F: Function>(
        &mut self,
        slot: usize,
    ) -> wasmtime::Result<TypedFunc<F::Params<'a>, F::Results>> {
        if let Some(Some(fitting)) = self.functions.get(slot)
            && let Some(function) = fitting.typed::<F>()
        {
            return Ok(function);
        }
        let gone = || wasmtime::Error::msg(format!("`{}` is not exported", F::NAME));
        let (_, index) = self.settled.find(F::INTERFACE, F::NAME).ok_or_else(gone)?;
        let func = self.instance.get_func(&mut self.store, index).ok_or_else(gone)?;
        let fitting = FittingFunc::check::<F>(&self.store, func)?;
        if self.functions.len() <= slot {
            self.functions.resize(slot + 1, None);
        }
        self.functions[slot] = Some(fitting);
        fitting.typed::<F>().ok_or_else(gone)
    }

    /// A function that other compartments call, by its number among those.
    pub(super) fn passing<'m>(
        &mut self,
        slot: usize,
        name: &str,
    ) -> wasmtime::Result<TypedFunc<Arguments<'m>, Answer>> {
        if let Some(function) = self.passing.get(slot).copied().flatten().and_then(FittingFunc::passing) {
            return Ok(function);
        }
        let gone = || wasmtime::Error::msg(format!("`{name}` is not exported"));
        let (_, index) = super::compartment::find(&self.settled, name).ok_or_else(gone)?;
        let func = self.instance.get_func(&mut self.store, index).ok_or_else(gone)?;
        let fitting = FittingFunc::check_passing(&self.store, func)?;
        if self.passing.len() <= slot {
            self.passing.resize(slot + 1, None);
        }
        self.passing[slot] = Some(fitting);
        fitting.passing().ok_or_else(gone)
    }

    pub(super) fn untyped(&mut self, index: &ComponentExportIndex) -> wasmtime::Result<Func> {
        let gone = || wasmtime::Error::msg("the function is gone");
        self.instance.get_func(&mut self.store, index).ok_or_else(gone)
    }

    /// Counts a call.
    pub(super) fn count(&self) {
        self.tally.store(self.tally.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Sets what holds for one call.
    pub(super) fn begin(
        &mut self,
        ticker: &Ticker,
        end: u64,
        until: Option<Instant>,
        depth: usize,
        cancellation: Option<Cancellation>,
    ) {
        let left = end.saturating_sub(ticker.epoch());
        match &cancellation {
            None => {
                if self.store.data_mut().cancellation.is_some() {
                    self.store.epoch_deadline_trap();
                }
                self.store.set_epoch_deadline(left);
            }
            Some(cancellation) => {
                // It is looked at every tick, so that a guest that only computes can be ended.
                let end = Instant::now().checked_add(super::compartment::in_ticks(left));
                let cancellation = cancellation.clone();
                self.store.set_epoch_deadline(1);
                self.store.epoch_deadline_callback(move |_| {
                    let late = end.is_some_and(|end| Instant::now() >= end);
                    if late || cancellation.is_cancelled() {
                        return Err(Trap::Interrupt.into());
                    }
                    Ok(UpdateDeadline::Continue(1))
                });
            }
        }
        let state = self.store.data_mut();
        state.epoch = end;
        state.cancellation = cancellation;
        state.limiter.refused = None;
        state.deadline = until;
        state.depth = depth;
    }
}

/// Epochs until the deadline, and two more so that it is never early: the one that the call begins in, and as much as ticks can come late.
pub(super) fn ticks(deadline: Duration) -> u64 {
    // Whole ticks of the seconds, and the rest of one rounded up: a call has no time for a division of 128 bits.
    const PER_SECOND: u64 = 1_000_000_000 / NANOSECONDS;
    const NANOSECONDS: u64 = EPOCH_TICK.subsec_nanos() as u64;
    const { assert!(EPOCH_TICK.as_secs() == 0 && 1_000_000_000 % NANOSECONDS == 0) };
    let rest = u64::from(deadline.subsec_nanos()).div_ceil(NANOSECONDS);
    let ticks = deadline.as_secs().saturating_mul(PER_SECOND).saturating_add(rest);
    ticks.min(u64::MAX / 2) + 2
}

/// The granted variables that the host has.
pub(super) fn environment(plan: &CompartmentPlan) -> Vec<(String, String)> {
    let Some(Scope::Names(granted)) = plan.scope(HostCapability::EnvironmentRead) else { return Vec::new() };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| granted.covers_pattern(&NamePattern::Exact(name.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ticks;

    #[test]
    fn a_deadline_is_never_early() {
        let tick = super::EPOCH_TICK;
        let nanosecond = Duration::from_nanos(1);
        for (deadline, wanted) in [
            (Duration::ZERO, 2),
            (nanosecond, 3),
            (tick, 3),
            (tick + nanosecond, 4),
            (Duration::from_secs(2), 2_002),
            (Duration::from_secs(2) + tick / 2, 2_003),
            (Duration::MAX, u64::MAX / 2 + 2),
        ] {
            assert_eq!(ticks(deadline), wanted, "{deadline:?}");
        }
    }
}
