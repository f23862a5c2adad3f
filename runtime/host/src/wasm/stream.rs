//! Standard output that is bounded, and kept apart for each compartment.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// What a guest wrote to one stream, up to a cap.
#[derive(Clone)]
pub(super) struct Captured(Arc<Mutex<Buffer>>);

struct Buffer {
    bytes: Vec<u8>,
    left: usize,
    overran: bool,
}

impl Captured {
    pub(super) fn new(cap: u64) -> Self {
        let left = usize::try_from(cap).unwrap_or(usize::MAX);
        Self(Arc::new(Mutex::new(Buffer { bytes: Vec::new(), left, overran: false })))
    }

    /// Takes what was written since the last time.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes)
    }

    /// Whether the guest wanted to write more than its cap.
    pub(super) fn overran(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).overran
    }
}

impl IsTerminal for Captured {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Captured {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this, and it is not linked.
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Captured {
    fn write(&mut self, bytes: wasmtime_wasi_io::bytes::Bytes) -> StreamResult<()> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() > buffer.left {
            buffer.overran = true;
            return Err(StreamError::Trap(wasmtime::Error::msg("more output than its cap allows")));
        }
        buffer.left -= bytes.len();
        buffer.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        // One byte more than is left may be offered, so that the write that overruns is seen, and not a wait for ever.
        let buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(buffer.left.saturating_add(1).min(1 << 16))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}
