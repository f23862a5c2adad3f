//! Several guests of one compartment, so that calls run side by side: each call in one that is idle.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use cofferdam_wire::{Decode, Encode};

use super::compartment::{ProcessCompartment, StartOptions, Stdio};
use super::control::lock;
use super::error::{CallError, StartError};
use super::host::ProcessHost;
use super::limits::INSTANCES_MAX;
use crate::audit::AuditLog;
use crate::plan::CompartmentPlan;

/// Guests of one compartment, called from any number of threads. Each has memory of its own, and a call goes to any that is idle,
/// so a guest must not rely on what an earlier call left behind. `calls_max` of [`StartOptions`] holds for each.
#[derive(Debug)]
pub struct ProcessPool {
    edge: String,
    deadline: Duration,
    instances: usize,
    callers_max: u64,
    state: Mutex<State>,
    /// Notified when a guest is given back, or there is room to start one.
    free: Condvar,
}

#[derive(Debug)]
struct State {
    idle: Vec<ProcessCompartment>,
    /// Guests that are idle, called, or being started.
    taken: usize,
    /// Calls that run or wait.
    callers: u64,
    /// What guests of earlier calls wrote, and are no more.
    written: Stdio,
    /// Where another guest is made from, when all are taken.
    template: ProcessCompartment,
    /// With a policy that restarts nothing, guests that are gone and are not replaced.
    over: usize,
}

impl ProcessPool {
    /// Starts one guest; up to `instances` run once calls need them.
    ///
    /// # Errors
    /// As [`ProcessCompartment::start_ambient`]; when `instances` is 0 or more than [`INSTANCES_MAX`]; and for `cpu-time` with more
    /// than one, which no one of them could be held to.
    ///
    /// # Authority
    /// As [`ProcessCompartment::start_ambient`].
    #[expect(clippy::too_many_arguments, reason = "those of a compartment, and one")]
    pub fn start_ambient(
        host: &ProcessHost,
        plan: &CompartmentPlan,
        program: &Path,
        folder: &Path,
        log: &AuditLog,
        options: StartOptions,
        instances: usize,
        ambient: AmbientAuthority,
    ) -> Result<Self, StartError> {
        let cannot = |what: String| StartError::CannotEnforce { edge: plan.edge(), what };
        if !(1..=INSTANCES_MAX).contains(&instances) {
            return Err(cannot(format!(
                "{instances} guests of one compartment (1 to {INSTANCES_MAX} can be)"
            )));
        }
        if instances > 1 && plan.limits.cpu_time.is_some() {
            return Err(cannot("`cpu-time` of several guests together".to_owned()));
        }
        let first =
            ProcessCompartment::start_with_ambient(host, plan, program, folder, log, options, ambient)?;
        let state = State {
            template: first.template(),
            idle: vec![first],
            taken: 1,
            callers: 0,
            written: Stdio::default(),
            over: 0,
        };
        Ok(Self {
            edge: plan.edge(),
            deadline: state.template.deadline(),
            instances,
            callers_max: plan.limits.calls_in_flight.unwrap_or(u64::MAX),
            state: Mutex::new(state),
            free: Condvar::new(),
        })
    }

    /// `consumer -> crate`.
    pub fn edge(&self) -> &str {
        &self.edge
    }

    /// Guests that wait, and guests that are called or started.
    pub fn instances(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.idle.len(), state.taken - state.idle.len())
    }

    /// Calls a function by name, with arguments and result as bytes in the encoding of `cofferdam-wire`. Waiting for an idle guest
    /// counts as part of the call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(&self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, CallError> {
        let mut result = Vec::new();
        self.with_guest(|guest, left| guest.call_within(function, arguments, &mut result, left))?;
        Ok(result)
    }

    /// Calls a function by name, with typed arguments (a tuple) and a typed result.
    ///
    /// # Errors
    /// See [`CallError`]. A result that is not of the type is a fault.
    pub fn call_typed<A: Encode, R: Decode>(&self, function: &str, arguments: &A) -> Result<R, CallError> {
        self.with_guest(|guest, left| guest.call_typed_within(function, arguments, left))
    }

    /// What guests that are idle or gone wrote to the granted streams since the last time.
    pub fn take_stdio(&self) -> Stdio {
        let mut state = lock(&self.state);
        let mut all = std::mem::take(&mut state.written);
        for guest in &mut state.idle {
            append(&mut all, guest.take_stdio());
        }
        all
    }

    fn with_guest<T>(
        &self,
        call: impl FnOnce(&mut ProcessCompartment, Duration) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let begun = Instant::now();
        let taken = self.take(begun);
        let mut guest = match taken {
            Ok(guest) => guest,
            Err(error) => {
                lock(&self.state).callers -= 1;
                return Err(error);
            }
        };
        let left = self.deadline.saturating_sub(begun.elapsed());
        let outcome = call(&mut guest, left);
        let mut state = lock(&self.state);
        state.callers -= 1;
        if guest.is_over() {
            state.taken -= 1;
            state.over += 1;
            append(&mut state.written, guest.take_stdio());
        } else {
            state.idle.push(guest);
        }
        drop(state);
        self.free.notify_one();
        outcome
    }

    /// An idle guest, a new one, or the first that is given back.
    fn take(&self, begun: Instant) -> Result<ProcessCompartment, CallError> {
        let mut state = lock(&self.state);
        state.callers += 1;
        if state.callers > self.callers_max {
            return Err(CallError::Limit { edge: self.edge.clone(), what: "calls in flight" });
        }
        loop {
            if let Some(guest) = state.idle.pop() {
                return Ok(guest);
            }
            if state.over >= self.instances {
                return Err(CallError::NotRestarted { edge: self.edge.clone() });
            }
            if state.taken + state.over < self.instances {
                state.taken += 1;
                let template = state.template.template();
                drop(state);
                return template.another().inspect_err(|_| {
                    lock(&self.state).taken -= 1;
                    self.free.notify_one();
                });
            }
            let left = self.deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(CallError::Deadline { edge: self.edge.clone(), deadline: self.deadline });
            }
            state = self.free.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn append(all: &mut Stdio, more: Stdio) {
    all.stdout.extend(more.stdout);
    all.stderr.extend(more.stderr);
}
