//! What a guest writes to its standard streams, up to a cap, and the end of it for reports.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::limits::LAST_WORDS_BYTES_MAX;

/// What a guest writes.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) stdout: Option<Stream>,
    pub(super) stderr: Option<Stream>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) pipe: File,
    /// Kept for the host, up to the cap; without one only the last words are kept.
    cap: Option<u64>,
    pub(super) kept: Vec<u8>,
    total: u64,
    pub(super) last: VecDeque<u8>,
    pub(super) open: bool,
}

impl Stream {
    /// A pipe whose other end is the guest's.
    pub(super) fn pipe(cap: Option<u64>) -> Result<(Self, OwnedFd), Errno> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
        let stream = Self {
            pipe: File::from(read),
            cap,
            kept: Vec::new(),
            total: 0,
            last: VecDeque::new(),
            open: true,
        };
        Ok((stream, write))
    }

    /// Takes what is there, at most so much at a time. False when it is more than the cap.
    pub(super) fn drain(&mut self) -> bool {
        const AT_A_TIME: usize = 1 << 20;
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while self.open && taken < AT_A_TIME {
            let count = match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    self.open = false;
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.open = false;
                    break;
                }
            };
            taken += count;
            self.total = self.total.saturating_add(count as u64);
            self.last.extend(&buffer[..count]);
            let surplus = self.last.len().saturating_sub(LAST_WORDS_BYTES_MAX);
            self.last.drain(..surplus);
            if let Some(cap) = self.cap {
                let room = usize::try_from(cap).unwrap_or(usize::MAX).saturating_sub(self.kept.len());
                self.kept.extend(&buffer[..count.min(room)]);
                if self.total > cap {
                    return false;
                }
            }
        }
        true
    }
}

/// A guest's text for people: one line, and nothing in it that a terminal would act upon.
pub(super) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |c: char| if c == '\n' { " | ".to_owned() } else { c.escape_debug().to_string() };
    text.trim().chars().map(|c| if c.is_control() || c == '\n' { plain(c) } else { c.to_string() }).collect()
}
