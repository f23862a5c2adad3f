//! What guests asked for and were told no, kept for whoever wants to show it.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use capability_manifest::Capability;

/// Most refusals that are kept until somebody takes them. All are in the audit log.
pub const REFUSALS_KEPT_MAX: usize = 64;

/// Something that a guest asked for and was told no, by an error that it could handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The capability that would have allowed it.
    pub capability: Capability,
    /// What it asked for.
    pub attempt: String,
    /// The line of the edge's grants table that would have allowed it.
    pub line: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, attempt, line } = self;
        write!(f, "{attempt}: the edge does not grant `{capability}`; this line would allow it: {line}")
    }
}

/// The first refusals since somebody took them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<Vec<Refusal>>>);

impl Recent {
    pub(crate) fn keep(&self, capability: &str, attempt: &str, line: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < REFUSALS_KEPT_MAX {
            let capability = Capability::from_name(capability);
            kept.push(Refusal { capability, attempt: attempt.to_owned(), line: line.to_owned() });
        }
    }

    pub(crate) fn take(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A guest's text for people, with nothing in it that a terminal would act upon, and nothing that reorders or hides text.
pub(crate) fn plain(guests: &str) -> String {
    let mut text = String::with_capacity(guests.len());
    for c in guests.chars() {
        let hidden = c.is_control() && c != '\t'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if hidden {
            let _ = write!(text, "{}", c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}
