//! Edges to inline crates that have an interface: the same clients, without a compartment.

use std::sync::PoisonError;

use super::{CompartmentState, CompartmentStatus, EdgeName, Runtime};
use crate::client::{Edge, LinkedEdge};
use crate::plan::LinkedPlan;
use crate::wasm::StartError;

/// One such edge.
pub(super) struct LinkedEntry {
    pub(super) plan: LinkedPlan,
    pub(super) running: Option<LinkedEdge>,
    pub(super) revoked: bool,
}

impl Runtime {
    /// The edge of that name, if it leads to an inline crate.
    pub(super) fn linked_edge(&self, name: EdgeName<'_>) -> Option<Result<Edge, StartError>> {
        self.with_linked(name, |entry| {
            if entry.revoked {
                return Err(StartError::Revoked { edge: entry.plan.edge() });
            }
            let running = entry.running.get_or_insert_with(|| {
                let (edge, krate) = (entry.plan.edge(), entry.plan.krate.clone());
                let provided = self.0.provided.get(&edge).cloned().unwrap_or_default();
                LinkedEdge::new(edge, krate, provided, &self.0.host, &self.0.log)
            });
            Ok(Edge::new(crate::client::Compartment::Linked(running.clone())))
        })
    }

    pub(super) fn stop_linked(&self, name: EdgeName<'_>) -> Option<Result<(), StartError>> {
        self.with_linked(name, |entry| entry.running.take().map_or(Ok(()), |running| running.stop()))
    }

    pub(super) fn revoke_linked(&self, name: EdgeName<'_>) -> Option<Result<(), StartError>> {
        self.with_linked(name, |entry| {
            entry.revoked = true;
            match entry.running.take() {
                Some(running) => running.revoke(),
                None => {
                    let event = crate::AuditEvent::Revoked { edge: entry.plan.edge(), capability: None };
                    self.0.log.record(&event).map_err(StartError::from)
                }
            }
        })
    }

    /// They stand behind all compartments.
    pub(super) fn list_linked(&self, first: usize) -> Vec<CompartmentStatus> {
        let linked = self.0.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |(number, entry): (usize, &LinkedEntry)| CompartmentStatus {
            number: first + number,
            edge: entry.plan.edge(),
            inside: None,
            backend: "inline".to_owned(),
            state: match &entry.running {
                _ if entry.revoked => CompartmentState::Revoked,
                None => CompartmentState::NotStarted,
                Some(_) => CompartmentState::Started { idle: 0, busy: 0 },
            },
            calls: entry.running.as_ref().map_or((0, 0), LinkedEdge::counts),
            digest: None,
            memory_peak: None,
        };
        linked.iter().enumerate().map(status).collect()
    }

    fn with_linked<T>(&self, name: EdgeName<'_>, run: impl FnOnce(&mut LinkedEntry) -> T) -> Option<T> {
        let mut linked = self.0.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |entry: &&mut LinkedEntry| {
            entry.plan.consumer == name.consumer && entry.plan.krate.split('@').next() == Some(name.krate)
        };
        linked.iter_mut().find(named).map(run)
    }
}
