//! Generated clients against wasmtime: they compile, they fit a component of the same world, and calls arrive.

#![forbid(unsafe_code)]
// What a strict user's crate denies: nothing that is generated may need an exception there.
#![deny(unused, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

#[path = "bindgen/client.rs"]
mod client;

/// The simplest world.
pub mod text {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/text.wit", crate_path: crate });
}
/// Every type.
pub mod every_type {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/every-type.wit", crate_path: crate });
}
/// Handles in every place.
pub mod resources {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/resources.wit", world: "media", crate_path: crate });
}
/// Types and interfaces of several packages.
pub mod shared {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/shared", world: "shared", crate_path: crate });
}
/// Names that Rust uses for something else.
pub mod names {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/names.wit", crate_path: crate });
}
/// A guest that answers.
pub mod calls {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/calls.wit", crate_path: crate });
}
/// The example of docs/clients.md.
pub mod notes {
    cofferdam_bindgen::client!({
        path: "../../tests/bindgen/notebook.wit",
        world: "notebook",
        crate_path: crate
    });
}

use std::error::Error;
use std::path::Path;

use calls::counters::{Counter, Failure, Labelled, Marks};
use client::Edge;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

fn world(path: &str, name: Option<&str>) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bindgen").join(path);
    let (package, _) = resolve.push_path(path).expect("WIT");
    let world = resolve.select_world(&[package], name).expect("the world");
    (resolve, world)
}

fn component(mut module: Vec<u8>, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).expect("it is a module");
    let encoder = ComponentEncoder::default().module(&module).expect("it says its world");
    encoder.validate(true).encode().expect("it is of its world")
}

/// A component of a world, whose functions trap.
fn trapping(path: &str, name: Option<&str>) -> Edge {
    let (resolve, world) = world(path, name);
    let module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync));
    Edge::of(&component(module, &resolve, world))
}

fn answering() -> Edge {
    let (resolve, world) = world("calls.wit", None);
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bindgen/calls.wat");
    let module = wat::parse_file(text).expect("it is WebAssembly text");
    Edge::of(&component(module, &resolve, world))
}

#[test]
fn a_client_fits_a_component_of_its_world() {
    text::TextFilter::open(trapping("text.wit", None)).expect("it fits");
    every_type::EveryType::open(trapping("every-type.wit", None)).expect("it fits");
    resources::Media::open(trapping("resources.wit", None)).expect("it fits");
    shared::Shared::open(trapping("shared", Some("shared"))).expect("it fits");
    names::Names::open(trapping("names.wit", None)).expect("it fits");
    calls::Calls::open(trapping("calls.wit", None)).expect("it fits");
}

#[test]
fn every_difference_is_told() {
    let error = text::TextFilter::open(trapping("shared", Some("other"))).expect_err("another world");
    let expected = [
        "acme:text/filter@1.0.0: transform: func(text: string, options: options) -> result<string, refusal>: \
         no such interface",
        "acme:text/filter@1.0.0: sizes: func(texts: list<string>, raw: list<u8>) -> list<u32>: no such interface",
        "acme:text/filter@1.0.0: reset: func(): no such interface",
    ];
    assert_eq!(error.differences, expected);
}

#[test]
fn a_trap_is_an_error_of_the_call() {
    let filter = text::TextFilter::open(trapping("text.wit", None)).expect("it fits").filter();
    let error = filter.reset().expect_err("it traps");
    assert!(error.text.contains("unreachable"), "{}", error.text);
}

#[test]
fn texts_and_records_cross() {
    let counters = calls::Calls::open(answering()).expect("it fits").counters();
    assert_eq!(counters.shout("quiet").expect("called"), Ok("QUIET".to_owned()));
    let one = Labelled { label: "größer".to_owned(), count: u64::MAX - 1, marks: Marks::SEEN };
    let other = counters.relabel(&one).expect("called");
    assert_eq!(other, Labelled { label: one.label, count: u64::MAX, marks: Marks::KEPT });
}

#[test]
fn errors_of_the_guest_are_errors() {
    let counters = calls::Calls::open(answering()).expect("it fits").counters();
    let fails = |text| counters.shout(text).expect("called").expect_err("refused");
    assert_eq!(fails(""), Failure::Empty);
    assert_eq!(fails("123456789"), Failure::TooLong(9));
    let text = |text| {
        let error: Box<dyn Error> = Box::new(fails(text));
        error.to_string()
    };
    assert_eq!(text(""), "empty");
    assert_eq!(text("123456789"), "too long: 9");
    // What the guest wrote cannot move a terminal's cursor.
    assert_eq!(text("ab\x1b[2Jcd"), "strange: \"ab\\u{1b}[2Jcd\"");
}

#[test]
fn resources_are_lent_given_and_dropped() {
    let client = calls::Calls::open(answering()).expect("it fits");
    let counters = client.counters();
    let counter = |start| Counter::new(&counters, start).expect("called");
    let first = counter(1);
    assert_eq!(first.add(4).expect("called"), 5);
    assert_eq!(counters.value(Some(&first)).expect("called"), Some(5));
    assert_eq!(counters.value(None).expect("called"), None);
    let sum = Counter::sum(&counters, first, vec![counter(10), counter(100)]).expect("called");
    assert_eq!(sum.add(0).expect("called"), 115);
    assert_eq!(client.dropped().expect("called"), 3);
    drop(sum);
    assert_eq!(client.dropped().expect("called"), 4);
    assert_eq!(format!("{:?}", counter(0)), "Counter { edge: \"test -> guest\", handle: Handle }");
}

#[test]
fn clients_are_cheap_to_share() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let client = calls::Calls::open(answering()).expect("it fits");
    shared(&client);
    shared(&client.counters());
    assert_eq!(format!("{client:?}"), "Calls { edge: \"test -> guest\" }");
}

#[test]
fn flags_without_a_name_do_not_count() {
    use std::hash::{BuildHasher, RandomState};
    let hasher = RandomState::new();
    // The complement has bits that no flag names.
    assert_eq!(!Marks::SEEN, Marks::KEPT);
    assert_eq!(hasher.hash_one(!Marks::SEEN), hasher.hash_one(Marks::KEPT));
    assert_ne!(hasher.hash_one(Marks::SEEN), hasher.hash_one(Marks::KEPT));
}

/// The second half of the example, with its words.
#[expect(clippy::print_stdout, reason = "the example prints")]
fn example(edge: Edge, notes: &str) -> Result<(), Box<dyn Error>> {
    use notes::{Notebook, search};
    let notebook = Notebook::open(edge)?;
    let query = search::Query { words: vec!["tide".to_owned()], most: 10 };
    match notebook.search().find(&query, notes)? {
        Ok(titles) => println!("{}", titles.join("\n")),
        Err(search::Failure::NoWords) => println!("say what to look for"),
        Err(failure) => println!("{failure}"),
    }
    Ok(())
}

#[test]
fn the_documented_example_is_this_one() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
        std::fs::read_to_string(path).expect("readable")
    };
    let documented = read("docs/clients.md");
    let blocks: Vec<_> = documented.split("```").skip(1).step_by(2).collect();
    assert_eq!(blocks[0].strip_prefix("wit\n"), Some(read("tests/bindgen/notebook.wit").as_str()));
    let tested = read("tests/bindgen.rs");
    let lines = blocks[2].strip_prefix("rust\n").expect("the second half in Rust").lines();
    for line in lines {
        assert!(tested.lines().any(|own| own.trim() == line.trim()), "{line}");
    }
    let error = example(trapping("notebook.wit", None), "").expect_err("it traps");
    assert!(error.to_string().contains("unreachable"), "{error}");
}
