//! One call of a guest: sent, its own calls answered, and its reply taken as it comes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cofferdam_wire::DecodeError;
use cofferdam_wire::channel::{Channel, ChannelError};
use cofferdam_wire::frame::{Frame, FrameKind};
use cofferdam_wire::handshake::{DROP, Offer};
use cofferdam_wire::limits::{FAULT_TEXT_BYTES_MAX, MESSAGE_BYTES_MAX};
use cofferdam_wire::ring::{Deadline, RingError, Wait};
use cofferdam_wire::value::Source as Message;

use super::ProcessCompartment;
use crate::process::control::Cause;
use crate::process::error::{CallError, FaultKind};
use crate::process::limits::BUFFER_BYTES_MAX;
use crate::process::output::readable;

/// Takes a result, whole, as it comes.
pub(in crate::process) type Take<'t> = dyn FnMut(&mut Message<'_>) -> Result<(), DecodeError> + 't;

impl ProcessCompartment {
    pub(super) fn call_for(
        &mut self,
        subject: Subject<'_>,
        arguments: &[&[u8]],
        take: &mut Take<'_>,
        most: Duration,
        imports: &mut dyn Imports,
    ) -> Result<(), CallError> {
        if arguments.iter().map(|piece| piece.len()).sum::<usize>() > MESSAGE_BYTES_MAX as usize {
            let message = format!("the arguments have more than {MESSAGE_BYTES_MAX} bytes");
            return Err(CallError::Usage { edge: self.source.lowered.edge.clone(), message });
        }
        let begun = self.cpu_left.is_some().then(Instant::now);
        let own = self.deadline.min(most);
        // What is left of its processor time ends it, unless a deadline is shorter.
        let left = self.cpu_left.filter(|left| *left <= own);
        let deadline = left.unwrap_or(own);
        let outcome = self.exchange(subject, arguments, take, &Deadline::after(deadline), imports);
        // What one large call took is not kept for ever.
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        if let (Some(left), Some(begun)) = (&mut self.cpu_left, begun) {
            *left = left.saturating_sub(begun.elapsed().saturating_mul(self.source.lowered.threads));
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Outcome::Kept(error)) => Err(error),
            Err(Outcome::Failed(ChannelError::Ring(RingError::Timeout))) => {
                let cause = left.map_or(Cause::Deadline(deadline), |_| Cause::Limit("processor time"));
                Err(self.stop(cause))
            }
            Err(Outcome::Failed(ChannelError::Ring(RingError::Ended))) => {
                Err(self.stop(Cause::Fault(FaultKind::Vanished)))
            }
            Err(Outcome::Failed(error)) => {
                Err(self.stop(Cause::Fault(FaultKind::Protocol(error.to_string()))))
            }
            Err(Outcome::Ends(kind)) => Err(self.stop(Cause::Fault(kind))),
        }
    }

    fn exchange(
        &mut self,
        subject: Subject<'_>,
        arguments: &[&[u8]],
        take: &mut Take<'_>,
        deadline: &Deadline,
        imports: &mut dyn Imports,
    ) -> Result<(), Outcome> {
        let edge = || self.source.lowered.edge.clone();
        let buffer = &mut self.buffer;
        let Some(running) = self.running.as_mut() else {
            return Err(Outcome::Kept(CallError::NotRestarted { edge: edge() }));
        };
        let index = match subject {
            Subject::Drop => Some(DROP),
            Subject::Named(function) => number(running.functions.iter().position(|one| one.name == function)),
            // Every guest of a compartment is the same program, but what it says of itself is its own word.
            Subject::At(index, offer) => {
                number((running.functions.get(index) == Some(offer)).then_some(index))
            }
        };
        let Some(index) = index else {
            let known = running.functions.iter().map(|offer| offer.name.clone()).collect();
            let function = subject.name().to_owned();
            return Err(Outcome::Kept(CallError::UnknownFunction { edge: edge(), function, known }));
        };
        let control = &running.control;
        let other = control.number.load(Ordering::Relaxed);
        let wait = Wait { deadline: Some(deadline), ended: Some(&control.ended), at_work: false, other };
        running.calls = running.calls.wrapping_add(1);
        running
            .channel
            .send(FrameKind::Call, running.calls, index, arguments, wait)
            .map_err(Outcome::Failed)?;
        let protocol = |text: String| Outcome::Ends(FaultKind::Protocol(text));
        let call = running.calls;
        let receive = |channel: &mut Channel, buffer: &mut Vec<u8>| -> Result<(Frame, bool), Outcome> {
            let (frame, whole) =
                channel.receive_or_begin(FrameKind::Reply, buffer, wait).map_err(Outcome::Failed)?;
            if frame.call == call {
                return Ok((frame, whole));
            }
            Err(protocol(format!("it answers call {} instead of {call}", frame.call)))
        };
        let (mut frame, mut whole) = receive(&mut running.channel, buffer)?;
        // Why the last of its own calls had no answer, in case that ends it.
        let mut unanswered = None;
        while frame.kind == FrameKind::Call {
            let Some(import) = running.imports.get(frame.subject as usize) else {
                return Err(protocol(format!(
                    "it calls import {}, and has {}",
                    frame.subject,
                    running.imports.len()
                )));
            };
            // A guest that is always answered at once waits for nothing, and must come to an end all the same.
            if deadline.is_over() {
                return Err(Outcome::Failed(ChannelError::Ring(RingError::Timeout)));
            }
            let answer = imports.call(import, buffer, deadline.at());
            // The host's own functions cannot be ended, and their time counts.
            if deadline.is_over() {
                return Err(Outcome::Failed(ChannelError::Ring(RingError::Timeout)));
            }
            unanswered = None;
            let (kind, bytes) = match answer {
                Ok(bytes) => (FrameKind::Reply, bytes),
                Err(NoAnswer::Protocol(text)) => return Err(protocol(text)),
                Err(no) => {
                    let text = match &no {
                        NoAnswer::Host { function, .. } => format!("`{function}` of the host program failed"),
                        NoAnswer::Callee(text) | NoAnswer::Protocol(text) => text.clone(),
                    };
                    unanswered = Some(no);
                    (FrameKind::Refusal, text.into_bytes())
                }
            };
            running.channel.send(kind, call, frame.subject, &[&bytes], wait).map_err(Outcome::Failed)?;
            (frame, whole) = receive(&mut running.channel, buffer)?;
        }
        let text = |bytes: &[u8]| readable(&bytes[..bytes.len().min(FAULT_TEXT_BYTES_MAX)]);
        match frame.kind {
            FrameKind::Reply => {
                let mut all = |mut from: Message<'_>| {
                    take(&mut from)?;
                    from.finish()
                };
                let taken = if whole {
                    all(Message::new(buffer))
                } else {
                    let mut body = running.channel.body(frame, wait);
                    let taken = all(Message::streaming(frame.length as usize, &mut body));
                    // Then what was taken says nothing.
                    if let Some(error) = body.failed() {
                        return Err(Outcome::Failed(error.into()));
                    }
                    taken
                };
                taken.map_err(|error| protocol(error.to_string()))
            }
            FrameKind::Refusal => {
                Err(Outcome::Kept(CallError::Refused { edge: edge(), message: text(buffer) }))
            }
            FrameKind::Fault => Err(Outcome::Ends(match unanswered {
                Some(NoAnswer::Host { function, message }) => FaultKind::Host { function, message },
                Some(_) => FaultKind::Callee(text(buffer)),
                None => FaultKind::Panic(text(buffer)),
            })),
            FrameKind::Call => unreachable!("answered above"),
        }
    }
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// A function by its name.
    Named(&'a str),
    /// A function by its place among the guest's, and what must be there.
    #[cfg_attr(not(feature = "wasm"), expect(dead_code, reason = "only clients call so"))]
    At(usize, &'a Offer),
    /// The destructors of resources.
    #[cfg_attr(not(feature = "wasm"), expect(dead_code, reason = "only clients call so"))]
    Drop,
}

impl<'a> Subject<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Named(name) => name,
            Self::At(_, offer) => &offer.name,
            Self::Drop => "[resource-drop]",
        }
    }
}

/// What a guest's calls of its host lead to.
pub(crate) trait Imports {
    /// Makes the call.
    fn call(&mut self, import: &Offer, arguments: &[u8], deadline: Instant) -> Result<Vec<u8>, NoAnswer>;
}

/// Why a guest's call of its host has no answer.
#[cfg_attr(not(feature = "wasm"), expect(dead_code, reason = "without a runtime, nobody answers at all"))]
pub(crate) enum NoAnswer {
    /// The guest did not keep to the types that it announced.
    Protocol(String),
    /// Another compartment had none: the text is told to the guest.
    Callee(String),
    /// A function of the host program failed. How, is told to the caller and not to the guest: its words are for people who may know them.
    Host { function: String, message: String },
}

impl NoAnswer {
    pub(in crate::process) fn nobody(import: &Offer) -> Self {
        Self::Callee(format!("nobody provides `{}` here", import.name))
    }
}

/// Nothing.
pub(super) struct NoImports;

impl Imports for NoImports {
    fn call(&mut self, import: &Offer, _: &[u8], _: Instant) -> Result<Vec<u8>, NoAnswer> {
        Err(NoAnswer::nobody(import))
    }
}

fn number(index: Option<usize>) -> Option<u32> {
    index.and_then(|index| u32::try_from(index).ok())
}

enum Outcome {
    /// An error after which the guest goes on.
    Kept(CallError),
    /// The conversation broke off.
    Failed(ChannelError),
    /// The guest is at its end.
    Ends(FaultKind),
}
