//! The guest's side of the conversation.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cofferdam_wire::channel::Channel;
use cofferdam_wire::frame::FrameKind;
use cofferdam_wire::handshake::{Hello, Welcome};
use cofferdam_wire::limits::FAULT_TEXT_BYTES_MAX;
use cofferdam_wire::memory::Memory;
use cofferdam_wire::packet;
use cofferdam_wire::ring::Wait;
use cofferdam_wire::{Decode, DecodeError, Encode, TooLarge};

use crate::sys;

/// Why a call was not made, as its caller is told.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the guest has no function {0}")]
    Unknown(u32),
    #[error("the arguments do not fit: {0}")]
    Arguments(#[from] DecodeError),
    #[error("the result does not fit: {0}")]
    Result(#[from] TooLarge),
}

type Function = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, Refusal>>;

/// The functions that a guest offers.
#[derive(Default)]
pub struct Guest {
    interface: u64,
    functions: Vec<(String, Function)>,
}

/// The conversation, where a panicking thread finds it.
struct Conversation {
    channel: Channel,
    call: u32,
}

static CONVERSATION: OnceLock<Mutex<Conversation>> = OnceLock::new();

impl Guest {
    /// No functions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the interface: a digest of its world. A host that expects another does not start this guest.
    #[must_use]
    pub fn interface(mut self, digest: u64) -> Self {
        self.interface = digest;
        self
    }

    /// Adds a function of a tuple of arguments. Each name once.
    #[must_use]
    pub fn function<A: Decode, R: Encode>(
        self,
        name: &str,
        mut function: impl FnMut(A) -> R + 'static,
    ) -> Self {
        self.raw_function(name, move |bytes| {
            let arguments = cofferdam_wire::decode(bytes)?;
            Ok(cofferdam_wire::encode(&function(arguments))?)
        })
    }

    fn raw_function(
        mut self,
        name: &str,
        function: impl FnMut(&[u8]) -> Result<Vec<u8>, Refusal> + 'static,
    ) -> Self {
        assert!(self.functions.iter().all(|(other, _)| other != name), "two functions are named `{name}`");
        self.functions.push((name.to_owned(), Box::new(function)));
        self
    }

    /// Serves calls until the host has had enough. Returns only if there is no host.
    pub fn serve(mut self) -> ExitCode {
        match self.converse() {
            Ok(never) => match never {},
            Err(error) => {
                // Standard error is all that is left to say it with.
                let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
                ExitCode::FAILURE
            }
        }
    }

    fn converse(&mut self) -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
        let memory = Arc::new(Memory::attach(sys::memory())?);
        sys::report_distress(&memory);
        let hello = Hello {
            version: cofferdam_wire::VERSION,
            interface: self.interface,
            functions: self.functions.iter().map(|(name, _)| name.clone()).collect(),
        };
        packet::send(sys::socket(), &cofferdam_wire::encode(&hello)?, &[])?;
        let (welcome, _) = packet::receive_now(sys::socket(), 0)?;
        let welcome: Welcome = cofferdam_wire::decode(&welcome)?;
        let channel = Channel::guest(&memory, welcome.spin_pauses);
        let conversation = CONVERSATION.get_or_init(|| Mutex::new(Conversation { channel, call: 0 }));
        std::panic::set_hook(Box::new(|panic| report_panic(&panic.to_string())));
        let mut arguments = Vec::new();
        loop {
            let frame = {
                let mut conversation = conversation.lock().unwrap_or_else(PoisonError::into_inner);
                let frame = conversation.channel.receive(&mut arguments, Wait::default())?;
                conversation.call = frame.call;
                frame
            };
            let outcome = match self.functions.get_mut(frame.subject as usize) {
                Some((_, function)) => function(&arguments),
                None => Err(Refusal::Unknown(frame.subject)),
            };
            let mut conversation = conversation.lock().unwrap_or_else(PoisonError::into_inner);
            let send = |channel: &mut Channel, kind, bytes: &[u8]| {
                channel.send(kind, frame.call, 0, bytes, Wait::default())
            };
            match outcome {
                Ok(result) => send(&mut conversation.channel, FrameKind::Reply, &result)?,
                Err(refusal) => {
                    send(&mut conversation.channel, FrameKind::Refusal, refusal.to_string().as_bytes())?;
                }
            }
        }
    }
}

/// Tells the host of a panic, and waits for the end that the host then makes.
fn report_panic(message: &str) {
    // While another thread talks, or this one did, there is no way to tell; the program then ends as it would without a host.
    let Some(Ok(mut conversation)) = CONVERSATION.get().map(Mutex::try_lock) else { return };
    let call = conversation.call;
    let bytes = &message.as_bytes()[..message.len().min(FAULT_TEXT_BYTES_MAX)];
    if conversation.channel.send(FrameKind::Fault, call, 0, bytes, Wait::default()).is_ok() {
        loop {
            std::thread::park();
        }
    }
}
