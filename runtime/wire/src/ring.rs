//! One direction of the shared memory: words go in at one end and come out at the other, in order, any number of them.
//!
//! Each side keeps its own counter in its own memory and only tells the other; what the other tells is compared with that, and a
//! counter that cannot be right is an error. A side that has nothing to do spins for a while and then sleeps; it says so before
//! it looks a last time, and the other looks at that after it has published, so no wake is lost (model-checked below).

use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Arc, atomic};
#[cfg(not(loom))]
use std::sync::{Arc, atomic};

use atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use atomic::{AtomicBool, AtomicU32, AtomicU64};

use crate::memory::{Control, Lane, Memory};

/// Why bytes do not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// Nothing happened in time.
    #[error("the other side was not ready in time")]
    Timeout,
    /// The other side is gone.
    #[error("the other side is gone")]
    Ended,
    /// The other side's counter cannot be right.
    #[error("the other side's counter cannot be right")]
    Counter,
}

/// How long to wait, and for what not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wait<'a> {
    /// Until when; `None` is for ever.
    pub deadline: Option<Instant>,
    /// Set when the other side is gone.
    pub ended: Option<&'a AtomicBool>,
}

/// Longest single sleep of a wait that can end early. A wake that was lost costs this at most.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// How much of a lane is filled before it is shown to the reader, as a fraction: larger messages are copied in and out at once.
const BATCHES: usize = 4;

/// How long a side spins before it sleeps. Grows while spinning pays, and shrinks while it does not.
#[derive(Debug)]
pub struct Spin {
    most: u32,
    misses: u32,
}

impl Spin {
    /// Spins in a row without success after which it is only tried now and then.
    const MISSES_MAX: u32 = 8;
    /// How often it is tried then: once in so many waits.
    const TRY_EVERY: u32 = 32;

    /// At most so many pauses; 0 where the other side cannot run meanwhile.
    pub fn new(most: u32) -> Self {
        Self { most, misses: 0 }
    }

    /// Whether it became ready while spinning.
    fn until(&mut self, ready: impl Fn() -> bool) -> bool {
        let tries = self.misses < Self::MISSES_MAX || self.misses.is_multiple_of(Self::TRY_EVERY);
        let pauses = if tries { self.most } else { 0 };
        for _ in 0..pauses {
            if ready() {
                self.misses = 0;
                return true;
            }
            std::hint::spin_loop();
        }
        self.misses = self.misses.wrapping_add(1);
        false
    }
}

/// The end that words go in at.
#[derive(Debug)]
pub struct Writer {
    memory: Arc<Memory>,
    lane: Lane,
    written: u32,
    spin: Spin,
}

/// The end that words come out at.
#[derive(Debug)]
pub struct Reader {
    memory: Arc<Memory>,
    lane: Lane,
    read: u32,
    spin: Spin,
}

impl Writer {
    /// The writing end of a lane. One for each.
    pub fn new(memory: Arc<Memory>, lane: Lane, spin: Spin) -> Self {
        let written = memory.control(lane, Control::Written).load(Relaxed);
        Self { memory, lane, written, spin }
    }

    /// Puts each part in, filled up to whole words.
    pub fn write(&mut self, parts: &[&[u8]], wait: Wait<'_>) -> Result<(), RingError> {
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let words = self.room(wait)?.min(self.batch()).min(rest.len().div_ceil(8));
                let (now, later) = rest.split_at(rest.len().min(words * 8));
                store(self.memory.data(self.lane), self.written, now);
                self.written = self.written.wrapping_add(count(words));
                rest = later;
                if !rest.is_empty() {
                    self.publish();
                }
            }
        }
        self.publish();
        Ok(())
    }

    fn batch(&self) -> usize {
        (self.memory.data(self.lane).len() / BATCHES).max(1)
    }

    /// How many words can go in: at least one.
    fn room(&mut self, wait: Wait<'_>) -> Result<usize, RingError> {
        let room = |memory: &Memory, written: u32, read: u32| {
            let length = memory.data(self.lane).len();
            length.checked_sub(written.wrapping_sub(read) as usize).ok_or(RingError::Counter)
        };
        let read = self.memory.control(self.lane, Control::Read).load(Acquire);
        let now = room(&self.memory, self.written, read)?;
        if now > 0 {
            return Ok(now);
        }
        self.publish();
        let memory = Arc::clone(&self.memory);
        let word = memory.control(self.lane, Control::Read);
        let sleeps = memory.control(self.lane, Control::WriterSleeps);
        let read = changed(&memory, word, sleeps, read, &mut self.spin, wait)?;
        match room(&memory, self.written, read)? {
            0 => Err(RingError::Counter),
            words => Ok(words),
        }
    }

    fn publish(&self) {
        let word = self.memory.control(self.lane, Control::Written);
        let sleeps = self.memory.control(self.lane, Control::ReaderSleeps);
        publish(&self.memory, word, sleeps, self.written);
    }
}

impl Reader {
    /// The reading end of a lane. One for each.
    pub fn new(memory: Arc<Memory>, lane: Lane, spin: Spin) -> Self {
        let read = memory.control(lane, Control::Read).load(Relaxed);
        Self { memory, lane, read, spin }
    }

    /// Takes `bytes` bytes, which were put in as one part, and appends them. Takes memory only as they arrive.
    pub fn read(&mut self, bytes: usize, out: &mut Vec<u8>, wait: Wait<'_>) -> Result<(), RingError> {
        let mut left = bytes;
        while left > 0 {
            let words = self.ready(wait)?.min(left.div_ceil(8));
            let now = left.min(words * 8);
            let end = out.len();
            out.resize(end + now, 0);
            load(self.memory.data(self.lane), self.read, &mut out[end..]);
            self.read = self.read.wrapping_add(count(words));
            left -= now;
            self.free();
        }
        Ok(())
    }

    /// How many words can come out: at least one.
    fn ready(&mut self, wait: Wait<'_>) -> Result<usize, RingError> {
        let memory = Arc::clone(&self.memory);
        let word = memory.control(self.lane, Control::Written);
        let sleeps = memory.control(self.lane, Control::ReaderSleeps);
        let mut written = word.load(Acquire);
        if written == self.read {
            written = changed(&memory, word, sleeps, self.read, &mut self.spin, wait)?;
        }
        let ready = written.wrapping_sub(self.read) as usize;
        if ready > memory.data(self.lane).len() {
            return Err(RingError::Counter);
        }
        Ok(ready)
    }

    fn free(&self) {
        let word = self.memory.control(self.lane, Control::Read);
        let sleeps = self.memory.control(self.lane, Control::WriterSleeps);
        publish(&self.memory, word, sleeps, self.read);
    }
}

/// Wakes whoever waits on this side's part of the memory, so that it looks whether the other side has ended.
#[cfg(not(loom))]
pub fn wake_all(memory: &Memory) {
    for lane in [Lane::ToGuest, Lane::ToHost] {
        for control in [Control::Written, Control::Read] {
            wake(memory, memory.control(lane, control));
        }
    }
}

fn publish(memory: &Memory, word: &AtomicU32, sleeps: &AtomicU32, value: u32) {
    word.store(value, Release);
    // Between the store above and the load below; the sleeper has its fence between a store to `sleeps` and a load of `word`.
    // So one of the two sees the other.
    atomic::fence(SeqCst);
    // Only the sleeper takes its word back: from here it could be the word of its next sleep that is lost (the model found it).
    if sleeps.load(Relaxed) != 0 {
        wake(memory, word);
    }
}

/// Waits until a word is no longer `seen`, and gives what it is then.
fn changed(
    memory: &Memory,
    word: &AtomicU32,
    sleeps: &AtomicU32,
    seen: u32,
    spin: &mut Spin,
    wait: Wait<'_>,
) -> Result<u32, RingError> {
    if spin.until(|| word.load(Relaxed) != seen) {
        return Ok(word.load(Acquire));
    }
    loop {
        sleeps.store(1, Relaxed);
        atomic::fence(SeqCst);
        let value = word.load(Acquire);
        if value != seen {
            sleeps.store(0, Relaxed);
            return Ok(value);
        }
        if wait.ended.is_some_and(|ended| ended.load(SeqCst)) {
            return Err(RingError::Ended);
        }
        let left = wait.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(RingError::Timeout);
        }
        // Who waits for ever is woken by the kernel when it dies, and needs no other reason to look up.
        let most = wait.ended.map(|_| SLEEP_MAX);
        let sleep = left.into_iter().chain(most).min();
        doze(memory, word, seen, sleep);
    }
}

#[cfg(not(loom))]
fn doze(_: &Memory, word: &AtomicU32, seen: u32, longest: Option<Duration>) {
    use rustix::thread::futex::{Flags, Timespec, wait};
    let timeout = longest.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    // Whatever ends the sleep (a wake, a signal, the time, a word that has changed), the caller looks again.
    let _ = wait(word, Flags::empty(), seen, timeout.as_ref());
}

#[cfg(not(loom))]
fn wake(_: &Memory, word: &AtomicU32) {
    // The one error is an address that is not mapped, and this one is borrowed.
    let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), 1);
}

/// A futex as the model checker sees it: the comparison and going to sleep are one step for whoever wakes.
#[cfg(loom)]
fn doze(memory: &Memory, word: &AtomicU32, seen: u32, _: Option<Duration>) {
    let guard = memory.queue.0.lock().expect("no panic inside");
    if word.load(SeqCst) == seen {
        drop(memory.queue.1.wait(guard).expect("no panic inside"));
    }
}

#[cfg(loom)]
fn wake(memory: &Memory, _: &AtomicU32) {
    let _guard = memory.queue.0.lock().expect("no panic inside");
    memory.queue.1.notify_all();
}

/// A number of words, which a lane bounds.
fn count(words: usize) -> u32 {
    u32::try_from(words).expect("a lane has far fewer words")
}

/// The two pieces of a lane from counter `from` on: to its end, and from its start.
fn pieces(data: &[AtomicU64], from: u32) -> [&[AtomicU64]; 2] {
    let (start, end) = data.split_at(from as usize & (data.len() - 1));
    [end, start]
}

fn store(data: &[AtomicU64], from: u32, bytes: &[u8]) {
    let mut rest = bytes;
    for piece in pieces(data, from) {
        let (now, later) = rest.split_at(rest.len().min(8 * piece.len()));
        let (whole, part) = now.as_chunks::<8>();
        for (bytes, word) in whole.iter().zip(piece) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        if !part.is_empty() {
            let mut last = [0; 8];
            last[..part.len()].copy_from_slice(part);
            piece[whole.len()].store(u64::from_le_bytes(last), Relaxed);
        }
        rest = later;
    }
}

fn load(data: &[AtomicU64], from: u32, bytes: &mut [u8]) {
    let mut rest = bytes;
    for piece in pieces(data, from) {
        let (now, later) = rest.split_at_mut(rest.len().min(8 * piece.len()));
        let (whole, part) = now.as_chunks_mut::<8>();
        for (bytes, word) in whole.iter_mut().zip(piece) {
            *bytes = word.load(Relaxed).to_le_bytes();
        }
        if !part.is_empty() {
            let last = piece[whole.len()].load(Relaxed).to_le_bytes();
            part.copy_from_slice(&last[..part.len()]);
        }
        rest = later;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::LANE_BYTES;

    fn ends(spin: u32) -> (Arc<Memory>, Writer, Reader) {
        let memory = Arc::new(Memory::create().expect("memory").0);
        let writer = Writer::new(Arc::clone(&memory), Lane::ToGuest, Spin::new(spin));
        let reader = Reader::new(Arc::clone(&memory), Lane::ToGuest, Spin::new(spin));
        (memory, writer, reader)
    }

    fn soon() -> Wait<'static> {
        Wait { deadline: Some(Instant::now() + Duration::from_millis(30)), ended: None }
    }

    #[test]
    fn parts_arrive_in_order_with_every_length() {
        let (_memory, mut writer, mut reader) = ends(0);
        for length in 0..100_u8 {
            let part: Vec<u8> = (0..length).collect();
            writer.write(&[&part, b"end"], Wait::default()).expect("room");
            let mut out = Vec::new();
            reader.read(part.len(), &mut out, Wait::default()).expect("there");
            reader.read(3, &mut out, Wait::default()).expect("there");
            assert_eq!(out, [part.as_slice(), b"end"].concat());
        }
    }

    #[test]
    fn a_message_larger_than_the_lane_streams_through() {
        for spin in [0, 1000] {
            let (_memory, mut writer, mut reader) = ends(spin);
            let message: Vec<u8> = (0..=250).cycle().take(LANE_BYTES * 5 + 3).collect();
            let expected = message.clone();
            let sender = std::thread::spawn(move || writer.write(&[&message], Wait::default()));
            let mut out = Vec::new();
            reader.read(expected.len(), &mut out, Wait::default()).expect("all of it");
            sender.join().expect("no panic").expect("all of it");
            assert!(out == expected);
        }
    }

    #[test]
    fn a_full_lane_and_an_empty_one_time_out() {
        let (_memory, mut writer, mut reader) = ends(10);
        assert_eq!(reader.read(1, &mut Vec::new(), soon()), Err(RingError::Timeout));
        assert_eq!(writer.write(&[&vec![0; LANE_BYTES]], soon()), Ok(()));
        assert_eq!(writer.write(&[b"x"], soon()), Err(RingError::Timeout));
    }

    #[test]
    fn a_side_that_is_gone_ends_the_wait() {
        let (memory, _writer, mut reader) = ends(10);
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let ender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            flag.store(true, SeqCst);
            wake_all(&memory);
        });
        let wait = Wait { deadline: None, ended: Some(&ended) };
        assert_eq!(reader.read(1, &mut Vec::new(), wait), Err(RingError::Ended));
        ender.join().expect("no panic");
    }

    proptest! {
        #[test]
        fn a_hostile_counter_is_an_error_or_bytes(written: u32, read: u32, bytes in 0..LANE_BYTES) {
            let (memory, mut writer, mut reader) = ends(0);
            memory.control(Lane::ToGuest, Control::Written).store(written, SeqCst);
            let mut out = Vec::new();
            let outcome = reader.read(bytes, &mut out, soon());
            let ready = written as usize;
            let right = match outcome {
                Ok(()) => bytes == 0 || (ready <= LANE_BYTES / 8 && ready * 8 >= bytes),
                Err(RingError::Counter) => ready > LANE_BYTES / 8,
                Err(_) => ready * 8 < bytes,
            };
            prop_assert!(right, "{:?}", outcome);
            memory.control(Lane::ToGuest, Control::Read).store(read, SeqCst);
            let used = 0_u32.wrapping_sub(read) as usize;
            let outcome = writer.write(&[b"12345678"], soon());
            prop_assert_eq!(outcome.is_ok(), used < LANE_BYTES / 8);
            prop_assert_eq!(outcome == Err(RingError::Counter), used > LANE_BYTES / 8);
        }
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p cofferdam-wire --release ring::model`
#[cfg(all(test, loom))]
mod model {
    use super::*;

    /// Every interleaving of a writer and a reader that sleep: nothing is lost, reordered or torn, and nobody sleeps for ever.
    #[test]
    fn no_word_and_no_wake_is_lost() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let memory = Arc::new(Memory::new(u32::MAX));
            let mut writer = Writer::new(Arc::clone(&memory), Lane::ToHost, Spin::new(0));
            let mut reader = Reader::new(memory, Lane::ToHost, Spin::new(0));
            let sender = loom::thread::spawn(move || {
                for word in 1..=4_u64 {
                    writer.write(&[&word.to_le_bytes()], Wait::default()).expect("room");
                }
            });
            for word in 1..=4_u64 {
                let mut out = Vec::new();
                reader.read(8, &mut out, Wait::default()).expect("a word");
                assert_eq!(out, word.to_le_bytes());
            }
            sender.join().expect("no panic");
        });
    }
}
