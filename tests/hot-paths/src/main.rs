//! `hot-paths NAME` takes one hot path as often as it says; `hot-paths list` names them. `cargo xtask count` counts the instructions.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program")]

mod guest;
mod manifest;
mod message;

/// A path: prepared by the outer function, and then taken again and again.
type Path = fn() -> Box<dyn FnMut()>;

/// All paths, and how often each is taken.
const PATHS: [(&str, u32, Path); 8] = [
    ("manifest-parse", 3, manifest::parsed),
    ("manifest-resolve", 3, manifest::resolved),
    ("message-encode-decode", 300, message::encoded),
    ("channel-16-bytes", 300, message::exchanged_16_bytes),
    ("channel-64-kib", 30, message::exchanged_64_kib),
    ("wasm-call", 300, guest::called),
    ("wasm-call-64-kib", 30, guest::called_with_64_kib),
    ("wasm-edge", 300, guest::called_over_an_edge),
];

/// What is counted is inside of this, and callgrind knows it by its name.
#[inline(never)]
fn hot_rounds(rounds: u32, one: &mut dyn FnMut()) {
    for _ in 0..rounds {
        one();
    }
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if wanted == "list" {
        for (name, ..) in PATHS {
            println!("{name}");
        }
        return;
    }
    let (_, rounds, path) =
        PATHS.into_iter().find(|(name, ..)| *name == wanted).expect("one of `hot-paths list`");
    let mut one = path();
    // What is made with the first round is no part of those that follow.
    one();
    hot_rounds(rounds, &mut one);
    println!("{rounds}");
}
