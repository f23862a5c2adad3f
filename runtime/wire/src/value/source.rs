//! Bytes that are being decoded: all of them here, or on their way.

use std::borrow::Cow;

use super::{DecodeError, bits_bytes, case_bytes};
use crate::limits::{DECODED_BYTES_MAX, DEPTH_MAX, LIST_ELEMENTS_MAX, WINDOW_BYTES};

/// What is to come of a message whose beginning is there.
pub trait Stream {
    /// Appends the next bytes, which are so many. The caller asks for no more than there are.
    ///
    /// # Errors
    /// When they do not come; whoever made the stream knows why.
    fn read(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), Broken>;
}

/// Bytes that are all here come whenever they are asked for.
impl Stream for &[u8] {
    fn read(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
        let (now, later) = self.split_at_checked(bytes).ok_or(Broken)?;
        out.extend_from_slice(now);
        *self = later;
        Ok(())
    }
}

/// The rest of a message did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// Bytes that are being decoded, with what may still be spent on them.
pub struct Source<'a> {
    /// What is here of the message.
    window: Cow<'a, [u8]>,
    /// How much of that was taken.
    at: usize,
    /// Where in the message it begins.
    begins: usize,
    /// Bytes that are still to come, and from where.
    behind: usize,
    stream: Option<&'a mut dyn Stream>,
    budget: usize,
    depth: u32,
    pub(super) resources: u64,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("at", &self.place())
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

impl<'a> Source<'a> {
    /// The whole of a message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::over(Cow::Borrowed(bytes), 0, None)
    }

    /// A message of so many bytes, none of which is here yet. What is long goes from the stream to its place.
    pub fn streaming(bytes: usize, stream: &'a mut dyn Stream) -> Self {
        Self::over(Cow::Borrowed(&[]), bytes, Some(stream))
    }

    fn over(window: Cow<'a, [u8]>, behind: usize, stream: Option<&'a mut dyn Stream>) -> Self {
        let (at, begins, depth, resources) = (0, 0, 0, 0);
        Self { window, at, begins, behind, stream, budget: DECODED_BYTES_MAX, depth, resources }
    }

    /// How many resources were taken so far.
    pub fn resources(&self) -> u64 {
        self.resources
    }

    /// Ends the message: nothing may be left of it.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { left }),
        }
    }

    fn left(&self) -> usize {
        self.window.len() - self.at + self.behind
    }

    /// The place in the message of what is taken next.
    pub(super) fn place(&self) -> usize {
        self.begins + self.at
    }

    /// Refuses to take more than is left.
    fn enough(&self, count: usize) -> Result<(), DecodeError> {
        match count.checked_sub(self.left()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DecodeError::Short { at: self.place() + self.left(), missing }),
        }
    }

    /// Sees to it that so many bytes are here, or says that the message has fewer.
    #[inline]
    fn have(&mut self, count: usize) -> Result<(), DecodeError> {
        if count <= self.window.len() - self.at { Ok(()) } else { self.fetch(count) }
    }

    #[cold]
    fn fetch(&mut self, count: usize) -> Result<(), DecodeError> {
        self.enough(count)?;
        let more = self.behind.min(WINDOW_BYTES.max(count) - (self.window.len() - self.at));
        let window = self.window.to_mut();
        window.drain(..self.at);
        self.begins += self.at;
        self.at = 0;
        self.behind -= more;
        let stream = self.stream.as_mut().ok_or(DecodeError::Broken)?;
        stream.read(more, window).map_err(|Broken| DecodeError::Broken)
    }

    /// The next `count` bytes, for which the budget has been charged.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, DecodeError> {
        self.enough(count)?;
        let mut taken = Vec::with_capacity(count);
        self.bytes_into(count, &mut taken).map(|()| taken)
    }

    fn bytes_into(&mut self, count: usize, taken: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.enough(count)?;
        let here = count.min(self.window.len() - self.at);
        if count - here < WINDOW_BYTES {
            self.have(count)?;
            taken.extend_from_slice(&self.window[self.at..self.at + count]);
            self.at += count;
            return Ok(());
        }
        taken.extend_from_slice(&self.window[self.at..self.at + here]);
        self.at += here;
        // What did not come through the window.
        self.begins += count - here;
        self.behind -= count - here;
        let stream = self.stream.as_mut().ok_or(DecodeError::Broken)?;
        stream.read(count - here, taken).map_err(|Broken| DecodeError::Broken)
    }

    /// All that is left of the message, which is appended.
    pub fn rest_into(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let left = self.left();
        self.budget = self.budget.checked_sub(left).ok_or(DecodeError::LargeValue)?;
        self.bytes_into(left, out)
    }

    /// The same by itself.
    pub fn rest(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut rest = Vec::with_capacity(self.left());
        self.rest_into(&mut rest).map(|()| rest)
    }

    /// Passes over bytes.
    pub fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.enough(count)?;
        let mut left = count;
        while left > 0 {
            let now = left.min(WINDOW_BYTES);
            self.have(now)?;
            self.at += now;
            left -= now;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.have(N)?;
        let array = self.window[self.at..].first_chunk().copied().ok_or(DecodeError::Broken)?;
        self.at += N;
        Ok(array)
    }

    /// A tag below `end`.
    pub(crate) fn tag(&mut self, end: u8, what: &'static str) -> Result<u8, DecodeError> {
        let [tag] = self.array()?;
        if tag < end {
            return Ok(tag);
        }
        Err(DecodeError::Invalid { at: self.place() - 1, value: tag.into(), what })
    }

    /// The number of a case of an enum or variant that has so many.
    pub fn case(&mut self, cases: u32, what: &'static str) -> Result<u32, DecodeError> {
        let at = self.place();
        let value = self.number(case_bytes(cases))?;
        if value < cases { Ok(value) } else { Err(DecodeError::Invalid { at, value, what }) }
    }

    /// The bits of flags that have so many names, at most 32.
    pub fn bits(&mut self, names: u32, what: &'static str) -> Result<u32, DecodeError> {
        let at = self.place();
        let value = self.number(bits_bytes(names))?;
        if u64::from(value) < 1_u64 << names.min(32) {
            Ok(value)
        } else {
            Err(DecodeError::Invalid { at, value, what })
        }
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, DecodeError> {
        let count = self.count(1, 1)?;
        let at = self.place();
        String::from_utf8(self.bytes(count)?).map_err(|_| DecodeError::NotText { at })
    }

    fn number(&mut self, bytes: usize) -> Result<u32, DecodeError> {
        self.have(bytes)?;
        let mut number = [0; 4];
        number[..bytes].copy_from_slice(&self.window[self.at..self.at + bytes]);
        self.at += bytes;
        Ok(u32::from_le_bytes(number))
    }

    /// Decodes one level deeper.
    pub fn nested<T>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth == DEPTH_MAX {
            return Err(DecodeError::Deep);
        }
        self.depth += 1;
        let decoded = decode(self);
        self.depth -= 1;
        decoded
    }

    /// A list's count, after memory for it has been charged: each element has at least `bytes_min` bytes in the message, and takes
    /// `size` in memory.
    pub fn count(&mut self, bytes_min: usize, size: usize) -> Result<usize, DecodeError> {
        let at = self.place();
        let count = u32::from_le_bytes(self.array()?);
        if count > LIST_ELEMENTS_MAX {
            return Err(DecodeError::LongList { at, count });
        }
        let elements = count as usize;
        self.enough(elements.saturating_mul(bytes_min))?;
        // An element without bytes still costs its decoder a step.
        let cost = elements.saturating_mul(size.max(1));
        self.budget = self.budget.checked_sub(cost).ok_or(DecodeError::LargeValue)?;
        Ok(elements)
    }
}
