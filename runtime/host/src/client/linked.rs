//! Inline crates behind the same clients: a call is a call of a Rust function. Nothing is isolated, and nothing has a deadline;
//! what the code can reach is the static side's verdict (`cofferdam check`).

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use super::expected::Function;
use super::handle::AnyResource;
use super::provided::{Provided, ProvidedError};
use crate::audit::{AuditEvent, AuditLog};
use crate::wasm::{CallError, FaultKind, StartError, WasmHost, event_of};

/// Numbers of linked compartments, between those of wasm and of processes.
static NEXT: AtomicU64 = AtomicU64::new(1 << 62);

/// An edge to a crate that is linked into the program. Clones are of the same.
#[derive(Debug, Clone)]
pub(crate) struct LinkedEdge(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    edge: String,
    krate: String,
    log: AuditLog,
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "has the threads that are made for waiting")
    )]
    threads: WasmHost,
    provided: Vec<Provided>,
    state: Mutex<State>,
    /// The thread that is in a call: it cannot begin another one.
    inside: Mutex<Option<ThreadId>>,
    calls: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Raised by a panic, after which handles of before are stale.
    serial: u64,
    closed: bool,
    resources: Resources,
}

/// What handles stand for.
#[derive(Debug, Default)]
struct Resources {
    last: u32,
    values: HashMap<u32, Box<dyn Any + Send>>,
}

/// One call of linked code, with the resources of its edge. For generated code.
pub struct Linked<'c> {
    resources: RefCell<&'c mut Resources>,
    lent: Kept,
}

/// A resource in the arguments of a call is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleResource;

/// A list that only grows, and whose values stay where they are.
#[derive(Default)]
struct Kept(OnceCell<Box<Node>>);

/// A resource under its number, and those that were lent after it.
struct Node {
    number: u32,
    value: Box<dyn Any + Send>,
    next: Kept,
}

impl Linked<'_> {
    /// A resource of the caller's, to lend for the call.
    ///
    /// # Errors
    /// When it is not there, or is of another type.
    pub fn lend<T: 'static>(&self, resource: AnyResource) -> Result<&T, StaleResource> {
        let AnyResource::Linked(number) = resource else { return Err(StaleResource) };
        let mut at = &self.lent;
        while let Some(node) = at.0.get() {
            if node.number == number {
                return node.value.downcast_ref().ok_or(StaleResource);
            }
            at = &node.next;
        }
        let value = self.resources.borrow_mut().values.remove(&number).ok_or(StaleResource)?;
        let node = at.0.get_or_init(|| Box::new(Node { number, value, next: Kept::default() }));
        node.value.downcast_ref().ok_or(StaleResource)
    }

    /// A resource that the caller gives away.
    ///
    /// # Errors
    /// When it is not there, is lent, or is of another type.
    pub fn take<T: 'static>(&self, resource: AnyResource) -> Result<T, StaleResource> {
        let AnyResource::Linked(number) = resource else { return Err(StaleResource) };
        let value = self.resources.borrow_mut().values.remove(&number).ok_or(StaleResource)?;
        value.downcast().map(|value| *value).map_err(|_| StaleResource)
    }

    /// A resource that the caller is given.
    ///
    /// # Panics
    /// After four thousand million of them.
    pub fn keep<T: Send + 'static>(&self, value: T) -> AnyResource {
        let mut resources = self.resources.borrow_mut();
        resources.last = resources.last.checked_add(1).expect("numbers of resources are not used twice");
        let number = resources.last;
        resources.values.insert(number, Box::new(value));
        AnyResource::Linked(number)
    }

    /// Puts back what was lent.
    fn finish(self) {
        let resources = self.resources.into_inner();
        let mut next = self.lent.0.into_inner();
        while let Some(node) = next {
            let Node { number, value, next: rest } = *node;
            resources.values.insert(number, value);
            next = rest.0.into_inner();
        }
    }
}

thread_local! {
    /// The call that linked code of this thread is in, for what it calls of its host.
    static CURRENT: Cell<Option<Call>> = const { Cell::new(None) };
}

/// The provided functions of a call. They are shared, so that code that is called can find them without a reference to the call.
type Call = Arc<Inner>;

/// Calls a function that the world of linked code imports. For generated code.
///
/// # Panics
/// When nothing provides it, outside of a call as well. The caller of the linked code is told.
pub fn call_provided<R: cofferdam_wire::Decode>(
    name: &str,
    shape: u64,
    arguments: &impl cofferdam_wire::Encode,
) -> R {
    let inner = CURRENT.take();
    CURRENT.set(inner.clone());
    let found = inner.as_ref().and_then(|inner| {
        inner.provided.iter().flat_map(|one| &one.functions).find(|one| one.is(name, shape))
    });
    let Some(found) = found else { panic!("nobody provides `{name}` here") };
    let bytes = cofferdam_wire::encode(arguments)
        .unwrap_or_else(|error| panic!("cannot call `{name}` of the host program: {error}"));
    match found.call(&bytes) {
        Ok(answer) => cofferdam_wire::decode(&answer)
            .unwrap_or_else(|error| panic!("`{name}` of the host program gave another answer: {error}")),
        // It is on its way already, and was told of; what unwinds here says whose it is.
        Err(error) => resume_unwind(Box::new(HostFailed { function: name.to_owned(), error })),
    }
}

/// What unwinds the linked code when a function of the host program that it called has failed.
struct HostFailed {
    function: String,
    error: ProvidedError,
}

impl LinkedEdge {
    pub(crate) fn new(
        edge: String,
        krate: String,
        provided: Vec<Provided>,
        threads: &WasmHost,
        log: &AuditLog,
    ) -> Self {
        Self(Arc::new(Inner {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            edge,
            krate,
            log: log.clone(),
            threads: threads.clone(),
            provided,
            state: Mutex::new(State { serial: 1, closed: false, resources: Resources::default() }),
            inside: Mutex::new(None),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    pub(crate) fn edge(&self) -> &str {
        &self.0.edge
    }

    pub(crate) fn krate(&self) -> &str {
        &self.0.krate
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.0.calls.load(Ordering::Relaxed), self.0.failures.load(Ordering::Relaxed))
    }

    /// Whether the host program provides a function.
    pub(crate) fn provides(&self, name: &str, shape: u64) -> bool {
        self.0.provided.iter().flat_map(|one| &one.functions).any(|one| one.is(name, shape))
    }

    /// Calls the linked function, after other calls of the edge: its resources are of one thread at a time.
    pub(crate) fn call<F: Function>(
        &self,
        pinned: Option<u64>,
        params: F::Params<'_>,
    ) -> Result<(F::Results, u64), CallError> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let outcome = self.attempt::<F>(pinned, params);
        outcome.map_err(|error| {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
            match error {
                CallError::Fault { .. } | CallError::Host { .. } => self.recorded(error),
                other => other,
            }
        })
    }

    fn attempt<F: Function>(
        &self,
        pinned: Option<u64>,
        params: F::Params<'_>,
    ) -> Result<(F::Results, u64), CallError> {
        let edge = || self.0.edge.clone();
        let own = std::thread::current().id();
        if *self.0.inside.lock().unwrap_or_else(PoisonError::into_inner) == Some(own) {
            let message =
                "a call of an inline crate cannot begin inside another one of the same edge".to_owned();
            return Err(CallError::Usage { edge: edge(), message });
        }
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(CallError::Revoked { edge: edge(), what: "the edge" });
        }
        if pinned.is_some_and(|serial| serial != state.serial) {
            return Err(CallError::StaleHandle { edge: edge() });
        }
        let _inside = Inside::enter(&self.0, own);
        let linked = Linked { resources: RefCell::new(&mut state.resources), lent: Kept::default() };
        // What a panic leaves half done are resources, and those are dropped.
        let outcome = catch_unwind(AssertUnwindSafe(|| F::call_linked(params, &linked)));
        match outcome {
            Ok(result) => {
                linked.finish();
                let serial = state.serial;
                result
                    .map(|result| (result, serial))
                    .map_err(|StaleResource| CallError::StaleHandle { edge: edge() })
            }
            Err(panic) => {
                drop(linked);
                state.serial += 1;
                let gone = std::mem::take(&mut state.resources.values);
                drop(state);
                drop(gone);
                let panic = match panic.downcast::<HostFailed>() {
                    Ok(failed) => return Err(failed.error.into_call_error(edge(), &failed.function)),
                    Err(panic) => panic,
                };
                let message = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Err(CallError::Fault { edge: edge(), kind: FaultKind::Panic(message) })
            }
        }
    }

    /// Lets a resource go.
    pub(crate) fn drop_resource(&self, serial: u64, number: u32) {
        let own = std::thread::current().id();
        if *self.0.inside.lock().unwrap_or_else(PoisonError::into_inner) == Some(own) {
            // Its table is in use by the call that this thread is in; it goes with the edge.
            return;
        }
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = (state.serial == serial).then(|| state.resources.values.remove(&number)).flatten();
        drop(state);
        // A destructor may call over this edge again.
        drop(value);
    }

    /// Takes the edge back: later calls fail. A call that runs cannot be ended.
    fn close(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        let gone = std::mem::take(&mut state.resources.values);
        drop(state);
        drop(gone);
    }

    pub(crate) fn stop(&self) -> Result<(), StartError> {
        self.close();
        Ok(self.0.log.record(&AuditEvent::Stopped { edge: self.0.edge.clone() })?)
    }

    pub(crate) fn revoke(&self) -> Result<(), StartError> {
        self.close();
        Ok(self.0.log.record(&AuditEvent::Revoked { edge: self.0.edge.clone(), capability: None })?)
    }

    #[cfg(feature = "async")]
    pub(crate) fn threads(&self) -> &WasmHost {
        &self.0.threads
    }

    fn recorded(&self, error: CallError) -> CallError {
        match self.0.log.record(&event_of(&self.0.edge, &error)) {
            Ok(()) => error,
            Err(error) => CallError::Audit(error),
        }
    }
}

/// While it lives, its thread is in a call.
struct Inside<'c> {
    inner: &'c Arc<Inner>,
    outer: Option<Call>,
}

impl<'c> Inside<'c> {
    fn enter(inner: &'c Arc<Inner>, thread: ThreadId) -> Self {
        *inner.inside.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Self { inner, outer: CURRENT.replace(Some(Arc::clone(inner))) }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer.take());
        *self.inner.inside.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
