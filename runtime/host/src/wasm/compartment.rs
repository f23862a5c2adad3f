//! A running wasm compartment: one per edge, in a store of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use capability_manifest::scope::{Extent, NamePattern, Scope, Stream};
use capability_manifest::{Backend, HostCapability};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, ResourceTable, Type, Val};
use wasmtime::{Store, Trap};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder};

use super::clock::Coarse;
use super::error::{CallError, FaultKind, StartError, one_line};
use super::host::WasmHost;
use super::limits::{
    CALL_DEADLINE_DEFAULT, EPOCH_TICK, HANDLES_DEFAULT, Limiter, MEMORY_BYTES_DEFAULT, OUTPUT_BYTES_DEFAULT,
};
use super::link::{State, Ungranted, link};
use super::stream::Captured;
use crate::audit::{AuditEvent, AuditLog};
use crate::plan::{CompartmentPlan, MountPlan};

/// What a guest wrote to its granted streams since the last time they were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// A component with exactly what its edge grants.
pub struct WasmCompartment<'h> {
    host: &'h WasmHost,
    plan: CompartmentPlan,
    edge: String,
    folder: std::path::PathBuf,
    environment: Vec<(String, String)>,
    component: Component,
    pre: InstancePre<State>,
    running: Option<Running>,
    log: AuditLog,
    cpu_left: Option<Duration>,
    taken: Stdio,
}

struct Running {
    store: Store<State>,
    instance: wasmtime::component::Instance,
    stdout: Captured,
    stderr: Captured,
}

impl<'h> WasmCompartment<'h> {
    /// Prepares a component for one compartment of a plan. Its code first runs with the first call.
    ///
    /// # Errors
    /// When the component cannot run here, imports what nothing provides, or is granted what cannot be enforced yet.
    ///
    /// # Authority
    /// Opens the granted folders below `folder` whenever an instance starts, and reads the granted variables now.
    pub fn start_ambient(
        host: &'h WasmHost,
        plan: &CompartmentPlan,
        component: &[u8],
        folder: &Path,
        log: &AuditLog,
        _: AmbientAuthority,
    ) -> Result<Self, StartError> {
        let edge = plan.edge();
        let started = Self::prepare(host, plan, component, folder, log.clone());
        let event = |event: AuditEvent| log.record(&event);
        match &started {
            Ok(_) => {
                for grant in &plan.grants {
                    let (capability, scope) = (grant.capability.to_string(), grant.scope.to_string());
                    event(AuditEvent::Grant { edge: edge.clone(), capability, scope })?;
                }
            }
            Err(error) => event(AuditEvent::Refused { edge, reason: error.to_string() })?,
        }
        started
    }

    fn prepare(
        host: &'h WasmHost,
        plan: &CompartmentPlan,
        component: &[u8],
        folder: &Path,
        log: AuditLog,
    ) -> Result<Self, StartError> {
        let edge = plan.edge();
        enforceable(plan, &edge)?;
        let not_a_component = |error: wasmtime::Error| StartError::NotAComponent {
            edge: edge.clone(),
            message: one_line(&error),
        };
        let component = Component::new(host.engine(), component).map_err(not_a_component)?;
        let granted = |capability| plan.scope(capability).is_some();
        let linker = link(host, &component, granted)
            .map_err(not_a_component)?
            .map_err(|imports| StartError::UnknownImports { edge: edge.clone(), imports })?;
        let pre = linker.instantiate_pre(&component).map_err(not_a_component)?;
        let mut compartment = Self {
            host,
            plan: plan.clone(),
            folder: folder.to_owned(),
            environment: environment(plan),
            component,
            pre,
            running: None,
            log,
            cpu_left: plan.limits.cpu_time.map(|time| Duration::from_nanos(time.0)),
            taken: Stdio::default(),
            edge,
        };
        // Folders are opened now, so that a wrong path is an error of the start and not of some later call.
        compartment.context()?;
        Ok(compartment)
    }

    /// `consumer -> crate`.
    pub fn edge(&self) -> &str {
        &self.edge
    }

    /// What was written to the granted streams since the last time.
    pub fn take_stdio(&mut self) -> Stdio {
        self.drain();
        std::mem::take(&mut self.taken)
    }

    fn drain(&mut self) {
        if let Some(running) = &self.running {
            self.taken.stdout.extend(running.stdout.take());
            self.taken.stderr.extend(running.stderr.take());
        }
    }

    /// The functions that the component exports, each with its interface in front: `greet`, `ns:pkg/api#greet`.
    pub fn functions(&self) -> Vec<String> {
        let engine = self.host.engine();
        let mut names = Vec::new();
        for (name, item) in self.component.component_type().exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => names.push(name.to_owned()),
                ComponentItem::ComponentInstance(instance) => {
                    names.extend(instance.exports(engine).filter_map(|(function, item)| {
                        matches!(item.ty, ComponentItem::ComponentFunc(_))
                            .then(|| format!("{name}#{function}"))
                    }));
                }
                _ => {}
            }
        }
        names
    }

    /// The types of a function's parameters, with their names.
    ///
    /// # Errors
    /// When there is no such function.
    pub fn parameters(&self, function: &str) -> Result<Vec<(String, Type)>, CallError> {
        let (item, _) = self.find(function)?;
        match item {
            ComponentItem::ComponentFunc(ty) => {
                Ok(ty.params().map(|(name, ty)| (name.to_owned(), ty)).collect())
            }
            _ => Err(self.unknown(function)),
        }
    }

    fn unknown(&self, function: &str) -> CallError {
        let known = self.functions();
        CallError::UnknownFunction { edge: self.edge.clone(), function: function.to_owned(), known }
    }

    fn find(&self, function: &str) -> Result<(ComponentItem, ComponentExportIndex), CallError> {
        let found = match function.split_once('#') {
            None => self.component.get_export(None, function),
            Some((interface, function)) => self
                .component
                .get_export(None, interface)
                .and_then(|(_, instance)| self.component.get_export(Some(&instance), function)),
        };
        found.ok_or_else(|| self.unknown(function))
    }

    /// Calls a function, and waits for its results at most until the compartment's deadline.
    ///
    /// # Errors
    /// See [`CallError`]. Violations and faults are in the audit log before this returns.
    pub fn call(&mut self, function: &str, arguments: &[Val]) -> Result<Vec<Val>, CallError> {
        let (item, index) = self.find(function)?;
        let ComponentItem::ComponentFunc(ty) = item else { return Err(self.unknown(function)) };
        if tokio::runtime::Handle::try_current().is_ok() {
            let message = "a call blocks, and this thread is one of an asynchronous runtime".to_owned();
            return Err(CallError::Usage { edge: self.edge.clone(), message });
        }
        let (wanted, given) = (ty.params().len(), arguments.len());
        if wanted != given {
            let message = format!("`{function}` takes {wanted} arguments, not {given}");
            return Err(CallError::Usage { edge: self.edge.clone(), message });
        }
        let results = ty.results().len();
        let deadline = self.deadline();
        let begun = Instant::now();
        let outcome = self.enter(&index, arguments, results, deadline);
        if let Some(left) = &mut self.cpu_left {
            *left = left.saturating_sub(begun.elapsed());
        }
        self.drain();
        outcome.map_err(|error| self.failed(&error, deadline))
    }

    /// The shorter of the call's deadline and what is left of the compartment's time.
    fn deadline(&self) -> Duration {
        let own =
            self.plan.limits.call_deadline.map_or(CALL_DEADLINE_DEFAULT, |time| Duration::from_nanos(time.0));
        self.cpu_left.map_or(own, |left| left.min(own))
    }

    fn enter(
        &mut self,
        index: &ComponentExportIndex,
        arguments: &[Val],
        results: usize,
        deadline: Duration,
    ) -> wasmtime::Result<Vec<Val>> {
        if deadline.is_zero() {
            return Err(Trap::Interrupt.into());
        }
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.instantiate(deadline)?,
        };
        running.store.data_mut().limiter.refused = None;
        running.store.set_epoch_deadline(ticks(deadline));
        let function = running
            .instance
            .get_func(&mut running.store, index)
            .ok_or_else(|| wasmtime::Error::msg("the function is gone"))?;
        let mut values = vec![Val::Bool(false); results];
        let call = async {
            let call = function.call_async(&mut running.store, arguments, &mut values);
            tokio::time::timeout(deadline, call).await
        };
        let outcome = match self.host.runtime().block_on(call) {
            Ok(outcome) => outcome,
            Err(_) => Err(Trap::Interrupt.into()),
        };
        // What it wrote is kept, whatever became of it.
        self.taken.stdout.extend(running.stdout.take());
        self.taken.stderr.extend(running.stderr.take());
        match outcome {
            Ok(()) => {
                self.running = Some(running);
                Ok(values)
            }
            // The store is spent: the next call makes a new one.
            Err(error) => Err(name_limit(error, &running)),
        }
    }

    fn instantiate(&mut self, deadline: Duration) -> wasmtime::Result<Running> {
        let (wasi, stdout, stderr) = self.context().map_err(wasmtime::Error::new)?;
        let limits = &self.plan.limits;
        let memory = limits.memory.map_or(MEMORY_BYTES_DEFAULT, |bytes| bytes.0);
        let handles = usize::try_from(limits.handles.unwrap_or(HANDLES_DEFAULT)).unwrap_or(usize::MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles);
        let state = State { wasi, table, limiter: Limiter::new(memory) };
        let mut store = Store::new(self.host.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(ticks(deadline));
        // Handles of the host's objects are bounded by the table, and those of the guest's own by the store.
        store.set_max_component_handles(handles);
        store.set_hostcall_fuel(usize::try_from(memory).unwrap_or(usize::MAX));
        let instance = async { tokio::time::timeout(deadline, self.pre.instantiate_async(&mut store)).await };
        let instance = match self.host.runtime().block_on(instance) {
            Ok(instance) => instance,
            Err(_) => Err(Trap::Interrupt.into()),
        };
        match instance {
            Ok(instance) => Ok(Running { store, instance, stdout, stderr }),
            Err(error) if store.data().limiter.refused.is_some() => {
                Err(error.context(LimitHit(store.data().limiter.refused.unwrap_or("memory"))))
            }
            Err(error) => Err(error),
        }
    }

    /// A WASI context with what the edge grants, and nothing else.
    fn context(&mut self) -> Result<(WasiCtx, Captured, Captured), StartError> {
        let mut builder = WasiCtxBuilder::new();
        builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        for (name, value) in &self.environment {
            builder.env(name, value);
        }
        for mount in &self.plan.mounts {
            let writes = mount.capabilities.iter().any(|name| name == HostCapability::FilesystemWrite.name());
            let perms = if writes { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            let host_path = self.folder.join(&mount.host);
            builder.preopened_dir(&host_path, &mount.at, perms).map_err(|error| StartError::Path {
                edge: self.edge.clone(),
                path: mount.host.clone(),
                message: format!("{error:#}"),
            })?;
        }
        if let Some(Scope::Resolution(resolution)) = self.plan.scope(HostCapability::Clock) {
            builder.wall_clock(Coarse::new(*resolution)).monotonic_clock(Coarse::new(*resolution));
        }
        let output = self.plan.limits.output.map_or(OUTPUT_BYTES_DEFAULT, |bytes| bytes.0);
        let (mut stdout, mut stderr) = (Captured::new(0), Captured::new(0));
        if let Some(Scope::Streams(streams)) = self.plan.scope(HostCapability::Stdio) {
            let granted = |stream| streams.iter().find(|one| one.pattern == stream);
            let cap = |bytes: Option<u64>| Captured::new(bytes.unwrap_or(output).min(output));
            if let Some(one) = granted(Stream::Stdout) {
                stdout = cap(one.bytes);
                builder.stdout(stdout.clone());
            }
            if let Some(one) = granted(Stream::Stderr) {
                stderr = cap(one.bytes);
                builder.stderr(stderr.clone());
            }
        }
        Ok((builder.build(), stdout, stderr))
    }

    /// Says what an error of wasmtime is to a caller, and records it.
    fn failed(&self, error: &wasmtime::Error, deadline: Duration) -> CallError {
        let edge = self.edge.clone();
        let call_error = if let Some(ungranted) = error.downcast_ref::<Ungranted>() {
            CallError::Violation {
                edge,
                capability: ungranted.capability.clone(),
                attempt: ungranted.attempt.clone(),
                line: ungranted.line(),
            }
        } else if let Some(LimitHit(what)) = error.downcast_ref::<LimitHit>() {
            CallError::Limit { edge, what }
        } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
            CallError::Fault { edge, kind: FaultKind::Exit(exit.0) }
        } else {
            match error.downcast_ref::<Trap>() {
                Some(Trap::Interrupt) => CallError::Deadline { edge, deadline },
                Some(Trap::StackOverflow) => CallError::Fault { edge, kind: FaultKind::StackOverflow },
                Some(Trap::UnreachableCodeReached) => CallError::Fault { edge, kind: FaultKind::Panic },
                Some(trap) => CallError::Fault { edge, kind: FaultKind::Trap(trap.to_string()) },
                None => CallError::Fault { edge, kind: FaultKind::Protocol(format!("{error:#}")) },
            }
        };
        match self.log.record(&event_of(&call_error)) {
            Ok(()) => call_error,
            Err(error) => CallError::Audit(error),
        }
    }
}

/// A limit was hit: the reason behind whatever the guest then did.
#[derive(Debug, thiserror::Error)]
#[error("more {0} than the limit")]
struct LimitHit(&'static str);

fn name_limit(error: wasmtime::Error, running: &Running) -> wasmtime::Error {
    if running.stdout.overran() || running.stderr.overran() {
        return error.context(LimitHit("output"));
    }
    // A violation or a deadline stays one, even when the guest was refused memory before.
    let own =
        error.downcast_ref::<Ungranted>().is_some() || matches!(error.downcast_ref(), Some(Trap::Interrupt));
    match running.store.data().limiter.refused {
        Some(what) if !own => error.context(LimitHit(what)),
        _ => error,
    }
}

fn event_of(error: &CallError) -> AuditEvent {
    match error {
        CallError::Violation { edge, capability, attempt, .. } => AuditEvent::Violation {
            edge: edge.clone(),
            capability: capability.to_string(),
            attempt: attempt.clone(),
        },
        CallError::Fault { edge, kind } => {
            let name = if matches!(kind, FaultKind::Exit(_)) { "exit" } else { "trap" };
            AuditEvent::Fault { edge: edge.clone(), kind: name.to_owned(), detail: kind.to_string() }
        }
        CallError::Deadline { edge, deadline } => AuditEvent::Fault {
            edge: edge.clone(),
            kind: "deadline".to_owned(),
            detail: format!("{deadline:?}"),
        },
        CallError::Limit { edge, what } => {
            AuditEvent::Fault { edge: edge.clone(), kind: "limit".to_owned(), detail: (*what).to_owned() }
        }
        other => {
            AuditEvent::Fault { edge: String::new(), kind: "host".to_owned(), detail: other.to_string() }
        }
    }
}

/// Epochs until the deadline, one more so that it is never early.
fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_nanos().div_ceil(EPOCH_TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1
}

/// Refuses what this release cannot hold a guest to.
fn enforceable(plan: &CompartmentPlan, edge: &str) -> Result<(), StartError> {
    if plan.backend != Backend::Wasm.name() {
        return Err(StartError::OtherBackend { edge: edge.to_owned(), backend: plan.backend.clone() });
    }
    let cannot = |what: String| Err(StartError::CannotEnforce { edge: edge.to_owned(), what });
    for grant in &plan.grants {
        match &grant.scope {
            Scope::Hosts(_) | Scope::HostNames(_) => return cannot(format!("`{}`", grant.capability)),
            Scope::Paths(set) if set.smallest_bound().is_some() => {
                return cannot("a quota on writing".to_owned());
            }
            Scope::Streams(streams) if streams.covers_any_of(&Stream::Stdin) => {
                return cannot("`stdio` of `stdin`".to_owned());
            }
            Scope::Paths(set) if set.iter().any(|one| one.pattern.extent == Extent::File) => {
                return cannot("a grant of a single file".to_owned());
            }
            _ => {}
        }
    }
    let is_file = |mount: &MountPlan| mount.file;
    if plan.mounts.iter().any(is_file) {
        return cannot("a grant of a single file".to_owned());
    }
    Ok(())
}

/// The granted variables that the host has.
fn environment(plan: &CompartmentPlan) -> Vec<(String, String)> {
    let Some(Scope::Names(granted)) = plan.scope(HostCapability::EnvironmentRead) else { return Vec::new() };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| granted.covers_pattern(&NamePattern::Exact(name.clone())))
        .collect()
}
