//! What calls cost, as their caller sees it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Calls by the part that was called.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<BTreeMap<&'static str, Calls>>);

/// The calls of one part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    times: Vec<Duration>,
    /// Bytes that went there and came back.
    pub(crate) bytes: u64,
}

impl Meter {
    /// Makes a call that takes so many bytes there; `back` counts those of its result.
    pub(crate) fn call<T>(
        &self,
        part: &'static str,
        there: usize,
        call: impl FnOnce() -> T,
        back: impl FnOnce(&T) -> usize,
    ) -> T {
        let begun = Instant::now();
        let result = call();
        let took = begun.elapsed();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = all.entry(part).or_default();
        calls.times.push(took);
        calls.bytes += (there + back(&result)) as u64;
        result
    }

    /// The calls of a part.
    pub(crate) fn of(&self, part: &str) -> Calls {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(part).cloned().unwrap_or_default()
    }
}

impl Calls {
    /// The time of the call in the middle.
    pub(crate) fn median(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied()
    }

    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }
}
