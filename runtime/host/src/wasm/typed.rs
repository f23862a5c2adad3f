//! Calls with Rust types, as generated clients make them.

use std::any::TypeId;
use std::sync::PoisonError;

use wasmtime::Engine;
use wasmtime::component::ResourceAny;
use wasmtime::component::types::ComponentItem;

use super::compartment::WasmCompartment;
use super::entry::{Dropping, Entry};
use super::error::CallError;
use super::instance::{Running, Settled};
use super::signature;
use crate::client::{Cancellation, Function, Key};

impl WasmCompartment {
    /// The number of a function for calls; or how what the component exports differs.
    pub(crate) fn find<F: Function>(&self) -> Result<usize, Vec<String>> {
        let key = Key::of::<F>();
        match difference(&self.settled(), self.host().engine(), &key) {
            None => Ok(self.slot(TypeId::of::<F>(), key)),
            Some(difference) => Err(difference),
        }
    }

    /// Calls the function with this number, on the instance that is pinned or any; gives the instance, too.
    pub(crate) fn call_slot<F: Function>(
        &self,
        slot: usize,
        pinned: Option<u64>,
        params: F::Params<'_>,
        cancellation: Option<&Cancellation>,
    ) -> Result<(F::Results, u64), CallError> {
        self.enter_from_host(TypedCall::<F> { slot, params }, pinned, cancellation)
    }

    /// Runs a dropped resource's destructor, now or when its instance has time. A destructor that fails is a fault in the
    /// audit log, and ends its instance.
    pub(crate) fn drop_resource(&self, serial: u64, resource: ResourceAny) {
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

/// How a component differs from what a client needs, as lines of a diff. `None` when it does not.
pub(super) fn difference(settled: &Settled, engine: &Engine, key: &Key) -> Option<Vec<String>> {
    let Some((ComponentItem::ComponentFunc(found), _)) = settled.find(key.interface, key.name) else {
        return Some(vec![key.wanted()]);
    };
    let found = signature::function(&found, engine);
    (!signature::same(&found, &signature::canonical(key.name, key.signature)))
        .then(|| vec![key.wanted(), format!("+ {}{}: {found}", key.place(), key.name)])
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
