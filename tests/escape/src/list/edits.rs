//! Edits that were made by hand, each alone, and what failed for it.

/// `(edit, what failed)`.
pub const EDITS: &[(&str, &str)] = &[];
