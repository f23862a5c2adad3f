//! Starts and calls as spans of `tracing`. Alone in its process: what is traced is a setting of the whole program.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use ambient_authority::ambient_authority;
use cofferdam::wasm::Val;
use cofferdam::{EdgeName, Runtime, Source};

/// Keeps the names of spans and their edges.
struct Spans(Mutex<Vec<String>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        struct Edge(String);
        impl tracing::field::Visit for Edge {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if ["edge", "backend", "function"].contains(&field.name()) {
                    let _ = write!(self.0, " {value:?}");
                }
            }
        }
        let mut edge = Edge(span.metadata().name().to_owned());
        span.record(&mut edge);
        self.0.lock().expect("no panic inside").push(edge.0);
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

const ADD: &str = r#"(component
  (core module $m (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;

#[test]
fn starts_and_calls_are_spans_whether_a_guest_may_wait_or_not() {
    let spans = Arc::new(Spans(Mutex::default()));
    tracing::subscriber::set_global_default(Arc::clone(&spans)).expect("the only one");
    for grants in ["", "clock = true"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("capabilities.toml");
        let tables = match grants {
            "" => String::new(),
            lines => format!("[holds]\n{lines}\n[crates.app.grants.guest]\n{lines}\n"),
        };
        let text = format!(
            "{tables}[crates.app]\ndependencies = [\"guest\"]\n[crates.guest.compartment]\nbackend = \"wasm\"\n"
        );
        std::fs::write(&path, text).expect("writable");
        let runtime = Runtime::from_file_ambient(&path, ambient_authority())
            .expect("granted")
            .component("guest", Source::Bytes(wat::parse_str(ADD).expect("text").into()))
            .start_ambient(ambient_authority())
            .expect("starts");
        let edge = runtime.edge(EdgeName { consumer: "app", krate: "guest" }).expect("starts");
        assert_eq!(edge.call_untyped("add", &[Val::U32(1), Val::U32(2)]).expect("called"), [Val::U32(3)]);
        let seen = std::mem::take(&mut *spans.0.lock().expect("no panic inside"));
        let ours: Vec<&String> = seen.iter().filter(|name| name.starts_with("cofferdam.")).collect();
        let start = "cofferdam.start app -> guest \"wasm\"";
        assert_eq!(ours, [start, "cofferdam.call app -> guest \"add\""], "{grants}");
    }
}
