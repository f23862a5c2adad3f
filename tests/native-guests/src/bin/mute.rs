//! A guest that never speaks its first words, or speaks wrong ones. Which, is patched into the program: see [`WAY`].

use std::os::fd::BorrowedFd;
use std::process::ExitCode;

use cofferdam_wire::handshake::{Hello, Offer, descriptor};
use cofferdam_wire::packet;

/// A guest has no arguments and no variables of its own, so the tests write the way in here, in a copy of the program.
static WAY: &str = "which way to be mute: ..................";

#[expect(unsafe_code, reason = "descriptors by number")]
fn socket() -> BorrowedFd<'static> {
    // SAFETY: The launcher opened it, and nothing here closes it.
    unsafe { BorrowedFd::borrow_raw(descriptor::SOCKET) }
}

fn main() -> ExitCode {
    let hello = |version, functions: usize| {
        let offer = |index: usize| Offer { name: index.to_string(), shape: 0 };
        let functions = (0..functions).map(offer).collect();
        cofferdam_wire::encode(&Hello { version, interface: 0, functions, imports: Vec::new() })
            .expect("small")
    };
    let way = std::hint::black_box(WAY);
    let bytes = match way.trim_end_matches('.').strip_prefix("which way to be mute: ").unwrap_or_default() {
        "exit" => return ExitCode::from(3),
        "abort" => std::process::abort(),
        "other-version" => hello(cofferdam_wire::VERSION + 1, 1),
        "many-functions" => hello(cofferdam_wire::VERSION, 1025),
        "most-functions" => hello(cofferdam_wire::VERSION, 1024),
        "descriptors" => {
            let hello = hello(cofferdam_wire::VERSION, 1);
            let _ = packet::send(socket(), &hello, &[socket()]);
            Vec::new()
        }
        _ => [&cofferdam_wire::VERSION.to_le_bytes()[..], &[0xFF; 100]].concat(),
    };
    if !bytes.is_empty() {
        let _ = packet::send(socket(), &bytes, &[]);
    }
    loop {
        std::thread::park();
    }
}
