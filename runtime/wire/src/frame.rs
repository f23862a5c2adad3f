//! Frames: a header of two words, then bytes.

use crate::limits::MESSAGE_BYTES_MAX;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Call a function; `subject` is its index. A guest may call its host while it is in a call itself, and under the number of that.
    Call = 1,
    /// The result of a call.
    Reply = 2,
    /// The call was not made, or by a host: it failed; the bytes say why, as text.
    Refusal = 3,
    /// Guest to host: the guest is about to end; the bytes say why, as text.
    Fault = 4,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Which call it belongs to.
    pub call: u32,
    /// What it is about; see [`FrameKind`]. 0 where that says nothing.
    pub subject: u32,
    /// How many bytes follow.
    pub length: u32,
}

/// Why a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum FrameError {
    /// No kind has this number, or reserved bytes are set.
    #[error("a frame begins with {word:#x}, which begins none")]
    Kind { word: u32 },
    /// Longer than any message may be.
    #[error("a frame claims {length} bytes, and at most {MESSAGE_BYTES_MAX} are accepted")]
    Long { length: u32 },
}

impl Frame {
    /// Bytes of a header.
    pub const BYTES: usize = 16;

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let words = [self.kind as u32, self.call, self.subject, self.length];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The header that the bytes are.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, FrameError> {
        let word = |index: usize| {
            u32::from_le_bytes([bytes[index], bytes[index + 1], bytes[index + 2], bytes[index + 3]])
        };
        let kind = match word(0) {
            1 => FrameKind::Call,
            2 => FrameKind::Reply,
            3 => FrameKind::Refusal,
            4 => FrameKind::Fault,
            word => return Err(FrameError::Kind { word }),
        };
        let length = word(12);
        if length > MESSAGE_BYTES_MAX {
            return Err(FrameError::Long { length });
        }
        Ok(Self { kind, call: word(4), subject: word(8), length })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_at_the_limit_is_accepted_and_one_past_it_is_not() {
        let frame = |length| Frame { kind: FrameKind::Reply, call: 1, subject: 2, length };
        let at = frame(MESSAGE_BYTES_MAX);
        assert_eq!(Frame::from_bytes(at.to_bytes()), Ok(at));
        let past = frame(MESSAGE_BYTES_MAX + 1);
        assert_eq!(Frame::from_bytes(past.to_bytes()), Err(FrameError::Long { length: past.length }));
    }

    proptest! {
        #[test]
        fn a_header_is_its_bytes_or_an_error(bytes: [u8; Frame::BYTES]) {
            if let Ok(frame) = Frame::from_bytes(bytes) {
                prop_assert_eq!(frame.to_bytes(), bytes);
            }
        }
    }
}
