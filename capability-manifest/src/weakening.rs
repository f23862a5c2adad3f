//! What the people who ship a program accept to go without, by name and with a reason.

/// A part of a compartment's confinement that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weakening {
    /// User, process, mount, IPC, host-name and network namespaces, and the empty root in them (process).
    ///
    /// Missing only where the machine does not have them.
    Namespaces,
    /// Speculation controls: of store bypass and indirect branches, by which a program can be made to tell what is in its memory (process).
    ///
    /// Missing wherever it is accepted: guests that sleep between calls are handed to more slowly with them.
    Speculation,
}

impl Weakening {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Namespaces, Self::Speculation];

    /// Its name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Speculation => "speculation",
        }
    }
}
