//! The guest's side of the conversation.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cofferdam_wire::channel::{Channel, ChannelError};
use cofferdam_wire::frame::{Frame, FrameKind};
use cofferdam_wire::handshake::{DROP, Hello, Offer, Welcome};
use cofferdam_wire::limits::FAULT_TEXT_BYTES_MAX;
use cofferdam_wire::memory::Memory;
use cofferdam_wire::packet;
use cofferdam_wire::ring::Wait;
use cofferdam_wire::value::{Resource, Source, decode_from, sink};
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
    #[error("a resource in the arguments is not there")]
    Stale,
}

/// Answers a call; or gives why there is no answer, and then the rest of the arguments is taken all the same.
type Function = Box<dyn FnMut(Call<'_>) -> Result<(), NoAnswer>>;

/// A call whose function is known.
struct Call<'c> {
    frame: Frame,
    /// The arguments, unless they are long: then they are still to come.
    arguments: Option<&'c [u8]>,
    /// Memory for the result.
    buffer: &'c mut Vec<u8>,
    conversation: &'c Mutex<Conversation>,
}

/// Why a call has no answer.
enum NoAnswer {
    /// Its caller is told.
    Refused(Refusal),
    /// There is nobody to tell.
    Broken(ChannelError),
}

impl<E: Into<Refusal>> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Call<'_> {
    /// The arguments, all of them.
    fn take<A: Decode>(&self) -> Result<A, NoAnswer> {
        if let Some(arguments) = self.arguments {
            return Ok(cofferdam_wire::decode(arguments)?);
        }
        let mut conversation = lock(self.conversation);
        let mut body = conversation.channel.body(self.frame, Wait::default());
        let taken = decode_from(&mut Source::streaming(self.frame.length as usize, &mut body));
        // The next call begins behind what was not wanted.
        body.pass_over().map_err(|error| NoAnswer::Broken(error.into()))?;
        Ok(taken?.0)
    }

    fn answer(self, result: &impl Encode) -> Result<(), NoAnswer> {
        let message = sink(result, std::mem::take(self.buffer))?;
        let channel = &mut lock(self.conversation).channel;
        let sent = message.with_pieces(|pieces| {
            channel.send(FrameKind::Reply, self.frame.call, 0, pieces, Wait::default())
        });
        *self.buffer = message.into_buffer();
        sent.map_err(NoAnswer::Broken)
    }

    /// Drops resources; one that is not there is an error after the others.
    fn drop_resources(self, drop: fn(Resource) -> bool) -> Result<(), NoAnswer> {
        let (resources,): (Vec<Resource>,) = self.take()?;
        let missing = resources.into_iter().filter(|resource| !drop(*resource)).count();
        if missing == 0 { self.answer(&()) } else { Err(Refusal::Stale.into()) }
    }

    /// The arguments of a function that is not there.
    fn pass_over(&self) -> Result<(), NoAnswer> {
        if self.arguments.is_some() {
            return Ok(());
        }
        let mut conversation = lock(self.conversation);
        let body = conversation.channel.body(self.frame, Wait::default());
        body.pass_over().map_err(|error| NoAnswer::Broken(error.into()))
    }
}

fn lock(conversation: &Mutex<Conversation>) -> MutexGuard<'_, Conversation> {
    conversation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The functions that a guest offers.
#[derive(Default)]
pub struct Guest {
    interface: u64,
    functions: Vec<(Offer, Function)>,
    imports: Vec<Offer>,
    resources: Option<fn(Resource) -> bool>,
}

/// Largest buffer that is kept from call to call, bytes.
const KEPT_BYTES_MAX: usize = 2 << 20;

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
        self.shaped_function(name, 0, move |arguments| Some(function(arguments)))
    }

    /// Adds a function whose types have this digest. For generated code: `None` refuses the call, since a resource in its
    /// arguments is not there.
    #[must_use]
    pub fn shaped_function<A: Decode, R: Encode>(
        mut self,
        name: &str,
        shape: u64,
        mut function: impl FnMut(A) -> Option<R> + 'static,
    ) -> Self {
        assert!(
            self.functions.iter().all(|(other, _)| other.name != name),
            "two functions are named `{name}`"
        );
        let function = move |call: Call<'_>| {
            let result = function(call.take()?).ok_or(Refusal::Stale)?;
            call.answer(&result)
        };
        self.functions.push((Offer { name: name.to_owned(), shape }, Box::new(function)));
        self
    }

    /// Names the functions of the host's that [`call_host`] can call, in the order of their numbers. For generated code.
    #[must_use]
    pub fn imports(mut self, imports: &[(&str, u64)]) -> Self {
        let offer = |(name, shape): &(&str, u64)| Offer { name: (*name).to_owned(), shape: *shape };
        self.imports = imports.iter().map(offer).collect();
        self
    }

    /// What drops a resource. For generated code.
    #[must_use]
    pub fn resources(mut self, drop: fn(Resource) -> bool) -> Self {
        self.resources = Some(drop);
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
        sys::keep_freed_memory();
        let hello = Hello {
            version: cofferdam_wire::VERSION,
            interface: self.interface,
            functions: self.functions.iter().map(|(offer, _)| offer.clone()).collect(),
            imports: self.imports.clone(),
        };
        packet::send(sys::socket(), &cofferdam_wire::encode(&hello)?, &[])?;
        let (welcome, _) = packet::receive_now(sys::socket(), 0)?;
        let welcome: Welcome = cofferdam_wire::decode(&welcome)?;
        let channel = Channel::guest(&memory, welcome.spin_pauses);
        let conversation = CONVERSATION.get_or_init(|| Mutex::new(Conversation { channel, call: 0 }));
        std::panic::set_hook(Box::new(|panic| report_panic(&panic.to_string())));
        let (mut arguments, mut result) = (Vec::new(), Vec::new());
        loop {
            // What one large call took is not kept for ever.
            for buffer in [&mut arguments, &mut result] {
                if buffer.capacity() > KEPT_BYTES_MAX {
                    *buffer = Vec::new();
                }
            }
            let (frame, whole) = {
                let mut conversation = lock(conversation);
                let begun = conversation.channel.receive_or_begin(
                    FrameKind::Call,
                    &mut arguments,
                    Wait::default(),
                )?;
                conversation.call = begun.0.call;
                begun
            };
            let arguments = whole.then_some(arguments.as_slice());
            let call = Call { frame, arguments, buffer: &mut result, conversation };
            let outcome = match (frame.subject, self.resources) {
                (DROP, Some(drop)) => call.drop_resources(drop),
                (subject, _) => match self.functions.get_mut(subject as usize) {
                    Some((_, function)) => function(call),
                    None => call.pass_over().and(Err(Refusal::Unknown(subject).into())),
                },
            };
            match outcome {
                Ok(()) => {}
                Err(NoAnswer::Broken(error)) => return Err(error.into()),
                Err(NoAnswer::Refused(refusal)) => {
                    let why = refusal.to_string();
                    let channel = &mut lock(conversation).channel;
                    channel.send(FrameKind::Refusal, frame.call, 0, &[why.as_bytes()], Wait::default())?;
                }
            }
        }
    }
}

/// Calls a function of the host's, by its number among [`Guest::imports`], from within a call. For generated code.
///
/// # Panics
/// When the call fails: there is nobody behind it, it is not granted, or what is behind it failed. The caller of this guest is
/// told why.
pub fn call_host<R: Decode>(import: u32, arguments: &impl Encode) -> R {
    let called = || -> Result<R, String> {
        let message = sink(arguments, Vec::new()).map_err(|error| error.to_string())?;
        let conversation = CONVERSATION.get().ok_or("there is no host to call")?;
        let mut conversation = lock(conversation);
        let call = conversation.call;
        let mut result = Vec::new();
        let failed = |error: ChannelError| error.to_string();
        message
            .with_pieces(|pieces| {
                conversation.channel.send(FrameKind::Call, call, import, pieces, Wait::default())
            })
            .map_err(failed)?;
        let frame = conversation.channel.receive(&mut result, Wait::default()).map_err(failed)?;
        match frame.kind {
            FrameKind::Reply => cofferdam_wire::decode(&result).map_err(|error| error.to_string()),
            _ => Err(String::from_utf8_lossy(&result).into_owned()),
        }
    };
    // The conversation is free again before anything panics, so that the panic can be reported.
    called().unwrap_or_else(|error| panic!("a call of the host failed: {error}"))
}

/// Tells the host of a panic, and waits for the end that the host then makes.
fn report_panic(message: &str) {
    // While another thread talks, or this one did, there is no way to tell; the program then ends as it would without a host.
    let Some(Ok(mut conversation)) = CONVERSATION.get().map(Mutex::try_lock) else { return };
    let call = conversation.call;
    let bytes = &message.as_bytes()[..message.len().min(FAULT_TEXT_BYTES_MAX)];
    if conversation.channel.send(FrameKind::Fault, call, 0, &[bytes], Wait::default()).is_ok() {
        loop {
            std::thread::park();
        }
    }
}
