//! What does isolation cost a call? Each call of ours beside the same call of the bare engine, in one run.

use std::fmt::Write as _;
use std::path::Path;

use ambient_authority::ambient_authority;
use cofferdam::client::{Checked, Edge, Function};
use cofferdam::wasm::{CodeCache, WasmHost};
use cofferdam::{EdgeName, Runtime, Source};
use wasmtime::component::{Component, Instance, InstancePre, Linker, TypedFunc};
use wasmtime::{Config, Engine, Store};

fn main() {
    divan::main();
}

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

const TIMES: u32 = 1_000;

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
function!(ManyEnds, "bench:caller/api@1.0.0", "many-ends", "func(times: u32, length: u32)", (u32, u32), ());

fn runtime(grants: &str) -> (Runtime, tempfile::TempDir) {
    runtime_linked(grants, "isolated")
}

fn runtime_linked(grants: &str, link: &str) -> (Runtime, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    if !grants.is_empty() {
        let _ = write!(text, "[holds]\n{grants}\n");
    }
    text += "[crates.bench]\ndependencies = [\"guest\", \"caller\"]\n";
    if !grants.is_empty() {
        let _ = write!(text, "[crates.bench.grants.guest]\n{grants}\n");
    }
    let _ = write!(text, "[crates.caller.grants.guest]\nlink = \"{link}\"\n");
    text += "[crates.caller]\ndependencies = [\"guest\"]\ncompartment = { backend = \"wasm\", limits = { call-deadline = \"1h\" } }\n\
             [crates.guest]\ncompartment = { backend = \"wasm\", limits = { call-deadline = \"1h\" } }\n";
    let path = folder.path().join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    let bytes = |wat: &str| Source::Bytes(wat::parse_str(wat).expect("text").into());
    let runtime = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .component("guest", bytes(GUEST))
        .component("caller", bytes(CALLER))
        .start_ambient(ambient_authority())
        .expect("starts");
    (runtime, folder)
}

fn ours<F: Function>(krate: &str, grants: &str) -> (Edge, Checked<F>, Runtime, tempfile::TempDir) {
    checked(krate, runtime(grants))
}

fn checked<F: Function>(
    krate: &str,
    (runtime, folder): (Runtime, tempfile::TempDir),
) -> (Edge, Checked<F>, Runtime, tempfile::TempDir) {
    let edge = runtime.edge(EdgeName { consumer: "bench", krate }).expect("starts");
    let mut expected = edge.expect("bench");
    let function = expected.function::<F>();
    expected.finish().expect("fits");
    (edge, function.expect("there"), runtime, folder)
}

/// The engine as we set it up, without anything of ours. A store has a deadline that is set once: what it costs to set one for each
/// call is a cost of ours.
fn engine() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    Engine::new(&config).expect("an engine")
}

fn bare() -> (Store<()>, Instance) {
    let engine = engine();
    let component = Component::new(&engine, wat::parse_str(GUEST).expect("text")).expect("a component");
    let pre = Linker::<()>::new(&engine).instantiate_pre(&component).expect("linked");
    fresh(&engine, &pre)
}

fn fresh(engine: &Engine, pre: &InstancePre<()>) -> (Store<()>, Instance) {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1 << 40);
    let instance = pre.instantiate(&mut store).expect("an instance");
    (store, instance)
}

fn bare_function<P, R>(name: &str) -> (Store<()>, TypedFunc<P, R>)
where
    P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower + Send + Sync + 'static,
    R: wasmtime::component::ComponentNamedList + wasmtime::component::Lift + Send + Sync + 'static,
{
    let (mut store, instance) = bare();
    let api = instance.get_export_index(&mut store, None, "bench:guest/api@1.0.0").expect("there");
    let index = instance.get_export_index(&mut store, Some(&api), name).expect("there");
    let function = instance.get_typed_func::<P, R>(&mut store, &index).expect("fits");
    (store, function)
}

const SIZES: [usize; 2] = [16, 64 << 10];

#[divan::bench(sample_count = 60, sample_size = 1000)]
fn a_host_to_guest_empty_bare_engine(bencher: divan::Bencher) {
    let (mut store, function) = bare_function::<(), ()>("empty");
    bencher.bench_local(|| function.call(&mut store, ()).expect("answers"));
}

#[divan::bench(sample_count = 60, sample_size = 1000)]
fn a_host_to_guest_empty_ours(bencher: divan::Bencher) {
    let (edge, function, _runtime, _folder) = ours::<Empty>("guest", "");
    bencher.bench_local(|| edge.call(function, ()).expect("answers"));
}

#[divan::bench(sample_count = 60, sample_size = 1000)]
fn a_host_to_guest_empty_ours_that_may_wait(bencher: divan::Bencher) {
    let (edge, function, _runtime, _folder) = ours::<Empty>("guest", "clock = true");
    bencher.bench_local(|| edge.call(function, ()).expect("answers"));
}

#[divan::bench(args = SIZES, sample_count = 60, sample_size = 500)]
fn b_host_to_guest_bytes_bare_engine(bencher: divan::Bencher, bytes: usize) {
    let data: &'static [u8] = vec![7; bytes].leak();
    let (mut store, function) = bare_function::<(&'static [u8],), (u32,)>("ends");
    bencher.bench_local(|| function.call(&mut store, (data,)).expect("answers"));
}

#[divan::bench(args = SIZES, sample_count = 60, sample_size = 500)]
fn b_host_to_guest_bytes_ours(bencher: divan::Bencher, bytes: usize) {
    let data = vec![7; bytes];
    let (edge, function, _runtime, _folder) = ours::<Ends>("guest", "");
    bencher.bench_local(|| edge.call(function, (&data,)).expect("answers"));
}

/// A thousand calls; the time of one is a thousandth.
#[divan::bench(sample_count = 40)]
fn c_guest_to_guest_empty_times_1000(bencher: divan::Bencher) {
    let (edge, function, _runtime, _folder) = ours::<ManyEmpty>("caller", "");
    bencher.bench_local(|| edge.call(function, (TIMES,)).expect("answers"));
}

/// A thousand calls; the time of one is a thousandth.
#[divan::bench(args = SIZES, sample_count = 40)]
fn c_guest_to_guest_bytes_times_1000(bencher: divan::Bencher, bytes: usize) {
    let (edge, function, _runtime, _folder) = ours::<ManyEnds>("caller", "");
    let bytes = u32::try_from(bytes).expect("small");
    bencher.bench_local(|| edge.call(function, (TIMES, bytes)).expect("answers"));
}

/// The same pair in one unit. A thousand calls; the time of one is a thousandth.
#[divan::bench(sample_count = 40)]
fn c_guest_to_guest_empty_fused_times_1000(bencher: divan::Bencher) {
    let (edge, function, _runtime, _folder) = checked::<ManyEmpty>("caller", runtime_linked("", "fused"));
    bencher.bench_local(|| edge.call(function, (TIMES,)).expect("answers"));
}

/// The same pair in one unit. A thousand calls; the time of one is a thousandth.
#[divan::bench(args = SIZES, sample_count = 40)]
fn c_guest_to_guest_bytes_fused_times_1000(bencher: divan::Bencher, bytes: usize) {
    let (edge, function, _runtime, _folder) = checked::<ManyEnds>("caller", runtime_linked("", "fused"));
    let bytes = u32::try_from(bytes).expect("small");
    bencher.bench_local(|| edge.call(function, (TIMES, bytes)).expect("answers"));
}

/// What a start has to do at least: compiled code read from a file and taken as it is, linked, instantiated and called once.
#[divan::bench(sample_count = 40)]
fn d_component_from_a_file_bare_engine(bencher: divan::Bencher) {
    let engine = engine();
    let component = Component::new(&engine, wat::parse_str(GUEST).expect("text")).expect("a component");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("code");
    std::fs::write(&path, component.serialize().expect("code")).expect("writable");
    bencher.bench_local(|| {
        let code = std::fs::read(&path).expect("there");
        let component = deserialize(&engine, &code);
        let pre = Linker::<()>::new(&engine).instantiate_pre(&component).expect("linked");
        let (mut store, instance) = fresh(&engine, &pre);
        let api = instance.get_export_index(&mut store, None, "bench:guest/api@1.0.0").expect("there");
        let index = instance.get_export_index(&mut store, Some(&api), "empty").expect("there");
        let function = instance.get_typed_func::<(), ()>(&mut store, &index).expect("fits");
        function.call(&mut store, ()).expect("answers");
    });
}

#[expect(unsafe_code, reason = "there is no other way to take compiled code")]
fn deserialize(engine: &Engine, code: &[u8]) -> Component {
    // SAFETY: the bytes are what this engine's `serialize` gave a moment ago, in a folder of this process alone.
    unsafe { Component::deserialize(engine, code) }.expect("compiled code")
}

#[divan::bench(sample_count = 60, sample_size = 20)]
fn d_instance_bare_engine(bencher: divan::Bencher) {
    let engine = engine();
    let component = Component::new(&engine, wat::parse_str(GUEST).expect("text")).expect("a component");
    let pre = Linker::<()>::new(&engine).instantiate_pre(&component).expect("linked");
    bencher.bench_local(|| fresh(&engine, &pre));
}

/// A compartment from compiled code in the cache: its code read and checked, linked, instantiated and called once.
#[divan::bench(sample_count = 40)]
fn d_compartment_from_the_cache(bencher: divan::Bencher) {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = CodeCache::open_ambient(&folder.path().join("cache"), ambient_authority()).expect("a cache");
    let host = WasmHost::with_cache(cache).expect("an engine");
    let (runtime, _folder) = runtime("");
    let plan = runtime.plan().compartments.into_iter().find(|one| one.krate == "guest").expect("planned");
    let bytes = wat::parse_str(GUEST).expect("text");
    let log = cofferdam::AuditLog::discard();
    bencher.bench_local(|| {
        let started = cofferdam::wasm::WasmCompartment::start_ambient(
            &host,
            &plan,
            &bytes,
            Path::new("."),
            &log,
            ambient_authority(),
        );
        let started = started.expect("starts");
        started.call("bench:guest/api@1.0.0#empty", &[]).expect("answers");
    });
}
