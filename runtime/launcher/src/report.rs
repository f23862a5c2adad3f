//! What became of each layer, kept until the host is told.

use std::os::fd::BorrowedFd;

use cofferdam_wire::order::{Layer, LayerReport, Outcome, Report};
use rustix::io::Errno;

/// A step that did not work.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was tried.
    pub(crate) what: String,
    /// What the kernel said.
    pub(crate) errno: Errno,
}

/// Names what was tried when the kernel refuses.
pub(crate) trait Named<T> {
    /// The same, with a name.
    fn named(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T> Named<T> for Result<T, Errno> {
    fn named(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|errno| Failure { what: what.into(), errno })
    }
}

/// How a step ended that did not fail.
pub(crate) enum Done {
    /// In force, with a detail.
    Enforced(String),
    /// Not asked for.
    NotAsked,
    /// No use for it here.
    NotApplicable(String),
}

impl Done {
    /// In force, with nothing to add.
    pub(crate) fn plain() -> Self {
        Self::Enforced(String::new())
    }
}

/// The reports so far.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    layers: Vec<LayerReport>,
    /// Go on after a failure.
    pub(crate) probe: bool,
}

/// Reported a failure; what follows it must not happen.
#[derive(Debug)]
pub(crate) struct Stop;

impl Reports {
    /// Keeps what became of a layer.
    pub(crate) fn keep(&mut self, layer: Layer, result: Result<Done, Failure>) -> Result<(), Stop> {
        let (outcome, detail, errno) = match result {
            Ok(Done::Enforced(detail)) => (Outcome::Enforced, detail, 0),
            Ok(Done::NotAsked) => (Outcome::NotAsked, String::new(), 0),
            Ok(Done::NotApplicable(detail)) => (Outcome::NotApplicable, detail, 0),
            Err(failure) => (Outcome::Failed, failure.what, failure.errno.raw_os_error()),
        };
        self.layers.push(LayerReport { layer, outcome, detail, errno });
        if outcome == Outcome::Failed && !self.probe { Err(Stop) } else { Ok(()) }
    }

    /// Puts a layer that was put on after others where it belongs in the list: first.
    pub(crate) fn begin(&mut self, layer: Layer, detail: String) {
        let report = LayerReport { layer, outcome: Outcome::Enforced, detail, errno: 0 };
        self.layers.insert(0, report);
    }

    /// Whether a layer is in force.
    pub(crate) fn has(&self, layer: Layer) -> bool {
        self.layers.iter().any(|one| one.layer == layer && one.outcome == Outcome::Enforced)
    }

    /// Tells the host. If that fails there is nobody to tell.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) {
        let report = Report { layers: self.layers.clone() };
        if let Ok(bytes) = cofferdam_wire::encode(&report) {
            let _ = cofferdam_wire::packet::send(socket, &bytes, &[]);
        }
    }
}
