//! Large data in parts: a resource that gives or takes one chunk a call, as `std::io` has it.
//!
//! A message between a host and a guest has a bound, and both ends keep all of it. What is larger goes through a resource with
//! `read: func(most: u32) -> list<u8>`, where an empty list is the end, or `write: func(chunk: list<u8>)`. Generated methods fit:
//!
//! ```
//! use cofferdam::client::{CallError, chunks};
//! # struct Packed(Vec<u8>);
//! # impl Packed {
//! #     fn read(&mut self, most: u32) -> Result<Vec<u8>, CallError> {
//! #         let end = self.0.len().min(most as usize);
//! #         Ok(self.0.drain(..end).collect())
//! #     }
//! # }
//!
//! # let mut packed = Packed(vec![7; 1 << 20]);
//! // `packed` is a resource of a guest, and `read` a method of it.
//! let mut file = Vec::new();
//! std::io::copy(&mut chunks::reader(|most| packed.read(most)), &mut file)?;
//! assert_eq!(file.len(), 1 << 20);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Read, Write};

use super::CallError;

/// Most bytes of one chunk that a [`Reader`] asks for and a [`Writer`] gives.
pub const CHUNK_BYTES: u32 = 256 << 10;

/// Reads what a function gives, chunk by chunk. It is asked for at most [`CHUNK_BYTES`] at a time; nothing is the end.
pub fn reader<F: FnMut(u32) -> Result<Vec<u8>, CallError>>(read: F) -> Reader<F> {
    Reader { read, chunk: Vec::new(), at: 0, ended: false }
}

/// Writes to a function, at most [`CHUNK_BYTES`] a call.
pub fn writer<F: FnMut(&[u8]) -> Result<(), CallError>>(write: F) -> Writer<F> {
    Writer { write }
}

/// See [`reader`].
#[derive(Debug)]
pub struct Reader<F> {
    read: F,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

/// See [`writer`].
#[derive(Debug)]
pub struct Writer<F> {
    write: F,
}

impl<F: FnMut(u32) -> Result<Vec<u8>, CallError>> Read for Reader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() && !self.ended && !buffer.is_empty() {
            let most = u32::try_from(buffer.len()).unwrap_or(u32::MAX).clamp(1 << 12, CHUNK_BYTES);
            self.chunk = (self.read)(most).map_err(io::Error::other)?;
            if self.chunk.len() > most as usize {
                let message = format!("{} bytes came where {most} were asked for", self.chunk.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            self.at = 0;
            self.ended = self.chunk.is_empty();
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl<F: FnMut(&[u8]) -> Result<(), CallError>> Write for Writer<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES as usize);
        if count > 0 {
            (self.write)(&bytes[..count]).map_err(io::Error::other)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_bytes_and_bytes_become_chunks() {
        let mut left = vec![vec![3, 4, 5], vec![1, 2]];
        let mut all = Vec::new();
        reader(|_| Ok(left.pop().unwrap_or_default())).read_to_end(&mut all).expect("read");
        assert_eq!(all, [1, 2, 3, 4, 5]);
        let mut sizes = Vec::new();
        let write = |chunk: &[u8]| {
            sizes.push(chunk.len());
            Ok(())
        };
        writer(write).write_all(&vec![0; CHUNK_BYTES as usize + 7]).expect("written");
        assert_eq!(sizes, [CHUNK_BYTES as usize, 7]);
    }

    #[test]
    fn more_than_was_asked_for_is_an_error() {
        let mut all = Vec::new();
        let error =
            reader(|most| Ok(vec![0; most as usize + 1])).read_to_end(&mut all).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
