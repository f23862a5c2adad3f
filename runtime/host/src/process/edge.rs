//! A process compartment as callers share it: found by name and shape, called from many threads, taken back.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capability_manifest::Capability;
use cofferdam_wire::DecodeError;
use cofferdam_wire::handshake::Offer;
use cofferdam_wire::value::{Resource, Source, decode_from, sink};

use super::bridge::{Bridge, Import, connect};
use super::compartment::{Ender, ProcessCompartment, StartOptions, Subject};
use super::host::ProcessHost;
use super::limits::{BUFFER_BYTES_MAX, HANDLES_DEFAULT, INSTANCES_MAX};
use super::program::Program;
use super::{CallError as OwnError, FaultKind as OwnFault};
use crate::audit::{AuditEvent, AuditLog};
use crate::client::{Cancellation, Compartment, Key, Pinned, Provided};
use crate::hot::{Found, Hot};
use crate::plan::CompartmentPlan;
use crate::refusal::{Recent, Refusal};
use crate::wasm::{
    CALL_DEADLINE_DEFAULT, CALL_DEPTH_MAX, CALLS_IN_FLIGHT_DEFAULT, CallError, FaultKind, StartError, Stdio,
    WasmHost, event_of,
};

/// How often a caller that waits for a guest looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(5);

/// Numbers of compartments, above all that wasm compartments have.
static NEXT: AtomicU64 = AtomicU64::new(1 << 63);

thread_local! {
    /// Memory for arguments, kept from call to call.
    static ARGUMENTS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A process compartment. Clones are of the same.
#[derive(Debug, Clone)]
pub(crate) struct ProcessEdge(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: u64,
    edge: String,
    host: Arc<ProcessHost>,
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "only futures ask for them"))]
    threads: WasmHost,
    folder: PathBuf,
    log: AuditLog,
    /// What its guests were told no.
    refusals: Recent,
    options: StartOptions,
    instances: usize,
    callers_max: u64,
    /// Most resources of one guest that are held here.
    handles_max: u64,
    deadline: Duration,
    /// What the program said of itself when it first started.
    offers: Vec<Offer>,
    /// What it calls, over edges of its own.
    imports: Vec<Import>,
    /// A guest that is taken and given back without the lock, as long as nobody else needs to know.
    hot: Hot<ProcessCompartment>,
    state: Mutex<State>,
    freed: Condvar,
    calls: AtomicU64,
    failures: AtomicU64,
    memory_peak: AtomicU64,
}

#[derive(Debug)]
struct State {
    plan: CompartmentPlan,
    program: Arc<Program>,
    /// Raised when guests of before are not to be used again.
    version: u64,
    /// What further guests are made from, with one restart policy for all; none after the plan has changed.
    template: Option<ProcessCompartment>,
    #[expect(clippy::vec_box, reason = "a guest is large and goes in and out with each call")]
    idle: Vec<Box<ProcessCompartment>>,
    /// The guest that is in the hot place, or was taken from it.
    hot: Option<Busy>,
    /// Other guests that are in a call.
    busy: Vec<Busy>,
    /// Those who did not come by way of the hot place.
    callers: u64,
    waiters: usize,
    closed: Option<&'static str>,
    /// How many resources of each guest are held here, by its number.
    resources: BTreeMap<u64, u64>,
    taken: Stdio,
}

#[derive(Debug)]
struct Busy {
    serial: Option<u64>,
    ender: Ender,
    ticket: u64,
    version: u64,
}

/// Why a call fails whose guest was ended under it.
const REVOKED: &str = "a grant that the guest was using";

impl State {
    /// Whether the guest with that number is in a call, or about to be.
    fn is_busy(&self, serial: u64) -> bool {
        self.busy.iter().chain(&self.hot).any(|busy| busy.serial == Some(serial))
    }
}

/// What the compartments around one leave it for a call.
#[derive(Debug, Clone, Default)]
struct Around {
    /// When the outermost call ends.
    until: Option<Instant>,
    /// How many there are.
    depth: usize,
    /// What can end the outermost call, and with it this one.
    cancellation: Option<Cancellation>,
}

/// A caller's place: a guest, or the place for one that is being started. Whoever drops it unfinished (a panic of the host's own code)
/// gives it up.
struct Taken<'e> {
    edge: &'e ProcessEdge,
    compartment: Option<Box<ProcessCompartment>>,
    how: How,
    /// How long its guest took to start, which is no part of the call.
    starting: Duration,
}

impl Taken<'_> {
    fn guest(&mut self) -> &mut ProcessCompartment {
        self.compartment.as_mut().expect("it was taken or started")
    }

    /// Gives it back. `well` is whether the guest can be called again as it is. Says why, if the edge was closed.
    fn give(mut self, well: bool) -> Option<&'static str> {
        let compartment = self.compartment.take();
        let closed = self.edge.give(compartment, self.how, well);
        std::mem::forget(self);
        closed
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.edge.give(self.compartment.take(), self.how, false);
    }
}

/// How a guest was taken.
#[derive(Debug, Clone, Copy)]
enum How {
    /// From the hot place.
    Hot,
    /// Under the lock.
    Slow { version: u64, ticket: u64 },
}

/// What a compartment is made from.
pub(crate) struct Start {
    pub(crate) plan: CompartmentPlan,
    pub(crate) program: Vec<u8>,
    pub(crate) folder: PathBuf,
    pub(crate) instances: usize,
    pub(crate) options: StartOptions,
    /// The compartments that it calls.
    pub(crate) edges: Vec<Compartment>,
    /// What the host program implements for it.
    pub(crate) provided: Vec<Provided>,
    /// Has the threads that are made for waiting.
    pub(crate) threads: WasmHost,
}

impl ProcessEdge {
    /// Starts the first guest.
    pub(crate) fn start(host: &Arc<ProcessHost>, start: Start, log: &AuditLog) -> Result<Self, StartError> {
        let Start { plan, program, folder, instances, options, edges, provided, threads } = start;
        let edge = plan.edge();
        let cannot = |what: String| super::StartError::CannotEnforce { edge: plan.edge(), what };
        if instances > INSTANCES_MAX {
            return Err(cannot(format!(
                "{instances} guests of one compartment (1 to {INSTANCES_MAX} can be)"
            ))
            .into());
        }
        if instances > 1 && plan.limits.cpu_time.is_some() {
            return Err(cannot("`cpu-time` of several guests together".to_owned()).into());
        }
        let program = Arc::new(load(&plan, &program)?);
        let refusals = Recent::default();
        let log = &log.keeping(&refusals);
        let first = ProcessCompartment::start_program(host, &plan, &program, &folder, log, options)?;
        let imports = connect(&edge, first.imports(), &edges, &provided)?;
        let limits = &plan.limits;
        let deadline =
            limits.call_deadline.map_or(CALL_DEADLINE_DEFAULT, |time| Duration::from_nanos(time.0));
        Ok(Self(Arc::new(Shared {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            edge,
            host: Arc::clone(host),
            threads,
            folder,
            log: log.clone(),
            refusals,
            options,
            instances: instances.max(1),
            callers_max: limits.calls_in_flight.unwrap_or(CALLS_IN_FLIGHT_DEFAULT),
            handles_max: limits.handles.unwrap_or(HANDLES_DEFAULT),
            deadline,
            offers: first.offers().to_vec(),
            imports,
            state: Mutex::new(State {
                plan,
                program,
                version: 0,
                template: Some(first.template()),
                idle: vec![Box::new(first)],
                hot: None,
                busy: Vec::new(),
                callers: 0,
                waiters: 0,
                closed: None,
                resources: BTreeMap::new(),
                taken: Stdio::default(),
            }),
            hot: Hot::default(),
            freed: Condvar::new(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
        })))
    }

    pub(crate) fn edge(&self) -> &str {
        &self.0.edge
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    #[cfg(feature = "async")]
    pub(crate) fn threads(&self) -> &WasmHost {
        &self.0.threads
    }

    pub(crate) fn exports(&self) -> Vec<String> {
        self.0.offers.iter().map(|offer| offer.name.clone()).collect()
    }

    pub(crate) fn instances(&self) -> (usize, usize) {
        let state = self.lock();
        let out = usize::from(self.0.hot.is_out());
        (state.idle.len() + usize::from(state.hot.is_some()).saturating_sub(out), state.busy.len() + out)
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.0.calls.load(Ordering::Relaxed), self.0.failures.load(Ordering::Relaxed))
    }

    /// Most bytes of memory that one guest has had resident, as far as it was looked at: now, and when a guest was ended.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        let mut state = self.lock();
        self.cool(&mut state);
        let idle = state.idle.iter().filter_map(|one| one.memory_peak()).max();
        let peak = self.0.memory_peak.fetch_max(idle.unwrap_or(0), Ordering::Relaxed).max(idle.unwrap_or(0));
        (peak > 0).then_some(peak)
    }

    /// SHA-256 of the program that new calls go to.
    pub(crate) fn digest(&self) -> String {
        let program = Arc::clone(&self.lock().program);
        program.digest()
    }

    /// What guests wrote to their granted streams since the last time.
    pub(crate) fn take_stdio(&self) -> Stdio {
        let mut state = self.lock();
        self.cool(&mut state);
        let mut taken = std::mem::take(&mut state.taken);
        for compartment in &mut state.idle {
            add(&mut taken, compartment);
        }
        taken
    }

    /// What guests were told no since the last time.
    pub(crate) fn take_refusals(&self) -> Vec<Refusal> {
        self.0.refusals.take()
    }

    /// The number of a function; or how what the guest offers differs.
    pub(crate) fn find(&self, key: &Key) -> Result<usize, Vec<String>> {
        let name = format!("{}{}", key.place(), key.name);
        let Some(index) = self.0.offers.iter().position(|offer| offer.name == name) else {
            return Err(vec![key.wanted()]);
        };
        if self.0.offers[index].shape == key.shape {
            return Ok(index);
        }
        Err(vec![key.wanted(), format!("+ {name}: of other types")])
    }

    /// Calls the function with this number, on the guest that is pinned or any; gives the guest's number, too.
    pub(crate) fn call_slot<F: crate::client::Function>(
        &self,
        slot: usize,
        pinned: Option<Pinned>,
        params: &F::Params<'_>,
        cancellation: Option<&Cancellation>,
    ) -> Result<(F::Results, u64), CallError> {
        let _entered = self.span(F::NAME).entered();
        let message = sink(params, ARGUMENTS.take())
            .map_err(|error| CallError::Usage { edge: self.0.edge.clone(), message: error.to_string() })?;
        if let Some(Pinned { serial, giving }) = pinned {
            self.forget_resources(serial, giving);
        }
        let offer = &self.0.offers[slot];
        let around = Around { cancellation: cancellation.cloned(), ..Around::default() };
        let pinned = pinned.map(|pinned| pinned.serial);
        let outcome = message.with_pieces(|pieces| {
            self.call_bytes(Subject::At(slot, offer), pinned, pieces, around, decode_from)
        });
        let bytes = message.into_buffer();
        if bytes.capacity() <= BUFFER_BYTES_MAX {
            ARGUMENTS.set(bytes);
        }
        outcome
    }

    /// One call, as those see it who trace the program.
    fn span(&self, function: &str) -> tracing::Span {
        tracing::debug_span!("cofferdam.call", edge = %self.0.edge, function, backend = "process")
    }

    /// The place of a function with that name and those types.
    pub(super) fn position(&self, offer: &Offer) -> Option<usize> {
        self.0.offers.iter().position(|own| own == offer)
    }

    /// A function that a component imports, as bytes.
    pub(crate) fn crossing(&self, name: &str, shape: u64) -> Option<usize> {
        self.position(&Offer { name: name.to_owned(), shape })
    }

    /// Calls the function with this number for another compartment.
    pub(crate) fn call_crossing(
        &self,
        slot: usize,
        arguments: &[u8],
        until: Option<Instant>,
        depth: usize,
        cancellation: Option<Cancellation>,
    ) -> Result<Vec<u8>, CallError> {
        let around = Around { until, depth, cancellation };
        let _entered = self.span(&self.0.offers[slot].name).entered();
        let subject = Subject::At(slot, &self.0.offers[slot]);
        Ok(self.call_bytes(subject, None, &[arguments], around, |from| Ok((from.rest()?, 0)))?.0)
    }

    /// The same for another process.
    pub(super) fn call_at(
        &self,
        subject: Subject<'_>,
        arguments: &[u8],
        until: Instant,
        depth: usize,
        cancellation: Option<Cancellation>,
    ) -> Result<Vec<u8>, CallError> {
        let around = Around { until: Some(until), depth, cancellation };
        let name = if let Subject::At(_, offer) = &subject { offer.name.as_str() } else { "" };
        let _entered = self.span(name).entered();
        Ok(self.call_bytes(subject, None, &[arguments], around, |from| Ok((from.rest()?, 0)))?.0)
    }

    /// Lets a resource of a guest go. A guest that is gone has none.
    pub(crate) fn drop_resource(&self, serial: u64, resource: Resource) {
        self.forget_resources(serial, 1);
        let Ok(bytes) = cofferdam_wire::encode(&(vec![resource],)) else { return };
        // The audit log has what goes wrong; a destructor has no caller who could be told.
        let nothing = |_: &mut Source<'_>| Ok(((), 0));
        let _ = self.call_bytes(Subject::Drop, Some(serial), &[&bytes], Around::default(), nothing);
    }

    /// So many resources of a guest are held no more: they were let go, or are being given back.
    fn forget_resources(&self, serial: u64, count: u64) {
        if count == 0 {
            return;
        }
        if let Some(held) = self.lock().resources.get_mut(&serial) {
            *held = held.saturating_sub(count);
        }
    }

    /// Counts resources that a guest gave; false when they are more than may be held of one.
    fn hold_resources(&self, serial: u64, given: u64) -> bool {
        let mut state = self.lock();
        let State { resources, idle, hot, busy, .. } = &mut *state;
        // Those of guests that are gone are gone with them.
        resources.retain(|serial, _| {
            idle.iter().any(|one| one.serial() == Some(*serial))
                || busy.iter().chain(&*hot).any(|one| one.serial == Some(*serial))
        });
        let held = resources.entry(serial).or_default();
        *held = held.saturating_add(given);
        *held <= self.0.handles_max
    }

    /// Makes a call, waiting for a guest and for its answer together no longer than the compartment's deadline and what is around it. A guest
    /// that has to be started is not waited for at the call's cost, but at what is around it.
    fn call_bytes<T>(
        &self,
        subject: Subject<'_>,
        pinned: Option<u64>,
        arguments: &[&[u8]],
        around: Around,
        decode: impl FnMut(&mut Source<'_>) -> Result<(T, u64), DecodeError>,
    ) -> Result<(T, u64), CallError> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let outcome = self.attempt(subject, pinned, arguments, around, decode);
        if outcome.is_err() {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn attempt<T>(
        &self,
        subject: Subject<'_>,
        pinned: Option<u64>,
        arguments: &[&[u8]],
        around: Around,
        mut decode: impl FnMut(&mut Source<'_>) -> Result<(T, u64), DecodeError>,
    ) -> Result<(T, u64), CallError> {
        if around.depth > CALL_DEPTH_MAX {
            let edge = self.0.edge.clone();
            return Err(self.recorded(CallError::Limit { edge, what: "nested calls" }));
        }
        let cancellation = around.cancellation;
        let mut bridge = Bridge::new(&self.0.imports, around.depth, cancellation.clone());
        // Who waits for nothing has the compartment's own deadline, and reads no clock.
        let at_once = around.until.is_none() && cancellation.is_none() && pinned.is_none();
        let (mut taken, until) = match at_once.then(|| self.take_hot()).flatten() {
            Some(taken) => (taken, None),
            None => {
                let own = Instant::now() + self.0.deadline;
                let within = |own: Instant| around.until.map_or(own, |around| around.min(own));
                let taken = self.take(pinned, within(own), cancellation.as_ref())?;
                let until = within(own + taken.starting);
                (taken, Some(until))
            }
        };
        let ending = cancellation.as_ref().map(|cancellation| {
            let ender = taken.guest().ender();
            cancellation.ending(move || ender.end())
        });
        let is_cancelled = || cancellation.as_ref().is_some_and(Cancellation::is_cancelled);
        if is_cancelled() {
            // From here on it would be ended by the switch; before, it has to be seen here.
            drop(ending);
            taken.give(true);
            return Err(self.recorded(CallError::Cancelled { edge: self.0.edge.clone() }));
        }
        let mut result = None;
        let mut take = |from: &mut Source<'_>| {
            result = Some(decode(from)?);
            Ok(())
        };
        let outcome = taken.guest().call_subject(subject, arguments, &mut take, until, &mut bridge);
        // The guest may be another caller's from now on.
        drop(ending);
        let serial = taken.guest().serial().unwrap_or_default();
        if is_cancelled() {
            // It is being ended, and nobody else should get it.
            taken.guest().end();
        }
        let outcome = match outcome {
            Ok(()) => match result.expect("a call that succeeds has taken its result") {
                (_, given) if given > 0 && !self.hold_resources(serial, given) => {
                    Err(taken.guest().end_for_limit("handles"))
                }
                (value, _) => Ok((value, serial)),
            },
            Err(error) => Err(error),
        };
        let closed = taken.give(outcome.is_ok());
        if outcome.is_err() && is_cancelled() {
            return Err(self.recorded(CallError::Cancelled { edge: self.0.edge.clone() }));
        }
        outcome.map_err(|error| match closed {
            // It was ended for that, whatever it looked like from here.
            Some(what) => CallError::Revoked { edge: self.0.edge.clone(), what },
            None => bridge.explain(error.into()),
        })
    }

    /// The hot guest, when it is there and can be called as it is.
    fn take_hot(&self) -> Option<Taken<'_>> {
        let compartment = self.0.hot.take()?;
        if compartment.is_ready() {
            let (how, starting) = (How::Hot, Duration::ZERO);
            return Some(Taken { edge: self, compartment: Some(compartment), how, starting });
        }
        // It has to be started again, and is taken like any other for that.
        let mut state = self.lock();
        self.0.hot.end();
        let fresh = state.hot.take().is_some_and(|hot| hot.version == state.version);
        if fresh && state.closed.is_none() && compartment.runs(&state.program) {
            state.idle.push(compartment);
            self.wake(&state);
        } else {
            // It is of a plan or a program that is no more, and there is room for another.
            self.wake(&state);
            drop(state);
            drop(compartment);
        }
        None
    }

    /// Puts the hot guest among those that are idle. One that is in a call comes there by itself.
    fn cool(&self, state: &mut State) {
        if let Found::Here(compartment) = self.0.hot.reclaim() {
            state.hot = None;
            state.idle.push(compartment);
        }
    }

    /// An idle guest: the one that is pinned, or any.
    fn idle(&self, state: &mut State, pinned: Option<u64>) -> Option<Box<ProcessCompartment>> {
        if state.hot.as_ref().is_some_and(|hot| pinned.is_none() || hot.serial == pinned) {
            self.cool(state);
        }
        let at = match pinned {
            Some(serial) => state.idle.iter().position(|one| one.serial() == Some(serial)),
            None => state.idle.len().checked_sub(1),
        };
        at.map(|at| state.idle.swap_remove(at))
    }

    /// A guest for a call: the one that is pinned, an idle one, or a new one.
    fn take(
        &self,
        pinned: Option<u64>,
        until: Instant,
        cancellation: Option<&Cancellation>,
    ) -> Result<Taken<'_>, CallError> {
        let shared = &*self.0;
        let edge = || shared.edge.clone();
        let mut state = self.lock();
        if !self.lets_in(&mut state) {
            drop(state);
            let error = CallError::Limit { edge: edge(), what: "calls in flight" };
            return Err(self.recorded(error));
        }
        let error = loop {
            if let Some(what) = state.closed {
                break CallError::Revoked { edge: edge(), what };
            }
            if cancellation.is_some_and(Cancellation::is_cancelled) {
                break CallError::Cancelled { edge: edge() };
            }
            if let Some(compartment) = self.idle(&mut state, pinned) {
                let taken = self.busy(&mut state, Some(compartment));
                drop(state);
                return self.ready(taken, pinned);
            }
            match pinned {
                Some(serial) if !state.is_busy(serial) => break CallError::StaleHandle { edge: edge() },
                None if state.busy.len() + usize::from(state.hot.is_some()) < shared.instances => {
                    return self.another(state);
                }
                _ => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break CallError::Deadline { edge: edge(), deadline: shared.deadline };
            }
            let left = if cancellation.is_some() { left.min(LOOK) } else { left };
            state.waiters += 1;
            state = shared.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiters -= 1;
        };
        state.callers -= 1;
        drop(state);
        Err(match error {
            error @ (CallError::Deadline { .. } | CallError::Cancelled { .. }) => self.recorded(error),
            error => error,
        })
    }

    /// Counts a caller, if there may be one more. With as many as there may be, nobody comes by way of the hot place.
    fn lets_in(&self, state: &mut State) -> bool {
        if state.callers + u64::from(self.0.hot.is_out()) >= self.0.callers_max {
            return false;
        }
        state.callers += 1;
        if state.callers < self.0.callers_max {
            return true;
        }
        self.cool(state);
        let somebody = state.hot.is_some();
        state.callers -= u64::from(somebody);
        !somebody
    }

    /// Puts a guest, or the place for one, among those that are in a call.
    fn busy(&self, state: &mut State, compartment: Option<Box<ProcessCompartment>>) -> Taken<'_> {
        let (version, ticket) = (state.version, NEXT.fetch_add(1, Ordering::Relaxed));
        let serial = compartment.as_ref().and_then(|compartment| compartment.serial());
        let ender = compartment.as_ref().map(|compartment| compartment.ender()).unwrap_or_default();
        state.busy.push(Busy { serial, ender, ticket, version });
        Taken { edge: self, compartment, how: How::Slow { version, ticket }, starting: Duration::ZERO }
    }

    /// An idle guest that is started again if it is gone, where nobody waits for the lock.
    fn ready<'e>(&'e self, mut taken: Taken<'e>, pinned: Option<u64>) -> Result<Taken<'e>, CallError> {
        let begun = Instant::now();
        let ready = if pinned.is_some() { Ok(()) } else { taken.guest().ensure_running() };
        taken.starting = begun.elapsed();
        match ready {
            Ok(()) => self.still_stands(taken),
            Err(error) => {
                let revoked = |what| CallError::Revoked { edge: self.0.edge.clone(), what };
                Err(taken.give(false).map_or_else(|| error.into(), revoked))
            }
        }
    }

    /// A new guest, from the template where there is one.
    fn another<'e>(&'e self, mut state: MutexGuard<'e, State>) -> Result<Taken<'e>, CallError> {
        let shared = &*self.0;
        let (plan, program) = (state.plan.clone(), Arc::clone(&state.program));
        let template = state.template.as_ref().map(ProcessCompartment::template);
        let mut taken = self.busy(&mut state, None);
        drop(state);
        let (host, folder, log) = (&shared.host, &shared.folder, &shared.log);
        let begun = Instant::now();
        let compartment = match template {
            Some(template) => template.another().map_err(CallError::from),
            None => ProcessCompartment::start_program(host, &plan, &program, folder, log, shared.options)
                .map_err(|error| CallError::Start(Box::new(error.into()))),
        }?;
        taken.compartment = Some(Box::new(compartment));
        taken.starting = begun.elapsed();
        let taken = self.still_stands(taken)?;
        let mut state = self.lock();
        let made = taken.compartment.as_ref().filter(|made| made.runs(&state.program));
        if let (Some(made), How::Slow { version, .. }) = (made, taken.how)
            && version == state.version
        {
            state.template = Some(made.template());
        }
        drop(state);
        Ok(taken)
    }

    /// A guest that was started meanwhile is known from now on to whoever takes its grants back; one whose grants were taken back
    /// before that is not called.
    fn still_stands<'e>(&'e self, mut taken: Taken<'e>) -> Result<Taken<'e>, CallError> {
        let (serial, ender) = (taken.guest().serial(), taken.guest().ender());
        let How::Slow { version, ticket } = taken.how else { return Ok(taken) };
        let mut state = self.lock();
        if let Some(busy) = state.busy.iter_mut().find(|busy| busy.ticket == ticket) {
            (busy.serial, busy.ender) = (serial, ender);
        }
        let stands = state.closed.is_none() && state.version == version;
        drop(state);
        if stands {
            return Ok(taken);
        }
        taken.guest().end();
        let what = taken.give(false).unwrap_or(REVOKED);
        Err(CallError::Revoked { edge: self.0.edge.clone(), what })
    }

    /// Puts a guest back, unless the compartment has moved on.
    fn give(
        &self,
        mut compartment: Option<Box<ProcessCompartment>>,
        how: How,
        well: bool,
    ) -> Option<&'static str> {
        if well && matches!(how, How::Hot) {
            compartment = match self.0.hot.give(compartment?) {
                Ok(()) => return None,
                Err(watched) => Some(watched),
            };
        }
        let mut state = self.lock();
        let closed = match how {
            // What ends guests of before takes the hot one away, or has it come here and says why.
            How::Hot => {
                self.0.hot.end();
                let ended =
                    state.hot.take().and_then(|hot| (hot.version != state.version).then_some(REVOKED));
                state.closed.or(ended)
            }
            How::Slow { version, ticket } => {
                state.callers -= 1;
                state.busy.retain(|busy| busy.ticket != ticket);
                state.closed.or((state.version != version).then_some(REVOKED))
            }
        };
        let Some(mut compartment) = compartment else {
            self.wake(&state);
            return closed;
        };
        add(&mut state.taken, &mut compartment);
        self.0.memory_peak.fetch_max(compartment.memory_of_ended(), Ordering::Relaxed);
        let mut spent = None;
        if closed.is_some() || !compartment.runs(&state.program) {
            spent = Some(compartment);
        } else if well && state.hot.is_none() && state.waiters == 0 && state.callers < self.0.callers_max {
            let (serial, ender) = (compartment.serial(), compartment.ender());
            let (version, ticket) = (state.version, NEXT.fetch_add(1, Ordering::Relaxed));
            state.hot = Some(Busy { serial, ender, ticket, version });
            self.0.hot.put(compartment);
        } else {
            state.idle.push(compartment);
        }
        self.wake(&state);
        drop(state);
        // Its end takes a moment, and nobody should wait for that with the lock.
        drop(spent);
        closed
    }

    fn wake(&self, state: &State) {
        // Whoever waits for one guest could be woken for another, so all look. Nobody is told when nobody waits: that is a system call.
        if state.waiters > 0 {
            self.0.freed.notify_all();
        }
    }

    fn recorded(&self, error: CallError) -> CallError {
        match self.0.log.record(&event_of(&self.0.edge, &error)) {
            Ok(()) => error,
            Err(error) => CallError::Audit(error),
        }
    }

    /// Guests that run are ended, and those that are in a call are told why; what follows begins with `change`.
    fn renew(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.version += 1;
        state.template = None;
        self.cool(&mut state);
        let idle = std::mem::take(&mut state.idle);
        for busy in state.busy.iter().chain(&state.hot) {
            busy.ender.end();
        }
        self.wake(&state);
        drop(state);
        drop(idle);
    }

    pub(crate) fn stop(&self) -> Result<(), StartError> {
        self.renew(|state| state.closed = Some("the edge"));
        Ok(self.0.log.record(&AuditEvent::Stopped { edge: self.0.edge.clone() })?)
    }

    pub(crate) fn revoke(&self) -> Result<(), StartError> {
        self.renew(|state| state.closed = Some("the edge"));
        Ok(self.0.log.record(&AuditEvent::Revoked { edge: self.0.edge.clone(), capability: None })?)
    }

    pub(crate) fn revoke_grant(&self, capability: &Capability) -> Result<(), StartError> {
        self.renew(|state| state.plan.revoke(capability));
        let (edge, capability) = (self.0.edge.clone(), Some(capability.to_string()));
        Ok(self.0.log.record(&AuditEvent::Revoked { edge, capability })?)
    }

    /// Puts another program in the place of the one that runs. Calls that run finish on the old one.
    pub(crate) fn replace(&self, program: &[u8]) -> Result<(), StartError> {
        let mut program = Arc::new(load(&self.lock().plan, program)?);
        let digest = program.digest();
        loop {
            let state = self.lock();
            let (plan, version) = (state.plan.clone(), state.version);
            if state.closed.is_some() {
                return Err(StartError::Revoked { edge: self.0.edge.clone() });
            }
            drop(state);
            let (host, folder, log) = (&self.0.host, &self.0.folder, &self.0.log);
            let first =
                ProcessCompartment::start_program(host, &plan, &program, folder, log, self.0.options)?;
            let differences: Vec<String> = self
                .0
                .offers
                .iter()
                .filter(|offer| !first.offers().contains(offer))
                .map(|offer| format!("- {}", offer.name))
                .collect();
            // Calls name functions by their place.
            if !differences.is_empty() || first.offers().len() < self.0.offers.len() {
                let (edge, world) = (self.0.edge.clone(), "the program that runs".to_owned());
                return Err(StartError::DoesNotFit { edge, world, differences });
            }
            let mut state = self.lock();
            if state.version != version {
                // A grant was taken back while it started: from the beginning, with those that are left.
                drop(state);
                continue;
            }
            std::mem::swap(&mut state.program, &mut program);
            state.template = Some(first.template());
            self.cool(&mut state);
            let old = std::mem::replace(&mut state.idle, vec![Box::new(first)]);
            self.wake(&state);
            drop(state);
            drop(old);
            return Ok(self.0.log.record(&AuditEvent::Replaced { edge: self.0.edge.clone(), digest })?);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(plan: &CompartmentPlan, program: &[u8]) -> Result<Program, StartError> {
    Program::from_bytes(program).map_err(|message| {
        let path = format!("the program of {}", plan.krate);
        super::StartError::Program { edge: plan.edge(), path, message }.into()
    })
}

fn add(taken: &mut Stdio, compartment: &mut ProcessCompartment) {
    let stdio = compartment.take_stdio();
    taken.stdout.extend(stdio.stdout);
    taken.stderr.extend(stdio.stderr);
}

impl From<OwnError> for CallError {
    fn from(error: OwnError) -> Self {
        match error {
            OwnError::Violation { edge, violation } => Self::Violation {
                edge,
                capability: violation.capability.as_deref().map(Capability::from_name),
                attempt: violation.to_string(),
                line: violation.line,
            },
            OwnError::Fault { edge, kind: OwnFault::Host { function, message } } => {
                Self::Host { edge, function, message }
            }
            OwnError::Fault { edge, kind } => Self::Fault { edge, kind: kind.into() },
            OwnError::Deadline { edge, deadline } => Self::Deadline { edge, deadline },
            OwnError::Limit { edge, what } => Self::Limit { edge, what },
            OwnError::UnknownFunction { edge, function, known } => {
                Self::UnknownFunction { edge, function, known }
            }
            OwnError::Refused { edge, message } => {
                Self::Usage { edge, message: format!("the guest refused the call: {message}") }
            }
            OwnError::Usage { edge, message } => Self::Usage { edge, message },
            OwnError::NotRestarted { edge } => Self::Gone { edge },
            OwnError::Restart { source, .. } => Self::Start(Box::new((*source).into())),
            OwnError::Audit(error) => Self::Audit(error),
        }
    }
}

impl From<OwnFault> for FaultKind {
    fn from(kind: OwnFault) -> Self {
        match kind {
            OwnFault::Panic(message) | OwnFault::Callee(message) => Self::Panic(Some(message)),
            kind @ OwnFault::Host { .. } => Self::Panic(Some(kind.to_string())),
            OwnFault::OutOfMemory => Self::OutOfMemory,
            OwnFault::StackOverflow => Self::StackOverflow,
            OwnFault::Signal(number, words) => Self::Signal(number, words),
            OwnFault::Exit(code) => Self::Exit(code),
            OwnFault::Vanished => Self::Vanished,
            OwnFault::Protocol(message) => Self::Protocol(message),
        }
    }
}
