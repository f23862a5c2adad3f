//! Edges from a component to a process: the message of a call is what a process takes, and its answer is checked before the
//! component gets it.

use std::time::Instant;

use wasmtime::component::types::ComponentFunc;

use super::compartment::{Around, in_ticks};
use super::crossing::{Shape, shape_of};
use super::error::{CallError, FaultKind};
use super::host::WasmHost;
use crate::process::ProcessEdge;

/// A function of a process.
pub(super) struct Far {
    to: ProcessEdge,
    slot: usize,
    result: Vec<Shape>,
    /// Counts the epochs of the caller.
    clock: WasmHost,
}

impl Far {
    /// The function of that name, when its types are the same.
    pub(super) fn find(
        to: &ProcessEdge,
        clock: &WasmHost,
        name: &str,
        wanted: &ComponentFunc,
    ) -> Option<Self> {
        let slot = to.crossing(name, shape_of(wanted)?)?;
        let result = wanted.results().map(|ty| Shape::of(&ty)).collect::<Option<_>>()?;
        Some(Self { to: to.clone(), slot, result, clock: clock.clone() })
    }

    /// Makes the call. It keeps its thread waiting, at most until the deadline of the calls around it.
    pub(super) fn call(&self, message: &[u8], around: Around) -> Result<Vec<u8>, CallError> {
        let Around { until, epoch, depth, cancellation } = around;
        // The process is waited for by the clock.
        let until = until.or_else(|| {
            let left = epoch?.saturating_sub(self.clock.ticker().epoch());
            Instant::now().checked_add(in_ticks(left))
        });
        let answer = self.to.call_crossing(self.slot, message, until, depth, cancellation)?;
        Shape::check(&self.result, &answer).map_err(|error| CallError::Fault {
            edge: self.to.edge().to_owned(),
            kind: FaultKind::Protocol(error.to_string()),
        })?;
        Ok(answer)
    }
}
