//! What went wrong in a call, told apart: a violation, a fault, a limit, a deadline, or another compartment's failure.

use std::time::Duration;

use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::error::{CallError, FaultKind, host_failed};
use super::instance::Running;
use super::link::Ungranted;
use super::stream::Captured;
use crate::audit::{AuditEvent, readable_time};

/// A call without a result, before it is judged.
pub(super) enum Failure<'a> {
    /// The host knows already.
    Error(CallError),
    /// The engine's error, and the time that the call had.
    Trap(&'a wasmtime::Error, Bound),
    /// A limit was hit, and that is behind whatever the guest then did.
    Limit(&'static str),
}

/// The time that a call has, and whether that is what is left of `cpu-time` or a deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) time: Duration,
    pub(super) of_processor: bool,
}

impl Bound {
    /// The same, or a deadline that is shorter.
    pub(super) fn within(self, deadline: Duration) -> Self {
        if deadline < self.time { Self { time: deadline, of_processor: false } } else { self }
    }

    /// What a caller hears when it is over.
    pub(super) fn over(self, edge: String) -> CallError {
        if self.of_processor {
            return CallError::Limit { edge, what: "processor time" };
        }
        CallError::Deadline { edge, deadline: self.time }
    }
}

/// A limit was hit.
#[derive(Debug, thiserror::Error)]
#[error("more {0} than the limit")]
pub(super) struct LimitHit(pub(super) &'static str);

/// Another compartment had no answer.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
pub(super) struct CalleeFailed(pub(super) std::sync::Mutex<Option<Box<CallError>>>, pub(super) String);

impl Failure<'_> {
    /// Looks for a limit behind the engine's error.
    pub(super) fn with_limits(self, running: &Running) -> Self {
        let Self::Trap(error, bound) = self else { return self };
        if running.output.iter().any(Captured::overran) {
            return Self::Limit("output");
        }
        // A violation, a deadline or another's failure stays one, even when the guest was refused memory before.
        let own = error.downcast_ref::<Ungranted>().is_some()
            || error.downcast_ref::<CalleeFailed>().is_some()
            || matches!(error.downcast_ref(), Some(Trap::Interrupt));
        match running.store.data().limiter.refused {
            Some(what) if !own => Self::Limit(what),
            _ => Self::Trap(error, bound),
        }
    }

    /// As its caller hears of it. `fused` are the edges that are one unit with this one.
    pub(super) fn into_error(self, edge: &str, fused: &[String]) -> CallError {
        let in_unit = |kind: FaultKind| match fused {
            [] => kind,
            fused => FaultKind::InUnit {
                kind: Box::new(kind),
                fused: fused.iter().map(|edge| format!("`{edge}`")).collect(),
            },
        };
        let edge = edge.to_owned();
        let (error, bound) = match self {
            Self::Error(error) => return error,
            Self::Limit(what) => return CallError::Limit { edge, what },
            Self::Trap(error, bound) => (error, bound),
        };
        if let Some(ungranted) = error.downcast_ref::<Ungranted>() {
            return CallError::Violation {
                edge: ungranted.edge.clone(),
                capability: Some(ungranted.capability.clone()),
                attempt: ungranted.attempt.clone(),
                line: Some(ungranted.line()),
            };
        }
        if let Some(LimitHit(what)) = error.downcast_ref::<LimitHit>() {
            return CallError::Limit { edge, what };
        }
        if let Some(CalleeFailed(source, _)) = error.downcast_ref::<CalleeFailed>()
            && let Some(source) = source.lock().ok().and_then(|mut source| source.take())
        {
            // What the host program itself failed of is no other compartment's.
            return match *source {
                own @ CallError::Host { .. } if own.edge() == Some(&edge) => own,
                _ => CallError::Callee { edge, source },
            };
        }
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return CallError::Fault { edge, kind: in_unit(FaultKind::Exit(exit.0)) };
        }
        // The engine keeps the types of these to itself; tests/wasm.rs holds their texts.
        let text = format!("{error:#}");
        for (says, what) in [
            ("fuel allocated for hostcalls has been exhausted", "bytes out of the guest in one call"),
            ("resource limit exceeded: instance count", "instances"),
            // Of the host's objects, and of the guest's own.
            ("resource table has no free keys", "handles"),
            ("store handle limit exceeded", "handles"),
        ] {
            if text.contains(says) {
                return CallError::Limit { edge, what };
            }
        }
        let kind = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => return bound.over(edge),
            Some(Trap::StackOverflow) => FaultKind::StackOverflow,
            Some(Trap::UnreachableCodeReached) => FaultKind::Panic(None),
            Some(trap) => FaultKind::Trap(trap.to_string()),
            None => FaultKind::Protocol(text),
        };
        CallError::Fault { edge, kind: in_unit(kind) }
    }
}

/// The failure as the audit log keeps it.
pub(crate) fn event_of(edge: &str, error: &CallError) -> AuditEvent {
    let fault = |kind: &str, detail: String| AuditEvent::Fault {
        edge: edge.to_owned(),
        kind: kind.to_owned(),
        detail,
    };
    match error {
        CallError::Violation { edge, capability, attempt, line } => AuditEvent::Violation {
            edge: edge.clone(),
            capability: capability.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
            attempt: attempt.clone(),
            line: line.clone(),
            backtrace: Vec::new(),
        },
        CallError::Fault { kind, .. } if matches!(kind.itself(), FaultKind::Exit(_)) => {
            fault("exit", kind.to_string())
        }
        CallError::Fault { kind, .. } => fault("trap", kind.to_string()),
        CallError::Deadline { deadline, .. } => fault("deadline", readable_time(*deadline)),
        CallError::Limit { what, .. } => fault("limit", (*what).to_owned()),
        CallError::Callee { source, .. } => fault("callee", source.to_string()),
        CallError::Host { function, message, .. } => fault("host", host_failed(function, message)),
        CallError::Revoked { what, .. } => fault("revoked", (*what).to_owned()),
        CallError::Cancelled { .. } => fault("cancelled", "its caller ended it".to_owned()),
        other => fault("host", other.to_string()),
    }
}
