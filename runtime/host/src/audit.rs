//! The audit log: what was granted, and every violation, fault and refusal, in place before the caller sees the outcome.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::refusal::Recent;

/// Something that happened to a compartment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditEvent {
    /// A compartment started with this grant.
    Grant {
        /// `consumer -> crate`.
        edge: String,
        /// The capability.
        capability: String,
        /// Its parameters.
        scope: String,
    },
    /// A compartment runs inside these layers.
    Confined {
        /// `consumer -> crate`.
        edge: String,
        /// Each layer with what became of it.
        layers: Vec<String>,
    },
    /// A compartment was refused before any of its code ran.
    Refused {
        /// `consumer -> crate`.
        edge: String,
        /// Why.
        reason: String,
    },
    /// A guest tried what its edge does not grant.
    Violation {
        /// `consumer -> crate`.
        edge: String,
        /// The capability that would have allowed it.
        capability: String,
        /// What it called.
        attempt: String,
        /// The manifest line that would have allowed it, if one would.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<String>,
        /// Where in its program, innermost first, as far as that could be found out; empty if not. The guest's own word.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        backtrace: Vec<String>,
    },
    /// A guest asked for what its edge does not grant, was told no, and went on.
    Refusal {
        /// `consumer -> crate`.
        edge: String,
        /// The capability that would have allowed it.
        capability: String,
        /// What it asked for.
        attempt: String,
        /// The manifest line that would have allowed it.
        line: String,
    },
    /// A grant, or all of an edge, was taken back while it was in use.
    Revoked {
        /// `consumer -> crate`.
        edge: String,
        /// The capability; `None` for all of the edge.
        capability: Option<String>,
    },
    /// A compartment was ended by its host.
    Stopped {
        /// `consumer -> crate`.
        edge: String,
    },
    /// A component took the place of another.
    Replaced {
        /// `consumer -> crate`.
        edge: String,
        /// SHA-256 of the new component.
        digest: String,
    },
    /// The host enforces less than it could, knowingly.
    Weakening {
        /// `consumer -> crate`.
        edge: String,
        /// What is not enforced, and why.
        reason: String,
    },
    /// A guest crashed, exited, or overran a limit or its deadline.
    Fault {
        /// `consumer -> crate`.
        edge: String,
        /// `trap`, `exit`, `deadline`, `limit`, `memory`, `panic`, `signal`, `callee`, `revoked`, `cancelled`, `host` and others: what a guest
        /// failed of, in one word.
        kind: String,
        /// What happened.
        detail: String,
    },
}

/// Where events go. Clones write to the same place.
#[derive(Clone)]
pub struct AuditLog {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Where refusals are kept beside it.
    recent: Option<Recent>,
}

impl AuditLog {
    /// Writes events as JSON, one a line, and flushes each before it returns.
    pub fn to_writer(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Arc::new(Mutex::new(Box::new(writer))), recent: None }
    }

    /// Keeps nothing.
    pub fn discard() -> Self {
        Self::to_writer(std::io::sink())
    }

    /// Records an event.
    ///
    /// # Errors
    /// When it cannot be written. An outcome that cannot be recorded is not handed on: the caller gets this error instead.
    pub(crate) fn record(&self, event: &AuditEvent) -> std::io::Result<()> {
        let line = serde_json::to_string(event).map_err(std::io::Error::other)?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(writer, "{line}")?;
        writer.flush()?;
        if let (AuditEvent::Refusal { capability, attempt, line, .. }, Some(recent)) = (event, &self.recent) {
            recent.keep(capability, attempt, line);
        }
        Ok(())
    }

    /// The same log, for one compartment, whose refusals are kept when they are recorded.
    pub(crate) fn keeping(&self, recent: &Recent) -> Self {
        Self { writer: Arc::clone(&self.writer), recent: Some(recent.clone()) }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

/// A span of time for people, in four digits: a deadline that is what others left of it has no end of them.
pub(crate) fn readable_time(time: Duration) -> String {
    let exact = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let step = 10_u64.pow(exact.checked_ilog10().unwrap_or(0).saturating_sub(3));
    let rounded = exact.saturating_add(step / 2) / step * step;
    format!("{:?}", Duration::from_nanos(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_four_digits_at_most() {
        for (nanoseconds, text) in [
            (5_000_000_000, "5s"),
            (999_996_321, "1s"),
            (1_234_000_000, "1.234s"),
            (50_000_000, "50ms"),
            (199_983_210, "200ms"),
            (12_345_678, "12.35ms"),
            (1_234, "1.234µs"),
            (7, "7ns"),
            (0, "0ns"),
        ] {
            assert_eq!(readable_time(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
