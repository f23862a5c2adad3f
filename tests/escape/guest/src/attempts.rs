//! All attempts by name.

use crate::facts::Facts;
use crate::{files, network, others, resources, surface};

/// Tries something, and gives what came of it: not negative when it worked, else the kernel's error.
pub(crate) type Attempt = fn(&Facts) -> i64;

/// The attempt of this name.
pub(crate) fn find(name: &str) -> Option<Attempt> {
    [surface::ALL, others::ALL, files::ALL, network::ALL, resources::ALL]
        .into_iter()
        .flatten()
        .find(|(known, _)| *known == name)
        .map(|(_, attempt)| *attempt)
}
