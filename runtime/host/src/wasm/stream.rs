//! Standard streams: bounded, kept apart for each compartment, and connected to where the host says.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_io::bytes::Bytes;

use crate::refusal::plain;

/// Where a compartment's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Kept until it is taken, up to the cap.
    #[default]
    Captured,
    /// To the host's own streams, each line behind the edge's name, with control characters made visible: no guest can forge a
    /// line of the host's or of another guest.
    Prefixed,
    /// To the host's own streams, byte for byte.
    Inherited,
}

/// Which of the host's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Out,
    Error,
}

/// One stream of a compartment, shared by its instances.
#[derive(Clone)]
pub(super) struct Sink(Arc<Mutex<Collected>>);

struct Collected {
    bytes: VecDeque<u8>,
    output: Output,
    which: Which,
    prefix: String,
    /// A line that is not complete yet, for `Prefixed`.
    line: Vec<u8>,
    /// Why something could not be written to the host's own stream.
    lost: Option<std::io::ErrorKind>,
}

/// Longest line that is held back until it is complete, bytes.
const LINE_BYTES_MAX: usize = 4_096;

impl Sink {
    pub(super) fn new(output: Output, which: Which, edge: &str) -> Self {
        let prefix = edge.to_owned();
        let collected =
            Collected { bytes: VecDeque::new(), output, which, prefix, line: Vec::new(), lost: None };
        Self(Arc::new(Mutex::new(collected)))
    }

    /// An instance's end of the stream, with the most that it may write.
    pub(super) fn capture(&self, cap: u64) -> Captured {
        let left = usize::try_from(cap).unwrap_or(usize::MAX);
        Captured {
            sink: self.clone(),
            budget: Arc::new(Mutex::new(Budget { left, cap: left, overran: false })),
        }
    }

    /// Takes what was written since the last time.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut collected.bytes).into()
    }

    /// Why something of it could not be written to the host's own stream, if so.
    pub(super) fn lost(&self) -> Option<std::io::ErrorKind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost
    }

    fn write(&self, bytes: &[u8], cap: usize) -> Result<(), Unwritten> {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = false;
        match collected.output {
            Output::Captured => {
                if collected.bytes.len().saturating_add(bytes.len()) > cap {
                    return Err(Unwritten::BeyondCap);
                }
                collected.bytes.extend(bytes);
            }
            Output::Inherited => {
                let written = to_host(collected.which, bytes);
                failed = written.is_err();
                collected.keep(written);
            }
            Output::Prefixed => {
                for byte in bytes {
                    if *byte == b'\n' {
                        collected.end_line();
                    } else {
                        collected.line.push(*byte);
                        if collected.line.len() >= LINE_BYTES_MAX {
                            collected.end_line();
                        }
                    }
                }
            }
        }
        // Whose lines are marked as its own has no stream of the host's.
        let closed =
            collected.output == Output::Inherited && collected.lost == Some(std::io::ErrorKind::BrokenPipe);
        if closed || failed { Err(Unwritten::Closed) } else { Ok(()) }
    }

    /// Ends an unfinished line, at the end of a call.
    pub(super) fn flush(&self) {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !collected.line.is_empty() {
            collected.end_line();
        }
    }
}

impl Collected {
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = format!("{}: {}\n", self.prefix, plain(&String::from_utf8_lossy(&line)));
        let written = to_host(self.which, text.as_bytes());
        self.keep(written);
    }

    /// Keeps the first error.
    fn keep(&mut self, written: std::io::Result<()>) {
        self.lost = self.lost.or(written.err().map(|error| error.kind()));
    }
}

/// Why bytes were not written.
enum Unwritten {
    BeyondCap,
    /// The host's own stream takes no more.
    Closed,
}

fn to_host(which: Which, bytes: &[u8]) -> std::io::Result<()> {
    match which {
        Which::Out => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Which::Error => std::io::stderr().lock().write_all(bytes),
    }
}

/// An instance's end of one stream.
#[derive(Clone)]
pub(super) struct Captured {
    sink: Sink,
    budget: Arc<Mutex<Budget>>,
}

struct Budget {
    left: usize,
    cap: usize,
    overran: bool,
}

impl Captured {
    /// Whether the guest wanted to write more than its cap.
    pub(super) fn overran(&self) -> bool {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).overran
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
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if bytes.len() > budget.left {
            Err(Unwritten::BeyondCap)
        } else {
            self.sink.write(&bytes, budget.cap)
        };
        match written {
            Ok(()) => {
                budget.left -= bytes.len();
                Ok(())
            }
            // As a program of its own would see it.
            Err(Unwritten::Closed) => Err(StreamError::Closed),
            Err(Unwritten::BeyondCap) => {
                budget.overran = true;
                Err(StreamError::Trap(wasmtime::Error::msg("more output than its cap allows")))
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        // One byte more than is left may be offered, so that the write that overruns is seen, and not a wait for ever.
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(budget.left.saturating_add(1).min(1 << 16))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}

/// Where a compartment's standard input comes from, when its edge grants it.
#[derive(Debug, Clone, Default)]
pub enum Input {
    /// Nowhere: it is at its end.
    #[default]
    Empty,
    /// These bytes, for each instance anew.
    Bytes(Vec<u8>),
    /// The host's own standard input.
    Inherited,
}

impl Input {
    pub(super) fn connect(&self, builder: &mut WasiCtxBuilder, cap: Option<u64>) {
        match self {
            Self::Empty => {}
            Self::Bytes(bytes) => {
                let most = cap.map_or(bytes.len(), |cap| usize::try_from(cap).unwrap_or(usize::MAX));
                let bytes = bytes[..bytes.len().min(most)].to_vec();
                builder.stdin(MemoryInputPipe::new(bytes));
            }
            Self::Inherited => {
                builder.inherit_stdin();
            }
        }
    }
}
