//! Imports that the host program itself implements.

use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower};
use wasmtime::{StoreContextMut, Trap};

use super::error::StartError;
use super::failure::CalleeFailed;
use super::forward::alive;
use super::host::WasmHost;
use super::link::Linking;
use super::signature;
use super::state::State;
use crate::client::{Provided, guarded};

/// Whose call leads to a function of the host program.
pub(crate) struct HostCall {
    /// `consumer -> crate`.
    edge: String,
    /// With its interface.
    function: String,
    host: WasmHost,
}

impl HostCall {
    /// Links a function with its types.
    pub(crate) fn link<P, R, F>(
        &self,
        linker: &mut LinkerInstance<'_, State>,
        item: &str,
        call: Arc<F>,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Send + Sync + 'static,
        R: ComponentNamedList + Lower + Send + Sync + 'static,
        F: Fn(P) -> R + Send + Sync + 'static,
    {
        let (edge, function, host) = (self.edge.clone(), self.function.clone(), self.host.clone());
        linker.func_wrap(item, move |caller: StoreContextMut<'_, State>, params: P| {
            alive(caller.data())?;
            let run = || guarded(|| call(params));
            // The host's code may call other compartments, and a thread that runs an executor may not wait in another.
            let answer = if tokio::runtime::Handle::try_current().is_ok() {
                std::thread::scope(|scope| scope.spawn(run).join())
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            } else {
                run()
            };
            // The host's own functions cannot be ended, and their time counts.
            if host.ticker().epoch() >= caller.data().epoch {
                return Err(Trap::Interrupt.into());
            }
            answer.map_err(|error| {
                let error = Box::new(error.into_call_error(edge.clone(), &function));
                let text = error.to_string();
                wasmtime::Error::new(CalleeFailed(std::sync::Mutex::new(Some(error)), text))
            })
        })
    }
}

/// Links an import to what the host program provides over this edge. False when that has no such interface.
pub(super) fn add(
    linker: &mut Linker<State>,
    linking: &Linking<'_>,
    label: &str,
    name: &str,
    item: &ComponentItem,
) -> Result<bool, StartError> {
    let ComponentItem::ComponentInstance(instance) = item else { return Ok(false) };
    let Some(provided) = linking.provided.iter().find(|one| super::forward::compatible(name, one.interface))
    else {
        return Ok(false);
    };
    let failed = |error: wasmtime::Error| StartError::not_a_component(linking.edge, &error);
    let engine = linking.host.engine();
    let mut linked = linker.instance(label).map_err(failed)?;
    let mut differences = Vec::new();
    for (function, item) in instance.exports(engine) {
        let ComponentItem::ComponentFunc(wanted) = item.ty else { continue };
        let text = signature::function(&wanted, engine);
        let found = provided.functions.iter().find(|one| one.item == function);
        match found {
            Some(found) if signature::same(&text, &signature::canonical(found.item, found.signature)) => {
                let (edge, function) = (linking.edge.to_owned(), found.name.clone());
                let host = HostCall { edge, function, host: linking.host.clone() };
                found.link(&mut linked, &host).map_err(failed)?;
            }
            other => {
                differences.push(format!("- {name}#{function}: {text}"));
                differences.extend(other.map(|found| format!("+ {}: {}", found.name, found.signature)));
            }
        }
    }
    if differences.is_empty() {
        return Ok(true);
    }
    let (edge, world) = (linking.edge.to_owned(), "what the host program provides".to_owned());
    Err(StartError::DoesNotFit { edge, world, differences })
}

/// Whether the host program provides an import.
pub(super) fn provides(provided: &[Provided], import: &str) -> bool {
    provided.iter().any(|one| super::forward::compatible(import, one.interface))
}
