//! Messages as calls of processes have them: their encoding, and their way through shared memory.

use std::sync::Arc;

use cofferdam_wire::channel::Channel;
use cofferdam_wire::frame::FrameKind;
use cofferdam_wire::memory::Memory;
use cofferdam_wire::ring::Wait;

type Arguments = (u32, String, Vec<u16>, Option<(i64, f64)>, Result<bool, Vec<String>>);

pub(crate) fn encoded() -> Box<dyn FnMut()> {
    let words = vec!["one".to_owned(), "two".to_owned()];
    let value: Arguments =
        (7, "a text of some length".to_owned(), (0..50).collect(), Some((-1, 0.5)), Err(words));
    Box::new(move || {
        let bytes = cofferdam_wire::encode(&value).expect("small");
        let back: Arguments = cofferdam_wire::decode(&bytes).expect("its own bytes");
        assert!(back == value);
    })
}

/// A message to the other end and its answer, with both ends in one thread: nobody waits.
fn exchanged(bytes: usize) -> Box<dyn FnMut()> {
    let memory = Arc::new(Memory::create().expect("memory").0);
    let (mut host, mut guest) = (Channel::host(&memory, 0), Channel::guest(&memory, 0));
    let (data, mut buffer) = (vec![7; bytes], Vec::new());
    let mut call = 0_u32;
    Box::new(move || {
        call = call.wrapping_add(1);
        host.send(FrameKind::Call, call, 0, &[&data], Wait::default()).expect("room");
        guest.receive(&mut buffer, Wait::default()).expect("there");
        guest.send(FrameKind::Reply, call, 0, &[&buffer], Wait::default()).expect("room");
        let frame = host.receive(&mut buffer, Wait::default()).expect("there");
        assert!(frame.call == call && buffer.len() == data.len());
    })
}

pub(crate) fn exchanged_16_bytes() -> Box<dyn FnMut()> {
    exchanged(16)
}

pub(crate) fn exchanged_64_kib() -> Box<dyn FnMut()> {
    exchanged(64 << 10)
}
