//! Calls of wasm compartments: from the host, and over an edge.

use ambient_authority::ambient_authority;
use cofferdam::client::{Checked, Edge, Function};
use cofferdam::{EdgeName, Runtime, Source};

/// `empty`, and `ends` of bytes: the length and both ends, so that a call is its crossing and its copy.
const GUEST: &str = r#"(component
  (core module $m
    (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "empty"))
    (func (export "ends") (param $at i32) (param $length i32) (result i32)
      (i32.add (local.get $length)
        (i32.add (i32.load8_u (local.get $at))
          (i32.load8_u (i32.add (local.get $at) (i32.sub (local.get $length) (i32.const 1))))))))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func $empty (canon lift (core func $i "empty")))
  (func $ends (param "data" (list u8)) (result u32)
    (canon lift (core func $i "ends") (memory (core memory $memory)) (realloc (core func $realloc))))
  (instance $api (export "empty" (func $empty)) (export "ends" (func $ends)))
  (export "bench:guest/api@1.0.0" (instance $api)))"#;

/// Calls the guest above so often in one call of its own.
const CALLER: &str = r#"(component
  (import "bench:guest/api@1.0.0" (instance $b
    (export "empty" (func)) (export "ends" (func (param "data" (list u8)) (result u32)))))
  (core module $libc (memory (export "memory") 4))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $empty (canon lower (func $b "empty")))
  (core func $ends (canon lower (func $b "ends") (memory (core memory $memory))))
  (core module $m
    (import "libc" "memory" (memory 4))
    (import "b" "empty" (func $empty))
    (import "b" "ends" (func $ends (param i32 i32) (result i32)))
    (func (export "many-empty") (param $times i32)
      (loop (call $empty) (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
    (func (export "many-ends") (param $times i32) (param $length i32)
      (loop (drop (call $ends (i32.const 0) (local.get $length)))
        (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "b" (instance
    (export "empty" (func $empty)) (export "ends" (func $ends))))))
  (func $many-empty (param "times" u32) (canon lift (core func $i "many-empty")))
  (func $many-ends (param "times" u32) (param "length" u32) (canon lift (core func $i "many-ends")))
  (instance $api (export "many-empty" (func $many-empty)) (export "many-ends" (func $many-ends)))
  (export "bench:caller/api@1.0.0" (instance $api)))"#;

macro_rules! function {
    ($name:ident, $interface:literal, $function:literal, $signature:literal, $params:ty, $results:ty) => {
        struct $name;
        impl Function for $name {
            const INTERFACE: Option<&'static str> = Some($interface);
            const NAME: &'static str = $function;
            const SIGNATURE: &'static str = $signature;
            const SHAPE: u64 = 0;
            type Params<'a> = $params;
            type Results = $results;
        }
    };
}

function!(Empty, "bench:guest/api@1.0.0", "empty", "func()", (), ());
function!(Ends, "bench:guest/api@1.0.0", "ends", "func(data: list<u8>) -> u32", (&'a [u8],), (u32,));
function!(ManyEmpty, "bench:caller/api@1.0.0", "many-empty", "func(times: u32)", (u32,), ());

const MANIFEST: &str = "[crates.app]\ndependencies = [\"guest\", \"caller\"]\n\
    [crates.caller]\ndependencies = [\"guest\"]\ncompartment = { backend = \"wasm\", limits = { call-deadline = \"1h\" } }\n\
    [crates.guest]\ncompartment = { backend = \"wasm\", limits = { call-deadline = \"1h\" } }\n";

/// A function over an edge; the runtime lives as long as the program.
fn open<F: Function>(krate: &str) -> (Edge, Checked<F>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("capabilities.toml");
    std::fs::write(&path, MANIFEST).expect("writable");
    let bytes = |wat: &str| Source::Bytes(wat::parse_str(wat).expect("text").into());
    let runtime = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .component("guest", bytes(GUEST))
        .component("caller", bytes(CALLER))
        .start_ambient(ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"));
    let edge = runtime.edge(EdgeName { consumer: "app", krate }).unwrap_or_else(|error| panic!("{error}"));
    let mut expected = edge.expect("hot");
    let function = expected.function::<F>();
    expected.finish().expect("fits");
    std::mem::forget(runtime);
    (edge, function.expect("there"))
}

pub(crate) fn called() -> Box<dyn FnMut()> {
    let (edge, function) = open::<Empty>("guest");
    Box::new(move || edge.call(function, ()).expect("answers"))
}

pub(crate) fn called_with_64_kib() -> Box<dyn FnMut()> {
    let (edge, function) = open::<Ends>("guest");
    let data = vec![7; 64 << 10];
    Box::new(move || {
        edge.call(function, (&data,)).expect("answers");
    })
}

/// One call of the caller makes ten of the guest.
pub(crate) fn called_over_an_edge() -> Box<dyn FnMut()> {
    let (edge, function) = open::<ManyEmpty>("caller");
    Box::new(move || edge.call(function, (10,)).expect("answers"))
}
