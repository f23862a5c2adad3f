//! A process guest's calls of other compartments: each over its own edge, through the host.

use std::time::Instant;

use cofferdam_wire::handshake::Offer;

use super::compartment::{Imports, NoAnswer, Subject};
use super::edge::ProcessEdge;
use crate::client::{Cancellation, Compartment, Provided, ProvidedError, ProvidedFunction};
use crate::wasm::{CallError, FaultKind, StartError, WasmCompartment, WasmFunction};

/// A function that a guest imports, and the compartment that has it.
#[derive(Debug, Clone)]
pub(super) struct Import {
    offer: Offer,
    provider: Provider,
}

#[derive(Debug, Clone)]
enum Provider {
    Process {
        to: ProcessEdge,
        slot: usize,
    },
    Wasm {
        to: WasmCompartment,
        function: WasmFunction,
    },
    /// The host program itself.
    Host(ProvidedFunction),
}

/// Finds for each import the one compartment that exports it with the same types.
pub(super) fn connect(
    edge: &str,
    imports: &[Offer],
    edges: &[Compartment],
    provided: &[Provided],
) -> Result<Vec<Import>, StartError> {
    let mut connected = Vec::with_capacity(imports.len());
    let mut missing = Vec::new();
    for offer in imports {
        let mut found: Vec<(&str, Provider)> = Vec::new();
        for compartment in edges {
            let provider = match compartment {
                Compartment::Process(to) => {
                    to.position(offer).map(|slot| Provider::Process { to: to.clone(), slot })
                }
                Compartment::Wasm(to) => to
                    .crossing(&offer.name, offer.shape)
                    .map(|function| Provider::Wasm { to: to.clone(), function }),
                // Inline crates are linked into the host program only.
                Compartment::Linked(_) => None,
            };
            found.extend(provider.map(|provider| (compartment.edge(), provider)));
        }
        let own = provided.iter().flat_map(|one| &one.functions).find(|one| one.is(&offer.name, offer.shape));
        found.extend(own.map(|own| ("the host program", Provider::Host(own.clone()))));
        if found.len() > 1 {
            return Err(StartError::AmbiguousImport {
                edge: edge.to_owned(),
                import: offer.name.clone(),
                providers: found.iter().map(|(edge, _)| format!("`{edge}`")).collect(),
            });
        }
        match found.pop() {
            Some((_, provider)) => connected.push(Import { offer: offer.clone(), provider }),
            None => missing.push(format!("`{}`", offer.name)),
        }
    }
    if missing.is_empty() {
        Ok(connected)
    } else {
        Err(StartError::UnknownImports { edge: edge.to_owned(), imports: missing })
    }
}

/// What a guest's calls of its host lead to, during one call.
pub(super) struct Bridge<'e> {
    imports: &'e [Import],
    /// Compartments around the guest's.
    depth: usize,
    cancellation: Option<Cancellation>,
    /// Why the guest's last call had no answer.
    failed: Option<CallError>,
}

impl<'e> Bridge<'e> {
    pub(super) fn new(imports: &'e [Import], depth: usize, cancellation: Option<Cancellation>) -> Self {
        Self { imports, depth, cancellation, failed: None }
    }

    /// What the guest's own failure comes from, when it ended because a call of its failed.
    pub(super) fn explain(self, error: CallError) -> CallError {
        match (error, self.failed) {
            (CallError::Fault { edge, kind: FaultKind::Panic(_) }, Some(source)) => {
                CallError::Callee { edge, source: Box::new(source) }
            }
            (error, _) => error,
        }
    }
}

impl Imports for Bridge<'_> {
    fn call(&mut self, import: &Offer, arguments: &[u8], deadline: Instant) -> Result<Vec<u8>, NoAnswer> {
        self.failed = None;
        let Some(import) = self.imports.iter().find(|known| known.offer == *import) else {
            return Err(NoAnswer::nobody(import));
        };
        let depth = self.depth + 1;
        let outcome = match &import.provider {
            Provider::Process { to, slot } => {
                let cancellation = self.cancellation.clone();
                to.call_at(Subject::At(*slot, &import.offer), arguments, deadline, depth, cancellation)
            }
            Provider::Wasm { to, function } => {
                to.call_crossing(function, arguments, deadline, depth, self.cancellation.as_ref())
            }
            Provider::Host(function) => {
                return function.call(arguments).map_err(|error| match error {
                    ProvidedError::Arguments(why) => NoAnswer::Protocol(format!(
                        "it calls `{}` with what are no arguments of it: {why}",
                        import.offer.name
                    )),
                    ProvidedError::Host(message) => {
                        NoAnswer::Host { function: import.offer.name.clone(), message }
                    }
                });
            }
        };
        outcome.map_err(|error| {
            let text = error.to_string();
            self.failed = Some(error);
            NoAnswer::Callee(text)
        })
    }
}
