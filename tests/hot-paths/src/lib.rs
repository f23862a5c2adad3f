//! Guests as small as a guest can be, which the hot paths and the benches call.

#![forbid(unsafe_code)]

use ambient_authority::ambient_authority;
use cofferdam::client::{Checked, Edge, Function};
use cofferdam::{EdgeName, Runtime, Source};

/// `empty`, and `ends` of bytes: the length and both ends, so that a call is its crossing and its copy.
pub const GUEST: &str = r#"(component
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
    ($doc:literal, $name:ident, $interface:literal, $function:literal, $signature:literal, $params:ty, $results:ty) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;
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

function!("Nothing.", Empty, "bench:guest/api@1.0.0", "empty", "func()", (), ());
function!(
    "The length and both ends of some bytes.",
    Ends,
    "bench:guest/api@1.0.0",
    "ends",
    "func(data: list<u8>) -> u32",
    (&'a [u8],),
    (u32,)
);
function!(
    "Calls `empty` of the guest so often.",
    ManyEmpty,
    "bench:caller/api@1.0.0",
    "many-empty",
    "func(times: u32)",
    (u32,),
    ()
);
function!(
    "Calls `ends` of the guest so often, with so many bytes.",
    ManyEnds,
    "bench:caller/api@1.0.0",
    "many-ends",
    "func(times: u32, length: u32)",
    (u32, u32),
    ()
);

/// A runtime with both: the host calls each, and the caller calls the guest over an edge that is linked as `link` says. `grants` are
/// lines that the guest is granted.
pub fn runtime(grants: &str, link: &str) -> (Runtime, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let table = |name: &str| if grants.is_empty() { String::new() } else { format!("[{name}]\n{grants}\n") };
    let limits = "compartment = { backend = \"wasm\", limits = { call-deadline = \"1h\" } }";
    let text = format!(
        "{}[crates.app]\ndependencies = [\"guest\", \"caller\"]\n{}[crates.caller.grants.guest]\nlink = \"{link}\"\n\
         [crates.caller]\ndependencies = [\"guest\"]\n{limits}\n[crates.guest]\n{limits}\n",
        table("holds"),
        table("crates.app.grants.guest"),
    );
    let path = folder.path().join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    let bytes = |wat: &str| Source::Bytes(wat::parse_str(wat).expect("text").into());
    let runtime = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .component("guest", bytes(GUEST))
        .component("caller", bytes(CALLER))
        .start_ambient(ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"));
    (runtime, folder)
}

/// A function over an edge from the host, for as long as this lives.
pub struct Opened<F: Function> {
    edge: Edge,
    function: Checked<F>,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl<F: Function> Opened<F> {
    /// Of the crate `guest` or `caller`, in a [`runtime`] of its own.
    pub fn new(krate: &str, grants: &str, link: &str) -> Self {
        let (runtime, folder) = runtime(grants, link);
        let edge =
            runtime.edge(EdgeName { consumer: "app", krate }).unwrap_or_else(|error| panic!("{error}"));
        let mut expected = edge.expect("hot");
        let function = expected.function::<F>();
        expected.finish().expect("fits");
        Self { edge, function: function.expect("there"), _runtime: runtime, _folder: folder }
    }

    /// A call that must succeed.
    pub fn call(&self, params: F::Params<'_>) -> F::Results {
        self.edge.call(self.function, params).expect("answers")
    }
}

impl<F: Function> std::fmt::Debug for Opened<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, {})", self.edge.name(), F::NAME)
    }
}
