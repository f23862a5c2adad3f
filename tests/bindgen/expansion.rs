//! What `client!` writes, as people would format it, and what it says when it cannot.

use insta::{Settings, assert_snapshot};
use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::{expand, expand_guest};

fn expanded(input: TokenStream) -> String {
    let tokens = expand(input).expect("it has a client");
    let file = syn::parse2(tokens).expect("it is Rust");
    prettyplease::unparse(&file)
}

/// The messages, a line each with what belongs to it.
fn refused(input: TokenStream) -> String {
    let error = expand(input).expect_err("it is refused");
    let messages: Vec<_> = error.into_iter().map(|one| one.to_string()).collect();
    messages.join("\n")
}

fn snapshot(name: &str, text: &str) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("../snapshots/bindgen");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // Where the repository is does not matter.
    let text = text.replace(&format!("{}/../..", env!("CARGO_MANIFEST_DIR")), "[root]");
    let text = text.replace(&root.display().to_string(), "[root]");
    settings.bind(|| assert_snapshot!(name, text));
}

fn refuses(wit: &str) -> String {
    refused(quote!({ inline: #wit }))
}

#[test]
fn a_simple_world() {
    snapshot("text", &expanded(quote!({ path: "../../tests/bindgen/text.wit", world: "text-filter" })));
}

#[test]
fn every_type() {
    snapshot("every-type", &expanded(quote!({ path: "../../tests/bindgen/every-type.wit" })));
}

#[test]
fn handles_in_every_place() {
    snapshot("resources", &expanded(quote!({ path: "../../tests/bindgen/resources.wit" })));
}

#[test]
fn types_of_several_packages() {
    snapshot("shared", &expanded(quote!({ path: "../../tests/bindgen/shared", world: "shared" })));
}

#[test]
fn names_that_rust_uses_for_something_else() {
    let input = quote!({ path: "../../tests/bindgen/names.wit", crate_path: renamed });
    snapshot("names", &expanded(input));
}

#[test]
fn a_world_of_several_is_chosen() {
    let other = expanded(quote!({ path: "../../tests/bindgen/shared", world: "other" }));
    assert!(other.contains("pub struct Other") && !other.contains("pub struct Shared"), "{other}");
    let named = expanded(quote!({ path: "../../tests/bindgen/shared", world: "acme:shared/other@1.0.0" }));
    assert_eq!(named, other);
}

#[test]
fn every_file_is_watched() {
    let shared = expanded(quote!({ path: "../../tests/bindgen/shared", world: "other" }));
    for file in ["shared/world.wit", "deps/one/types.wit", "deps/two/types.wit"] {
        let watched = shared
            .split("include_bytes!")
            .skip(1)
            .filter(|rest| rest.split(';').next().is_some_and(|path| path.contains(file)));
        assert_eq!(watched.count(), 1, "{file}");
    }
}

#[test]
fn the_path_of_the_crate_is_absolute() {
    let wit = "package a:b; world w { export f: func(); }";
    let of = |input| expanded(input);
    assert!(of(quote!({ inline: #wit })).contains("edge: ::cofferdam::client::Edge"));
    assert!(of(quote!({ inline: #wit, crate_path: other })).contains("edge: ::other::client::Edge"));
    assert!(of(quote!({ inline: #wit, crate_path: crate::a })).contains("edge: crate::a::client::Edge"));
}

#[test]
fn options_that_are_wrong() {
    let wit = "package a:b; world one { export f: func(); } world two {}";
    let none = "package a:b;";
    let messages = [
        refused(quote!({ path: "wit", wrold: "a" })),
        refused(quote!({ path: "wit", path: "wit" })),
        refused(quote!({ path: "wit", inline: "package a:b;" })),
        refused(quote!({ world: "a" })),
        refused(quote!({ inline: #wit, crate_path: super::other })),
        refused(quote!({ inline: #wit, world: "three" })),
        refused(quote!({ inline: #wit, world: "not a name" })),
        refused(quote!({ inline: #wit })),
        refused(quote!({ inline: #none })),
        refused(quote!({ inline: #none, world: "a" })),
        refused(quote!({ inline: #wit, world: "two" })),
        refused(quote!({ path: "../../tests/bindgen/shared", world: "absent" })),
        refused(quote!({ path: "../../tests/bindgen/absent" })),
    ];
    snapshot("options", &messages.join("\n"));
}

#[test]
fn wit_that_is_wrong() {
    let messages = [
        refuses("package a:b;\n\nworld w {\n  export f: func(a: nonesuch);\n}"),
        refuses("package a:b;\nworld w {\n  export f: funk();\n}"),
        refuses("package a:b;\nworld w {\n  export other:parts/thing;\n}"),
    ];
    snapshot("wit", &messages.join("\n"));
}

#[test]
fn wit_without_a_client() {
    let interface = |text: &str| format!("package a:b;\ninterface i {{\n{text}\n}}\nworld w {{ export i; }}");
    let messages = [
        interface("resource token;\nrecord session { token: token, name: string }\nf: func() -> session;"),
        interface("resource token;\nvariant v { one(list<token>), two(option<borrow<token>>) }\nf: func(v: v);"),
        interface("f: async func();\nresource r { g: async func(); h: static async func(); }"),
        interface("f: func(a: future<u8>, b: stream<u8>) -> error-context;"),
        interface("f: func(a: list<u8, 4>, b: map<string, u8>);\ntype t = list<u8, 4>;\nrecord r { t: t }"),
        interface("record none {}\nf: func(a: none);"),
        "package a:b;\ninterface i { resource r; }\nworld w {\n  import i;\n  use i.{r as s};\n  export f: func(a: s, b: list<borrow<s>>);\n}".to_owned(),
        "package a:b;\ninterface i { f: func(); }\nworld w {\n  export other: i;\n}".to_owned(),
        "package a:b;\ninterface i { type a = u8; }\nworld w { export i; import f: func(); }".to_owned(),
    ];
    snapshot("refused", &messages.map(|wit| refuses(&wit)).join("\n"));
}

#[test]
fn a_type_that_would_be_two_in_a_component_is_refused() {
    let world = |exported: &str| {
        let text = format!(
            "package acme:a; interface kinds {{ record step {{ of: u32 }} }} interface told {{ use kinds.{{step}}; take: func(one: step); }} \
             interface work {{ use kinds.{{step}}; run: func() -> step; }} world w {{ {exported} import told; export work; }}"
        );
        expand_guest(quote!({ inline: #text, implementation: crate::Work }))
    };
    assert!(world("").is_ok());
    let refused = world("export kinds;").expect_err("it is exported").to_string();
    assert!(refused.contains("record `step`: it is of an interface that the world exports"), "{refused}");
}

fn numbered(prefix: &str, count: usize, suffix: &str) -> String {
    (0..count).map(|at| format!("{prefix}{at}{suffix}")).collect::<Vec<_>>().join(", ")
}

fn function(parameters: &str) -> String {
    format!("package a:b; world w {{ export f: func({parameters}); }}")
}

fn flags(count: usize) -> String {
    let names = numbered("n", count, "");
    format!("package a:b; world w {{ flags many {{ {names} }} export f: func(a: many); }}")
}

fn tuple(count: usize) -> String {
    function(&format!("a: tuple<{}>", vec!["u8"; count].join(", ")))
}

#[test]
fn as_much_as_there_is_room_for_and_one_more() {
    for wit in [function(&numbered("a", 17, ": u8")), flags(32), tuple(12)] {
        expanded(quote!({ inline: #wit }));
    }
    let parameters = refuses(&function(&numbered("a", 18, ": u8")));
    assert_eq!(parameters, "inline:1:31: function `f`: 18 parameters; at most 17 are supported");
    let names = refuses(&flags(33));
    assert_eq!(names, "inline:1:30: flags `many`: 33 names; at most 32 are supported");
    let elements = refuses(&tuple(13));
    let expected = "inline:1:39: parameter `a` of `f`: 13 elements of a tuple; at most 12 are supported";
    assert_eq!(elements, expected);
}

/// A record of some fields and one whose type has twice as many parts with each line.
fn nested(doublings: usize, extra: usize) -> String {
    let lines = (1..=doublings).map(|at| format!("type t{at} = tuple<t{0}, t{0}>;\n", at - 1));
    let types = "type t0 = tuple<u8, u8, u8>;\n".to_owned() + &lines.collect::<String>();
    let fields = numbered("n", extra, ": u8");
    let record = format!("record r {{ {fields}, all: t{doublings} }}");
    format!("package a:b;\ninterface i {{\n{types}{record}\nf: func(a: r);\n}}\nworld w {{ export i; }}")
}

#[test]
fn a_type_of_as_many_parts_as_there_is_room_for() {
    // t0 has 4 parts, and each next one twice as many and one more: 5 * 2^n - 1.
    let parts_of_t9 = 5 * 512 - 1;
    let wit = nested(9, 4096 - parts_of_t9 - 1);
    expanded(quote!({ inline: #wit }));
    let message = refuses(&nested(9, 4096 - parts_of_t9));
    assert_eq!(message, "inline:13:8: type `r`: 4097 parts when written out; at most 4096 are supported");
}

#[test]
fn a_type_that_would_not_end_is_refused_at_once() {
    let message = refuses(&nested(200, 1));
    assert_eq!(message, "inline:13:6: type `t10`: 5119 parts when written out; at most 4096 are supported");
}
