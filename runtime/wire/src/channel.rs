//! Both lanes of one memory, and frames on them.

use std::sync::Arc;

use crate::frame::{Frame, FrameError, FrameKind};
use crate::limits::WINDOW_BYTES;
use crate::memory::{Lane, Memory};
use crate::placing::Placing;
use crate::ring::{Body, Reader, RingError, Spin, Wait, Writer};

/// Why a frame did not come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The bytes do not move.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// One side of a conversation.
#[derive(Debug)]
pub struct Channel {
    writer: Writer,
    reader: Reader,
    placing: Placing,
    header: Vec<u8>,
}

impl Channel {
    /// The host's side. One for each memory.
    pub fn host(memory: &Arc<Memory>, spin_pauses: u32) -> Self {
        Self::new(memory, Lane::ToGuest, Lane::ToHost, spin_pauses)
    }

    /// The guest's side. One for each memory.
    pub fn guest(memory: &Arc<Memory>, spin_pauses: u32) -> Self {
        Self::new(memory, Lane::ToHost, Lane::ToGuest, spin_pauses)
    }

    fn new(memory: &Arc<Memory>, out: Lane, back: Lane, spin_pauses: u32) -> Self {
        Self {
            writer: Writer::new(Arc::clone(memory), out, Spin::new(spin_pauses)),
            reader: Reader::new(Arc::clone(memory), back, Spin::new(spin_pauses)),
            placing: Placing::default(),
            header: Vec::with_capacity(Frame::BYTES),
        }
    }

    /// Sends a frame with the pieces behind each other. They must be at most [`crate::limits::MESSAGE_BYTES_MAX`] bytes; [`crate::encode`]
    /// and [`crate::value::sink`] see to that.
    pub fn send(
        &mut self,
        kind: FrameKind,
        call: u32,
        subject: u32,
        pieces: &[&[u8]],
        wait: Wait<'_>,
    ) -> Result<(), ChannelError> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = u32::try_from(bytes).map_err(|_| FrameError::Long { length: u32::MAX })?;
        let header = Frame { kind, call, subject, length }.to_bytes();
        // Who sends a header that the other side refuses hears of it here.
        Frame::from_bytes(header)?;
        if wait.other != 0 {
            self.placing.before(wait);
        }
        Ok(self.writer.write(&header, pieces, wait)?)
    }

    /// Takes the next frame; its bytes replace what is in `bytes`.
    pub fn receive(&mut self, bytes: &mut Vec<u8>, wait: Wait<'_>) -> Result<Frame, ChannelError> {
        self.begin(None, bytes, wait).map(|(frame, _)| frame)
    }

    /// Takes the next frame. A long body of this kind is left for [`Channel::body`], which must take it before anything else is received, and
    /// then this is false; every other replaces what is in `bytes`.
    pub fn receive_or_begin(
        &mut self,
        long: FrameKind,
        bytes: &mut Vec<u8>,
        wait: Wait<'_>,
    ) -> Result<(Frame, bool), ChannelError> {
        self.begin(Some(long), bytes, wait)
    }

    /// The body that was left when its frame was taken.
    pub fn body<'c>(&'c mut self, frame: Frame, wait: Wait<'c>) -> Body<'c> {
        Body::new(&mut self.reader, frame.length as usize, Wait { at_work: true, ..wait })
    }

    fn begin(
        &mut self,
        long: Option<FrameKind>,
        bytes: &mut Vec<u8>,
        wait: Wait<'_>,
    ) -> Result<(Frame, bool), ChannelError> {
        self.header.clear();
        self.reader.read(Frame::BYTES, &mut self.header, wait)?;
        let header = *self.header.first_chunk().expect("the reader gives what it was asked for");
        let frame = Frame::from_bytes(header)?;
        bytes.clear();
        let length = frame.length as usize;
        let whole = length <= WINDOW_BYTES || long != Some(frame.kind);
        if whole {
            self.reader.read(length, bytes, Wait { at_work: true, ..wait })?;
        }
        if wait.other != 0 {
            self.placing.after(self.writer.woke(), self.reader.take_waited());
        }
        Ok((frame, whole))
    }
}
