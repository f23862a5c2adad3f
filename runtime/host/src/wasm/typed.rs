//! Calls with Rust types: what generated clients are written against.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::PoisonError;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentNamedList, Lift, Lower, ResourceAny};

use super::compartment::{Key, WasmCompartment};
use super::entry::{Dropping, Entry};
use super::error::{CallError, StartError};
use super::instance::{Running, Settled};
use super::signature;

/// One exported function, with its Rust types. Implemented by generated code.
pub trait Function: 'static {
    /// The exported interface with package and version, `acme:text/filter@1.0.0`; `None` for a function of the world itself.
    const INTERFACE: Option<&'static str>;
    /// The name in WIT's canonical form: `transform`, `[constructor]decoder`, `[method]decoder.next`.
    const NAME: &'static str;
    /// The signature as WIT text, for messages.
    const SIGNATURE: &'static str;
    /// The parameters as a tuple, borrowed where Rust can borrow. Handles are [`ResourceAny`].
    type Params<'a>: ComponentNamedList + Lower + Send + Sync;
    /// The results as a tuple of one or none.
    type Results: ComponentNamedList + Lift + Send + Sync + 'static;
}

/// A function that was found, for one compartment.
pub struct Checked<F> {
    slot: usize,
    compartment: u64,
    types: PhantomData<fn(F)>,
}

impl<F> Clone for Checked<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Checked<F> {}

impl<F: Function> fmt::Debug for Checked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({})", F::NAME)
    }
}

/// Compares what a component exports with what a world expects, and keeps every difference.
#[derive(Debug)]
pub struct Expected<'e> {
    edge: &'e WasmCompartment,
    world: &'static str,
    differences: Vec<String>,
}

impl Expected<'_> {
    /// A function of the world; `None` when it is missing or of another type, which [`Expected::finish`] then reports.
    ///
    /// Names and types are compared as text here, without running anything; the engine compares the types themselves once
    /// more before the first call.
    pub fn function<F: Function>(&mut self) -> Option<Checked<F>> {
        let key = Key { interface: F::INTERFACE, name: F::NAME, signature: F::SIGNATURE };
        match difference(&self.edge.settled(), self.edge.host().engine(), &key) {
            None => {
                let slot = self.edge.slot(TypeId::of::<F>(), key);
                Some(Checked { slot, compartment: self.edge.id(), types: PhantomData })
            }
            Some(difference) => {
                self.differences.extend(difference);
                None
            }
        }
    }

    /// Ends the comparison.
    ///
    /// # Errors
    /// [`StartError::DoesNotFit`] with a line for each difference: `-` is what the world expects, `+` what the component has.
    pub fn finish(self) -> Result<(), StartError> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let (edge, world) = (self.edge.edge().to_owned(), self.world.to_owned());
        Err(StartError::DoesNotFit { edge, world, differences: self.differences })
    }
}

impl WasmCompartment {
    /// Begins to compare the component with a world, which is named in messages: `acme:text/text-filter@1.0.0`.
    pub fn expect(&self, world: &'static str) -> Expected<'_> {
        Expected { edge: self, world, differences: Vec::new() }
    }

    /// Calls a function, and waits for its results at most until the compartment's deadline.
    ///
    /// # Errors
    /// See [`CallError`]. Violations and faults are in the audit log before this returns.
    pub fn call_typed<F: Function>(
        &self,
        function: Checked<F>,
        params: F::Params<'_>,
    ) -> Result<F::Results, CallError> {
        self.mine(&function)?;
        Ok(self.enter_from_host(TypedCall::<F> { slot: function.slot, params }, None)?.0)
    }

    /// The same for a function that takes or gives handles. `handles` are all that occur in `params`.
    ///
    /// # Errors
    /// [`CallError::StaleHandle`] when a handle's instance is gone, [`CallError::Usage`] when they are of several instances.
    pub fn call_with_handles<F: Function>(
        &self,
        function: Checked<F>,
        handles: &[&Handle],
        params: F::Params<'_>,
    ) -> Result<(F::Results, Owner), CallError> {
        self.mine(&function)?;
        let usage =
            |message: &str| CallError::Usage { edge: self.edge().to_owned(), message: message.to_owned() };
        let mut pinned = None;
        for handle in handles {
            if handle.compartment.id() != self.id() {
                return Err(usage("a handle is of another edge"));
            }
            if *pinned.get_or_insert(handle.serial) != handle.serial {
                return Err(usage("handles are of several instances"));
            }
        }
        let (results, serial) =
            self.enter_from_host(TypedCall::<F> { slot: function.slot, params }, pinned)?;
        Ok((results, Owner { compartment: self.clone(), serial }))
    }

    fn mine<F: Function>(&self, function: &Checked<F>) -> Result<(), CallError> {
        if function.compartment == self.id() {
            return Ok(());
        }
        let message = format!("`{}` was looked up over another edge", F::NAME);
        Err(CallError::Usage { edge: self.edge().to_owned(), message })
    }
}

/// How a component differs from what a client needs, as lines of a diff. `None` when it does not.
pub(super) fn difference(settled: &Settled, engine: &Engine, key: &Key) -> Option<Vec<String>> {
    let place = key.interface.map(|name| format!("{name}#")).unwrap_or_default();
    let wanted = format!("- {place}{}: {}", key.name, key.signature);
    let Some((ComponentItem::ComponentFunc(found), _)) = settled.find(key.interface, key.name) else {
        return Some(vec![wanted]);
    };
    let found = signature::function(&found, engine);
    (!signature::same(&found, &signature::canonical(key.name, key.signature)))
        .then(|| vec![wanted, format!("+ {place}{}: {found}", key.name)])
}

struct TypedCall<'a, F: Function> {
    slot: usize,
    params: F::Params<'a>,
}

impl<F: Function> Entry for TypedCall<'_, F> {
    type Output = F::Results;

    fn name(&self) -> &str {
        F::NAME
    }

    fn run(self, running: &mut Running) -> wasmtime::Result<F::Results> {
        let function = running.function::<F>(self.slot)?;
        function.call(&mut running.store, self.params)
    }

    async fn run_async(self, running: &mut Running) -> wasmtime::Result<F::Results> {
        let function = running.function::<F>(self.slot)?;
        function.call_async(&mut running.store, self.params).await
    }
}

/// The instance that gave a result; makes handles of the resources in it.
pub struct Owner {
    compartment: WasmCompartment,
    serial: u64,
}

impl Owner {
    /// A handle of a resource that this instance gave.
    pub fn handle(&self, resource: ResourceAny) -> Handle {
        Handle { compartment: self.compartment.clone(), serial: self.serial, resource, given: false }
    }
}

/// A resource of a guest: unforgeable, of one edge and one instance. Dropping it drops the guest's resource.
pub struct Handle {
    compartment: WasmCompartment,
    serial: u64,
    resource: ResourceAny,
    given: bool,
}

impl Handle {
    /// To pass as `borrow<T>`.
    pub fn lend(&self) -> ResourceAny {
        self.resource
    }

    /// To pass as `own<T>`: the guest has it from then on. The second value must be among the call's handles.
    pub fn give(mut self) -> (ResourceAny, Self) {
        self.given = true;
        (self.resource, self)
    }

    /// The edge that it is of.
    pub fn edge(&self) -> &WasmCompartment {
        &self.compartment
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({}, instance {})", self.compartment.edge(), self.serial)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.given {
            self.compartment.drop_resource(self.serial, self.resource);
        }
    }
}

impl WasmCompartment {
    /// Runs a dropped resource's destructor, now or when its instance has time. A destructor that fails is a fault in the
    /// audit log, and ends its instance.
    fn drop_resource(&self, serial: u64, resource: ResourceAny) {
        if let Some(running) = self.pool().drop_resource(serial, resource) {
            // The audit log has the fault; a destructor has no caller who could be told.
            let _ = self.run_on(running, Dropping(vec![resource]));
        }
    }

    /// The number under which instances keep a function.
    fn slot(&self, of: TypeId, key: Key) -> usize {
        let mut functions = self.functions().write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = functions.iter().position(|(other, _)| *other == of) {
            return slot;
        }
        functions.push((of, key));
        functions.len() - 1
    }
}
