//! A wasm compartment: one per edge, called from any number of threads, each call in one of its instances.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use capability_manifest::{Capability, Link};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Type, Val};

use super::entry::Untyped;
use super::error::{CallError, StartError};
use super::host::WasmHost;
use super::instance::{Settled, environment};
use super::limits::{CALL_DEADLINE_DEFAULT, CALLS_IN_FLIGHT_DEFAULT, EPOCH_TICK};
use super::member::{Member, MemberStart, within_the_unit};
use super::pool::Pool;
use super::settle::{enforceable, may_wait, relink, settle};
use super::stream::{Input, Output};
use super::ticker::Busy;
use super::{forward, signature};
use crate::audit::{AuditEvent, AuditLog};
use crate::client::{Cancellation, Key};
use crate::plan::CompartmentPlan;
use crate::refusal::Refusal;

/// What a guest wrote to its granted streams since the last time they were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// What the host decides about one compartment beside its grants.
#[derive(Debug, Clone)]
pub struct CompartmentOptions {
    /// Instances at a time, at least 1. Each has its own memory, and a call goes to any that is idle.
    pub instances: usize,
    /// Where granted output goes.
    pub output: Output,
    /// Where granted input comes from.
    pub input: Input,
    /// The arguments that `wasi:cli/environment` tells, the program's name first.
    pub arguments: Vec<String>,
}

impl Default for CompartmentOptions {
    fn default() -> Self {
        Self { instances: 1, output: Output::default(), input: Input::default(), arguments: Vec::new() }
    }
}

/// A component with exactly what its edge grants. Clones are of the same compartment; `Send` and `Sync`.
#[derive(Clone)]
pub struct WasmCompartment(pub(super) Arc<Inner>);

pub(super) struct Inner {
    id: u64,
    pub(super) edge: String,
    pub(super) host: WasmHost,
    pub(super) folder: PathBuf,
    /// Itself, and of a unit, every other member.
    pub(super) members: Vec<Member>,
    pub(super) waits: bool,
    /// Somebody needs to know when a call ends by the clock: a guest that waits, or a limit on time in all.
    pub(super) timed: bool,
    settled: RwLock<Arc<Settled>>,
    /// The version that is settled, for calls that only ask whether it is still theirs.
    pub(super) version: AtomicU64,
    functions: RwLock<Vec<(TypeId, Key)>>,
    /// What other compartments call, with its types.
    passing: RwLock<Vec<(String, ComponentFunc)>>,
    pub(super) pool: Arc<Pool>,
    pub(super) closed: AtomicBool,
    pub(super) log: AuditLog,
    /// Limits are those of the start: a revocation or another component does not change them.
    pub(super) call_deadline: Duration,
    pub(super) callers_max: u64,
    /// Nanoseconds; `u64::MAX` for no limit.
    pub(super) cpu_left: AtomicU64,
    /// Calls that got no instance, or one that is gone.
    pub(super) calls: AtomicU64,
    /// Calls of the instances that are there.
    pub(super) tallies: Mutex<Vec<Arc<AtomicU64>>>,
    pub(super) failures: AtomicU64,
    /// Most bytes of memory that any instance has had.
    pub(super) memory_peak: AtomicU64,
}

impl Busy for Pool {
    fn is_busy(&self) -> bool {
        self.counts().1 > 0
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread that counts epochs may be looking at the pool, and must not be the one that drops instances.
        self.pool.clear();
    }
}

impl std::fmt::Debug for WasmCompartment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WasmCompartment({})", self.0.edge)
    }
}

/// What the compartments around one leave it for a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    /// When the outermost call ends, where somebody looks at a clock.
    pub(super) until: Option<Instant>,
    /// The epoch at which it ends, where nobody does.
    pub(super) epoch: Option<u64>,
    /// How many there are.
    pub(super) depth: usize,
    /// What can end the outermost call, and with it this one.
    pub(super) cancellation: Option<Cancellation>,
}

/// What one compartment is started from.
pub(crate) struct Start<'a> {
    /// The compartment, and those that are fused to it: each behind the one that calls it.
    pub(crate) members: Vec<MemberStart>,
    pub(crate) folder: &'a Path,
    /// Whether any compartment of its tree can wait.
    pub(crate) waits: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl WasmCompartment {
    /// Prepares a component for one compartment of a plan. Its code first runs with the first call.
    ///
    /// # Errors
    /// When the component cannot run here, imports what nothing provides, or is granted what cannot be enforced.
    ///
    /// # Authority
    /// Opens the granted paths below `folder` whenever an instance starts, and reads the granted variables now.
    pub fn start_ambient(
        host: &WasmHost,
        plan: &CompartmentPlan,
        component: &[u8],
        folder: &Path,
        log: &AuditLog,
        ambient: AmbientAuthority,
    ) -> Result<Self, StartError> {
        let (options, component) = (CompartmentOptions::default(), component.to_vec());
        let waits = may_wait(plan);
        let alone = MemberStart {
            plan: plan.clone(),
            component,
            options,
            inside: 0,
            edges: Vec::new(),
            provided: Vec::new(),
        };
        Self::launch_ambient(host, Start { members: vec![alone], folder, waits }, log, ambient)
    }

    /// The same, with what a runtime knows beside the plan.
    pub(crate) fn launch_ambient(
        host: &WasmHost,
        start: Start<'_>,
        log: &AuditLog,
        _: AmbientAuthority,
    ) -> Result<Self, StartError> {
        let edge = start.members[0].plan.edge();
        let _span = tracing::info_span!("cofferdam.start", edge = %edge, backend = "wasm").entered();
        let started = Self::prepare(host, start, log);
        match &started {
            Ok(compartment) => {
                for member in &compartment.settled().members {
                    for grant in &member.plan.grants {
                        let (capability, scope) = (grant.capability.to_string(), grant.scope.to_string());
                        log.record(&AuditEvent::Grant { edge: member.plan.edge(), capability, scope })?;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "refused");
                log.record(&AuditEvent::Refused { edge, reason: error.to_string() })?;
            }
        }
        started
    }

    fn prepare(host: &WasmHost, start: Start<'_>, log: &AuditLog) -> Result<Self, StartError> {
        let Start { members: starts, folder, waits } = start;
        let unit = &starts[0].plan;
        let edge = unit.edge();
        let mut members: Vec<Member> = Vec::new();
        for (place, start) in starts.iter().enumerate() {
            let link = if place == 0 { Link::Isolated } else { Link::Fused };
            enforceable(&start.plan, &start.options, link)?;
            within_the_unit(unit, &start.plan)?;
            members.push(Member::new(start, &members, log));
        }
        let limits = unit.limits;
        let parts = starts.into_iter().map(|start| (start.plan, start.component)).collect();
        let settled = settle(host, &members, parts, waits, 1)?;
        let compartment = Self(Arc::new(Inner {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            host: host.clone(),
            folder: folder.to_owned(),
            waits,
            timed: waits || limits.cpu_time.is_some(),
            members,
            functions: RwLock::default(),
            passing: RwLock::default(),
            pool: Arc::default(),
            closed: AtomicBool::new(false),
            call_deadline: limits
                .call_deadline
                .map_or(CALL_DEADLINE_DEFAULT, |time| Duration::from_nanos(time.0)),
            callers_max: limits.calls_in_flight.unwrap_or(CALLS_IN_FLIGHT_DEFAULT),
            cpu_left: AtomicU64::new(limits.cpu_time.map_or(u64::MAX, |time| time.0)),
            version: AtomicU64::new(settled.version),
            settled: RwLock::new(Arc::new(settled)),
            calls: AtomicU64::new(0),
            tallies: Mutex::default(),
            failures: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            log: log.clone(),
            edge,
        }));
        // Paths are opened now, so that a wrong one is an error of the start and not of some later call.
        compartment.store(&compartment.settled(), 0)?;
        let watched = Arc::downgrade(&compartment.0.pool);
        host.ticker().watch(watched);
        Ok(compartment)
    }

    /// `consumer -> crate`.
    pub fn edge(&self) -> &str {
        &self.0.edge
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn host(&self) -> &WasmHost {
        &self.0.host
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(super) fn functions(&self) -> &RwLock<Vec<(TypeId, Key)>> {
        &self.0.functions
    }

    pub(super) fn settled(&self) -> Arc<Settled> {
        Arc::clone(&self.0.settled.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The plan that holds now: as it was started, less what was revoked.
    pub fn plan(&self) -> CompartmentPlan {
        self.settled().plan().clone()
    }

    /// SHA-256 of the component that new calls go to, lowercase hexadecimal.
    pub fn digest(&self) -> String {
        self.settled().members[0].digest.clone()
    }

    /// The same for the component of a member of its unit, by its number in the plan.
    pub(crate) fn member_digest(&self, number: usize) -> Option<String> {
        let settled = self.settled();
        Some(settled.members[place_of(&settled, number)?].digest.clone())
    }

    /// Calls so far, and how many of them failed.
    pub fn counts(&self) -> (u64, u64) {
        let tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let calls: u64 = tallies.iter().map(|tally| tally.load(Ordering::Relaxed)).sum();
        (self.0.calls.load(Ordering::Relaxed) + calls, self.0.failures.load(Ordering::Relaxed))
    }

    /// Most bytes of memory that one instance has had, all its memories together; `None` before the first call.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        Some(self.0.memory_peak.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Instances that wait, and instances that run.
    pub fn instances(&self) -> (usize, usize) {
        self.0.pool.counts()
    }

    /// What was written to the granted streams since the last time, when output is captured.
    pub fn take_stdio(&self) -> Stdio {
        let own = &self.0.members[0];
        Stdio { stdout: own.stdout.take(), stderr: own.stderr.take() }
    }

    /// Why something that was written could not be written on to the host's own streams, if so.
    pub(crate) fn lost_output(&self) -> Option<std::io::ErrorKind> {
        self.0.members.iter().find_map(|member| member.stdout.lost().or(member.stderr.lost()))
    }

    /// The same of a member of its unit, by its number in the plan.
    pub(crate) fn take_stdio_of(&self, number: usize) -> Stdio {
        let place = place_of(&self.settled(), number);
        let member = place.map(|place| &self.0.members[place]);
        member
            .map(|member| Stdio { stdout: member.stdout.take(), stderr: member.stderr.take() })
            .unwrap_or_default()
    }

    /// What the guest asked for and was told no since the last time, the first [`REFUSALS_KEPT_MAX`](super::REFUSALS_KEPT_MAX)
    /// of it. What ended a call is in the call's own error.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.0.members.iter().flat_map(|member| member.standing.take_refusals()).collect()
    }

    /// The functions that the component exports, each with its interface in front: `greet`, `ns:pkg/api#greet`.
    pub fn exports(&self) -> Vec<String> {
        let settled = self.settled();
        super::inspect::functions(&settled.component, self.0.host.engine())
    }

    /// The types of a function's parameters, with their names.
    ///
    /// # Errors
    /// When there is no such function.
    pub fn parameters(&self, function: &str) -> Result<Vec<(String, Type)>, CallError> {
        let settled = self.settled();
        match find(&settled, function) {
            Some((ComponentItem::ComponentFunc(ty), _)) => {
                Ok(ty.params().map(|(name, ty)| (name.to_owned(), ty)).collect())
            }
            _ => Err(self.unknown(function)),
        }
    }

    /// A function's parameters and result as WIT text, such as `func(text: string) -> u32`.
    ///
    /// # Errors
    /// When there is no such function.
    pub fn signature(&self, function: &str) -> Result<String, CallError> {
        let settled = self.settled();
        match find(&settled, function) {
            Some((ComponentItem::ComponentFunc(ty), _)) => Ok(signature::function(&ty, self.0.host.engine())),
            _ => Err(self.unknown(function)),
        }
    }

    fn unknown(&self, function: &str) -> CallError {
        let (edge, known) = (self.0.edge.clone(), self.exports());
        CallError::UnknownFunction { edge, function: function.to_owned(), known }
    }

    /// Calls a function with values whose types are known only now, and waits for its results at most until the
    /// compartment's deadline.
    ///
    /// # Errors
    /// See [`CallError`]. Violations and faults are in the audit log before this returns.
    pub fn call(&self, function: &str, arguments: &[Val]) -> Result<Vec<Val>, CallError> {
        let untyped = self.untyped(function, arguments)?;
        Ok(self.enter_from_host(untyped, None, None)?.0)
    }

    pub(super) fn untyped<'a>(
        &self,
        function: &'a str,
        arguments: &'a [Val],
    ) -> Result<Untyped<'a>, CallError> {
        let settled = self.settled();
        let Some((ComponentItem::ComponentFunc(ty), index)) = find(&settled, function) else {
            return Err(self.unknown(function));
        };
        let (wanted, given) = (ty.params().len(), arguments.len());
        if wanted != given {
            let message = format!("`{function}` takes {wanted} arguments, not {given}");
            return Err(CallError::Usage { edge: self.0.edge.clone(), message });
        }
        Ok(Untyped { name: function, index, arguments, results: ty.results().len() })
    }

    /// The number of a function for other compartments' calls; or what is there in its place, if anything.
    pub(super) fn passing_slot(&self, name: &str, wanted: &ComponentFunc) -> Result<usize, Option<String>> {
        let settled = self.settled();
        let Some((ComponentItem::ComponentFunc(found), _)) = find(&settled, name) else { return Err(None) };
        if !forward::same_types(wanted, &found) {
            return Err(Some(signature::function(&found, self.0.host.engine())));
        }
        let mut passing = self.0.passing.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = passing.iter().position(|(known, _)| known == name) {
            return Ok(slot);
        }
        passing.push((name.to_owned(), found));
        Ok(passing.len() - 1)
    }

    /// Takes all of the edge back. Running calls are told no at their next operation, and later ones do not start.
    ///
    /// # Errors
    /// When it cannot be recorded; the edge is revoked all the same.
    pub fn revoke(&self) -> Result<(), StartError> {
        self.0.closed.store(true, Ordering::Release);
        self.0.members[0].standing.revoke();
        self.0.pool.clear();
        self.0.log.record(&AuditEvent::Revoked { edge: self.0.edge.clone(), capability: None })?;
        Ok(())
    }

    /// Ends it. Running calls are told no at their next operation.
    ///
    /// # Errors
    /// When it cannot be recorded; the compartment ends all the same.
    pub fn stop(&self) -> Result<(), StartError> {
        self.0.closed.store(true, Ordering::Release);
        self.0.members[0].standing.revoke();
        self.0.pool.clear();
        self.0.log.record(&AuditEvent::Stopped { edge: self.0.edge.clone() })?;
        Ok(())
    }

    /// Takes one grant back. Running calls are told no at their next operation on anything of the host's; later ones begin
    /// with a fresh instance that has the rest.
    ///
    /// # Errors
    /// When it cannot be recorded; the grant is revoked all the same. When the edge does not have it.
    pub fn revoke_grant(&self, capability: &Capability) -> Result<(), StartError> {
        self.revoke_at(0, capability)
    }

    /// The same for a member of its unit. Running calls of all members are told no.
    pub(crate) fn revoke_grant_of(
        &self,
        member: &CompartmentPlan,
        capability: &Capability,
    ) -> Result<(), StartError> {
        match place_of(&self.settled(), member.number) {
            Some(place) => self.revoke_at(place, capability),
            None => Err(StartError::NoEdge { edge: member.edge(), edges: Vec::new() }),
        }
    }

    fn revoke_at(&self, place: usize, capability: &Capability) -> Result<(), StartError> {
        let inner = &*self.0;
        let mut settled = inner.settled.write().unwrap_or_else(PoisonError::into_inner);
        let mut members = settled.members.clone();
        let (edge, plan) = (inner.members[place].edge.clone(), &mut members[place].plan);
        if !plan.grants.iter().any(|grant| grant.capability == *capability) {
            return Err(StartError::NotGranted { edge, capability: capability.to_string() });
        }
        plan.revoke(capability);
        members[place].environment = environment(&members[place].plan);
        let name = capability.to_string();
        let version = settled.version + 1;
        let (component, imports) = (settled.component.clone(), settled.imports.clone());
        let again = relink(&inner.host, &inner.members, members, component, imports, inner.waits, version);
        // Whether or not the rest can be linked, what was revoked is gone.
        inner.members[place].standing.revoke();
        match again {
            Ok(again) => {
                inner.version.store(again.version, Ordering::Release);
                *settled = Arc::new(again);
            }
            Err(_) => inner.closed.store(true, Ordering::Release),
        }
        drop(settled);
        // Behind the above: whoever comes back with an instance later sees that it is not fresh.
        inner.pool.clear();
        inner.log.record(&AuditEvent::Revoked { edge, capability: Some(name) })?;
        Ok(())
    }

    /// Puts another component in this one's place. Calls that run finish on the old one; later ones go to the new one.
    ///
    /// # Errors
    /// When the new component cannot run here, imports what nothing provides, or lacks a function that a client was opened
    /// for. The old one then stays.
    pub fn replace(&self, component: &[u8]) -> Result<(), StartError> {
        let inner = &*self.0;
        loop {
            let old = self.settled();
            let mut parts = vec![(old.plan().clone(), component.to_vec())];
            for member in &old.members[1..] {
                let bytes = member.bytes.as_deref().expect("the members of a unit keep their components");
                parts.push((member.plan.clone(), bytes.to_vec()));
            }
            let new = settle(&inner.host, &inner.members, parts, inner.waits, old.version + 1);
            let new = match new.and_then(|new| self.still_fits(new)) {
                Ok(new) => new,
                Err(error) => {
                    let event = AuditEvent::Refused { edge: inner.edge.clone(), reason: error.to_string() };
                    inner.log.record(&event)?;
                    return Err(error);
                }
            };
            let digest = new.members[0].digest.clone();
            let mut settled = inner.settled.write().unwrap_or_else(PoisonError::into_inner);
            if settled.version != old.version {
                // A grant was taken back, or another component put in place, while this one was compiled: from the beginning.
                continue;
            }
            inner.log.record(&AuditEvent::Replaced { edge: inner.edge.clone(), digest })?;
            inner.version.store(new.version, Ordering::Release);
            *settled = Arc::new(new);
            drop(settled);
            inner.pool.clear();
            return Ok(());
        }
    }

    fn still_fits(&self, new: Settled) -> Result<Settled, StartError> {
        let functions = self.0.functions.read().unwrap_or_else(PoisonError::into_inner);
        let differences = |key: &Key| super::typed::difference(&new, self.0.host.engine(), key);
        let mut differences: Vec<String> =
            functions.iter().filter_map(|(_, key)| differences(key)).flatten().collect();
        let passing = self.0.passing.read().unwrap_or_else(PoisonError::into_inner);
        for (name, wanted) in passing.iter() {
            let text = |function| signature::function(function, self.0.host.engine());
            match find(&new, name) {
                Some((ComponentItem::ComponentFunc(found), _)) if forward::same_types(wanted, &found) => {}
                found => {
                    differences.push(format!("- {name}: {}", text(wanted)));
                    if let Some((ComponentItem::ComponentFunc(found), _)) = found {
                        differences.push(format!("+ {name}: {}", text(&found)));
                    }
                }
            }
        }
        if differences.is_empty() {
            return Ok(new);
        }
        let world = "the component that it replaces".to_owned();
        Err(StartError::DoesNotFit { edge: self.0.edge.clone(), world, differences })
    }
}

/// The time of so many epochs.
pub(super) fn in_ticks(ticks: u64) -> Duration {
    const { assert!(EPOCH_TICK.as_nanos() == 1_000_000) };
    Duration::from_millis(ticks)
}

/// The place of a member in its unit. Two members can have edges of one name, but not one number.
fn place_of(settled: &Settled, number: usize) -> Option<usize> {
    settled.members.iter().position(|member| member.plan.number == number)
}

pub(super) fn find(
    settled: &Settled,
    function: &str,
) -> Option<(ComponentItem, wasmtime::component::ComponentExportIndex)> {
    match function.split_once('#') {
        None => settled.find(None, function),
        Some((interface, function)) => settled.find(Some(interface), function),
    }
}
