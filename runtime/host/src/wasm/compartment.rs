//! A wasm compartment: one per edge, called from any number of threads, each call in one of its instances.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use capability_manifest::scope::{Scope, Stream};
use capability_manifest::{Backend, Capability, HostCapability, Link};
use tracing::Instrument as _;
use wasmtime::Trap;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Type, Val};

use super::entry::{Dropping, Entry, Untyped};
use super::error::{CallError, StartError};
use super::failure::{CalleeFailed, Failure, LimitHit};
use super::host::WasmHost;
use super::instance::{Prepared, Running, Settled, SettledMember, environment};
use super::limits::{
    CALL_DEADLINE_DEFAULT, CALL_DEPTH_MAX, CALLS_IN_FLIGHT_DEFAULT, EPOCH_TICK, NATIVE_STACK_BYTES,
    WASM_STACK_BYTES_MAX,
};
use super::link::{Linking, link};
use super::member::{Member, MemberStart, within_the_unit};
use super::pool::{NotTaken, Pool, Seat, Taken};
use super::standing::{Objection, Refusal};
use super::state::State;
use super::stream::{Input, Output};
use super::ticker::Busy;
use super::unit::{self, Imports, Piece};
use super::{cache, forward, signature};
use crate::audit::{AuditEvent, AuditLog};
use crate::client::{Cancellation, Key};
use crate::plan::CompartmentPlan;

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
pub struct WasmCompartment(Arc<Inner>);

struct Inner {
    id: u64,
    edge: String,
    host: WasmHost,
    folder: PathBuf,
    /// Itself, and of a unit, every other member.
    members: Vec<Member>,
    waits: bool,
    /// Somebody needs to know when a call ends by the clock: a guest that waits, or a limit on time in all.
    timed: bool,
    settled: RwLock<Arc<Settled>>,
    /// The version that is settled, for calls that only ask whether it is still theirs.
    version: AtomicU64,
    functions: RwLock<Vec<(TypeId, Key)>>,
    /// What other compartments call, with its types.
    passing: RwLock<Vec<(String, ComponentFunc)>>,
    pool: Arc<Pool>,
    closed: AtomicBool,
    log: AuditLog,
    /// Limits are those of the start: a revocation or another component does not change them.
    call_deadline: Duration,
    callers_max: u64,
    /// Nanoseconds; `u64::MAX` for no limit.
    cpu_left: AtomicU64,
    /// Calls that got no instance, or one that is gone.
    calls: AtomicU64,
    /// Calls of the instances that are there.
    tallies: Mutex<Vec<Arc<AtomicU64>>>,
    failures: AtomicU64,
    /// Most bytes of memory that any instance has had.
    memory_peak: AtomicU64,
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

    /// Enters for another compartment, from a thread that may wait.
    pub(super) fn enter_around<E: Entry>(&self, entry: E, around: Around) -> Result<E::Output, CallError> {
        let entered = if self.0.waits {
            self.0.host.runtime().block_on(self.enter_async(entry, None, around))
        } else {
            self.enter(entry, None, around)
        };
        Ok(entered?.0)
    }

    /// Enters from a thread of the host program.
    pub(super) fn enter_from_host<E: Entry>(
        &self,
        entry: E,
        pinned: Option<u64>,
        cancellation: Option<&Cancellation>,
    ) -> Result<(E::Output, u64), CallError> {
        let around = Around { cancellation: cancellation.cloned(), ..Around::default() };
        // A guest that waits would keep the whole executor waiting, or find that it may not.
        if tokio::runtime::Handle::try_current().is_ok() && !super::threads::may_block() {
            let message = "a call blocks, and this thread is one of an asynchronous runtime; use the crate's \
                           feature `async`, or a thread of your own";
            return Err(CallError::Usage { edge: self.0.edge.clone(), message: message.to_owned() });
        }
        if self.0.waits {
            self.0.host.runtime().block_on(self.enter_async(entry, pinned, around))
        } else {
            self.enter(entry, pinned, around)
        }
    }

    /// Enters where nothing in the compartment's tree can wait, on the caller's stack, or on a piece of the heap where that
    /// is too short.
    pub(super) fn enter<E: Entry>(
        &self,
        entry: E,
        pinned: Option<u64>,
        around: Around,
    ) -> Result<(E::Output, u64), CallError> {
        let need = WASM_STACK_BYTES_MAX + NATIVE_STACK_BYTES;
        stacker::maybe_grow(need, 2 * need, || {
            let _entered = self.span(entry.name()).entered();
            let (depth, cancellation) = (around.depth, around.cancellation.clone());
            let (mut seat, call) = self.admit(pinned, around)?;
            if seat.running().is_none() {
                self.make(&mut seat, &call, depth)?;
            }
            let running = seat.running().expect("it was taken or made");
            running.begin(self.0.host.ticker(), call.end, call.until, depth, cancellation);
            let outcome = entry.run(running);
            self.leave(seat, outcome, &call)
        })
    }

    /// Enters where something can wait. The future must run inside the host's own runtime.
    pub(super) async fn enter_async<E: Entry>(
        &self,
        entry: E,
        pinned: Option<u64>,
        around: Around,
    ) -> Result<(E::Output, u64), CallError> {
        let span = self.span(entry.name());
        self.run_async(entry, pinned, around).instrument(span).await
    }

    /// One call, as those see it who trace the program.
    fn span(&self, function: &str) -> tracing::Span {
        tracing::debug_span!("cofferdam.call", edge = %self.0.edge, function)
    }

    async fn run_async<E: Entry>(
        &self,
        entry: E,
        pinned: Option<u64>,
        around: Around,
    ) -> Result<(E::Output, u64), CallError> {
        let (depth, cancellation) = (around.depth, around.cancellation.clone());
        let (mut seat, call) = self.admit(pinned, around)?;
        if seat.running().is_none() {
            self.make_async(&mut seat, &call, depth).await?;
        }
        let running = seat.running().expect("it was taken or made");
        running.begin(self.0.host.ticker(), call.end, call.until, depth, cancellation.clone());
        let left = call.left();
        let run = tokio::time::timeout(left, entry.run_async(running));
        let outcome = tokio::select! {
            biased;
            outcome = run => outcome.unwrap_or_else(|_| Err(Trap::Interrupt.into())),
            () = cancelled(cancellation.as_ref()) => Err(Trap::Interrupt.into()),
        };
        self.leave(seat, outcome, &call)
    }

    /// Runs something on an instance that was taken already.
    pub(super) fn run_on(&self, running: Box<Running>, entry: Dropping) -> Result<(), CallError> {
        let deadline = self.own_deadline();
        let (until, end) = (Instant::now().checked_add(deadline), self.end_of(deadline));
        let call = Call { deadline, until, end, began: None, cancellation: None };
        self.0.host.ticker().begun();
        let mut seat = Seat::new(&self.0.pool, Taken::Ready(running));
        let running = seat.running().expect("it was taken");
        running.begin(self.0.host.ticker(), end, until, 0, None);
        let outcome = if self.0.waits {
            if tokio::runtime::Handle::try_current().is_ok() {
                // Its destructor could wait, and this thread may not: the instance goes, and the resource with it.
                Err(wasmtime::Error::msg("a handle was dropped where nothing may wait"))
            } else {
                let run = async { tokio::time::timeout(deadline, entry.run_async(running)).await };
                self.0.host.runtime().block_on(run).unwrap_or_else(|_| Err(Trap::Interrupt.into()))
            }
        } else {
            entry.run(running)
        };
        self.leave(seat, outcome, &call).map(|_| ())
    }

    /// The shorter of the call's deadline and what is left of the compartment's time.
    fn own_deadline(&self) -> Duration {
        self.0.call_deadline.min(Duration::from_nanos(self.0.cpu_left.load(Ordering::Acquire)))
    }

    /// Lets a caller in, as far as the limits allow, and counts it either way.
    fn admit(&self, pinned: Option<u64>, around: Around) -> Result<(Seat<'_>, Call), CallError> {
        let mut admitted = self.let_in(pinned, around);
        match admitted.as_mut().ok().and_then(|(seat, _)| seat.running()) {
            Some(running) => running.count(),
            None => {
                self.0.calls.fetch_add(1, Ordering::Relaxed);
            }
        }
        admitted
    }

    fn let_in(&self, pinned: Option<u64>, around: Around) -> Result<(Seat<'_>, Call), CallError> {
        let inner = &*self.0;
        let edge = || inner.edge.clone();
        if inner.closed.load(Ordering::Acquire) {
            return Err(self.failed(Failure::Error(CallError::Revoked { edge: edge(), what: "the edge" })));
        }
        if around.depth > CALL_DEPTH_MAX {
            return Err(self.failed(Failure::Error(CallError::Limit { edge: edge(), what: "nested calls" })));
        }
        let mut deadline = self.own_deadline();
        let began = inner.timed.then(Instant::now);
        if let (Some(until), Some(began)) = (around.until, began) {
            deadline = deadline.min(until.saturating_duration_since(began));
        } else if let Some(until) = around.until {
            deadline = deadline.min(until.saturating_duration_since(Instant::now()));
        } else if let Some(end) = around.epoch {
            deadline = deadline.min(in_ticks(end.saturating_sub(inner.host.ticker().epoch())));
        }
        let late = || CallError::Deadline { edge: edge(), deadline };
        if deadline.is_zero() {
            return Err(self.failed(Failure::Error(late())));
        }
        // Waiting for an instance, and for one to be made, are part of it.
        let end = self.end_of(deadline).min(around.epoch.unwrap_or(u64::MAX));
        let instances = inner.members[0].options.instances.max(1);
        let cancellation = around.cancellation;
        let taken =
            match inner.pool.take(instances, inner.callers_max, pinned, deadline, cancellation.as_ref()) {
                Ok(taken) => Seat::new(&inner.pool, taken),
                Err(NotTaken::TooLate) => return Err(self.failed(Failure::Error(late()))),
                Err(NotTaken::TooManyCallers) => {
                    let limit = CallError::Limit { edge: edge(), what: "calls in flight" };
                    return Err(self.failed(Failure::Error(limit)));
                }
                Err(NotTaken::Gone) => return Err(CallError::StaleHandle { edge: edge() }),
                Err(NotTaken::Cancelled) => {
                    return Err(self.failed(Failure::Error(CallError::Cancelled { edge: edge() })));
                }
            };
        inner.host.ticker().begun();
        let until = began.and_then(|began| began.checked_add(deadline));
        Ok((taken, Call { deadline, until, end, began, cancellation }))
    }

    /// The epoch at which such a time from now is over.
    fn end_of(&self, deadline: Duration) -> u64 {
        self.0.host.ticker().epoch().saturating_add(super::instance::ticks(deadline))
    }

    /// A store with what the grants allow, for an instance to come.
    ///
    /// `born` is how often something had been revoked before the grants were looked at: what is revoked later, the store does not have.
    fn store(&self, settled: &Settled, born: u64) -> Result<Prepared, StartError> {
        Prepared::new(settled, &self.0.folder, &self.0.members, born)
    }

    fn prepared(&self, call: &Call, depth: usize) -> Result<(Prepared, Arc<Settled>), CallError> {
        let born = self.0.members[0].standing.epoch();
        let settled = self.settled();
        let store = self.store(&settled, born);
        // An edge that was taken back meanwhile gives nothing any more.
        if self.0.closed.load(Ordering::Acquire) {
            let (edge, what) = (self.0.edge.clone(), "the edge");
            return Err(self.failed(Failure::Error(CallError::Revoked { edge, what })));
        }
        match store {
            Ok(mut prepared) => {
                let left = call.end.saturating_sub(self.0.host.ticker().epoch());
                prepared.store.set_epoch_deadline(left);
                let state = prepared.store.data_mut();
                state.deadline = call.until;
                state.epoch = call.end;
                state.depth = depth;
                state.cancellation.clone_from(&call.cancellation);
                Ok((prepared, settled))
            }
            Err(error) => Err(self.failed(Failure::Error(CallError::Start(Box::new(error))))),
        }
    }

    fn make(&self, seat: &mut Seat<'_>, call: &Call, depth: usize) -> Result<(), CallError> {
        let (mut prepared, settled) = self.prepared(call, depth)?;
        let instance = settled.pre.instantiate(&mut prepared.store);
        self.keep(seat, prepared, instance, settled, call)
    }

    async fn make_async(&self, seat: &mut Seat<'_>, call: &Call, depth: usize) -> Result<(), CallError> {
        let (mut prepared, settled) = self.prepared(call, depth)?;
        let making = settled.pre.instantiate_async(&mut prepared.store);
        let instance = match tokio::time::timeout(call.left(), making).await {
            Ok(instance) => instance,
            Err(_) => Err(Trap::Interrupt.into()),
        };
        self.keep(seat, prepared, instance, settled, call)
    }

    fn keep(
        &self,
        seat: &mut Seat<'_>,
        prepared: Prepared,
        instance: wasmtime::Result<wasmtime::component::Instance>,
        settled: Arc<Settled>,
        call: &Call,
    ) -> Result<(), CallError> {
        match instance {
            Ok(instance) => {
                let running = prepared.running(instance, settled);
                self.tallied(&running);
                seat.fill(running);
                Ok(())
            }
            Err(error) => {
                let error = match prepared.store.data().limiter.refused {
                    Some(what) => error.context(LimitHit(what)),
                    None => error,
                };
                self.spend(call);
                Err(self.failed(Failure::Trap(&error, call.deadline)))
            }
        }
    }

    /// Counts the calls of an instance from now on, and keeps the sum of those that are gone.
    fn tallied(&self, running: &Running) {
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|tally| {
            let lives = Arc::strong_count(tally) > 1;
            if !lives {
                self.0.calls.fetch_add(tally.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            lives
        });
        tallies.push(Arc::clone(&running.tally));
    }

    fn spend(&self, call: &Call) {
        let left = &self.0.cpu_left;
        if let Some(began) = call.began
            && left.load(Ordering::Acquire) != u64::MAX
        {
            let spent = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let less = |left: u64| Some(left.saturating_sub(spent));
            let _ = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
    }

    /// After a call: judges it, keeps the instance where it is good, and records what went wrong before anyone hears of it.
    fn leave<T>(
        &self,
        mut seat: Seat<'_>,
        outcome: wasmtime::Result<T>,
        call: &Call,
    ) -> Result<(T, u64), CallError> {
        let inner = &*self.0;
        self.spend(call);
        let running = seat.running().expect("a call was on it");
        let memory = running.store.data().limiter.memory();
        if memory > inner.memory_peak.load(Ordering::Relaxed) {
            inner.memory_peak.fetch_max(memory, Ordering::Relaxed);
        }
        for member in inner.members.iter().filter(|member| member.options.output == Output::Prefixed) {
            member.stdout.flush();
            member.stderr.flush();
        }
        let serial = running.serial;
        let asked_revoked = running.store.data().asked_revoked;
        let mut objections =
            inner.members.iter().filter_map(|member| Some((&member.edge, member.standing.objection()?)));
        let objection = objections.next();
        match outcome {
            Ok(value) if !asked_revoked && objection.is_none() => {
                if let Some(running) = seat.into_running() {
                    self.give_back(running);
                }
                Ok((value, serial))
            }
            outcome => {
                let failure = match (&outcome, objection) {
                    _ if asked_revoked => Failure::Error(CallError::Revoked {
                        edge: inner.edge.clone(),
                        what: "a grant that the guest was using",
                    }),
                    (_, Some((_, Objection::Unwritten))) => Failure::Error(CallError::Audit(
                        std::io::Error::other("a refusal could not be recorded"),
                    )),
                    (Ok(_), Some((edge, Objection::TooMany))) => Failure::Error(CallError::Limit {
                        edge: edge.clone(),
                        what: "refusals that are recorded",
                    }),
                    (Err(error), _) if call.was_cancelled(error) => {
                        Failure::Error(CallError::Cancelled { edge: inner.edge.clone() })
                    }
                    (Err(error), _) => Failure::Trap(error, call.deadline),
                    (Ok(_), None) => unreachable!("a call without objections is a success"),
                };
                let failure = failure.with_limits(running);
                // The store is spent, and goes with the seat: the next call makes a new one.
                Err(self.failed(failure))
            }
        }
    }

    /// Puts an instance back into the pool, unless the compartment has moved on; destructors that waited for it run first.
    fn give_back(&self, running: Box<Running>) {
        let inner = &*self.0;
        let mut running = running;
        loop {
            let fresh = |running: &Running| {
                running.version == inner.version.load(Ordering::Acquire)
                    && running.store.data().stands()
                    && !inner.closed.load(Ordering::Acquire)
            };
            let Some((again, resources)) = inner.pool.give(running, inner.callers_max, fresh) else {
                return;
            };
            let mut seat = Seat::new(&inner.pool, Taken::Ready(again));
            let again = seat.running().expect("it was given back");
            let deadline = self.own_deadline();
            inner.host.ticker().begun();
            let (end, until) = (self.end_of(deadline), Instant::now().checked_add(deadline));
            again.begin(inner.host.ticker(), end, until, 0, None);
            let dropping = Dropping(resources);
            let outcome = if inner.waits {
                Err(wasmtime::Error::msg("a handle was dropped while its instance could wait"))
            } else {
                dropping.run(again)
            };
            match outcome.map(|()| seat.into_running()) {
                Ok(Some(again)) => running = again,
                Ok(None) => return,
                Err(error) => {
                    // The fault is in the log; the call that just ended well stays a success.
                    let _ = self.failed(Failure::Trap(&error, deadline));
                    return;
                }
            }
        }
    }

    /// The edges that are one unit with this one.
    fn fused(&self) -> Vec<String> {
        self.0.members.iter().skip(1).map(|member| member.edge.clone()).collect()
    }

    /// Says what a failure is to a caller, and records it first.
    pub(super) fn failed(&self, failure: Failure<'_>) -> CallError {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        let error = failure.into_error(&self.0.edge, &self.fused());
        tracing::warn!(edge = %self.0.edge, error = %error, "call failed");
        match self.0.log.record(&super::failure::event_of(&self.0.edge, &error)) {
            Ok(()) => error,
            Err(error) => CallError::Audit(error),
        }
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

    /// Where the compartment's calls stand, for its own guests' calls further on.
    pub(super) fn around(state: &State) -> Around {
        let (until, epoch, depth) = (state.deadline, Some(state.epoch), state.depth + 1);
        Around { until, epoch, depth, cancellation: state.cancellation.clone() }
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

/// Comes back when the switch is used, and never without one.
async fn cancelled(cancellation: Option<&Cancellation>) {
    let Some(cancellation) = cancellation else { return std::future::pending().await };
    while !cancellation.is_cancelled() {
        tokio::time::sleep(EPOCH_TICK).await;
    }
}

/// What one call was let in with.
struct Call {
    deadline: Duration,
    until: Option<Instant>,
    /// The epoch at which it is over.
    end: u64,
    began: Option<Instant>,
    cancellation: Option<Cancellation>,
}

impl Call {
    /// Whether an error is the end that its caller made.
    fn was_cancelled(&self, error: &wasmtime::Error) -> bool {
        let ended = matches!(error.downcast_ref(), Some(Trap::Interrupt))
            || error.downcast_ref::<CalleeFailed>().is_some();
        ended && self.cancellation.as_ref().is_some_and(Cancellation::is_cancelled)
    }

    fn left(&self) -> Duration {
        self.until.map_or(self.deadline, |until| until.saturating_duration_since(Instant::now()))
    }
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

/// Compiles and links a compartment. A unit of several is composed first.
fn settle(
    host: &WasmHost,
    members: &[Member],
    parts: Vec<(CompartmentPlan, Vec<u8>)>,
    waits: bool,
    version: u64,
) -> Result<Settled, StartError> {
    let edge = &members[0].edge;
    let compiled = |bytes: &[u8]| {
        let digest = super::inspect::digest(bytes);
        cache::compile(host, bytes, &digest).map_err(|error| StartError::not_a_component(edge, &error))
    };
    let (component, imports) = match parts.as_slice() {
        [(_, bytes)] => (compiled(bytes)?, Imports::Own),
        parts => {
            let pieces: Vec<Piece<'_>> = members
                .iter()
                .zip(parts)
                .map(|(member, (_, component))| Piece {
                    edge: &member.edge,
                    inside: member.inside,
                    component,
                    routes: &member.routes,
                })
                .collect();
            let composed = unit::compose(host, &pieces)?;
            let component = compiled(&composed.bytes)?;
            unit::verify(host, edge, &component, &composed)?;
            (component, Imports::Labelled(composed.labels))
        }
    };
    let several = parts.len() > 1;
    let settled = parts
        .into_iter()
        .map(|(plan, bytes)| SettledMember {
            digest: super::inspect::digest(&bytes),
            environment: environment(&plan),
            plan,
            bytes: several.then(|| bytes.into()),
        })
        .collect();
    relink(host, members, settled, component, imports, waits, version)
}

fn relink(
    host: &WasmHost,
    members: &[Member],
    settled: Vec<SettledMember>,
    component: Component,
    imports: Imports,
    waits: bool,
    version: u64,
) -> Result<Settled, StartError> {
    let linking: Vec<Linking<'_>> = members
        .iter()
        .zip(&settled)
        .enumerate()
        .map(|(place, (member, settled))| Linking {
            host,
            edge: &member.edge,
            waits,
            routes: &member.routes,
            provided: &member.provided,
            plan: &settled.plan,
            fused: place > 0,
        })
        .collect();
    let linker = link(&linking, &component, &imports)?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| StartError::not_a_component(&members[0].edge, &error))?;
    Ok(Settled { version, members: settled, component, imports, pre })
}

/// Whether anything that the grants give can make a guest wait.
pub(crate) fn may_wait(plan: &CompartmentPlan) -> bool {
    use HostCapability as Host;
    const WAITING: [HostCapability; 6] = [
        Host::FilesystemRead,
        Host::FilesystemWrite,
        Host::NetworkConnect,
        Host::NetworkListen,
        Host::NetworkDns,
        Host::Clock,
    ];
    let stdin =
        |scope: &Scope| matches!(scope, Scope::Streams(streams) if streams.covers_any_of(&Stream::Stdin));
    WAITING.iter().any(|capability| plan.scope(*capability).is_some())
        || plan.scope(Host::Stdio).is_some_and(stdin)
}

/// Refuses what this release cannot hold a guest to.
fn enforceable(plan: &CompartmentPlan, options: &CompartmentOptions, link: Link) -> Result<(), StartError> {
    let edge = plan.edge();
    if plan.backend != Backend::Wasm.name() {
        return Err(StartError::OtherBackend { edge, backend: plan.backend.clone() });
    }
    let cannot = |what: &str| Err(StartError::CannotEnforce { edge: edge.clone(), what: what.to_owned() });
    if plan.link != link.name() {
        return cannot(&format!(
            "`link = \"{}\"` for a compartment that is started {}",
            plan.link,
            match link {
                Link::Isolated => "by itself",
                Link::Fused => "with its unit",
            }
        ));
    }
    if link == Link::Fused && options.instances > 1 {
        return cannot("a number of instances for one member of a unit, which are made together,");
    }
    if let Some(Scope::Streams(streams)) = plan.scope(HostCapability::Stdio) {
        let capped = |one: &capability_manifest::scope::Bounded<Stream>| {
            one.pattern == Stream::Stdin && one.bytes.is_some()
        };
        if matches!(options.input, Input::Inherited) && streams.iter().any(capped) {
            return cannot("a cap on the host's own standard input");
        }
    }
    // A guest opens a path below the folder whose name is its beginning; of two folders with one name it would see one.
    let mut seen = std::collections::BTreeSet::new();
    for mount in &plan.mounts {
        let at = if mount.file {
            Path::new(&mount.at).parent().map(|path| path.display().to_string()).unwrap_or_default()
        } else {
            mount.at.clone()
        };
        if !seen.insert(at) {
            return cannot("two granted paths with the same folder inside; give one another name with `at`");
        }
    }
    Ok(())
}
