//! What the people who ship a program accept to go without, by name and with a reason.

/// A part of a compartment's confinement that may be missing where the machine does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weakening {
    /// User, process, mount, IPC, host-name and network namespaces, and the empty root in them (process).
    Namespaces,
}

impl Weakening {
    /// All there are.
    pub const ALL: [Self; 1] = [Self::Namespaces];

    /// Its name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
        }
    }
}
