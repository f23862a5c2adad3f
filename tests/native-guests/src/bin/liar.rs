//! A guest that breaks the rules of the conversation, in the way of each function's name.

use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofferdam_wire::channel::Channel;
use cofferdam_wire::frame::{Frame, FrameKind};
use cofferdam_wire::handshake::{Hello, Offer, Welcome, descriptor};
use cofferdam_wire::limits::MESSAGE_BYTES_MAX;
use cofferdam_wire::memory::{Control, Lane, Memory};
use cofferdam_wire::packet;
use cofferdam_wire::ring::{Spin, Wait, Writer};

const WAYS: [&str; 15] = [
    "honest",
    "other-call",
    "no-kind",
    "too-long",
    "half-a-frame",
    "counter",
    "calls-its-host",
    "not-a-number",
    "dies-in-a-reply",
    "floods",
    "two-answers",
    "terminal-escapes",
    "half-a-long-frame",
    "dies-in-a-long-reply",
    "long-nonsense",
];

#[expect(unsafe_code, reason = "descriptors by number")]
fn descriptor(number: i32) -> BorrowedFd<'static> {
    // SAFETY: The launcher opened it, and nothing here closes it.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn main() -> ExitCode {
    let memory = Arc::new(Memory::attach(descriptor(descriptor::MEMORY)).expect("memory"));
    let socket = descriptor(descriptor::SOCKET);
    let hello = Hello {
        version: cofferdam_wire::VERSION,
        interface: 0,
        functions: WAYS.map(|name| Offer { name: name.to_owned(), shape: 0 }).to_vec(),
        imports: Vec::new(),
    };
    packet::send(socket, &cofferdam_wire::encode(&hello).expect("small"), &[]).expect("a host");
    let (welcome, _) = packet::receive_now(socket, 0).expect("a host");
    let _: Welcome = cofferdam_wire::decode(&welcome).expect("a host");
    let mut channel = Channel::guest(&memory, 0);
    let mut arguments = Vec::new();
    let wait = Wait::default();
    let one = 1_u32.to_le_bytes();
    loop {
        let frame = channel.receive(&mut arguments, wait).expect("a host");
        // Goes on where the honest answers ended.
        let mut raw = Writer::new(Arc::clone(&memory), Lane::ToHost, Spin::new(0));
        let header =
            |length| Frame { kind: FrameKind::Reply, call: frame.call, subject: 0, length }.to_bytes();
        // The beginning of a list of bytes.
        let long = [&header(1 << 20)[..], &((1_u32 << 20) - 4).to_le_bytes()].concat();
        let sent = match WAYS[frame.subject as usize] {
            "other-call" => channel.send(FrameKind::Reply, frame.call + 7, 0, &[&one], wait).is_ok(),
            "no-kind" => raw.write(&[], &[&[0xFF; Frame::BYTES]], wait).is_ok(),
            "too-long" => raw.write(&[], &[&header(MESSAGE_BYTES_MAX + 1)], wait).is_ok(),
            "half-a-long-frame" => raw.write(&[], &[&long, &[0; 9_999]], wait).is_ok(),
            "half-a-frame" => raw.write(&[], &[&header(1000), &[0; 10]], wait).is_ok(),
            "counter" => {
                let word = memory.control(Lane::ToHost, Control::Written);
                word.store(0x8000_0000, Ordering::SeqCst);
                cofferdam_wire::ring::wake_all(&memory);
                true
            }
            "calls-its-host" => channel.send(FrameKind::Call, frame.call, 0, &[&one], wait).is_ok(),
            "not-a-number" => channel.send(FrameKind::Reply, frame.call, 0, &[&one[..3]], wait).is_ok(),
            "dies-in-a-reply" => {
                let _ = raw.write(&[], &[&header(1000), &[0; 10]], wait);
                return ExitCode::from(7);
            }
            "dies-in-a-long-reply" => {
                let _ = raw.write(&[], &[&long, &vec![0; 99_999]], wait);
                return ExitCode::from(7);
            }
            "long-nonsense" => {
                channel.send(FrameKind::Reply, frame.call, 0, &[&vec![7; 99_999]], wait).is_ok()
            }
            "floods" => loop {
                if raw.write(&[], &[&[0xAA; 4096]], wait).is_err() {
                    break false;
                }
            },
            "two-answers" => {
                channel.send(FrameKind::Reply, frame.call, 0, &[&one], wait).is_ok()
                    && channel.send(FrameKind::Reply, frame.call, 0, &[&one], wait).is_ok()
            }
            "terminal-escapes" => {
                channel.send(FrameKind::Fault, frame.call, 0, &[b"\x1b[2J\nfaked: all is well"], wait).is_ok()
            }
            _ => channel.send(FrameKind::Reply, frame.call, 0, &[&one], wait).is_ok(),
        };
        if !sent {
            return ExitCode::FAILURE;
        }
    }
}
