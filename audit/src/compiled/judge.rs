//! Judges what runs in a build before it runs.

/// The variable that names the user's own wrapper of the compiler, which is called in turn.
pub(crate) const INNER_VARIABLE: &str = "COFFERDAM_JUDGE_INNER";
