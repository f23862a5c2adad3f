//! Taking too much, of memory, time and output.

use std::time::{Duration, Instant};

use cofferdam::wasm::{CallError, FaultKind, INSTANCES_MAX, Val};

use super::ground::{Ground, holds, number};
use crate::trial::text;

/// Bad in the way of each export; `fine` is not, and counts its own calls.
const BAD: &str = r#"(component
  (core module $m
    (memory 1)
    (global $state (mut i32) (i32.const 0))
    (global $brake (mut i32) (i32.const 0))
    (table $t 1 funcref)
    (func $recurse (export "recurse") (param i32)
      (if (i32.ne (local.get 0) (i32.const 1)) (then (call $recurse (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "spin") (param $turns i64)
      (loop $again
        (local.set $turns (i64.sub (local.get $turns) (i64.const 1)))
        (br_if $again (i64.ne (local.get $turns) (i64.const 0)))))
    (func (export "fill") (param $turns i64)
      (loop $again
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536))
        (local.set $turns (i64.sub (local.get $turns) (i64.const 1)))
        (br_if $again (i64.ne (local.get $turns) (i64.const 0)))))
    (func (export "eat") (param $pages i32)
      (loop $again
        (local.set $pages (i32.sub (local.get $pages) (i32.const 16)))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br_if $again (i32.gt_s (local.get $pages) (i32.const 0)))))
    (func (export "table") (param $elements i32)
      (if (i32.eq (table.grow $t (ref.null func) (local.get $elements)) (i32.const -1)) (then unreachable)))
    (func (export "keep") (i32.store (i32.const 1000) (i32.const 0x5EC12E7)))
    (func (export "kept") (result i32) (i32.load (i32.const 1000)))
    (func (export "panic") unreachable)
    (func (export "fine") (result i32)
      (global.set $state (i32.add (global.get $state) (i32.const 1)))
      (global.get $state)))
  (core instance $i (instantiate $m))
  (func (export "recurse") (param "depth" u32) (canon lift (core func $i "recurse")))
  (func (export "spin") (param "turns" u64) (canon lift (core func $i "spin")))
  (func (export "fill") (param "turns" u64) (canon lift (core func $i "fill")))
  (func (export "eat") (param "pages" u32) (canon lift (core func $i "eat")))
  (func (export "table") (param "elements" u32) (canon lift (core func $i "table")))
  (func (export "keep") (canon lift (core func $i "keep")))
  (func (export "kept") (result u32) (canon lift (core func $i "kept")))
  (func (export "panic") (canon lift (core func $i "panic")))
  (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#;

const SOON: &str = "call-deadline = \"80ms\"";

fn is_deadline(error: &CallError) -> bool {
    matches!(error, CallError::Deadline { .. })
}

fn is_limit(wanted: &'static str) -> impl Fn(&CallError) -> bool {
    move |error| matches!(error, CallError::Limit { what, .. } if *what == wanted)
}

fn ends_in_time(begun: Instant) -> Result<(), String> {
    holds(begun.elapsed() < Duration::from_secs(20), "it took far longer than its deadline")
}

pub(super) fn spin(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", SOON)?;
    guest.call("spin", &[Val::U64(10)]).map_err(text)?;
    let begun = Instant::now();
    let said = ground.fails(&guest, "spin", &[Val::U64(0)], "deadline", is_deadline)?;
    ends_in_time(begun)?;
    Ok(said)
}

pub(super) fn spin_at_start(ground: &mut Ground) -> Result<String, String> {
    let at_start = |turns: i64| {
        format!(
            r#"(component
      (core module $m
        (func $spin (local $turns i64) (local.set $turns (i64.const {turns}))
          (loop $again
            (local.set $turns (i64.sub (local.get $turns) (i64.const 1)))
            (br_if $again (i64.ne (local.get $turns) (i64.const 0)))))
        (start $spin)
        (func (export "f")))
      (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))"#
        )
    };
    ground.start(&at_start(10), "", SOON)?.call("f", &[]).map_err(text)?;
    let guest = ground.start(&at_start(0), "", SOON)?;
    ground.fails(&guest, "f", &[], "deadline", is_deadline)
}

pub(super) fn spin_in_realloc(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(
        r#"(component
      (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (if (i32.ge_u (local.get 3) (i32.const 8)) (then (loop $again (br $again))))
          (i32.const 64))
        (func (export "f") (param i32 i32)))
      (core instance $i (instantiate $m))
      (alias core export $i "memory" (core memory $memory))
      (func (export "f") (param "text" string)
        (canon lift (core func $i "f") (memory (core memory $memory)) (realloc (core func $i "realloc")))))"#,
        "",
        SOON,
    )?;
    guest.call("f", &[Val::String("short".to_owned())]).map_err(text)?;
    ground.fails(&guest, "f", &[Val::String("longer than that".to_owned())], "deadline", is_deadline)
}

pub(super) fn spin_in_post_return(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(
        r#"(component
      (core module $m
        (global $calls (mut i32) (i32.const 0))
        (func (export "f") (result i32)
          (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
          (global.get $calls))
        (func (export "after") (param i32)
          (if (i32.eq (global.get $calls) (i32.const 2)) (then (loop $again (br $again))))))
      (core instance $i (instantiate $m))
      (func (export "f") (result u32) (canon lift (core func $i "f") (post-return (core func $i "after")))))"#,
        "",
        SOON,
    )?;
    holds(number(&guest, "f", &[])? == 1, "the first call")?;
    ground.fails(&guest, "f", &[], "deadline", is_deadline)
}

pub(super) fn eat(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", "memory = \"4MiB\"")?;
    guest.call("eat", &[Val::U32(32)]).map_err(text)?;
    ground.fails(&guest, "eat", &[Val::U32(30_000)], "limit", is_limit("memory"))
}

pub(super) fn many_memories(ground: &mut Ground) -> Result<String, String> {
    const MANY: &str = r#"(component
      (core module $m (memory 20) (memory 20) (memory 20) (memory 20) (func (export "f")))
      (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))"#;
    ground.start(MANY, "", "memory = \"6MiB\"")?.call("f", &[]).map_err(text)?;
    let guest = ground.start(MANY, "", "memory = \"4MiB\"")?;
    ground.fails(&guest, "f", &[], "limit", is_limit("memory"))
}

pub(super) fn tables(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", "")?;
    guest.call("table", &[Val::U32(99_000)]).map_err(text)?;
    ground.fails(&guest, "table", &[Val::U32(200_000)], "limit", is_limit("table elements"))
}

pub(super) fn instances(ground: &mut Ground) -> Result<String, String> {
    let component = |instances: usize| {
        let more = "(core instance (instantiate $m))".repeat(instances - 1);
        format!(
            r#"(component
              (core module $m (func (export "f")))
              (core instance $i (instantiate $m)) {more}
              (func (export "f") (canon lift (core func $i "f"))))"#
        )
    };
    ground.start(&component(INSTANCES_MAX), "", "")?.call("f", &[]).map_err(text)?;
    let guest = ground.start(&component(INSTANCES_MAX + 1), "", "")?;
    ground.fails(&guest, "f", &[], "limit", is_limit("instances"))
}

pub(super) fn fill(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", SOON)?;
    guest.call("fill", &[Val::U64(1)]).map_err(text)?;
    let begun = Instant::now();
    let said = ground.fails(&guest, "fill", &[Val::U64(0)], "deadline", is_deadline)?;
    ends_in_time(begun)?;
    Ok(said)
}

pub(super) fn recurse(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", "call-deadline = \"20s\"")?;
    guest.call("recurse", &[Val::U32(100)]).map_err(text)?;
    ground.fails(&guest, "recurse", &[Val::U32(0)], "trap", |error| {
        matches!(error, CallError::Fault { kind: FaultKind::StackOverflow, .. })
    })
}

pub(super) fn amplify(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(
        r#"(component
  (core module $m
    (memory (export "memory") 4)
    (func (export "texts") (param $count i32) (result i32)
      (local $at i32) (local $left i32)
      (local.set $at (i32.const 16384))
      (local.set $left (local.get $count))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (i32.store (local.get $at) (i32.const 1024))
        (i32.store offset=4 (local.get $at) (i32.const 10000))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
      (i32.store (i32.const 0) (i32.const 16384))
      (i32.store (i32.const 4) (local.get $count))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func (export "texts") (param "count" u32) (result (list string))
    (canon lift (core func $i "texts") (memory (core memory $memory)))))"#,
        "",
        "memory = \"1MiB\"",
    )?;
    guest.call("texts", &[Val::U32(50)]).map_err(text)?;
    ground.fails(
        &guest,
        "texts",
        &[Val::U32(20_000)],
        "limit",
        is_limit("bytes out of the guest in one call"),
    )
}

pub(super) fn two_edges(ground: &mut Ground) -> Result<String, String> {
    let (left, right) = (ground.start(BAD, "", "")?, ground.start(BAD, "", "")?);
    left.call("keep", &[]).map_err(text)?;
    holds(number(&left, "kept", &[])? == 0x05EC_12E7, "its own state is there")?;
    holds(number(&right, "kept", &[])? == 0, "the other edge's state is there too")?;
    holds(left.call("panic", &[]).is_err(), "it did not fail")?;
    holds(number(&right, "fine", &[])? == 1, "a fault in one touched the other")?;
    Ok("nothing of the other is there".to_owned())
}

pub(super) fn leftovers(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", "")?;
    guest.call("keep", &[]).map_err(text)?;
    holds(number(&guest, "kept", &[])? == 0x05EC_12E7, "state is kept between calls that went well")?;
    for _ in 0..20 {
        holds(guest.call("panic", &[]).is_err(), "it did not fail")?;
        holds(number(&guest, "kept", &[])? == 0, "bytes of the instance before it")?;
        guest.call("keep", &[]).map_err(text)?;
    }
    Ok("memory is fresh after each end".to_owned())
}

pub(super) fn churn(ground: &mut Ground) -> Result<String, String> {
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    drop(ground.start(BAD, "", "")?);
    let before = (descriptors(), threads());
    for round in 0..60 {
        let guest = ground.start(BAD, "", "")?;
        holds(number(&guest, "fine", &[])? == 1, "a fresh instance")?;
        if round % 3 == 0 {
            holds(guest.call("panic", &[]).is_err(), "it did not fail")?;
        }
    }
    let after = (descriptors(), threads());
    holds(before == after, &format!("{after:?} descriptors and threads, and there were {before:?}"))?;
    Ok("descriptors and threads are as before".to_owned())
}

pub(super) fn threads(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(BAD, "", "")?;
    let failed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..100).filter(|_| guest.call("fine", &[]).is_err()).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(1000)).sum::<usize>()
    });
    holds(failed == 0, &format!("{failed} calls failed"))?;
    holds(number(&guest, "fine", &[])? == 401, "calls were lost or doubled")?;
    Ok("400 calls, each once".to_owned())
}

const WRITES: &str = r#"(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type $error (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (export "error" (type $e (eq $error)))
    (type $s (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $s)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (export "output-stream" (type $o (eq $stream)))
    (export "get-stdout" (func (result (own $o))))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core module $m
    (import "h" "get" (func $get (result i32)))
    (import "h" "write" (func $write (param i32 i32 i32 i32)))
    (import "h" "memory" (memory 1))
    (func (export "write") (param $length i32) (result i32)
      (memory.fill (i32.const 64) (i32.const 27) (local.get $length))
      (call $write (call $get) (i32.const 64) (local.get $length) (i32.const 16))
      (i32.load8_u (i32.const 16))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "get" (func $get)) (export "write" (func $write)) (export "memory" (memory $memory))))))
  (func (export "write") (param "length" u32) (result u32) (canon lift (core func $i "write"))))"#;

pub(super) fn output(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(WRITES, "stdio = { streams = [\"stdout\"], bytes = \"2500B\" }", "")?;
    for _ in 0..2 {
        holds(number(&guest, "write", &[Val::U32(1000)])? == 0, "what fits is written")?;
    }
    let said = ground.fails(&guest, "write", &[Val::U32(1000)], "limit", is_limit("output"))?;
    let kept = guest.take_stdio().stdout.len();
    holds(kept <= 2500, &format!("{kept} bytes are kept"))?;
    Ok(said)
}

const WAITS: &str = r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "pollable" (type $p (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $m
    (import "h" "block" (func $block (param i32)))
    (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "wait") (param i64) (call $block (call $subscribe (local.get 0)))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "block" (func $block)) (export "subscribe" (func $subscribe))))))
  (func (export "wait") (param "nanoseconds" u64) (canon lift (core func $i "wait"))))"#;

pub(super) fn wait(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(WAITS, "clock = true", "call-deadline = \"500ms\"")?;
    guest.call("wait", &[Val::U64(1_000_000)]).map_err(text)?;
    let begun = Instant::now();
    let said = ground.fails(&guest, "wait", &[Val::U64(1_000_000_000_000)], "deadline", is_deadline)?;
    ends_in_time(begun)?;
    Ok(said)
}

const RANDOM: &str = r#"(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $libc
    (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $bytes (canon lower (func $random "get-random-bytes") (memory $memory) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "h" "bytes" (func $bytes (param i64 i32)))
    (import "h" "memory" (memory 1))
    (func (export "roll") (param i64) (result i32) (call $bytes (local.get 0) (i32.const 16)) (i32.load (i32.const 20))))
  (core instance $i (instantiate $m (with "h" (instance (export "bytes" (func $bytes)) (export "memory" (memory $memory))))))
  (func (export "roll") (param "length" u64) (result u32) (canon lift (core func $i "roll"))))"#;

pub(super) fn random_flood(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(RANDOM, "entropy = true", "call-deadline = \"20s\"")?;
    holds(number(&guest, "roll", &[Val::U64(64)])? == 64, "what is granted is given")?;
    match guest.call("roll", &[Val::U64(1 << 32)]) {
        Err(error @ (CallError::Fault { .. } | CallError::Limit { .. })) => {
            holds(number(&guest, "roll", &[Val::U64(64)])? == 64, "the next call")?;
            Ok(error.to_string())
        }
        other => Err(format!("{other:?}")),
    }
}

pub(super) fn message(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(WAITS, "", "")?;
    let error = guest.call("wait", &[Val::U64(1)]).err().ok_or("it worked without a clock")?;
    let said = error.to_string();
    for part in ["selftest -> guest", "clock", "wasi:clocks/monotonic-clock", "clock = true"] {
        holds(said.contains(part), &format!("`{part}` is not in: {said}"))?;
    }
    holds(ground.events("violation").len() == 1, "it is not in the log once")?;
    let granted = ground.start(WAITS, "clock = true", "")?;
    granted.call("wait", &[Val::U64(1)]).map_err(text)?;
    Ok(said)
}
