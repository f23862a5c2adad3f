//! Where a compartment stands with its host while it runs: whether its grants still hold, and what it was refused so far.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use capability_manifest::scope::Scope;
use capability_manifest::{Capability, HostCapability, print};

use super::limits::{DENIALS_MAX, REFUSED_PATHS_MAX};
use crate::audit::{AuditEvent, AuditLog};
use crate::refusal::{Recent, Refusal, plain};

/// Shared by all instances of a compartment. Members of a unit have one each, and revocation in common.
#[derive(Debug)]
pub(super) struct Standing {
    edge: String,
    log: AuditLog,
    /// Raised by every revocation: what an instance was given before is dead.
    epoch: Arc<AtomicU64>,
    /// Refusals that may still be recorded.
    left: AtomicU64,
    unwritten: AtomicBool,
    recent: Recent,
    /// What was refused at a path, since a guest may look there again and again.
    at_paths: Mutex<HashSet<String>>,
}

impl Standing {
    pub(super) fn new(edge: String, log: &AuditLog) -> Self {
        Self::sharing(edge, log, Arc::default())
    }

    /// For another member of the same unit: what is revoked for one ends the instance for all.
    pub(super) fn beside(&self, edge: String) -> Self {
        Self::sharing(edge, &self.log, Arc::clone(&self.epoch))
    }

    fn sharing(edge: String, log: &AuditLog, epoch: Arc<AtomicU64>) -> Self {
        let left = AtomicU64::new(DENIALS_MAX);
        let unwritten = AtomicBool::new(false);
        let recent = Recent::default();
        let log = log.keeping(&recent);
        Self { edge, log, epoch, left, unwritten, recent, at_paths: Mutex::default() }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Everything that instances hold now is dead from their next operation on.
    pub(super) fn revoke(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Records a refusal that the guest sees as an ordinary error. `scope` is what would have allowed it.
    pub(super) fn refused(&self, capability: HostCapability, attempt: &str, scope: &Scope) {
        let capability = Capability::host(capability);
        let line = print::clause(&capability, scope);
        self.record(&capability, attempt, &line);
    }

    /// Records a refusal of what no parameter was named for. Its line has an example.
    pub(super) fn refused_altogether(&self, capability: HostCapability, attempt: &str) {
        let capability = Capability::host(capability);
        let line = print::suggestion(&capability, None);
        self.record(&capability, attempt, &line);
    }

    /// Records a refusal at a path, the first time. A guest that looks for a file at each call is not one that refusals should end.
    pub(super) fn refused_at_path(&self, capability: HostCapability, attempt: String, line: &str) {
        let mut known = self.at_paths.lock().unwrap_or_else(PoisonError::into_inner);
        // One more than are kept, so that the last one is seen to be the last.
        if known.len() > REFUSED_PATHS_MAX || !known.insert(attempt.clone()) {
            return;
        }
        let last = known.len() > REFUSED_PATHS_MAX;
        drop(known);
        let attempt = if last { format!("{attempt}; no more paths are recorded") } else { attempt };
        self.keep(&Capability::host(capability), &attempt, line);
    }

    fn record(&self, capability: &Capability, attempt: &str, line: &str) {
        let one_less = |left: u64| left.checked_sub(1);
        if self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_err() {
            return;
        }
        self.keep(capability, attempt, line);
    }

    fn keep(&self, capability: &Capability, attempt: &str, line: &str) {
        // A guest chose what is in these, and programs print them.
        let (attempt, line) = (plain(attempt), plain(line));
        let event = AuditEvent::Refusal {
            edge: self.edge.clone(),
            line,
            capability: capability.to_string(),
            attempt,
        };
        if self.log.record(&event).is_err() {
            self.unwritten.store(true, Ordering::Release);
        }
    }

    /// The refusals since the last time, as many as are kept.
    pub(super) fn take_refusals(&self) -> Vec<Refusal> {
        self.recent.take()
    }

    /// What ends a call even though its guest goes on: refusals without end, or some that could not be recorded.
    pub(super) fn objection(&self) -> Option<Objection> {
        if self.unwritten.load(Ordering::Acquire) {
            return Some(Objection::Unwritten);
        }
        (self.left.load(Ordering::Acquire) == 0).then_some(Objection::TooMany)
    }
}

/// Why a call must not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objection {
    /// The audit log cannot be written.
    Unwritten,
    /// More refusals than are recorded.
    TooMany,
}
