//! A stand-in for `cofferdam::client`, with its signatures: one component in a store, and nothing of the sandbox.
//!
//! What is generated can be tried with it against wasmtime alone. It looks every function up with its types, as the real one does.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

pub(crate) use cofferdam_wire as wire;
#[expect(clippy::single_component_path_imports, reason = "generated code names it below here")]
pub(crate) use wasmtime;
pub(crate) use wasmtime::component::ResourceAny as AnyResource;
use wasmtime::component::{Component, ComponentNamedList, Func, Instance, Lift, Linker, Lower};
use wasmtime::{Engine, Store};

/// Why a component does not fit, a line for each difference.
#[derive(Debug)]
pub(crate) struct StartError {
    pub(crate) differences: Vec<String>,
}

/// What wasmtime said.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) text: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.differences.join("\n"))
    }
}

impl std::error::Error for StartError {}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CallError {}

impl From<wasmtime::Error> for CallError {
    fn from(error: wasmtime::Error) -> Self {
        Self { text: format!("{error:?}") }
    }
}

pub(crate) trait Function: 'static {
    const INTERFACE: Option<&'static str>;
    const NAME: &'static str;
    const SIGNATURE: &'static str;
    #[expect(dead_code, reason = "only a process is compared by it")]
    const SHAPE: u64;
    type Params<'a>: ComponentNamedList + Lower + Send + Sync;
    type Results: ComponentNamedList + Lift + Send + Sync + 'static;
}

/// What a consumer implements of an import: only compiled here, since nothing of these components calls out.
pub(crate) struct Provided;

impl Provided {
    pub(crate) fn new(_interface: &'static str) -> Self {
        Self
    }

    pub(crate) fn function<P, R>(
        self,
        _item: &'static str,
        _signature: &'static str,
        _shape: u64,
        _call: impl Fn(P) -> R + Send + Sync + 'static,
    ) -> Self
    where
        P: ComponentNamedList + Lift + wire::Decode + Send + Sync + 'static,
        R: ComponentNamedList + Lower + wire::Encode + Send + Sync + 'static,
    {
        self
    }
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

#[derive(Clone)]
pub(crate) struct Edge {
    guest: Arc<Mutex<Guest>>,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edge")
    }
}

pub(crate) struct Checked<F: Function> {
    func: Func,
    function: PhantomData<fn() -> F>,
}

impl<F: Function> Clone for Checked<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Function> Copy for Checked<F> {}

impl Edge {
    /// Instantiates a component whose imports are never called.
    pub(crate) fn of(component: &[u8]) -> Self {
        let engine = Engine::default();
        let component = Component::new(&engine, component).expect("a component");
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).expect("imports are functions and types");
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component).expect("it starts");
        Self { guest: Arc::new(Mutex::new(Guest { store, instance })) }
    }

    #[expect(clippy::unused_self, reason = "the real one knows its name")]
    pub(crate) fn name(&self) -> &'static str {
        "test -> guest"
    }

    pub(crate) fn expect(&self, _world: &'static str) -> Expected<'_> {
        Expected { edge: self, differences: Vec::new() }
    }

    pub(crate) fn call<F: Function>(
        &self,
        function: Checked<F>,
        params: F::Params<'_>,
    ) -> Result<F::Results, CallError> {
        let guest = &mut *self.guest.lock().expect("no test panics with it");
        let typed = function.func.typed::<F::Params<'_>, F::Results>(&guest.store)?;
        Ok(typed.call(&mut guest.store, params)?)
    }

    pub(crate) fn call_with_handles<F: Function>(
        &self,
        function: Checked<F>,
        handles: &[&Handle],
        params: F::Params<'_>,
    ) -> Result<(F::Results, Owner), CallError> {
        for handle in handles {
            assert!(Arc::ptr_eq(&handle.guest, &self.guest), "a handle of another edge");
        }
        let results = self.call(function, params)?;
        Ok((results, Owner { guest: Arc::clone(&self.guest) }))
    }
}

pub(crate) struct Expected<'e> {
    edge: &'e Edge,
    differences: Vec<String>,
}

impl Expected<'_> {
    pub(crate) fn function<F: Function>(&mut self) -> Option<Checked<F>> {
        let found = self.find::<F>();
        if let Err(difference) = &found {
            let interface = F::INTERFACE.unwrap_or("the world");
            self.differences.push(format!("{interface}: {}: {}: {difference}", F::NAME, F::SIGNATURE));
        }
        found.ok()
    }

    fn find<F: Function>(&self) -> Result<Checked<F>, String> {
        let guest = &mut *self.edge.guest.lock().expect("no test panics with it");
        let interface = match F::INTERFACE {
            Some(name) => {
                let found = guest.instance.get_export_index(&mut guest.store, None, name);
                Some(found.ok_or("no such interface")?)
            }
            None => None,
        };
        let index = guest.instance.get_export_index(&mut guest.store, interface.as_ref(), F::NAME);
        let func = guest.instance.get_func(&mut guest.store, index.ok_or("no such function")?);
        let func = func.ok_or("not a function")?;
        match func.typed::<F::Params<'static>, F::Results>(&guest.store) {
            Ok(_) => Ok(Checked { func, function: PhantomData }),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    pub(crate) fn finish(self) -> Result<(), StartError> {
        if self.differences.is_empty() { Ok(()) } else { Err(StartError { differences: self.differences }) }
    }
}

pub(crate) struct Owner {
    guest: Arc<Mutex<Guest>>,
}

impl Owner {
    pub(crate) fn handle(&self, resource: AnyResource) -> Handle {
        Handle { guest: Arc::clone(&self.guest), resource, drops: true }
    }
}

pub(crate) struct Handle {
    guest: Arc<Mutex<Guest>>,
    resource: AnyResource,
    drops: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    pub(crate) fn lend(&self) -> AnyResource {
        self.resource
    }

    pub(crate) fn give(mut self) -> (AnyResource, Handle) {
        self.drops = false;
        (self.resource, self)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.drops
            && let Ok(guest) = &mut self.guest.lock()
        {
            // A store that trapped cannot be entered; the resource went with it.
            let _ = self.resource.resource_drop(&mut guest.store);
        }
    }
}
