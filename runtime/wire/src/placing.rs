//! Where the two sides run: a side that spins for the other must not have the processor that the other waits for.
//!
//! The kernel of a virtual machine wakes a thread on the processor of whoever wakes it, since the others seem to be taken while they
//! sleep. A caller and its guest then take turns on one processor, each call costs two switches between processes (13 to 17 us where it
//! costs 1 us otherwise, measured), and they stay there: a spin cannot pay, so nobody spins. The host sees it and keeps the guest away
//! from its own processor until one of them has found the other awake.

use crate::ring::Wait;

/// Calls in a row that were made on one processor, after which the guest is kept elsewhere.
const TOGETHER_MIN: u32 = 8;

/// The same after it was in vain, at most: it doubles each time.
const TOGETHER_MAX: u32 = 4096;

/// Calls for which it is kept there at most. A guest that has given spinning up tries it within half of them.
const APART_CALLS: u32 = 64;

/// Watches where a guest answers, and moves it.
#[derive(Debug)]
pub(crate) struct Placing {
    together: u32,
    most: u32,
    apart: Option<(Elsewhere, u32)>,
}

impl Default for Placing {
    fn default() -> Self {
        Self { together: 0, most: TOGETHER_MIN, apart: None }
    }
}

impl Placing {
    /// Before the guest is told of a call.
    pub(crate) fn before(&mut self, wait: Wait<'_>) {
        // Its number may be another's by now.
        if !wait.lives() {
            return;
        }
        match self.apart.take() {
            Some((elsewhere, 0)) => {
                elsewhere.release();
            }
            Some((elsewhere, calls)) => self.apart = Some((elsewhere, calls - 1)),
            None if self.together >= self.most => {
                self.together = 0;
                self.most = (self.most * 2).min(TOGETHER_MAX);
                self.apart = Elsewhere::keep(wait.other).map(|elsewhere| (elsewhere, APART_CALLS));
            }
            None => {}
        }
    }

    /// After it has answered: whether it slept when it was told, and whether the answer had to be waited for.
    pub(crate) fn after(&mut self, slept: bool, waited: bool) {
        if !slept {
            self.together = 0;
            self.most = TOGETHER_MIN;
            if let Some((elsewhere, _)) = self.apart.take() {
                elsewhere.release();
            }
        } else if !waited {
            // It was woken and had answered before this side looked: this side did not run meanwhile.
            self.together += 1;
        }
    }
}

/// A thread that is kept away from a processor. What is not released stays so: it may be gone, and its number another's.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Elsewhere {
    other: rustix::thread::Pid,
    all: rustix::thread::CpuSet,
}

#[cfg(not(loom))]
impl Elsewhere {
    /// Keeps a thread, which must live, away from this processor: it is moved at once if it waits for it, and else when it wakes. `None`
    /// when there is no other that it may use.
    pub(crate) fn keep(other: u32) -> Option<Self> {
        use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};
        let other = i32::try_from(other).ok().and_then(Pid::from_raw)?;
        let (all, here) = (sched_getaffinity(Some(other)).ok()?, sched_getcpu());
        if here >= CpuSet::MAX_CPU || !all.is_set(here) || all.count() < 2 {
            return None;
        }
        let mut others = all;
        others.unset(here);
        sched_setaffinity(Some(other), &others).ok()?;
        Some(Self { other, all })
    }

    /// Lets it go anywhere again.
    pub(crate) fn release(self) -> bool {
        rustix::thread::sched_setaffinity(Some(self.other), &self.all).is_ok()
    }
}

/// The model checker has no processors.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Elsewhere;

#[cfg(loom)]
impl Elsewhere {
    pub(crate) fn keep(_: u32) -> Option<Self> {
        None
    }

    pub(crate) fn release(self) -> bool {
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_answers_on_one_processor_is_kept_elsewhere_for_a_while() {
        // This thread stands for the guest: it can be kept away from where it is.
        let me = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let wait = Wait { other: me, ..Wait::default() };
        let affinity = || rustix::thread::sched_getaffinity(None).expect("it has one");
        let all = affinity();
        if all.count() < 2 {
            // Nowhere else to go.
            assert!(Elsewhere::keep(me).is_none());
            return;
        }
        let mut placing = Placing::default();
        let mut call = |slept, waited| {
            placing.before(wait);
            let apart = affinity() != all;
            placing.after(slept, waited);
            apart
        };
        assert!((0..TOGETHER_MIN).all(|_| !call(true, false)), "not yet");
        assert!((0..=APART_CALLS).all(|_| call(true, true)), "apart");
        assert!(!call(true, false) && affinity() == all, "as it was");
        // In vain, so the next time is later.
        assert!((1..TOGETHER_MIN * 2).all(|_| !call(true, false)));
        assert!(call(true, true));
        // One that is awake has found its place.
        assert!(call(false, true));
        assert!(affinity() == all);
        assert!((0..TOGETHER_MIN).all(|_| !call(true, false)));
        assert!(call(false, false) && affinity() == all);
        // Calls that wait are on two processors.
        assert!((0..100).all(|_| !call(true, true)));
    }

    #[test]
    fn nothing_is_moved_that_has_no_number_or_has_ended() {
        assert!(Elsewhere::keep(0).is_none());
        assert!(Elsewhere::keep(u32::MAX).is_none());
        let me = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let ended = std::sync::atomic::AtomicBool::new(true);
        let mut placing = Placing { together: TOGETHER_MIN, ..Placing::default() };
        placing.before(Wait { other: me, ended: Some(&ended), ..Wait::default() });
        assert!(placing.apart.is_none());
    }
}
