//! The thread that counts epochs, by which running guests are ended. While no guest runs it sleeps, and costs nothing.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

use wasmtime::Engine;

use super::error::StartError;
use super::limits::EPOCH_TICK;

/// Ticks without a new call after which the thread looks whether any guest still runs.
const QUIET_TICKS: u32 = 50;

/// Something whose guests the epochs end. The thread may be the last to let one go, so that must be nothing to wait for.
pub(super) trait Busy: Send + Sync {
    /// Whether a guest of it may run. A guest that began before the question is seen, or its caller sees the thread asleep.
    fn is_busy(&self) -> bool;
}

/// The thread, for as long as this lives.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// A call began since the last look. Read with each call, and written by the first one of a look.
    begun: AtomicBool,
    /// The thread sleeps, or looks whether it may.
    asleep: AtomicBool,
    stop: AtomicBool,
    /// As many as the engine has counted.
    epoch: AtomicU64,
    lock: Mutex<()>,
    wake: Condvar,
    all: Mutex<Vec<Weak<dyn Busy>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared(asleep: {:?})", self.asleep)
    }
}

impl Ticker {
    /// Starts it, asleep.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(engine: &Engine) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            begun: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            all: Mutex::default(),
        });
        let (engine, theirs) = (engine.clone(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("cofferdam-epoch".to_owned());
        let thread = thread.spawn(move || theirs.run(&engine));
        let thread = thread.map_err(|error| StartError::Engine(error.to_string()))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// From now on this is asked before the thread sleeps.
    pub(super) fn watch(&self, one: Weak<dyn Busy>) {
        let mut all = self.shared.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|one| one.strong_count() > 0);
        }
        all.push(one);
    }

    /// How many epochs there were. A clock that costs a call nothing, and stands while no guest runs.
    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Relaxed)
    }

    /// A guest is about to run; what [`Busy::is_busy`] looks at says so already.
    pub(super) fn begun(&self) {
        if !self.shared.begun.load(Relaxed) {
            self.shared.begun.store(true, Relaxed);
        }
        if self.shared.asleep.load(SeqCst) {
            self.shared.wake();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // The thread only counts; it cannot have panicked with anything of value.
            let _ = thread.join();
        }
    }
}

impl Shared {
    #[cold]
    fn wake(&self) {
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(false, SeqCst);
        self.wake.notify_all();
    }

    fn run(&self, engine: &Engine) {
        let mut quiet = 0;
        // When the last tick should have been: one that comes late does not put off those after it.
        let mut due = Instant::now();
        while !self.stop.load(SeqCst) {
            if self.asleep.load(SeqCst) {
                self.sleep();
                quiet = 0;
                due = Instant::now();
            }
            due += EPOCH_TICK;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // By more than one it is not made up for: a call that began before them would lose that time.
            due = due.max(Instant::now().checked_sub(EPOCH_TICK).unwrap_or(due));
            engine.increment_epoch();
            self.epoch.fetch_add(1, Relaxed);
            quiet += 1;
            if self.begun.swap(false, Relaxed) {
                quiet = 0;
            }
            if quiet >= QUIET_TICKS {
                quiet = 0;
                // First said and then looked: whoever begins a call does it the other way round, and one of the two sees the other.
                self.asleep.store(true, SeqCst);
                if self.any_busy() {
                    self.asleep.store(false, SeqCst);
                }
            }
        }
    }

    fn sleep(&self) {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.asleep.load(SeqCst) && !self.stop.load(SeqCst) {
            held = self.wake.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn any_busy(&self) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).any(|one| one.is_busy())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    struct Guest(AtomicBool);

    impl Busy for Guest {
        fn is_busy(&self) -> bool {
            self.0.load(SeqCst)
        }
    }

    fn until(mut done: impl FnMut() -> bool) {
        let late = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < late, "it takes too long");
            std::thread::sleep(EPOCH_TICK);
        }
    }

    #[test]
    fn it_sleeps_when_no_guest_runs_and_wakes_for_the_next() {
        let ticker = Ticker::start(&Engine::default()).expect("a thread");
        let guest = Arc::new(Guest(AtomicBool::new(false)));
        let asleep = || ticker.shared.asleep.load(SeqCst);
        let watched: Weak<dyn Busy> = Arc::downgrade(&guest) as Weak<dyn Busy>;
        ticker.watch(watched);
        assert!(asleep(), "nothing ran yet");
        guest.0.store(true, SeqCst);
        ticker.begun();
        assert!(!asleep());
        // A long call, and none that begins: it looks many times and goes on.
        std::thread::sleep(EPOCH_TICK * QUIET_TICKS * 3);
        until(|| !asleep());
        guest.0.store(false, SeqCst);
        until(asleep);
        ticker.begun();
        assert!(!asleep());
    }
}
