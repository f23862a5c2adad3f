//! A message that is being put together.

use super::{put_bits, put_case};
use crate::limits::BORROWED_BYTES_MIN;

/// A message that is being put together. Long runs of bytes are not copied into it, but borrowed from the value that is sent.
#[derive(Debug, Default)]
pub struct Sink<'v> {
    pub(super) bytes: Vec<u8>,
    /// Each with how many of `bytes` come before it.
    pub(super) borrowed: Vec<(usize, &'v [u8])>,
    borrowed_bytes: usize,
}

impl<'v> Sink<'v> {
    /// Takes a buffer's memory, not what is in it.
    pub fn reusing(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer, borrowed: Vec::new(), borrowed_bytes: 0 }
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends bytes that are there for as long as the message. They are borrowed from [`BORROWED_BYTES_MIN`] on.
    pub fn put_borrowed(&mut self, bytes: &'v [u8]) {
        if bytes.len() < BORROWED_BYTES_MIN {
            return self.put(bytes);
        }
        self.borrowed.push((self.bytes.len(), bytes));
        self.borrowed_bytes += bytes.len();
    }

    /// Appends the number of a case of an enum or variant that has so many.
    pub fn case(&mut self, case: u32, cases: u32) {
        put_case(case, cases, &mut self.bytes);
    }

    /// Appends the bits of flags that have so many names.
    pub fn bits(&mut self, bits: u32, names: u32) {
        put_bits(bits, names, &mut self.bytes);
    }

    /// What does not fit in 32 bits is far above [`MESSAGE_BYTES_MAX`], and is refused after this.
    pub(super) fn length(&mut self, count: usize) {
        self.put(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// Bytes of the whole message.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_add(self.borrowed_bytes)
    }

    /// These behind each other are the message.
    fn pieces(&self) -> Vec<&[u8]> {
        let mut pieces = Vec::with_capacity(2 * self.borrowed.len() + 1);
        let mut from = 0;
        for (at, borrowed) in &self.borrowed {
            pieces.extend([&self.bytes[from..*at], borrowed]);
            from = *at;
        }
        pieces.push(&self.bytes[from..]);
        pieces
    }

    /// Hands the message on in pieces that follow each other.
    pub fn with_pieces<T>(&self, send: impl FnOnce(&[&[u8]]) -> T) -> T {
        if self.borrowed.is_empty() { send(&[&self.bytes]) } else { send(&self.pieces()) }
    }

    /// The buffer, with anything in it, for the next message.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// The message in one piece.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        if self.borrowed.is_empty() { self.bytes } else { self.pieces().concat() }
    }
}
