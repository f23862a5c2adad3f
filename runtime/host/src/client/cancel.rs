//! Ending calls from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A switch that ends calls. Clones are of the same, and may be on other threads.
///
/// An edge that is [`cancelled_by`](super::Edge::cancelled_by) it has its running calls ended, and its later ones refused, with
/// [`CallError::Cancelled`](super::CallError::Cancelled). A switch is used once: for calls to come, make another.
///
/// ```
/// use cofferdam::client::Cancellation;
///
/// let cancellation = Cancellation::new();
/// let elsewhere = cancellation.clone();
/// std::thread::spawn(move || elsewhere.cancel()).join().unwrap();
/// assert!(cancellation.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct Cancellation(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    running: Mutex<Running>,
}

/// What ends the calls that run now.
#[derive(Default)]
struct Running {
    last: u64,
    all: Vec<(u64, Box<dyn Fn() + Send>)>,
}

impl Cancellation {
    /// Nothing is cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the calls. It does not wait for their ends.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, end) in &running.all {
            end();
        }
    }

    /// Whether calls are ended.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Has `end` run when this is cancelled, as long as what is returned lives. Who calls this asks afterwards whether it was
    /// cancelled before.
    pub(crate) fn ending(&self, end: impl Fn() + Send + 'static) -> Ending {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.last += 1;
        let number = running.last;
        running.all.push((number, Box::new(end)));
        Ending { of: self.clone(), number }
    }
}

/// While it lives, its call can be ended. Once it is dropped, nothing of it runs any more.
pub(crate) struct Ending {
    of: Cancellation,
    number: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut running = self.of.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.all.retain(|(number, _)| *number != self.number);
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancellation({})", if self.is_cancelled() { "cancelled" } else { "not yet" })
    }
}
