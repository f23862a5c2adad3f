//! Clocks that step no finer than they are granted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// A clock with a resolution, nanoseconds; zero and one are the host's own.
pub(super) struct Coarse {
    resolution: u64,
    start: Instant,
}

impl Coarse {
    pub(super) fn new(resolution: u64) -> Self {
        Self { resolution: resolution.max(1), start: Instant::now() }
    }

    fn floor(&self, nanoseconds: u128) -> u128 {
        nanoseconds - nanoseconds % u128::from(self.resolution)
    }
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(self.resolution)
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let floored = self.floor(now.as_nanos());
        Duration::new(
            u64::try_from(floored / 1_000_000_000).unwrap_or(u64::MAX),
            u32::try_from(floored % 1_000_000_000).unwrap_or(0),
        )
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        self.resolution
    }

    fn now(&self) -> u64 {
        u64::try_from(self.floor(self.start.elapsed().as_nanos())).unwrap_or(u64::MAX)
    }
}

/// What is left of clocks and random numbers when they are revoked: no time passes, and nothing is random. A guest that asked
/// gets no further than its next operation, and the call has no result.
#[derive(Clone, Copy)]
pub(super) struct Stopped;

impl HostWallClock for Stopped {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Stopped {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_steps_in_its_resolution() {
        let clock = Coarse::new(1_000_000_000);
        assert_eq!(HostWallClock::now(&clock).subsec_nanos(), 0);
        assert_eq!(HostMonotonicClock::now(&clock) % 1_000_000_000, 0);
        assert_eq!(HostWallClock::resolution(&clock), Duration::from_secs(1));
    }
}
