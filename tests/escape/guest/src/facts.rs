//! What an attempt is told about the world that it attacks.

/// `name=value`, in any order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts(Vec<String>);

impl Facts {
    /// As they came.
    pub(crate) fn new(all: Vec<String>) -> Self {
        Self(all)
    }

    /// A text; empty when nobody told.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find_map(|one| one.split_once('=').filter(|(known, _)| *known == name))
            .map_or("", |(_, value)| value)
    }

    /// A number; 0 when nobody told.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// A path inside the compartment, or, outside of one, below the folder that would have been granted. Ends in NUL.
    pub(crate) fn path(&self, path: &str) -> Vec<u8> {
        let mut bytes = format!("{}{path}", self.text("prefix")).into_bytes();
        bytes.push(0);
        bytes
    }
}
