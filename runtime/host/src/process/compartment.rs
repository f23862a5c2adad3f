//! A running process compartment: one per edge.

mod exchange;
mod running;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use cofferdam_wire::handshake::Offer;
use cofferdam_wire::order::LayerReport;
use cofferdam_wire::value::{Source as Message, decode_from, sink};
use cofferdam_wire::{Decode, Encode};

use exchange::NoImports;
pub(crate) use exchange::Subject;
#[cfg(feature = "wasm")]
use exchange::Take;
#[cfg(feature = "wasm")]
pub(crate) use exchange::{Imports, NoAnswer};
use running::{Running, Source};

use super::control::{Cause, Control, lock};
use super::error::{CallError, FaultKind, StartError};
use super::host::ProcessHost;
use super::limits::CALL_DEADLINE_DEFAULT;
use super::lower::{Lowered, lower};
use super::program::Program;
use crate::audit::{AuditEvent, AuditLog};
use crate::plan::CompartmentPlan;
use crate::refusal::{Recent, Refusal};

/// What a guest wrote to its granted streams since the last time they were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Whether a guest that is gone is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// No: every later call is an error.
    Never,
    /// With the next call.
    #[default]
    OnNextCall,
    /// With the next call, but not more often than this in any minute.
    PerMinute(u32),
}

/// What a caller may choose about a start.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// The interface that the caller was generated for. A guest with another does not start.
    pub interface: Option<u64>,
    /// Whether it is started again.
    pub restart: Restart,
    /// How many calls one guest serves. The next call then has a fresh one, in which no earlier call has left anything. This is no
    /// restart: the policy does not count it. At least 1; `None` is any number.
    pub calls_max: Option<u32>,
    /// Keeps a second guest started, so that a fresh one costs the next call no start. Takes a second guest's memory.
    pub spare: bool,
}

/// A native guest with exactly what its edge grants.
#[derive(Debug)]
pub struct ProcessCompartment {
    source: Arc<Source>,
    options: StartOptions,
    deadline: Duration,
    cpu_left: Option<Duration>,
    running: Option<Running>,
    spare: Option<JoinHandle<Result<Running, StartError>>>,
    /// Shared by the compartments of a pool, which has one policy.
    restarts: Arc<Mutex<VecDeque<Instant>>>,
    layers: Vec<LayerReport>,
    taken: Stdio,
    /// Of one that no pool has; a pool keeps its own.
    refusals: Recent,
    ender: Ender,
    /// For what the guest sends, kept from call to call.
    buffer: Vec<u8>,
    /// Most memory of guests that were ended.
    memory_of_ended: u64,
}

/// Numbers of guests. No two guests of a program have the same.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Ends the guest that runs, also while it is in a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Ender(Arc<Mutex<Option<Arc<Control>>>>);

impl Ender {
    #[cfg(feature = "wasm")]
    pub(super) fn end(&self) {
        if let Some(control) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            control.end(Cause::Dropped);
        }
    }
}

impl ProcessCompartment {
    /// Starts a guest for one compartment of a plan: a static program that serves calls through `cofferdam-guest`.
    ///
    /// # Errors
    /// When a grant or limit cannot be enforced, a layer of the confinement fails, or the program is no guest.
    ///
    /// # Authority
    /// Reads the program, opens the granted paths below `folder`, reads the granted variables, and starts the launcher.
    pub fn start_ambient(
        host: &ProcessHost,
        plan: &CompartmentPlan,
        program: &Path,
        folder: &Path,
        log: &AuditLog,
        ambient: AmbientAuthority,
    ) -> Result<Self, StartError> {
        Self::start_with_ambient(host, plan, program, folder, log, StartOptions::default(), ambient)
    }

    /// The same, with choices.
    ///
    /// # Errors
    /// As [`ProcessCompartment::start_ambient`].
    ///
    /// # Authority
    /// As [`ProcessCompartment::start_ambient`].
    pub fn start_with_ambient(
        host: &ProcessHost,
        plan: &CompartmentPlan,
        program: &Path,
        folder: &Path,
        log: &AuditLog,
        options: StartOptions,
        _: AmbientAuthority,
    ) -> Result<Self, StartError> {
        let refusals = Recent::default();
        let log = &log.keeping(&refusals);
        let image = host.programs.read(program).map_err(|message| StartError::Program {
            edge: plan.edge(),
            path: program.display().to_string(),
            message,
        });
        match image {
            Ok(image) => {
                let mut started = Self::start_program(host, plan, &image, folder, log, options)?;
                started.refusals = refusals;
                Ok(started)
            }
            Err(error) => {
                log.record(&AuditEvent::Refused { edge: plan.edge(), reason: error.to_string() })?;
                Err(error)
            }
        }
    }

    /// The same with a program that was read.
    pub(super) fn start_program(
        host: &ProcessHost,
        plan: &CompartmentPlan,
        program: &Arc<Program>,
        folder: &Path,
        log: &AuditLog,
        options: StartOptions,
    ) -> Result<Self, StartError> {
        let edge = plan.edge();
        let started = Self::prepare(host, plan, Arc::clone(program), folder, log.clone(), options)
            .and_then(|mut compartment| compartment.run().map(|()| compartment));
        match &started {
            Ok(compartment) => {
                for grant in &plan.grants {
                    let (capability, scope) = (grant.capability.to_string(), grant.scope.to_string());
                    log.record(&AuditEvent::Grant { edge: edge.clone(), capability, scope })?;
                }
                let mut layers: Vec<String> = compartment.layers.iter().map(describe).collect();
                layers.push(describe_groups(host.control_groups()));
                log.record(&AuditEvent::Confined { edge, layers })?;
            }
            Err(error) => log.record(&AuditEvent::Refused { edge, reason: error.to_string() })?,
        }
        started
    }

    fn prepare(
        host: &ProcessHost,
        plan: &CompartmentPlan,
        program: Arc<Program>,
        folder: &Path,
        log: AuditLog,
        options: StartOptions,
    ) -> Result<Self, StartError> {
        let edge = plan.edge();
        let failed = |error: &dyn std::fmt::Display| StartError::Host {
            edge: edge.clone(),
            message: error.to_string(),
        };
        if options.calls_max == Some(0) {
            let what = "a guest that serves no call".to_owned();
            return Err(StartError::CannotEnforce { edge, what });
        }
        // The kernel does not count the processes of its own root user, whatever namespace they are in; a control group does.
        let counted = !rustix::process::getuid().is_root()
            || host.groups.as_ref().is_some_and(|groups| groups.count_processes());
        let source = Source {
            launcher: host.launcher.try_clone().map_err(|error| failed(&error))?,
            server: host.server.clone(),
            groups: host.groups.clone(),
            spin_pauses: host.spin_pauses,
            lowered: Arc::new(lower(plan, &program, folder, counted)?),
            program,
            interface: options.interface,
            log,
        };
        Ok(Self {
            source: Arc::new(source),
            options,
            deadline: plan
                .limits
                .call_deadline
                .map_or(CALL_DEADLINE_DEFAULT, |time| Duration::from_nanos(time.0)),
            cpu_left: plan.limits.cpu_time.map(|time| Duration::from_nanos(time.0)),
            running: None,
            spare: None,
            restarts: Arc::default(),
            layers: Vec::new(),
            taken: Stdio::default(),
            refusals: Recent::default(),
            ender: Ender::default(),
            buffer: Vec::new(),
            memory_of_ended: 0,
        })
    }

    /// The same compartment without a guest: what others of a pool are started from, with one restart policy and count for all.
    pub(super) fn template(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            options: self.options,
            deadline: self.deadline,
            cpu_left: self.cpu_left,
            running: None,
            spare: None,
            restarts: Arc::clone(&self.restarts),
            layers: Vec::new(),
            taken: Stdio::default(),
            refusals: self.refusals.clone(),
            ender: Ender::default(),
            buffer: Vec::new(),
            memory_of_ended: 0,
        }
    }

    /// Starts a guest in a template.
    pub(super) fn another(mut self) -> Result<Self, CallError> {
        self.run_again().map(|()| self)
    }

    /// Ends the guest for having needed more than a limit allows.
    #[cfg(feature = "wasm")]
    pub(super) fn end_for_limit(&mut self, what: &'static str) -> CallError {
        self.stop(Cause::Limit(what))
    }

    /// What its plan was lowered to.
    pub(super) fn lowered(&self) -> &Lowered {
        &self.source.lowered
    }

    /// The host's end of the socket of the guest that runs.
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        self.running.as_ref().map(|running| &running.socket)
    }

    /// Ends the guest; the next call has a fresh one, if the policy allows.
    pub(super) fn end(&mut self) {
        // Whatever it was ended for is no error of a call.
        let _ = self.stop(Cause::Dropped);
    }

    /// Longest time of one call.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether it can be called as it is: nothing has to be started for that, and nothing refuses it.
    #[cfg(feature = "wasm")]
    pub(super) fn is_ready(&self) -> bool {
        let fresh = |running: &Running| {
            !running.is_gone() && self.options.calls_max.is_none_or(|most| running.calls < most)
        };
        self.running.as_ref().is_some_and(fresh) && self.cpu_left.is_none_or(|left| !left.is_zero())
    }

    /// Whether it will never be called again: its guest is gone, and stays so.
    pub(super) fn is_over(&self) -> bool {
        self.options.restart == Restart::Never && self.running.as_ref().is_none_or(Running::is_gone)
    }

    /// `consumer -> crate`.
    pub fn edge(&self) -> &str {
        &self.source.lowered.edge
    }

    /// What the launcher put around the guest that started last.
    pub fn layers(&self) -> &[LayerReport] {
        &self.layers
    }

    /// The functions of the guest that runs; none if it is gone.
    pub fn functions(&self) -> Vec<String> {
        self.offers().iter().map(|offer| offer.name.clone()).collect()
    }

    /// The same with the digests of their types.
    pub(super) fn offers(&self) -> &[Offer] {
        self.running.as_ref().map_or(&[], |running| &running.functions)
    }

    /// What the guest that runs calls of its host's.
    #[cfg(feature = "wasm")]
    pub(super) fn imports(&self) -> &[Offer] {
        self.running.as_ref().map_or(&[], |running| &running.imports)
    }

    /// Which guest it is that runs; `None` when it is gone.
    pub(super) fn serial(&self) -> Option<u64> {
        self.running.as_ref().filter(|running| !running.is_gone()).map(|running| running.serial)
    }

    /// Most memory that the guest which runs has had resident, bytes.
    #[cfg(feature = "wasm")]
    pub(super) fn memory_peak(&self) -> Option<u64> {
        self.running.as_ref().and_then(|running| running.control.memory_peak())
    }

    /// The same of guests that were ended, as it was then.
    #[cfg(feature = "wasm")]
    pub(super) fn memory_of_ended(&self) -> u64 {
        self.memory_of_ended
    }

    /// Whether its guests are of this program.
    #[cfg(feature = "wasm")]
    pub(super) fn runs(&self, program: &Arc<Program>) -> bool {
        Arc::ptr_eq(&self.source.program, program)
    }

    /// What ends it from another thread.
    #[cfg(feature = "wasm")]
    pub(super) fn ender(&self) -> Ender {
        self.ender.clone()
    }

    /// What the guest asked for and was told no since the last time, the first [`REFUSALS_KEPT_MAX`](super::REFUSALS_KEPT_MAX) of it, each with
    /// the line that would have allowed it. A path that it was not given is not there for it: that is no refusal, and the host does not
    /// hear of it.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.refusals.take()
    }

    /// What was written to the granted streams since the last time.
    pub fn take_stdio(&mut self) -> Stdio {
        if let Some(running) = &self.running {
            let (stdout, stderr) = running.control.take_output();
            self.taken.stdout.extend(stdout);
            self.taken.stderr.extend(stderr);
        }
        std::mem::take(&mut self.taken)
    }

    /// Takes the spare guest, or starts one. What is left of the last goes, and the next spare is started, on another thread.
    fn run(&mut self) -> Result<(), StartError> {
        let spent = self.running.take();
        let spare = self.spare.take().and_then(|spare| spare.join().ok()).and_then(Result::ok);
        let mut running = match spare {
            Some(spare) if !spare.is_gone() => spare,
            _ => self.source.start()?,
        };
        self.layers.clone_from(&running.layers);
        running.serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        *self.ender.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&running.control));
        self.running = Some(running);
        if self.options.spare {
            let source = Arc::clone(&self.source);
            let next = std::thread::Builder::new().name("cofferdam-spare".to_owned()).spawn(move || {
                drop(spent);
                source.start()
            });
            // Without a thread there is no spare, and the next start takes as long as a start does.
            self.spare = next.ok();
        }
        Ok(())
    }

    /// Calls a function by name, with arguments and result as bytes in the encoding of `cofferdam-wire`.
    ///
    /// # Errors
    /// See [`CallError`]. Violations and faults are in the audit log before this returns.
    pub fn call(&mut self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, CallError> {
        let mut result = Vec::new();
        self.call_into(function, arguments, &mut result)?;
        Ok(result)
    }

    /// Calls a function by name, with typed arguments (a tuple) and a typed result.
    ///
    /// # Errors
    /// See [`CallError`]. A result that is not of the type is a fault.
    pub fn call_typed<A: Encode, R: Decode>(
        &mut self,
        function: &str,
        arguments: &A,
    ) -> Result<R, CallError> {
        self.call_typed_within(function, arguments, self.deadline)
    }

    /// The same in less time than the compartment's own deadline.
    pub(super) fn call_typed_within<A: Encode, R: Decode>(
        &mut self,
        function: &str,
        arguments: &A,
        deadline: Duration,
    ) -> Result<R, CallError> {
        let edge = || self.source.lowered.edge.clone();
        let message = sink(arguments, Vec::new())
            .map_err(|error| CallError::Usage { edge: edge(), message: error.to_string() })?;
        let mut result = None;
        let mut take = |from: &mut Message<'_>| {
            result = Some(decode_from(from)?.0);
            Ok(())
        };
        self.ensure_running()?;
        let subject = Subject::Named(function);
        message.with_pieces(|pieces| self.call_for(subject, pieces, &mut take, deadline, &mut NoImports))?;
        Ok(result.expect("a call that succeeds has taken its result"))
    }

    /// Calls a function by name; its result replaces what is in `result`, and takes no new memory where that has enough.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_into(
        &mut self,
        function: &str,
        arguments: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        self.call_within(function, arguments, result, self.deadline)
    }

    /// The same in less time than the compartment's own deadline.
    pub(super) fn call_within(
        &mut self,
        function: &str,
        arguments: &[u8],
        result: &mut Vec<u8>,
        deadline: Duration,
    ) -> Result<(), CallError> {
        self.ensure_running()?;
        result.clear();
        let mut take = |from: &mut Message<'_>| from.rest_into(result);
        self.call_for(Subject::Named(function), &[arguments], &mut take, deadline, &mut NoImports)
    }

    /// Makes a call on the guest that runs; the caller saw to it that there is one. `within` is a deadline beside the
    /// compartment's own.
    #[cfg(feature = "wasm")]
    pub(super) fn call_subject(
        &mut self,
        subject: Subject<'_>,
        arguments: &[&[u8]],
        take: &mut Take<'_>,
        within: Option<Instant>,
        imports: &mut dyn Imports,
    ) -> Result<(), CallError> {
        let left = within.map_or(Duration::MAX, |within| within.saturating_duration_since(Instant::now()));
        self.call_for(subject, arguments, take, left, imports)
    }

    /// Ends the guest, and says how it ended: by itself, if it did so first.
    fn stop(&mut self, cause: Cause) -> CallError {
        let edge = self.source.lowered.edge.clone();
        let Some(mut running) = self.running.take() else {
            return CallError::NotRestarted { edge };
        };
        self.memory_of_ended = self.memory_of_ended.max(running.control.memory_peak().unwrap_or(0));
        let end = running.end(cause);
        self.keep_output(&running);
        match end {
            Some(end) => end.error(&edge),
            None => CallError::Fault { edge, kind: FaultKind::Vanished },
        }
    }

    fn keep_output(&mut self, running: &Running) {
        let (stdout, stderr) = running.control.take_output();
        self.taken.stdout.extend(stdout);
        self.taken.stderr.extend(stderr);
    }

    /// A guest that can be called, if the policy allows a new one.
    pub(super) fn ensure_running(&mut self) -> Result<(), CallError> {
        if self.running.as_ref().is_some_and(Running::is_gone) {
            // It ended between calls, and that was recorded then.
            if let CallError::Audit(error) = self.stop(Cause::Dropped) {
                return Err(CallError::Audit(error));
            }
        }
        let edge = || self.source.lowered.edge.clone();
        if self.cpu_left.is_some_and(|left| left.is_zero()) {
            return Err(CallError::Limit { edge: edge(), what: "processor time" });
        }
        if let Some(running) = &self.running {
            if self.options.calls_max.is_none_or(|most| running.calls < most) {
                return Ok(());
            }
            if let Some(running) = self.running.take() {
                self.keep_output(&running);
                self.running = Some(running);
            }
            return self.run_again();
        }
        let now = Instant::now();
        let allowed = {
            let mut restarts = lock(&self.restarts);
            restarts.retain(|restart| now.duration_since(*restart) < Duration::from_mins(1));
            match self.options.restart {
                Restart::OnNextCall => true,
                Restart::PerMinute(most) if restarts.len() < most as usize => {
                    restarts.push_back(now);
                    true
                }
                Restart::Never | Restart::PerMinute(_) => false,
            }
        };
        if !allowed {
            return Err(CallError::NotRestarted { edge: edge() });
        }
        self.run_again()
    }

    fn run_again(&mut self) -> Result<(), CallError> {
        self.run().map_err(|error| match error {
            StartError::Ended(error) => error,
            error => {
                let edge = self.source.lowered.edge.clone();
                CallError::Restart { edge, source: Box::new(error) }
            }
        })
    }
}

fn describe(report: &LayerReport) -> String {
    use cofferdam_wire::order::Outcome;
    let outcome = match report.outcome {
        Outcome::Enforced => "enforced",
        Outcome::NotAsked => "not asked for",
        Outcome::NotApplicable => "not applicable",
        Outcome::Failed => "failed",
    };
    let detail = if report.detail.is_empty() { String::new() } else { format!(" ({})", report.detail) };
    format!("{}: {outcome}{detail}", report.layer.name())
}

/// What control groups add, as the log has it.
pub(super) fn describe_groups(controllers: Option<&[&str]>) -> String {
    match controllers {
        None => "control group: not asked for".to_owned(),
        Some([]) => "control group: enforced (killed together; the folder has no controllers)".to_owned(),
        Some(controllers) => format!("control group: enforced ({})", controllers.join(", ")),
    }
}

impl Drop for ProcessCompartment {
    fn drop(&mut self) {
        // A spare ends when what its thread gives is dropped.
        drop(self.spare.take().map(JoinHandle::join));
    }
}
