//! What does isolation in wasm cost: a call, an edge, a start, each beside the bare engine?
#![allow(missing_docs, reason = "a bench names itself")]

use std::path::Path;
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::wasm::{CodeCache, WasmCompartment, WasmHost};
use cofferdam::{AuditLog, Runtime};
use cofferdam_benches::Promise::{MicrosAtMost, TimesAtMost};
use cofferdam_benches::{Group, side, side_of_many};
use cofferdam_hot_paths::{Empty, Ends, GUEST, ManyEmpty, ManyEnds, Opened, runtime};
use wasmtime::component::{Component, Instance, InstancePre, Linker, TypedFunc, Val};
use wasmtime::{Config, Engine, Store};

const TIMES: u32 = 1_000;

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

fn exported(
    store: &mut Store<()>,
    instance: &Instance,
    name: &str,
) -> wasmtime::component::ComponentExportIndex {
    let api = instance.get_export_index(&mut *store, None, "bench:guest/api@1.0.0").expect("there");
    instance.get_export_index(&mut *store, Some(&api), name).expect("there")
}

fn bare_function<P, R>(name: &str) -> (Store<()>, TypedFunc<P, R>)
where
    P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower + Send + Sync + 'static,
    R: wasmtime::component::ComponentNamedList + wasmtime::component::Lift + Send + Sync + 'static,
{
    let (mut store, instance) = bare();
    let index = exported(&mut store, &instance, name);
    let function = instance.get_typed_func::<P, R>(&mut store, &index).expect("fits");
    (store, function)
}

fn deserialize(engine: &Engine, code: &[u8]) -> Component {
    // SAFETY: the bytes are what this engine's `serialize` gave a moment ago, in a folder of this process alone.
    unsafe { Component::deserialize(engine, code) }.expect("compiled code")
}

fn main() -> ExitCode {
    if let Some(group) = Group::begin("wasm", "What does isolation in wasm cost?") {
        measure(group);
    }
    ExitCode::SUCCESS
}

fn measure(mut group: Group) {
    calls(&mut group);
    edges(&mut group);
    starts(&mut group);
    #[cfg(feature = "extism")]
    extism_calls(&mut group);
    group.end();
}

fn calls(group: &mut Group) {
    let ours = Opened::<Empty>::new("guest", "", "isolated");
    let waits = Opened::<Empty>::new("guest", "clock = true", "isolated");
    let (mut store, raw) = bare_function::<(), ()>("empty");
    let (mut other, instance) = bare();
    let index = exported(&mut other, &instance, "empty");
    let untyped = instance.get_func(&mut other, index).expect("there");
    group.turns(
        "a call from the host: nothing in, nothing out",
        60,
        2000,
        vec![
            side("a typed call", || ours.call(())),
            side("raw: the engine's own typed call", || raw.call(&mut store, ()).expect("answers")),
            side("raw: the engine's call with dynamic values", || {
                let none: &[Val] = &[];
                untyped.call(&mut other, none, &mut []).expect("answers");
            }),
            side("a typed call of ours where a guest could wait", || waits.call(())),
        ],
        &[Some(TimesAtMost(1.1)), None, None],
    );
    for bytes in [16, 64 << 10] {
        let data: &'static [u8] = vec![7; bytes].leak();
        let ours = Opened::<Ends>::new("guest", "", "isolated");
        let (mut store, raw) = bare_function::<(&'static [u8],), (u32,)>("ends");
        group.turns(
            &format!("a call from the host with {}", size(bytes)),
            60,
            1000,
            vec![
                side("a typed call", || {
                    ours.call((data,));
                }),
                side("raw: the engine's own typed call", || {
                    raw.call(&mut store, (data,)).expect("answers");
                }),
            ],
            &[Some(TimesAtMost(1.1))],
        );
    }
}

fn size(bytes: usize) -> String {
    if bytes < 1 << 10 { format!("{bytes} bytes") } else { format!("{} KiB", bytes >> 10) }
}

fn edges(group: &mut Group) {
    let isolated = Opened::<ManyEmpty>::new("caller", "", "isolated");
    let fused = Opened::<ManyEmpty>::new("caller", "", "fused");
    let (mut store, raw) = bare_function::<(), ()>("empty");
    group.turns(
        "a call from one compartment to another: nothing in, nothing out",
        40,
        4,
        vec![
            side_of_many("over an isolated edge", TIMES, || isolated.call((TIMES,))),
            side_of_many("raw: a call from the host", TIMES, || {
                for _ in 0..TIMES {
                    raw.call(&mut store, ()).expect("answers");
                }
            }),
        ],
        &[None],
    );
    group.turns(
        "a call over a fused edge: nothing in, nothing out",
        40,
        40,
        vec![side_of_many("over a fused edge", TIMES, || fused.call((TIMES,)))],
        &[Some(MicrosAtMost(0.020))],
    );
    for (bytes, most) in [(16, 1.5), (64 << 10, 1.2)] {
        let data: &'static [u8] = vec![7; bytes].leak();
        let length = u32::try_from(bytes).expect("small");
        let isolated = Opened::<ManyEnds>::new("caller", "", "isolated");
        let fused = Opened::<ManyEnds>::new("caller", "", "fused");
        let (mut store, raw) = bare_function::<(&'static [u8],), (u32,)>("ends");
        group.turns(
            &format!("a call from one compartment to another with {}", size(bytes)),
            40,
            2,
            vec![
                side_of_many("over an isolated edge", TIMES, || isolated.call((TIMES, length))),
                side_of_many("raw: a call from the host", TIMES, || {
                    for _ in 0..TIMES {
                        raw.call(&mut store, (data,)).expect("answers");
                    }
                }),
                side_of_many("over a fused edge", TIMES, || fused.call((TIMES, length))),
            ],
            &[Some(TimesAtMost(most)), None],
        );
    }
}

/// What a start has to do at least: compiled code read from a file and taken as it is, linked, instantiated.
fn from_file(engine: &Engine, path: &Path) {
    let code = std::fs::read(path).expect("there");
    let component = deserialize(engine, &code);
    let pre = Linker::<()>::new(engine).instantiate_pre(&component).expect("linked");
    let (mut store, instance) = fresh(engine, &pre);
    let index = exported(&mut store, &instance, "empty");
    let function = instance.get_typed_func::<(), ()>(&mut store, &index).expect("fits");
    function.call(&mut store, ()).expect("answers");
}

fn starts(group: &mut Group) {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine();
    let component = Component::new(&engine, wat::parse_str(GUEST).expect("text")).expect("a component");
    let path = folder.path().join("code");
    std::fs::write(&path, component.serialize().expect("code")).expect("writable");
    let pre = Linker::<()>::new(&engine).instantiate_pre(&component).expect("linked");
    let cache = CodeCache::open_ambient(&folder.path().join("cache"), ambient_authority()).expect("a cache");
    let host = WasmHost::with_cache(cache).expect("an engine");
    let (runtime, _folder) = runtime("", "isolated");
    let plan = runtime.plan().compartments.into_iter().find(|one| one.krate == "guest").expect("planned");
    let bytes = wat::parse_str(GUEST).expect("text");
    let log = AuditLog::discard();
    group.turns(
        "a compartment from the cache, with its first call",
        60,
        5,
        vec![
            side("a start", || {
                let ambient = ambient_authority();
                let started =
                    WasmCompartment::start_ambient(&host, &plan, &bytes, Path::new("."), &log, ambient);
                started.expect("starts").call("bench:guest/api@1.0.0#empty", &[]).expect("answers");
            }),
            side("raw: code from a file, linked, instantiated, called", || from_file(&engine, &path)),
            side("raw: an instance alone", || drop(fresh(&engine, &pre))),
        ],
        &[None, None],
    );
    std_guest(group);
}

/// A guest with Rust's standard library: the size that guests have.
fn std_guest(group: &mut Group) {
    use cofferdam_benches::guests::built;
    let bytes = built("measured", "wasm");
    let folder = tempfile::tempdir().expect("a folder");
    let cache = CodeCache::open_ambient(&folder.path().join("cache"), ambient_authority()).expect("a cache");
    let host = WasmHost::with_cache(cache).expect("an engine");
    let text = "[crates.bench]\ndependencies = [\"measured\"]\n[crates.measured]\ncompartment = { backend = \"wasm\" }\n";
    let manifest = folder.path().join("capabilities.toml");
    std::fs::write(&manifest, text).expect("writable");
    let builder = Runtime::from_file_ambient(&manifest, ambient_authority()).expect("right");
    let plan = builder.plan().compartments[0].clone();
    let log = AuditLog::discard();
    let start = || {
        let ambient = ambient_authority();
        let started = WasmCompartment::start_ambient(&host, &plan, &bytes, Path::new("."), &log, ambient);
        let started = started.unwrap_or_else(|error| panic!("{error}"));
        started.call("acme:measured/api@0.1.0#empty", &[]).expect("answers");
    };
    start();
    let engine = engine();
    let component = Component::new(&engine, &bytes).expect("a component");
    let mut linker = Linker::<Wasi>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("linked");
    let path = folder.path().join("code");
    std::fs::write(&path, component.serialize().expect("code")).expect("writable");
    let pre = linker.instantiate_pre(&component).expect("linked");
    let instance = |pre: &InstancePre<Wasi>| {
        let mut store = Store::new(&engine, Wasi::default());
        store.set_epoch_deadline(1 << 40);
        let instance = pre.instantiate(&mut store).expect("an instance");
        let api = instance.get_export_index(&mut store, None, "acme:measured/api@0.1.0").expect("there");
        let index = instance.get_export_index(&mut store, Some(&api), "empty").expect("there");
        let function = instance.get_typed_func::<(), ()>(&mut store, &index).expect("fits");
        function.call(&mut store, ()).expect("answers");
    };
    group.turns(
        "a guest with the standard library from the cache, with its first call",
        60,
        5,
        vec![
            side("a start", start),
            side("raw: code from a file, linked, instantiated, called", || {
                let code = std::fs::read(&path).expect("there");
                let component = deserialize(&engine, &code);
                let mut linker = Linker::<Wasi>::new(&engine);
                wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("linked");
                instance(&linker.instantiate_pre(&component).expect("linked"));
            }),
            side("raw: an instance and its call alone", || instance(&pre)),
        ],
        &[Some(TimesAtMost(1.2)), None],
    );
}

/// What WASI needs of a store.
struct Wasi {
    context: wasmtime_wasi::WasiCtx,
    table: wasmtime::component::ResourceTable,
}

impl Default for Wasi {
    fn default() -> Self {
        let context = wasmtime_wasi::WasiCtxBuilder::new().build();
        Self { context, table: wasmtime::component::ResourceTable::new() }
    }
}

impl wasmtime_wasi::WasiView for Wasi {
    fn ctx(&mut self) -> wasmtime_wasi::WasiCtxView<'_> {
        wasmtime_wasi::WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// The same plugin by extism: a module that reads its input where that keeps it, and gives both ends.
#[cfg(feature = "extism")]
fn extism_calls(group: &mut Group) {
    let module = wat::parse_str(EXTISM).expect("text");
    let manifest = extism::Manifest::new([extism::Wasm::data(module)]);
    let mut plugin = extism::Plugin::new(&manifest, [], false).expect("a plugin");
    for bytes in [16, 64 << 10] {
        let data = vec![7; bytes];
        let ours = Opened::<Ends>::new("guest", "", "isolated");
        group.turns(
            &format!("a plugin that is given {}", size(bytes)),
            40,
            500,
            vec![
                side("a typed call", || {
                    ours.call((&data,));
                }),
                side("extism 1.30", || {
                    plugin.call::<&[u8], &[u8]>("ends", &data).expect("answers");
                }),
            ],
            &[None],
        );
    }
}

/// Extism's own interface: input and output lie in a memory of its kernel, byte by byte.
#[cfg(feature = "extism")]
const EXTISM: &str = r#"(module
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $load (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "ends") (result i32)
    (local $out i64)
    (local.set $out (call $alloc (i64.const 8)))
    (call $store (local.get $out) (i64.add (call $length)
      (i64.extend_i32_u (i32.add (call $load (i64.const 0))
        (call $load (i64.sub (call $length) (i64.const 1)))))))
    (call $output (local.get $out) (i64.const 8))
    (i32.const 0)))"#;
