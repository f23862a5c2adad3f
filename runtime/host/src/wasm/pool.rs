//! The instances of a compartment: taken for a call, given back after it, and made anew when one failed.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::ResourceAny;

use super::instance::Running;
use crate::client::Cancellation;
use crate::hot::{Found, Hot};

/// Instances that wait, and those that run. One of them is hot: it is taken and given back without the lock, as long as nobody else needs
/// to know.
#[derive(Default)]
pub(super) struct Pool {
    hot: Hot<Running>,
    state: Mutex<PoolState>,
    freed: Condvar,
}

#[derive(Default)]
struct PoolState {
    #[expect(clippy::vec_box, reason = "an instance is large and goes in and out with each call")]
    idle: Vec<Box<Running>>,
    /// Few: as many as there are instances. A list is never allocated anew for a call.
    busy: Vec<u64>,
    /// The instance that is in the hot place, or was taken from it.
    hot: Option<u64>,
    /// Places taken by instances that are being made.
    making: usize,
    /// Those who did not come by way of the hot place.
    callers: u64,
    waiters: usize,
    /// Resources that were dropped while their instance ran.
    dropped: Vec<(u64, ResourceAny)>,
}

/// What a caller gets.
pub(super) enum Taken {
    /// An instance.
    Ready(Box<Running>),
    /// A place for one that the caller makes.
    Make,
}

/// Why a caller gets nothing.
pub(super) enum NotTaken {
    TooManyCallers,
    TooLate,
    Gone,
    Cancelled,
}

/// How often a caller that waits looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(5);

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance, or a place for one. Waits while all are busy, at most until the deadline.
    pub(super) fn take(
        &self,
        instances: usize,
        callers_max: u64,
        pinned: Option<u64>,
        deadline: Duration,
        cancellation: Option<&Cancellation>,
    ) -> Result<Taken, NotTaken> {
        if pinned.is_none()
            && cancellation.is_none()
            && let Some(mut running) = self.hot.take()
        {
            running.hot = true;
            return Ok(Taken::Ready(running));
        }
        let mut state = self.lock();
        if state.callers + u64::from(self.hot.is_out()) >= callers_max {
            return Err(NotTaken::TooManyCallers);
        }
        state.callers += 1;
        if state.callers >= callers_max && !self.close_hot(&mut state) {
            // Somebody came by way of the hot place since the look above.
            state.callers -= 1;
            return Err(NotTaken::TooManyCallers);
        }
        let mut until = None;
        let taken = loop {
            if cancellation.is_some_and(Cancellation::is_cancelled) {
                break Err(NotTaken::Cancelled);
            }
            if let Some(running) = self.find(&mut state, pinned) {
                state.busy.push(running.serial);
                break Ok(Taken::Ready(running));
            }
            match pinned {
                Some(serial) if !state.busy.contains(&serial) && state.hot != Some(serial) => {
                    break Err(NotTaken::Gone);
                }
                None if state.instances() < instances => {
                    state.making += 1;
                    break Ok(Taken::Make);
                }
                _ => {}
            }
            let until = *until.get_or_insert_with(|| Instant::now() + deadline);
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                break Err(NotTaken::TooLate);
            };
            let left = if cancellation.is_some() { left.min(LOOK) } else { left };
            state.waiters += 1;
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiters -= 1;
        };
        if taken.is_err() {
            state.callers -= 1;
        }
        taken
    }

    /// Nobody comes by way of the hot place from now on, as there are as many callers as there may be. False if somebody did.
    fn close_hot(&self, state: &mut PoolState) -> bool {
        match self.hot.reclaim() {
            Found::Empty => true,
            Found::Here(running) => {
                state.hot = None;
                state.idle.push(running);
                true
            }
            Found::Out => false,
        }
    }

    /// An instance that waits. Where there is none, whoever has the hot one will come to the lock with it.
    fn find(&self, state: &mut PoolState, pinned: Option<u64>) -> Option<Box<Running>> {
        let position = match pinned {
            None => state.idle.len().checked_sub(1),
            Some(serial) => state.idle.iter().position(|running| running.serial == serial),
        };
        if let Some(position) = position {
            return Some(state.idle.swap_remove(position));
        }
        if (pinned.is_none() || pinned == state.hot)
            && let Found::Here(running) = self.hot.reclaim()
        {
            state.hot = None;
            return Some(running);
        }
        None
    }

    /// The place of [`Taken::Make`] is filled.
    fn made(&self, serial: u64) {
        let mut state = self.lock();
        state.making -= 1;
        state.busy.push(serial);
    }

    /// Gives an instance back, and the resources that were dropped meanwhile to whoever keeps it: an instance is only kept
    /// when there are none, and when it is still fresh.
    pub(super) fn give(
        &self,
        running: Box<Running>,
        callers_max: u64,
        fresh: impl Fn(&Running) -> bool,
    ) -> Option<(Box<Running>, Vec<ResourceAny>)> {
        let mut running = running;
        if running.hot && fresh(&running) {
            // Whoever takes it next may do so the other way.
            running.hot = false;
            running = match self.hot.give(running) {
                Ok(()) => return None,
                Err(watched) => watched,
            };
            running.hot = true;
        }
        let mut state = self.lock();
        let serial = running.serial;
        // Asked again: whoever makes it stale does so before coming to the lock.
        let keep = fresh(&running);
        if keep && state.dropped.iter().any(|(of, _)| *of == serial) {
            let (mine, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut state.dropped).into_iter().partition(|(of, _)| *of == serial);
            state.dropped = others;
            return Some((running, mine.into_iter().map(|(_, resource)| resource).collect()));
        }
        self.left(&mut state, serial, running.hot);
        running.hot = false;
        let spent = if !keep {
            state.dropped.retain(|(of, _)| *of != serial);
            Some(running)
        } else if state.hot.is_none() && state.waiters == 0 && state.callers < callers_max {
            // Whoever comes by way of the hot place is not counted: there is room for one more than those who are.
            state.hot = Some(serial);
            self.hot.put(running);
            None
        } else {
            state.idle.push(running);
            None
        };
        self.wake(&state);
        drop(state);
        // A store gives back much memory; nobody else need wait for that.
        drop(spent);
        None
    }

    /// An instance is with nobody any more, nor is its caller here.
    fn left(&self, state: &mut PoolState, serial: u64, hot: bool) {
        if hot {
            self.hot.end();
            state.hot = None;
        } else {
            state.busy.retain(|busy| *busy != serial);
            state.callers -= 1;
        }
    }

    /// An instance that was taken is no more, or was never made.
    fn lost(&self, running: Option<&Running>) {
        let mut state = self.lock();
        match running {
            Some(running) => {
                let serial = running.serial;
                self.left(&mut state, serial, running.hot);
                state.dropped.retain(|(of, _)| *of != serial);
            }
            None => {
                state.making -= 1;
                state.callers -= 1;
            }
        }
        self.wake(&state);
    }

    fn wake(&self, state: &PoolState) {
        // Whoever waits for one instance could be woken for another, so all look.
        if state.waiters > 0 {
            self.freed.notify_all();
        }
    }

    /// Takes the instance of a dropped resource when it is idle; else keeps the resource until the instance is given back.
    pub(super) fn drop_resource(&self, serial: u64, resource: ResourceAny) -> Option<Box<Running>> {
        let mut state = self.lock();
        if let Some(running) = self.find(&mut state, Some(serial)) {
            state.busy.push(serial);
            state.callers += 1;
            return Some(running);
        }
        if state.busy.contains(&serial) || state.hot == Some(serial) {
            state.dropped.push((serial, resource));
        }
        None
    }

    /// Drops the instances that wait. Those that run are not kept when they come back, if they are not fresh any more by now.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        let hot = self.hot.reclaim();
        if matches!(hot, Found::Here(_)) {
            state.hot = None;
        }
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop((hot, idle));
    }

    /// Instances that wait, and that run.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        let running = state.busy.len() + state.making + usize::from(self.hot.is_out());
        (state.instances() - running.min(state.instances()), running)
    }
}

/// A caller's place in a pool: an instance, or the place for one that is being made. Whoever drops it (a future that is dropped, a
/// panic of the host's own code) gives it up, and the instance with it.
pub(super) struct Seat<'p> {
    pool: &'p Pool,
    held: Held,
}

enum Held {
    Nothing,
    Making,
    Running(Box<Running>),
}

impl<'p> Seat<'p> {
    /// Of what was taken.
    pub(super) fn new(pool: &'p Pool, taken: Taken) -> Self {
        let held = match taken {
            Taken::Ready(running) => Held::Running(running),
            Taken::Make => Held::Making,
        };
        Self { pool, held }
    }

    /// The instance, if it is made.
    pub(super) fn running(&mut self) -> Option<&mut Running> {
        match &mut self.held {
            Held::Running(running) => Some(running),
            Held::Nothing | Held::Making => None,
        }
    }

    /// Fills the place that an instance was made for.
    pub(super) fn fill(&mut self, running: Box<Running>) {
        debug_assert!(matches!(self.held, Held::Making), "it was for one to be made");
        self.pool.made(running.serial);
        self.held = Held::Running(running);
    }

    /// Leaves with the instance, which is the taker's to give back.
    pub(super) fn into_running(mut self) -> Option<Box<Running>> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Running(running) => Some(running),
            other => {
                self.held = other;
                None
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Making => self.pool.lost(None),
            Held::Running(running) => {
                self.pool.lost(Some(&running));
                drop(running);
            }
        }
    }
}

impl PoolState {
    /// All that there are, and that are being made.
    fn instances(&self) -> usize {
        self.idle.len() + self.busy.len() + self.making + usize::from(self.hot.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[test]
    fn a_place_that_is_dropped_is_free_again() {
        let pool = Pool::default();
        let take = || pool.take(1, 2, None, SOON, None);
        let seat = Seat::new(&pool, take().ok().expect("there is room"));
        assert_eq!(pool.counts(), (0, 1));
        assert!(matches!(take(), Err(NotTaken::TooLate)), "the only place is taken");
        drop(seat);
        assert_eq!(pool.counts(), (0, 0));
        assert!(matches!(take(), Ok(Taken::Make)));
    }

    #[test]
    fn there_are_no_more_callers_than_there_may_be() {
        let pool = Pool::default();
        let take = || pool.take(3, 2, None, SOON, None);
        let seats = [take(), take()].map(|taken| Seat::new(&pool, taken.ok().expect("there is room")));
        assert!(matches!(take(), Err(NotTaken::TooManyCallers)));
        drop(seats);
        assert!(take().is_ok());
    }
}
