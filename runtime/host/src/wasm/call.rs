//! One call of a compartment: how it is let in, finds or makes its instance, and is judged when it ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::Instrument as _;
use wasmtime::Trap;

use super::compartment::{Around, WasmCompartment, in_ticks};
use super::entry::{Dropping, Entry};
use super::error::{CallError, StartError};
use super::failure::{Bound, CalleeFailed, Failure, LimitHit};
use super::instance::{Prepared, Running, Settled};
use super::limits::{CALL_DEPTH_MAX, EPOCH_TICK, NATIVE_STACK_BYTES, WASM_STACK_BYTES_MAX};
use super::pool::{NotTaken, Seat, Taken};
use super::standing::Objection;
use super::state::State;
use super::stream::Output;
use crate::client::Cancellation;

impl WasmCompartment {
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
        let bound = self.own_bound();
        let (until, end) = (Instant::now().checked_add(bound.time), self.end_of(bound.time));
        let call = Call { bound, until, end, began: None, cancellation: None };
        self.0.host.ticker().begun();
        let mut seat = Seat::new(&self.0.pool, Taken::Ready(running));
        let running = seat.running().expect("it was taken");
        running.begin(self.0.host.ticker(), end, until, 0, None);
        let outcome = if self.0.waits {
            if tokio::runtime::Handle::try_current().is_ok() {
                // Its destructor could wait, and this thread may not: the instance goes, and the resource with it.
                Err(wasmtime::Error::msg("a handle was dropped where nothing may wait"))
            } else {
                let run = async { tokio::time::timeout(bound.time, entry.run_async(running)).await };
                self.0.host.runtime().block_on(run).unwrap_or_else(|_| Err(Trap::Interrupt.into()))
            }
        } else {
            entry.run(running)
        };
        self.leave(seat, outcome, &call).map(|_| ())
    }

    /// The shorter of the call's deadline and what is left of the compartment's time.
    fn own_bound(&self) -> Bound {
        let left = Duration::from_nanos(self.0.cpu_left.load(Ordering::Acquire));
        Bound { time: left, of_processor: true }.within(self.0.call_deadline)
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
        let mut bound = self.own_bound();
        let began = inner.timed.then(Instant::now);
        if let (Some(until), Some(began)) = (around.until, began) {
            bound = bound.within(until.saturating_duration_since(began));
        } else if let Some(until) = around.until {
            bound = bound.within(until.saturating_duration_since(Instant::now()));
        } else if let Some(end) = around.epoch {
            bound = bound.within(in_ticks(end.saturating_sub(inner.host.ticker().epoch())));
        }
        if bound.time.is_zero() {
            return Err(self.failed(Failure::Error(bound.over(edge()))));
        }
        // Waiting for an instance, and for one to be made, are part of it.
        let end = self.end_of(bound.time).min(around.epoch.unwrap_or(u64::MAX));
        let instances = inner.members[0].options.instances.max(1);
        let cancellation = around.cancellation;
        let taken =
            match inner.pool.take(instances, inner.callers_max, pinned, bound.time, cancellation.as_ref()) {
                Ok(taken) => Seat::new(&inner.pool, taken),
                Err(NotTaken::TooLate) => return Err(self.failed(Failure::Error(bound.over(edge())))),
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
        let until = began.and_then(|began| began.checked_add(bound.time));
        Ok((taken, Call { bound, until, end, began, cancellation }))
    }

    /// The epoch at which such a time from now is over.
    fn end_of(&self, deadline: Duration) -> u64 {
        self.0.host.ticker().epoch().saturating_add(super::instance::ticks(deadline))
    }

    /// A store with what the grants allow, for an instance to come.
    ///
    /// `born` is how often something had been revoked before the grants were looked at: what is revoked later, the store does not have.
    pub(super) fn store(&self, settled: &Settled, born: u64) -> Result<Prepared, StartError> {
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
                Err(self.failed(Failure::Trap(&error, call.bound)))
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
                    (Err(error), _) => Failure::Trap(error, call.bound),
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
            let bound = self.own_bound();
            inner.host.ticker().begun();
            let (end, until) = (self.end_of(bound.time), Instant::now().checked_add(bound.time));
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
                    let _ = self.failed(Failure::Trap(&error, bound));
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

    /// Where the compartment's calls stand, for its own guests' calls further on.
    pub(super) fn around(state: &State) -> Around {
        let (until, epoch, depth) = (state.deadline, Some(state.epoch), state.depth + 1);
        Around { until, epoch, depth, cancellation: state.cancellation.clone() }
    }
}

/// What one call was let in with.
struct Call {
    bound: Bound,
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
        self.until.map_or(self.bound.time, |until| until.saturating_duration_since(Instant::now()))
    }
}

/// Comes back when the switch is used, and never without one.
async fn cancelled(cancellation: Option<&Cancellation>) {
    let Some(cancellation) = cancellation else { return std::future::pending().await };
    while !cancellation.is_cancelled() {
        tokio::time::sleep(EPOCH_TICK).await;
    }
}
