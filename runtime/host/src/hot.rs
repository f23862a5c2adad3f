//! One place for what is used again and again: taken and given back by one atomic operation each, without a lock.
#![allow(
    unsafe_code,
    reason = "a box lies in the place as a pointer, and its owner is whoever exchanged it for a mark"
)]

use std::marker::PhantomData;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

#[cfg(loom)]
use loom::sync::atomic::AtomicPtr;
#[cfg(not(loom))]
use std::sync::atomic::AtomicPtr;

/// A place for one box. It has a lock beside it, which is not its own: what says "under the lock" is for holders of that one.
pub(crate) struct Hot<T> {
    place: AtomicPtr<T>,
    owns: PhantomData<*mut T>,
}

// SAFETY: Through a shared place a value only goes from one thread to another as a whole, which is what `Send` allows; no two threads have
// a reference to it at once.
unsafe impl<T: Send> Sync for Hot<T> {}

// SAFETY: It owns its box like a box does.
unsafe impl<T: Send> Send for Hot<T> {}

/// What whoever holds the lock finds.
pub(crate) enum Found<T> {
    /// Nothing, and nobody has anything of it.
    Empty,
    /// The box, which is the finder's now; the place is empty.
    Here(Box<T>),
    /// Somebody has it, and will come to the lock with it.
    Out,
}

impl<T> std::fmt::Debug for Hot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hot(out: {})", self.is_out())
    }
}

impl<T> Default for Hot<T> {
    fn default() -> Self {
        Self { place: AtomicPtr::new(Self::EMPTY), owns: PhantomData }
    }
}

impl<T> Hot<T> {
    const EMPTY: *mut T = null_mut();
    /// It is taken.
    const OUT: *mut T = without_provenance_mut(1);
    /// It is taken, and somebody at the lock needs to know when it comes back.
    const WATCHED: *mut T = without_provenance_mut(2);
    /// No box lies where a mark would.
    const MARKS_ARE_NO_BOXES: () = assert!(align_of::<T>() > 2 && size_of::<T>() > 0);

    /// Whether it is a box's pointer, and no mark.
    fn is_box(found: *mut T) -> bool {
        const { Self::MARKS_ARE_NO_BOXES };
        found.addr() > 2
    }

    /// Takes the box, if it is there, in one order with [`is_out`](Self::is_out). Its taker must end with [`give`](Self::give) or [`end`](Self::end).
    pub(crate) fn take(&self) -> Option<Box<T>> {
        let found = self.place.load(Relaxed);
        if !Self::is_box(found) {
            return None;
        }
        let found = self.place.compare_exchange(found, Self::OUT, SeqCst, Relaxed).ok()?;
        // SAFETY: The pointer is `Box::into_raw`'s, for only `give` and `put` store one. It was exchanged for a mark here, so that
        // nobody else can do the same with it.
        Some(unsafe { Box::from_raw(found) })
    }

    /// Gives back what [`take`](Self::take) gave.
    ///
    /// # Errors
    /// With the box, when somebody watches: its holder must come to the lock, and [`end`](Self::end) there.
    pub(crate) fn give(&self, value: Box<T>) -> Result<(), Box<T>> {
        let raw = Box::into_raw(value);
        match self.place.compare_exchange(Self::OUT, raw, Release, Relaxed) {
            Ok(_) => Ok(()),
            // SAFETY: It was made from a box a moment ago, and was not stored.
            Err(_) => Err(unsafe { Box::from_raw(raw) }),
        }
    }

    /// What was taken comes back another way, or never. For its taker, under the lock.
    pub(crate) fn end(&self) {
        self.place.store(Self::EMPTY, Release);
    }

    /// Puts a box there. Under the lock, when it was found empty.
    pub(crate) fn put(&self, value: Box<T>) {
        let raw = Box::into_raw(value);
        let was = self.place.swap(raw, Release);
        debug_assert!(was.is_null(), "it was empty");
    }

    /// Takes the box out, or has whoever holds it come to the lock. Under the lock.
    pub(crate) fn reclaim(&self) -> Found<T> {
        loop {
            let found = self.place.load(Acquire);
            if found == Self::EMPTY {
                return Found::Empty;
            }
            if found == Self::WATCHED {
                return Found::Out;
            }
            let mark = if found == Self::OUT { Self::WATCHED } else { Self::EMPTY };
            let Ok(found) = self.place.compare_exchange(found, mark, AcqRel, Relaxed) else { continue };
            if found == Self::OUT {
                return Found::Out;
            }
            // SAFETY: As in `take`.
            return Found::Here(unsafe { Box::from_raw(found) });
        }
    }

    /// Whether it is taken at this moment.
    pub(crate) fn is_out(&self) -> bool {
        let found = self.place.load(SeqCst);
        found == Self::OUT || found == Self::WATCHED
    }
}

impl<T> Drop for Hot<T> {
    fn drop(&mut self) {
        let found = self.place.load(Relaxed);
        if Self::is_box(found) {
            // SAFETY: As in `take`; nobody else has the place any more.
            drop(unsafe { Box::from_raw(found) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counted<'a>(u64, &'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn it_is_taken_once_and_dropped_once() {
        let dropped = AtomicUsize::new(0);
        let hot = Hot::default();
        assert!(hot.take().is_none());
        hot.put(Box::new(Counted(7, &dropped)));
        let taken = hot.take().expect("there");
        assert!(hot.take().is_none() && hot.is_out());
        assert!(hot.give(taken).is_ok());
        assert!(matches!(hot.reclaim(), Found::Here(value) if value.0 == 7));
        assert_eq!(dropped.load(Relaxed), 1);
        assert!(matches!(hot.reclaim(), Found::Empty));
        hot.put(Box::new(Counted(8, &dropped)));
        drop(hot);
        assert_eq!(dropped.load(Relaxed), 2);
    }

    #[test]
    fn who_is_watched_comes_to_the_lock() {
        let dropped = AtomicUsize::new(0);
        let hot = Hot::default();
        hot.put(Box::new(Counted(7, &dropped)));
        let taken = hot.take().expect("there");
        assert!(matches!(hot.reclaim(), Found::Out));
        let taken = hot.give(taken).expect_err("it is watched");
        hot.end();
        assert!(matches!(hot.reclaim(), Found::Empty));
        assert_eq!((taken.0, dropped.load(Relaxed)), (7, 0));
    }

    /// Takers without the lock, and one that reclaims under it, count in a box which only its owner may touch.
    #[test]
    fn it_is_never_with_two_at_once() {
        const ROUNDS: u64 = if cfg!(miri) { 200 } else { 20_000 };
        let hot: Hot<u64> = Hot::default();
        let lock = Mutex::new(());
        hot.put(Box::new(0));
        let counted = AtomicUsize::new(0);
        let taker = || {
            for _ in 0..ROUNDS {
                let Some(mut value) = hot.take() else {
                    std::thread::yield_now();
                    continue;
                };
                *value += 1;
                counted.fetch_add(1, Relaxed);
                if let Err(value) = hot.give(value) {
                    let _held = lock.lock();
                    hot.end();
                    hot.put(value);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(taker);
            scope.spawn(taker);
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let _held = lock.lock();
                    if let Found::Here(value) = hot.reclaim() {
                        hot.put(value);
                    }
                }
            });
        });
        let Found::Here(value) = hot.reclaim() else { panic!("it came back") };
        assert_eq!(usize::try_from(*value), Ok(counted.into_inner()));
    }
}
