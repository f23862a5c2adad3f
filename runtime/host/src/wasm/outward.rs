//! Edges from a component to a process: each call is encoded, made, and its answer decoded, by the component's own types.

use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{LinkerInstance, Type, Val};

use super::compartment::{Around, WasmCompartment};
use super::crossing::{decode_all, encode, shape_of};
use super::error::{CallError, FaultKind, StartError};
use super::forward::{alive, give};
use super::link::Linking;
use super::state::State;
use crate::process::ProcessEdge;

/// A function of a process, with the types that the component wants of it.
#[derive(Clone)]
struct Far {
    to: ProcessEdge,
    slot: usize,
    /// The edge of the caller, where that is a member of a unit which is called over another.
    from: Option<String>,
}

/// Joins an import to a function of a process, whose types must be the same. `far` is its name there.
pub(super) fn join(
    linked: &mut LinkerInstance<'_, State>,
    linking: &Linking<'_>,
    to: &ProcessEdge,
    (name, far): (&str, &str),
    wanted: &ComponentFunc,
) -> Result<(), StartError> {
    let text = super::signature::function(wanted, linking.host.engine());
    let misfit = |found: &str| StartError::DoesNotFit {
        edge: to.edge().to_owned(),
        world: format!("what `{}` imports", linking.edge),
        differences: vec![format!("- {far}: {text}"), format!("+ {far}: {found}")],
    };
    let Some(shape) = shape_of(wanted) else {
        let (edge, function) = (linking.edge.to_owned(), far.to_owned());
        return Err(StartError::CannotCross { edge, function, what: "a handle" });
    };
    let Some(slot) = to.crossing(far, shape) else { return Err(misfit("none, or of other types")) };
    let far = Far { to: to.clone(), slot, from: linking.fused.then(|| linking.edge.to_owned()) };
    let linked = if linking.waits {
        linked.func_new_async(name, move |caller, ty, params, results| {
            let far = far.clone();
            let around = WasmCompartment::around(caller.data());
            let alive = alive(caller.data());
            Box::new(async move {
                alive?;
                let answer = far.call(&ty, params, around);
                give(far.from.as_deref(), answer, &ty, results)
            })
        })
    } else {
        linked.func_new(name, move |caller, ty, params, results| {
            let around = WasmCompartment::around(caller.data());
            alive(caller.data())?;
            let answer = far.call(&ty, params, around);
            give(far.from.as_deref(), answer, &ty, results)
        })
    };
    linked.map_err(|error| StartError::not_a_component(linking.edge, &error))
}

impl Far {
    /// Makes the call. It keeps its thread waiting, at most until the deadline of the calls around it.
    fn call(&self, ty: &ComponentFunc, params: &[Val], around: Around) -> Result<Vec<Val>, CallError> {
        let edge = || self.to.edge().to_owned();
        let mut bytes = Vec::new();
        for (value, (_, ty)) in params.iter().zip(ty.params()) {
            encode(value, &ty, &mut bytes).map_err(|message| CallError::Usage { edge: edge(), message })?;
        }
        let answer =
            self.to.call_crossing(self.slot, &bytes, around.until, around.depth, around.cancellation)?;
        let types: Vec<Type> = ty.results().collect();
        decode_all(&types, &answer)
            .map_err(|error| CallError::Fault { edge: edge(), kind: FaultKind::Protocol(error.to_string()) })
    }
}
