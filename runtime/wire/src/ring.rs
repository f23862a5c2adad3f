//! One direction of the shared memory: words go in at one end and come out at the other, in order, any number of them.
//!
//! Each side keeps its own counter in its own memory and only tells the other; what the other tells is compared with that, and a
//! counter that cannot be right is an error. A side that has nothing to do spins for a while and then sleeps; it says so before
//! it looks a last time, and the other looks at that after it has published, so no wake is lost (model-checked below).
//!
//! A message of few words is also put into the mirror, which is in the cache line of the writer's counter: the reader that sees the
//! counter move has the words with it, and another line need not travel. The reader says only now and then what it has read, and the
//! writer looks only when it seems to have no room, so that these lines stay where they are.

use std::cell::Cell;
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Arc, atomic};
#[cfg(not(loom))]
use std::sync::{Arc, atomic};

use atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use atomic::{AtomicBool, AtomicU32, AtomicU64};

use crate::limits::WINDOW_BYTES;
use crate::memory::{self, Control, Lane, Memory};
use crate::placing::Elsewhere;
use crate::value::{Broken, Stream};

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

/// The end of all waits of a call together. The clock is first read when something does not come at once: a call that is answered while
/// its caller spins reads none. It is late by such spins at most, and never early.
#[derive(Debug)]
pub struct Deadline {
    after: Duration,
    at: Cell<Option<Instant>>,
}

impl Deadline {
    /// So long after the clock is first read.
    pub fn after(after: Duration) -> Self {
        Self { after, at: Cell::new(None) }
    }

    /// When it is. From the first time that this is asked, it stays the same.
    pub fn at(&self) -> Instant {
        /// For what is so far that no clock shows it.
        const FAR: Duration = Duration::from_hours(24 * 365);
        self.at.get().unwrap_or_else(|| {
            let now = Instant::now();
            let at = now.checked_add(self.after).unwrap_or(now + FAR);
            self.at.set(Some(at));
            at
        })
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.at() <= Instant::now()
    }
}

/// How long to wait, and for what not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wait<'a> {
    /// Until when; `None` is for ever.
    pub deadline: Option<&'a Deadline>,
    /// Set when the other side is gone.
    pub ended: Option<&'a AtomicBool>,
    /// The other side is in the middle of the same message: it comes soon, whatever came of spins before.
    pub at_work: bool,
    /// The other side's thread, for the side that may move it: one that waits for the very processor on which this one spins could never
    /// answer it. 0 is none.
    pub other: u32,
}

impl Wait<'_> {
    /// Whether nobody has said that the other side is gone.
    pub(crate) fn lives(&self) -> bool {
        self.ended.is_none_or(|ended| !ended.load(SeqCst))
    }
}

/// Longest single sleep of a wait that can end early. A wake that was lost costs this at most.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// How much of a lane is filled before it is shown to the reader, as a fraction: larger messages are copied in and out at once.
const BATCHES: usize = 4;

/// Bits of the mirror's tag that count its words; above them is the counter that they end at.
const MIRROR_BITS: u32 = 3;

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

    /// Whether it became ready while spinning. What is to be done when it did not, is done once, and then it spins again.
    fn until(&mut self, at_work: bool, ready: impl Fn() -> bool, in_vain: impl Fn() -> bool) -> bool {
        let pays = self.misses < Self::MISSES_MAX || self.misses.is_multiple_of(Self::TRY_EVERY);
        let tries = at_work || pays;
        if tries && self.most > 0 && (spins(self.most, &ready) || (in_vain() && spins(self.most * 4, &ready)))
        {
            self.misses = 0;
            return true;
        }
        self.misses = self.misses.wrapping_add(1);
        false
    }
}

fn spins(pauses: u32, ready: impl Fn() -> bool) -> bool {
    for _ in 0..pauses {
        if ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}

/// Looks at the clock now and then while bytes move: whoever gives them one by one, each just before a spin ends, is never waited for and
/// would never be late.
#[derive(Debug, Default)]
struct Turns(u32);

impl Turns {
    /// Between looks. An ordinary message has not so many.
    const MANY: u32 = 16;

    fn next(&mut self, wait: Wait<'_>) -> Result<(), RingError> {
        self.0 += 1;
        if self.0.is_multiple_of(Self::MANY) && wait.deadline.is_some_and(Deadline::is_over) {
            return Err(RingError::Timeout);
        }
        Ok(())
    }
}

/// The end that words go in at.
#[derive(Debug)]
pub struct Writer {
    memory: Arc<Memory>,
    lane: Lane,
    written: u32,
    /// The reader's counter, as it was seen last.
    read: u32,
    /// Whether the last message is in the mirror.
    mirrors: bool,
    /// Whether the reader slept when it was told of the last message.
    woke: bool,
    spin: Spin,
}

/// The end that words come out at.
#[derive(Debug)]
pub struct Reader {
    memory: Arc<Memory>,
    lane: Lane,
    read: u32,
    /// What the writer knows of that.
    freed: u32,
    /// Whether something was not there yet, since this was last asked.
    waited: bool,
    spin: Spin,
}

impl Writer {
    /// The writing end of a lane. One for each.
    pub fn new(memory: Arc<Memory>, lane: Lane, spin: Spin) -> Self {
        let written = memory.control(lane, Control::Written).load(Relaxed);
        let read = memory.control(lane, Control::Read).load(Relaxed);
        Self { memory, lane, written, read, mirrors: true, woke: false, spin }
    }

    /// Puts a header of whole words in, and the pieces of a body behind it and behind each other, filled up to whole words.
    pub fn write(&mut self, header: &[u8], body: &[&[u8]], wait: Wait<'_>) -> Result<(), RingError> {
        debug_assert!(header.len().is_multiple_of(8), "the reader takes it by itself");
        let bytes: usize = body.iter().map(|piece| piece.len()).sum();
        let all = header.len() / 8 + bytes.div_ceil(8);
        if all <= self.memory.mirror(self.lane).len()
            && let [] | [_] = body
            && self.room(all, wait)? >= all
        {
            self.mirror(header, body.first().unwrap_or(&&[][..]), all);
        } else if self.mirrors {
            // What is there now would be right again when the counter has gone round.
            self.memory.mirrored(self.lane).store(0, Relaxed);
            self.mirrors = false;
        }
        let mut turns = Turns::default();
        self.put(header, &mut turns, wait)?;
        // The word that one piece ends in and the next begins in.
        let (mut shared, mut filled) = ([0; 8], 0);
        let mut left = bytes;
        for piece in body {
            let mut rest = *piece;
            if filled > 0 {
                let (now, later) = rest.split_at(rest.len().min(8 - filled));
                shared[filled..filled + now.len()].copy_from_slice(now);
                (filled, rest) = (filled + now.len(), later);
                left -= now.len();
                if filled < 8 && left > 0 {
                    continue;
                }
                self.put(&shared[..filled], &mut turns, wait)?;
            }
            // The last piece takes its own end with it.
            let end = if left == rest.len() { rest.len() } else { rest.len() / 8 * 8 };
            let (now, later) = rest.split_at(end);
            self.put(now, &mut turns, wait)?;
            shared[..later.len()].copy_from_slice(later);
            filled = later.len();
            left -= rest.len();
        }
        self.publish();
        Ok(())
    }

    /// Puts bytes in, filled up to whole words.
    fn put(&mut self, bytes: &[u8], turns: &mut Turns, wait: Wait<'_>) -> Result<(), RingError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            turns.next(wait)?;
            let wanted = rest.len().div_ceil(8).min(batch(&self.memory, self.lane));
            let words = self.room(wanted, wait)?.min(wanted);
            let (now, later) = rest.split_at(rest.len().min(words * 8));
            store(self.memory.data(self.lane), self.written, now);
            self.written = self.written.wrapping_add(count(words));
            rest = later;
            if !rest.is_empty() {
                self.publish();
            }
        }
        Ok(())
    }

    /// Puts a message, which is so many words, into the mirror too. They are seen with the counter behind them.
    fn mirror(&mut self, header: &[u8], body: &[u8], all: usize) {
        self.mirrors = true;
        let tag = self.memory.mirrored(self.lane);
        // A reader that still looks at what was there finds this word changed, if it saw anything of what comes.
        tag.store(0, Relaxed);
        atomic::fence(Release);
        let (first, second) = self.memory.mirror(self.lane).split_at(header.len() / 8);
        memory::store(first, header);
        memory::store(second, body);
        tag.store(mirror_tag(self.written.wrapping_add(count(all)), all), Relaxed);
    }

    /// How many words can go in: at least one, and as many as are wanted if the reader has made room for them.
    fn room(&mut self, wanted: usize, wait: Wait<'_>) -> Result<usize, RingError> {
        let length = self.memory.data(self.lane).len();
        let room = |written: u32, read: u32| {
            length.checked_sub(written.wrapping_sub(read) as usize).ok_or(RingError::Counter)
        };
        let now = room(self.written, self.read)?;
        if now >= wanted {
            return Ok(now);
        }
        self.read = self.memory.control(self.lane, Control::Read).load(Acquire);
        let now = room(self.written, self.read)?;
        if now > 0 {
            return Ok(now);
        }
        self.publish();
        let Self { memory, lane, read, spin, .. } = self;
        let word = memory.control(*lane, Control::Read);
        let sleeps = memory.control(*lane, Control::WriterSleeps);
        // It has the beginning of this message.
        *read = changed(memory, word, sleeps, *read, spin, Wait { at_work: true, ..wait })?;
        match room(self.written, self.read)? {
            0 => Err(RingError::Counter),
            words => Ok(words),
        }
    }

    fn publish(&mut self) {
        let word = self.memory.control(self.lane, Control::Written);
        let sleeps = self.memory.control(self.lane, Control::ReaderSleeps);
        self.woke = publish(&self.memory, word, sleeps, self.written);
    }

    /// Whether the reader slept when it was told of the last message, and was woken.
    #[cfg_attr(loom, allow(dead_code, reason = "the model has no channel"))]
    pub(crate) fn woke(&self) -> bool {
        self.woke
    }
}

impl Reader {
    /// The reading end of a lane. One for each.
    pub fn new(memory: Arc<Memory>, lane: Lane, spin: Spin) -> Self {
        let read = memory.control(lane, Control::Read).load(Relaxed);
        Self { memory, lane, read, freed: read, waited: false, spin }
    }

    /// Takes `bytes` bytes and appends them. Takes memory only as they arrive. What is between them and the next whole word is passed over.
    pub fn read(&mut self, bytes: usize, out: &mut Vec<u8>, wait: Wait<'_>) -> Result<(), RingError> {
        self.read_on(bytes, out, &mut Turns::default(), wait)
    }

    /// The same in the middle of a message.
    fn read_on(
        &mut self,
        bytes: usize,
        out: &mut Vec<u8>,
        turns: &mut Turns,
        wait: Wait<'_>,
    ) -> Result<(), RingError> {
        let mut left = bytes;
        while left > 0 {
            turns.next(wait)?;
            let written = self.written(Wait { at_work: wait.at_work || left < bytes, ..wait })?;
            let ready = written.wrapping_sub(self.read) as usize;
            // What is taken is given back in batches, also where the writer was faster than this.
            let words = ready.min(left.div_ceil(8)).min(batch(&self.memory, self.lane));
            let now = left.min(words * 8);
            if !self.take_mirrored(written, words, now, out) {
                load(self.memory.data(self.lane), self.read, now, out);
            }
            self.read = self.read.wrapping_add(count(words));
            left -= now;
            // A writer that waits has filled the lane, so there is more to read than this before anybody waits for it.
            if self.read.wrapping_sub(self.freed) as usize >= batch(&self.memory, self.lane) {
                self.free();
            }
        }
        Ok(())
    }

    /// Takes bytes that end before the writer's counter from the mirror; false if it does not hold them.
    fn take_mirrored(&self, written: u32, words: usize, bytes: usize, out: &mut Vec<u8>) -> bool {
        let tag = self.memory.mirrored(self.lane);
        let mirror = self.memory.mirror(self.lane);
        let seen = tag.load(Relaxed);
        let held = (seen & ((1 << MIRROR_BITS) - 1)) as usize;
        let ready = written.wrapping_sub(self.read) as usize;
        if seen != mirror_tag(written, held) || held > mirror.len() || ready > held {
            return false;
        }
        let end = out.len();
        memory::load(&mirror[held - ready..][..words], bytes, out);
        // Whoever saw a word of the next message sees the tag changed.
        atomic::fence(Acquire);
        if tag.load(Relaxed) == seen {
            return true;
        }
        out.truncate(end);
        false
    }

    /// The writer's counter, which is past this one's.
    fn written(&mut self, wait: Wait<'_>) -> Result<u32, RingError> {
        let Self { memory, lane, read, spin, .. } = self;
        let word = memory.control(*lane, Control::Written);
        let sleeps = memory.control(*lane, Control::ReaderSleeps);
        let mut written = word.load(Acquire);
        if written == *read {
            self.waited = true;
            written = changed(memory, word, sleeps, *read, spin, wait)?;
        }
        if written.wrapping_sub(*read) as usize > memory.data(*lane).len() {
            return Err(RingError::Counter);
        }
        Ok(written)
    }

    /// Whether something was not there yet, since this was last asked.
    #[cfg_attr(loom, allow(dead_code, reason = "the model has no channel"))]
    pub(crate) fn take_waited(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }

    fn free(&mut self) {
        self.freed = self.read;
        let word = self.memory.control(self.lane, Control::Read);
        let sleeps = self.memory.control(self.lane, Control::WriterSleeps);
        publish(&self.memory, word, sleeps, self.read);
    }
}

/// A body of so many bytes that is taken from a lane as it is needed.
#[derive(Debug)]
pub struct Body<'r> {
    reader: &'r mut Reader,
    left: usize,
    /// The end of the last word that was taken, of which less was needed.
    held: Vec<u8>,
    turns: Turns,
    wait: Wait<'r>,
    failed: Option<RingError>,
}

impl<'r> Body<'r> {
    /// Of so many bytes, which are the next in the lane.
    pub fn new(reader: &'r mut Reader, bytes: usize, wait: Wait<'r>) -> Self {
        Self { reader, left: bytes, held: Vec::with_capacity(8), turns: Turns::default(), wait, failed: None }
    }

    /// Why it did not come, if it did not.
    pub fn failed(&self) -> Option<RingError> {
        self.failed
    }

    /// Takes what is left of it and keeps nothing.
    ///
    /// # Errors
    /// When it does not come, now or before.
    pub fn pass_over(mut self) -> Result<(), RingError> {
        let mut passed = Vec::new();
        while self.failed.is_none() && self.held.len() + self.left > 0 {
            let now = (self.held.len() + self.left).min(WINDOW_BYTES);
            passed.clear();
            let _ = self.read(now, &mut passed);
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn take(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), RingError> {
        self.left -= bytes;
        self.reader.read_on(bytes, out, &mut self.turns, self.wait)
    }

    fn try_read(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), RingError> {
        let held = bytes.min(self.held.len());
        out.extend(self.held.drain(..held));
        let bytes = bytes - held;
        // Whole words, or to the end.
        let whole = if bytes == self.left { bytes } else { bytes / 8 * 8 };
        self.take(whole, out)?;
        let rest = bytes - whole;
        if rest > 0 {
            let mut word = std::mem::take(&mut self.held);
            let taken = self.take(self.left.min(8), &mut word);
            out.extend(word.drain(..rest.min(word.len())));
            self.held = word;
            taken?;
        }
        Ok(())
    }
}

impl Stream for Body<'_> {
    fn read(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.failed.is_none() && bytes > self.held.len() + self.left {
            self.failed = Some(RingError::Counter);
        }
        if self.failed.is_none() {
            self.failed = self.try_read(bytes, out).err();
        }
        self.failed.map_or(Ok(()), |_| Err(Broken))
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

/// True when the other side slept.
fn publish(memory: &Memory, word: &AtomicU32, sleeps: &AtomicU32, value: u32) -> bool {
    word.store(value, Release);
    // Between the store above and the load below; the sleeper has its fence between a store to `sleeps` and a load of `word`.
    // So one of the two sees the other.
    atomic::fence(SeqCst);
    // Only the sleeper takes its word back: from here it could be the word of its next sleep that is lost (the model found it).
    let slept = sleeps.load(Relaxed) != 0;
    if slept {
        wake(memory, word);
    }
    slept
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
    // At once where it was before: it has been moved, and may go anywhere.
    let in_vain = || wait.lives() && Elsewhere::keep(wait.other).is_some_and(Elsewhere::release);
    if spin.until(wait.at_work, || word.load(Relaxed) != seen, in_vain) {
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
        if !wait.lives() {
            return Err(RingError::Ended);
        }
        let left = wait.deadline.map(|deadline| deadline.at().saturating_duration_since(Instant::now()));
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
    let [end, start] = pieces(data, from);
    let (now, later) = bytes.split_at(bytes.len().min(8 * end.len()));
    memory::store(end, now);
    memory::store(start, later);
}

fn load(data: &[AtomicU64], from: u32, bytes: usize, out: &mut Vec<u8>) {
    let [end, start] = pieces(data, from);
    let now = bytes.min(8 * end.len());
    memory::load(end, now, out);
    memory::load(start, bytes - now, out);
}

/// How much moves at once: what is shown to the reader, and given back to the writer.
fn batch(memory: &Memory, lane: Lane) -> usize {
    (memory.data(lane).len() / BATCHES).max(1)
}

/// What stands beside so many mirrored words that end at a counter. The counter's highest bits have no room; what was mirrored so long
/// ago that they matter was taken back.
fn mirror_tag(written: u32, words: usize) -> u32 {
    (written << MIRROR_BITS) | count(words)
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
        let deadline: &'static Deadline = Box::leak(Box::new(Deadline::after(Duration::from_millis(30))));
        Wait { deadline: Some(deadline), ..Wait::default() }
    }

    #[test]
    fn a_deadline_begins_when_it_is_first_asked_for_and_stays() {
        let deadline = Deadline::after(Duration::from_millis(2));
        let before = Instant::now();
        let at = deadline.at();
        assert!(at >= before + Duration::from_millis(2));
        std::thread::sleep(Duration::from_millis(3));
        assert!(deadline.at() == at && deadline.is_over());
        assert!(!Deadline::after(Duration::MAX).is_over());
    }

    #[test]
    fn pieces_arrive_behind_each_other_with_every_length() {
        let (_memory, mut writer, mut reader) = ends(0);
        for length in 0..100_u8 {
            let piece: Vec<u8> = (0..length).collect();
            let [header, end] = [b"a header", b"the end."];
            for pieces in [
                &[piece.as_slice()] as &[&[u8]],
                &[&piece, b"end"],
                &[b"begin", &piece],
                &[b"", &piece, b"", b"x", b"", &piece, end, b"y"],
                &[],
            ] {
                writer.write(header, pieces, Wait::default()).expect("room");
                let mut out = Vec::new();
                reader.read(8, &mut out, Wait::default()).expect("there");
                assert_eq!(out, header);
                out.clear();
                let expected = pieces.concat();
                reader.read(expected.len(), &mut out, Wait::default()).expect("there");
                assert_eq!(out, expected, "{pieces:?}");
            }
        }
    }

    #[test]
    fn a_body_is_taken_in_any_portions() {
        let (_memory, mut writer, mut reader) = ends(0);
        let bytes: Vec<u8> = (0..5000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for portions in
            [&[1_usize, 2, 3, 8, 9, 16, 17] as &[usize], &[8], &[7], &[4999, 1], &[4096], &[0, 5000]]
        {
            for length in [0, 1, 7, 8, 9, 4097, 5000] {
                writer.write(b"a header", &[&bytes[..length]], Wait::default()).expect("room");
                reader.read(8, &mut Vec::new(), Wait::default()).expect("there");
                let mut body = Body::new(&mut reader, length, Wait::default());
                let mut out = Vec::new();
                for portion in portions.iter().cycle() {
                    let now = (*portion).min(length - out.len());
                    assert_eq!(body.read(now, &mut out), Ok(()));
                    if out.len() == length {
                        break;
                    }
                }
                assert_eq!(out, bytes[..length], "{portions:?}");
                assert_eq!(body.failed(), None);
                assert_eq!(body.pass_over(), Ok(()));
            }
        }
    }

    #[test]
    fn what_nobody_wants_of_a_body_is_passed_over() {
        let (_memory, mut writer, mut reader) = ends(0);
        for taken in [0, 1, 8, 4095, 20_000, 20_001] {
            writer.write(b"a header", &[&vec![7; 20_001]], Wait::default()).expect("room");
            writer.write(b"the next", &[], Wait::default()).expect("room");
            let mut out = Vec::new();
            reader.read(8, &mut out, Wait::default()).expect("there");
            let mut body = Body::new(&mut reader, 20_001, Wait::default());
            body.read(taken, &mut Vec::new()).expect("there");
            body.pass_over().expect("there");
            reader.read(8, &mut out, Wait::default()).expect("there");
            assert_eq!(out, b"a headerthe next");
        }
        // More than there is of it is nobody's.
        writer.write(b"a header", &[b"body"], Wait::default()).expect("room");
        reader.read(8, &mut Vec::new(), Wait::default()).expect("there");
        let mut body = Body::new(&mut reader, 4, Wait::default());
        assert_eq!(body.read(5, &mut Vec::new()), Err(Broken));
        assert_eq!(body.pass_over(), Err(RingError::Counter));
    }

    /// Each portion comes before anybody sleeps, so that a clock which is only read before sleeping would never be.
    #[test]
    fn a_body_that_trickles_is_late() {
        let (_memory, mut writer, mut reader) = ends(u32::MAX);
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        let sender = std::thread::spawn(move || {
            while !stop.load(SeqCst) {
                if writer.write(b"8 bytes.", &[], soon()).is_err() {
                    break;
                }
            }
        });
        let deadline = Deadline::after(Duration::from_millis(50));
        let wait = Wait { deadline: Some(&deadline), ..Wait::default() };
        let mut body = Body::new(&mut reader, usize::MAX / 2, wait);
        let mut out = Vec::new();
        let mut portions: u64 = 0;
        while body.read(8, &mut out).is_ok() {
            out.clear();
            portions += 1;
        }
        assert_eq!(body.failed(), Some(RingError::Timeout), "after {portions}");
        done.store(true, SeqCst);
        sender.join().expect("no panic");
    }

    #[test]
    fn a_mirror_that_lies_gives_bytes_or_is_not_used() {
        let (memory, mut writer, mut reader) = ends(0);
        let words = [1_u64, 2, 3].map(u64::to_le_bytes).concat();
        let mut read = |memory: &Memory, tag: u32| {
            writer.write(&[], &[&words], Wait::default()).expect("room");
            memory.mirror(Lane::ToGuest)[0].store(9, SeqCst);
            let honest = memory.mirrored(Lane::ToGuest).load(SeqCst);
            memory.mirrored(Lane::ToGuest).store(honest.wrapping_add(tag), SeqCst);
            let mut out = Vec::new();
            reader.read(24, &mut out, Wait::default()).expect("there");
            out[0]
        };
        assert_eq!(read(&memory, 0), 9, "it is what is read");
        for other in [1, 2, 3, 4, 8, 1 << 31, u32::MAX, u32::MAX - 1] {
            // More words than there are, or of another counter: the lane has the same.
            let first = read(&memory, other);
            assert!(first == 1 || other < 5, "{other}: {first}");
        }
    }

    #[test]
    fn many_small_messages_need_no_answer_but_room() {
        let (_memory, mut writer, mut reader) = ends(0);
        let most = (LANE_BYTES / 8 - 1) / 2;
        let mut round = |messages: usize, full: bool| {
            for index in 0..messages {
                writer.write(&index.to_le_bytes(), &[b"x", b"end"], soon()).expect("room");
            }
            if full {
                assert_eq!(writer.write(&[], &[[0; 24].as_slice()], soon()), Err(RingError::Timeout));
            }
            for index in 0..messages {
                let mut out = Vec::new();
                for length in [8, 4] {
                    reader.read(length, &mut out, Wait::default()).expect("there");
                }
                assert_eq!(out, [&index.to_le_bytes()[..], b"xend"].concat());
            }
            if full {
                // What went in before the lane was full.
                reader.read((LANE_BYTES / 8 - messages * 2) * 8, &mut Vec::new(), soon()).expect("there");
            }
        };
        round(most, true);
        // A reader keeps less than a batch to itself.
        for _ in 0..5 {
            round(most - most / BATCHES - 1, false);
        }
    }

    #[test]
    fn a_message_larger_than_the_lane_streams_through() {
        for spin in [0, 1000] {
            let (_memory, mut writer, mut reader) = ends(spin);
            let message: Vec<u8> = (0..=250).cycle().take(LANE_BYTES * 5 + 3).collect();
            let expected = message.clone();
            let sender = std::thread::spawn(move || writer.write(&[], &[&message], Wait::default()));
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
        assert_eq!(writer.write(&[], &[&vec![0; LANE_BYTES]], soon()), Ok(()));
        assert_eq!(writer.write(&[], &[b"x"], soon()), Err(RingError::Timeout));
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
        let wait = Wait { ended: Some(&ended), ..Wait::default() };
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
            // A writer looks at the reader's counter when it seems to have no room.
            writer.write(&[], &[&vec![0; LANE_BYTES]], Wait::default()).expect("room");
            memory.control(Lane::ToGuest, Control::Read).store(read, SeqCst);
            let used = count(LANE_BYTES / 8).wrapping_sub(read) as usize;
            let outcome = writer.write(&[], &[b"12345678"], soon());
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
                    writer.write(&[], &[&word.to_le_bytes()], Wait::default()).expect("room");
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

    /// The same with messages that the mirror is too small for in between.
    #[test]
    fn no_word_is_taken_for_another() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let memory = Arc::new(Memory::new(u32::MAX));
            let mut writer = Writer::new(Arc::clone(&memory), Lane::ToHost, Spin::new(0));
            let mut reader = Reader::new(memory, Lane::ToHost, Spin::new(0));
            let word = |word: u64| word.to_le_bytes();
            let sender = loom::thread::spawn(move || {
                writer.write(&[], &[&word(1)], Wait::default()).expect("room");
                writer.write(&word(2), &[&word(3)], Wait::default()).expect("room");
                writer.write(&[], &[&word(4)], Wait::default()).expect("room");
            });
            for expected in 1..=4_u64 {
                let mut out = Vec::new();
                reader.read(8, &mut out, Wait::default()).expect("a word");
                assert_eq!(out, word(expected));
            }
            sender.join().expect("no panic");
        });
    }
}
