//! Values over an isolated edge, compared with the engine's own: whatever the types, the guest behind the edge gets what it would
//! get from the host directly, bit for bit, and gives back what it was given.

#![allow(clippy::format_push_string, clippy::format_collect, reason = "texts of a test, and short")]

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::wasm::{CallError, FaultKind, Val};
use cofferdam::{AuditLog, EdgeName, Runtime, Source};
use proptest::prelude::*;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};

/// A type of WIT.
#[derive(Debug, Clone)]
enum Ty {
    Bool,
    Number(&'static str),
    Char,
    Text,
    List(Box<Ty>),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Tuple(Vec<Ty>),
    Record(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Enum(usize),
    Flags(usize),
}

fn types() -> impl Strategy<Value = Ty> {
    const NUMBERS: &[&str] = &["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"];
    let leaf = prop_oneof![
        Just(Ty::Bool),
        proptest::sample::select(NUMBERS).prop_map(Ty::Number),
        Just(Ty::Char),
        Just(Ty::Text),
        // More than 256 cases take two bytes.
        prop_oneof![1..5_usize, Just(300)].prop_map(Ty::Enum),
        prop_oneof![1..=8_usize, 9..=16_usize, 17..=32_usize].prop_map(Ty::Flags),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let some = || proptest::option::of(inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.clone().prop_map(|ty| Ty::List(Box::new(ty))),
            inner.clone().prop_map(|ty| Ty::Option(Box::new(ty))),
            (some(), some()).prop_map(|(ok, err)| Ty::Result(ok, err)),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Ty::Tuple),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Ty::Record),
            proptest::collection::vec(proptest::option::of(inner.clone()), 1..4).prop_map(Ty::Variant),
        ]
    })
}

/// Writes a type, and before it the definitions that it needs.
fn write(ty: &Ty, definitions: &mut String, names: &mut usize) -> String {
    fn define(kind: &str, parts: &[String], definitions: &mut String, names: &mut usize) -> String {
        *names += 1;
        *definitions += &format!("{kind} t{names} {{ {} }}\n", parts.join(", "));
        format!("t{names}")
    }
    match ty {
        Ty::Bool => "bool".to_owned(),
        Ty::Number(name) => (*name).to_owned(),
        Ty::Char => "char".to_owned(),
        Ty::Text => "string".to_owned(),
        Ty::List(ty) => format!("list<{}>", write(ty, definitions, names)),
        Ty::Option(ty) => format!("option<{}>", write(ty, definitions, names)),
        Ty::Result(ok, err) => {
            let mut part = |ty: &Option<Box<Ty>>| match ty {
                Some(ty) => write(ty, definitions, names),
                None => "_".to_owned(),
            };
            let (ok, err) = (part(ok), part(err));
            match (ok.as_str(), err.as_str()) {
                ("_", "_") => "result".to_owned(),
                (ok, "_") => format!("result<{ok}>"),
                (ok, err) => format!("result<{ok}, {err}>"),
            }
        }
        Ty::Tuple(types) => {
            let types: Vec<String> = types.iter().map(|ty| write(ty, definitions, names)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        Ty::Record(types) => {
            let fields: Vec<String> = types
                .iter()
                .enumerate()
                .map(|(at, ty)| format!("f{at}: {}", write(ty, definitions, names)))
                .collect();
            define("record", &fields, definitions, names)
        }
        Ty::Variant(cases) => {
            let cases: Vec<String> = cases
                .iter()
                .enumerate()
                .map(|(at, ty)| match ty {
                    Some(ty) => format!("c{at}({})", write(ty, definitions, names)),
                    None => format!("c{at}"),
                })
                .collect();
            define("variant", &cases, definitions, names)
        }
        Ty::Enum(count) => {
            let cases: Vec<String> = (0..*count).map(|at| format!("c{at}")).collect();
            define("enum", &cases, definitions, names)
        }
        Ty::Flags(count) => {
            let flags: Vec<String> = (0..*count).map(|at| format!("b{at}")).collect();
            define("flags", &flags, definitions, names)
        }
    }
}

/// Any value of a type.
fn values(ty: &Ty) -> BoxedStrategy<Val> {
    let boxed = |ty: &Option<Box<Ty>>| match ty {
        Some(ty) => values(ty).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    };
    match ty {
        Ty::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Ty::Number("u8") => any::<u8>().prop_map(Val::U8).boxed(),
        Ty::Number("s8") => any::<i8>().prop_map(Val::S8).boxed(),
        Ty::Number("u16") => any::<u16>().prop_map(Val::U16).boxed(),
        Ty::Number("s16") => any::<i16>().prop_map(Val::S16).boxed(),
        Ty::Number("u32") => any::<u32>().prop_map(Val::U32).boxed(),
        Ty::Number("s32") => any::<i32>().prop_map(Val::S32).boxed(),
        Ty::Number("u64") => any::<u64>().prop_map(Val::U64).boxed(),
        Ty::Number("s64") => any::<i64>().prop_map(Val::S64).boxed(),
        Ty::Number("f32") => any::<f32>().prop_map(Val::Float32).boxed(),
        Ty::Number(_) => any::<f64>().prop_map(Val::Float64).boxed(),
        Ty::Char => any::<char>().prop_map(Val::Char).boxed(),
        Ty::Text => any::<String>().prop_map(Val::String).boxed(),
        Ty::List(ty) => proptest::collection::vec(values(ty), 0..4).prop_map(Val::List).boxed(),
        Ty::Option(ty) => {
            proptest::option::of(values(ty)).prop_map(|value| Val::Option(value.map(Box::new))).boxed()
        }
        Ty::Result(ok, err) => {
            prop_oneof![boxed(ok).prop_map(Ok), boxed(err).prop_map(Err)].prop_map(Val::Result).boxed()
        }
        Ty::Tuple(types) => types.iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Ty::Record(types) => {
            let fields = types.iter().map(values).collect::<Vec<_>>();
            let name = |(at, value)| (format!("f{at}"), value);
            fields
                .prop_map(move |values| Val::Record(values.into_iter().enumerate().map(name).collect()))
                .boxed()
        }
        Ty::Variant(cases) => {
            let case = |(at, ty): (usize, &Option<Ty>)| {
                let payload = match ty {
                    Some(ty) => values(ty).prop_map(|value| Some(Box::new(value))).boxed(),
                    None => Just(None).boxed(),
                };
                payload.prop_map(move |payload| Val::Variant(format!("c{at}"), payload)).boxed()
            };
            proptest::strategy::Union::new(cases.iter().enumerate().map(case)).boxed()
        }
        Ty::Enum(count) => (0..*count).prop_map(|at| Val::Enum(format!("c{at}"))).boxed(),
        Ty::Flags(count) => proptest::collection::vec(any::<bool>(), *count)
            .prop_map(|set| {
                let set = set.into_iter().enumerate().filter(|(_, set)| *set);
                Val::Flags(set.map(|(at, _)| format!("b{at}")).collect())
            })
            .boxed(),
    }
}

/// Parameters that do not fit into core values, after one that is looked at.
const REST: &str = "tuple<u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64>";

fn interface(ty: &Ty) -> String {
    let (mut definitions, mut names) = (String::new(), 0);
    let ty = write(ty, &mut definitions, &mut names);
    format!(
        "package acme:b;\ninterface api {{\n{definitions}type value = {ty};\n\
         flat: func(value: value) -> list<u64>;\n\
         same: func(value: value, rest: {REST}) -> value;\n}}\n\
         world inner {{ export api; }}\n\
         world outer {{ import api; use api.{{value}};\n\
         export flat: func(value: value) -> list<u64>;\nexport same: func(value: value, rest: {REST}) -> value; }}\n"
    )
}

/// Never gives memory back, and gives the same places in every instance.
const ALLOCATOR: &str = r#"(memory (export "memory") 4) (global $next (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $next) (i32.const 262144)) (then unreachable))
      (memory.copy (local.get $at) (local.get 0)
        (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))
      local.get $at)"#;

fn wat(types: &[WasmType]) -> Vec<&'static str> {
    let name = |ty: &WasmType| match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        _ => "i32",
    };
    types.iter().map(name).collect()
}

fn component(wit: &str, world: &str, encoding: StringEncoding) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("api.wit", wit).unwrap_or_else(|error| panic!("{wit}: {error:?}"));
    let world = resolve.select_world(&[package], Some(world)).expect("there");
    let api = resolve.packages[package].interfaces["api"];
    let function = |name: &str| &resolve.interfaces[api].functions[name];
    let (flat, same) = (function("flat"), function("same"));
    let mut sizes = wit_parser::SizeAlign::default();
    sizes.fill(&resolve);
    let size = sizes.size(&same.result.expect("a value")).size_wasm32();
    let text = if resolve.worlds[world].name == "inner" {
        // Each core value as 64 bits, one after another.
        let params = wat(&resolve.wasm_signature(AbiVariant::GuestExport, flat).params);
        let mut body = String::new();
        for (at, ty) in params.iter().enumerate() {
            let wide = match *ty {
                "i32" => "(i64.extend_i32_u (local.get N))",
                "f32" => "(i64.extend_i32_u (i32.reinterpret_f32 (local.get N)))",
                "f64" => "(i64.reinterpret_f64 (local.get N))",
                _ => "(local.get N)",
            };
            body += &format!(
                "(i64.store (i32.const {}) {})\n",
                1024 + 8 * at,
                wide.replace('N', &at.to_string())
            );
        }
        format!(
            "(module {ALLOCATOR}\n(func (export \"acme:b/api#flat\") (param {}) (result i32)\n{body}\
             (i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const {})) i32.const 16)\n\
             {})",
            params.join(" "),
            params.len(),
            inner_same(&resolve.wasm_signature(AbiVariant::GuestExport, same), size),
        )
    } else {
        let flat = wat(&resolve.wasm_signature(AbiVariant::GuestImport, flat).params);
        let count = flat.len() - 1;
        let hand_on: String = (0..count).map(|at| format!("(local.get {at}) ")).collect();
        let import = resolve.wasm_signature(AbiVariant::GuestImport, same);
        let (params, results) = (wat(&import.params), wat(&import.results));
        let same = match results.as_slice() {
            [] => "(func (export \"same\") (param i32) (result i32) (call $same (local.get 0) (i32.const 2048)) i32.const 2048)"
                .to_owned(),
            [result] => format!(
                "(func (export \"same\") (param i32) (result {result}) (call $same (local.get 0)))"
            ),
            more => panic!("{more:?}"),
        };
        let result = if results.is_empty() { String::new() } else { format!("(result {})", results[0]) };
        format!(
            "(module (import \"acme:b/api\" \"flat\" (func $flat (param {})))\n\
             (import \"acme:b/api\" \"same\" (func $same (param {}) {result}))\n{ALLOCATOR}\n\
             (func (export \"flat\") (param {}) (result i32) (call $flat {hand_on} (i32.const 16)) i32.const 16)\n{same})",
            flat.join(" "),
            params.join(" "),
            flat[..count].join(" "),
        )
    };
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    embed_component_metadata(&mut module, &resolve, world, encoding).expect("embedded");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module");
    encoder.encode().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// Gives back the value that lies first in memory, by its place or as the core value that it is.
fn inner_same(signature: &WasmSignature, size: usize) -> String {
    let result = wat(&signature.results)[0];
    let load = match (result, size) {
        _ if signature.retptr => String::new(),
        ("i32", 1) => "i32.load8_u".to_owned(),
        ("i32", 2) => "i32.load16_u".to_owned(),
        (result, _) => format!("{result}.load"),
    };
    format!("(func (export \"acme:b/api#same\") (param i32) (result {result}) (local.get 0) {load})")
}

struct Ends {
    direct: Edge,
    over: Edge,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

fn ends(inner: &[u8], outer: &[u8], grants: &str) -> Ends {
    ends_within(inner, outer, grants, "")
}

fn ends_within(inner: &[u8], outer: &[u8], grants: &str, limits: &str) -> Ends {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("capabilities.toml");
    let table = |name: &str| if grants.is_empty() { String::new() } else { format!("[{name}]\n{grants}\n") };
    let text = format!(
        "{}[crates.app]\ndependencies = [\"outer\", \"inner\"]\n{}[crates.outer]\ndependencies = [\"inner\"]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {limits} }} }}\n[crates.inner]\ncompartment = {{ backend = \"wasm\" }}\n",
        table("holds"),
        table("crates.app.grants.outer"),
    );
    std::fs::write(&path, text).expect("writable");
    let runtime = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .audit(AuditLog::discard())
        .component("inner", Source::Bytes(inner.into()))
        .component("outer", Source::Bytes(outer.into()))
        .start_ambient(ambient_authority())
        .expect("starts");
    let edge =
        |krate| runtime.edge(EdgeName { consumer: "app", krate }).unwrap_or_else(|error| panic!("{error}"));
    Ends { direct: edge("inner"), over: edge("outer"), _runtime: runtime.clone(), _folder: folder }
}

fn call(edge: &Edge, function: &str, arguments: &[Val]) -> Val {
    let mut results = edge.call_untyped(function, arguments).unwrap_or_else(|error| panic!("{error}"));
    results.pop().expect("a result")
}

fn encodings() -> impl Strategy<Value = StringEncoding> {
    use StringEncoding::{CompactUTF16, UTF8, UTF16};
    prop_oneof![Just(UTF8), Just(UTF16), Just(CompactUTF16)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_over_an_edge_is_what_the_engine_makes_of_it(
        (ty, values) in types().prop_flat_map(|ty| {
            let values = proptest::collection::vec(values(&ty), 4);
            (Just(ty), values)
        }),
        inside in encodings(),
        outside in encodings(),
        waits in any::<bool>(),
    ) {
        let wit = interface(&ty);
        let (inner, outer) = (component(&wit, "inner", inside), component(&wit, "outer", outside));
        let ends = ends(&inner, &outer, if waits { "clock = true" } else { "" });
        let rest = Val::Tuple(vec![Val::U64(u64::MAX); 16]);
        for value in values {
            // Core values, with the places of everything that is behind them.
            let direct = call(&ends.direct, "acme:b/api#flat", std::slice::from_ref(&value));
            let over = call(&ends.over, "flat", std::slice::from_ref(&value));
            prop_assert_eq!(direct, over);
            let arguments = [value.clone(), rest.clone()];
            prop_assert_eq!(&call(&ends.direct, "acme:b/api#same", &arguments), &value);
            prop_assert_eq!(&call(&ends.over, "same", &arguments), &value);
        }
    }
}

/// One parameter of each kind that a guest can get wrong. The guest behind the edge answers with what became of its flags, its
/// `bool` and its number.
const TAKE: &str = "package acme:b;
interface api {
  enum kind { one, two, three }
  flags few { a, b, c }
  take: func(text: string, numbers: list<u64>, letter: char, kind: kind, few: few, yes: bool, small: s8) -> u32;
}
world inner { export api; }
world outer { import api; export attempt: func(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32) -> u32; }";

fn take(world: &str) -> Vec<u8> {
    let params = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)";
    let text = match world {
        "inner" => format!(
            "(module {ALLOCATOR} (func (export \"acme:b/api#take\") {params}
               (i32.add (local.get 6) (i32.add (i32.mul (i32.const 1000) (local.get 7)) (i32.mul (i32.const 10000) (local.get 8))))))"
        ),
        _ => format!(
            "(module (import \"acme:b/api\" \"take\" (func $take {params})) {ALLOCATOR}
               (data (i32.const 100) \"text\\ff\\c3\") (func (export \"attempt\") {params}
               (call $take (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6)
                 (local.get 7) (local.get 8))))"
        ),
    };
    let mut module = wat::parse_str(text).expect("text");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("api.wit", TAKE).expect("WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("there");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embedded");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module");
    encoder.encode().expect("a component")
}

#[test]
fn what_a_guest_gets_wrong_ends_its_own_call_and_reaches_nobody() {
    const LETTER: u32 = 'x' as u32;
    const BYTES: u32 = 4 << 16;
    let ends = ends(&take("inner"), &take("outer"), "");
    let attempt = |arguments: [u32; 9]| ends.over.call_untyped("attempt", &arguments.map(Val::U32));
    let good = [100, 4, 0, 2, LETTER, 2, 0b111, 1, 1];
    assert_eq!(attempt(good).expect("a good one"), [Val::U32(11_007)]);
    // What has no meaning is dropped, and any integer is a `bool`.
    let mut odd = good;
    (odd[6], odd[7], odd[8]) = (u32::MAX, 77, 0x1ff);
    let minus_one = 10_000_u32.wrapping_neg();
    assert_eq!(
        attempt(odd).expect("all of it means something"),
        [Val::U32(1007_u32.wrapping_add(minus_one))]
    );
    // An empty list may be at the very end, and nothing may be behind it.
    let mut edge = good;
    (edge[0], edge[1], edge[2], edge[3]) = (BYTES, 0, BYTES, 0);
    attempt(edge).expect("nothing, at the end of memory");
    for (place, value, says) in [
        (0, BYTES - 3, "out of bounds"),
        (0, u32::MAX, "out of bounds"),
        (1, u32::MAX, "out of bounds"),
        (1, 5, "utf-8"),
        (2, 4, "not aligned"),
        (2, BYTES - 8, "out of bounds"),
        (3, u32::MAX, "out of bounds"),
        (4, 0xd800, "char"),
        (4, 0x11_0000, "char"),
        (5, 3, "discriminant 3 out of range [0..3)"),
        (5, u32::MAX, "out of range"),
    ] {
        let mut bad = good;
        bad[place] = value;
        let before = ends.over.call_untyped("attempt", &good.map(Val::U32));
        before.expect("the guest is made anew after each failure");
        match attempt(bad).expect_err(says) {
            CallError::Fault { edge, kind: FaultKind::Protocol(text) } => {
                assert_eq!(edge, "app -> outer");
                assert!(text.contains(says), "{place}: {value}: {text}");
            }
            other => panic!("{place}: {value}: {other:?}"),
        }
    }
}

/// What the host copies for a guest is bounded by what the guest may hold itself: here, all of its memory, and one byte more.
#[test]
fn what_crosses_counts_against_the_callers_bound() {
    let ends = ends_within(&take("inner"), &take("outer"), "", "memory = \"256KiB\"");
    let attempt = |text: u32, numbers: u32| {
        let arguments = [100, text, 0, numbers, 'x' as u32, 0, 0, 0, 0];
        ends.over
            .call_untyped("attempt", &arguments.map(Val::U32))
            .expect_err("too much for the guest behind")
    };
    // As many bytes as the bound: they are copied, and the guest behind the edge has no room for them.
    let error = attempt(0, (256 << 10) / 8);
    assert!(matches!(&error, CallError::Callee { edge, .. } if edge == "app -> outer"), "{error:?}");
    let error = attempt(1, (256 << 10) / 8);
    let CallError::Limit { edge, what } = &error else { panic!("{error:?}") };
    assert_eq!((edge.as_str(), *what), ("app -> outer", "bytes out of the guest in one call"));
}
