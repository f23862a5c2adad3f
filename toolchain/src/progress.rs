//! What a long step tells while it runs. Whoever asked for the step draws it, or does not.

/// One piece of news. A step lasts until the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A step begins.
    Step(&'a str),
    /// So many of so many bytes of this step are there.
    Bytes {
        /// There already.
        done: u64,
        /// All.
        total: u64,
    },
    /// What the step is about just now.
    Detail(&'a str),
    /// Something that the user should know, whatever is drawn.
    Note(&'a str),
}

/// Whom it is told.
pub(crate) type Tell<'t> = &'t mut dyn FnMut(Progress<'_>);
