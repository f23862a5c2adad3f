//! Values that are none, handles that are nobody's, and bytes that are no component.

use cofferdam::wasm::{CallError, CodeCache, FaultKind, StartError, Val, WasmHost};

use super::ground::{Ground, holds, number};
use crate::trial::text;

/// Answers with what its argument says, as a type that the bits may not be.
const ANSWERS: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "good\c0\80")
    (global $state (mut i32) (i32.const 0))
    (func (export "number") (param i32) (result i32) (local.get 0))
    (func (export "pair") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 0))
      (i32.store (i32.const 4) (local.get 1))
      (i32.const 0))
    (func (export "fine") (result i32)
      (global.set $state (i32.add (global.get $state) (i32.const 1)))
      (global.get $state)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (type $c (enum "red" "green"))
  (export $colour "colour" (type $c))
  (func (export "colour-of") (param "bits" u32) (result $colour) (canon lift (core func $i "number")))
  (func (export "character") (param "bits" u32) (result char) (canon lift (core func $i "number")))
  (func (export "text") (param "at" u32) (param "length" u32) (result string)
    (canon lift (core func $i "pair") (memory (core memory $memory))))
  (func (export "numbers") (param "at" u32) (param "length" u32) (result (list u32))
    (canon lift (core func $i "pair") (memory (core memory $memory))))
  (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#;

fn is_trap(error: &CallError) -> bool {
    matches!(error, CallError::Fault { kind: FaultKind::Trap(_) | FaultKind::Protocol(_), .. })
}

fn bad(ground: &Ground, function: &str, good: &[u32], bad: &[u32]) -> Result<String, String> {
    let guest = ground.start(ANSWERS, "", "")?;
    let values = |all: &[u32]| all.iter().map(|value| Val::U32(*value)).collect::<Vec<_>>();
    guest.call(function, &values(good)).map_err(text)?;
    let before = ground.events("fault").len();
    let error = match guest.call(function, &values(bad)) {
        Err(error) => error,
        Ok(values) => return Err(format!("taken for {values:?}")),
    };
    holds(is_trap(&error), &format!("another error: {error}"))?;
    holds(ground.events("fault").len() == before + 1, "it is not in the log once")?;
    holds(number(&guest, "fine", &[])? == 1, "the next call does not begin afresh")?;
    Ok(error.to_string())
}

pub(super) fn bad_case(ground: &mut Ground) -> Result<String, String> {
    bad(ground, "colour-of", &[1], &[2])
}

pub(super) fn bad_character(ground: &mut Ground) -> Result<String, String> {
    bad(ground, "character", &[0x1F600], &[0xD800])
}

pub(super) fn bad_text(ground: &mut Ground) -> Result<String, String> {
    bad(ground, "text", &[64, 4], &[64, 6])
}

pub(super) fn outside(ground: &mut Ground) -> Result<String, String> {
    bad(ground, "text", &[65_532, 4], &[65_533, 4])
}

pub(super) fn unaligned(ground: &mut Ground) -> Result<String, String> {
    bad(ground, "numbers", &[64, 1], &[65, 1])
}

pub(super) fn overflow(ground: &mut Ground) -> Result<String, String> {
    bad(ground, "numbers", &[64, 2], &[64, 0x4000_0001])
}

/// A resource of its own, used by bare numbers.
const HANDLES: &str = r#"(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core func $rep (canon resource.rep $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "h" "new" (func $new (param i32) (result i32)))
    (import "h" "rep" (func $rep (param i32) (result i32)))
    (import "h" "drop" (func $drop (param i32)))
    (global $state (mut i32) (i32.const 0))
    (func (export "honest") (result i32) (call $rep (call $new (i32.const 77))))
    (func (export "forged") (result i32) (call $rep (i32.const 4242)))
    (func (export "stale") (result i32) (local $one i32)
      (local.set $one (call $new (i32.const 77)))
      (call $drop (local.get $one))
      (call $rep (local.get $one)))
    (func (export "fine") (result i32)
      (global.set $state (i32.add (global.get $state) (i32.const 1)))
      (global.get $state)))
  (core instance $i (instantiate $m (with "h" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
  (func (export "honest") (result u32) (canon lift (core func $i "honest")))
  (func (export "forged") (result u32) (canon lift (core func $i "forged")))
  (func (export "stale") (result u32) (canon lift (core func $i "stale")))
  (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#;

fn handle(ground: &Ground, function: &str) -> Result<String, String> {
    let guest = ground.start(HANDLES, "", "")?;
    holds(number(&guest, "honest", &[])? == 77, "a handle that it has")?;
    let error = match guest.call(function, &[]) {
        Err(error) => error,
        Ok(values) => return Err(format!("it worked: {values:?}")),
    };
    holds(is_trap(&error), &format!("another error: {error}"))?;
    holds(ground.events("fault").len() == 1, "it is not in the log once")?;
    holds(number(&guest, "fine", &[])? == 1, "the next call does not begin afresh")?;
    Ok(error.to_string())
}

pub(super) fn forged_handle(ground: &mut Ground) -> Result<String, String> {
    handle(ground, "forged")
}

pub(super) fn stale_handle(ground: &mut Ground) -> Result<String, String> {
    handle(ground, "stale")
}

pub(super) fn tampered_cache(ground: &mut Ground) -> Result<String, String> {
    let folder = ground.path().join("cache");
    let cached = || {
        CodeCache::open_ambient(&folder, ground.ambient)
            .map_err(text)
            .and_then(|cache| WasmHost::with_cache(cache).map_err(text))
    };
    let bytes = wat::parse_str(ANSWERS).map_err(text)?;
    let plan = super::ground::planned("", "")?;
    let answers = || -> Result<(), String> {
        let guest = cofferdam::wasm::WasmCompartment::start_ambient(
            &cached()?,
            &plan,
            &bytes,
            ground.path(),
            &cofferdam::AuditLog::discard(),
            ground.ambient,
        )
        .map_err(text)?;
        holds(number(&guest, "fine", &[])? == 1, "it does not answer")
    };
    answers()?;
    let entries = || -> Result<Vec<std::path::PathBuf>, String> {
        let all = std::fs::read_dir(&folder).map_err(text)?;
        let paths = all.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(paths
            .filter(|path| std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 4096))
            .collect())
    };
    holds(!entries()?.is_empty(), "nothing is kept, so nothing is tried")?;
    let mut tried = 0;
    for at in [0, 100, 2000] {
        for path in entries()? {
            let mut bytes = std::fs::read(&path).map_err(text)?;
            let middle = bytes.len() / 2;
            for place in [at, middle + at] {
                bytes[place] ^= 0x10;
            }
            // What is kept can be read-only.
            std::fs::remove_file(&path).map_err(text)?;
            std::fs::write(&path, bytes).map_err(text)?;
            tried += 1;
        }
        answers()?;
    }
    Ok(format!("{tried} changed entries, and none was run"))
}

/// Splitmix64, so that every run tries the same.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub(super) fn malformed(ground: &mut Ground) -> Result<String, String> {
    let good = wat::parse_str(ANSWERS).map_err(text)?;
    let (mut state, mut refused, mut started) = (1, 0, 0);
    for round in 0..120 {
        let mut bytes = good.clone();
        for _ in 0..=random(&mut state) % 4 {
            let length = bytes.len() as u64;
            let at = usize::try_from(random(&mut state) % length).unwrap_or(0);
            match round % 3 {
                0 => bytes[at] ^= 1 << (random(&mut state) % 8),
                1 => bytes.truncate(at.max(1)),
                _ => {
                    bytes.insert(at, random(&mut state).to_le_bytes()[0]);
                }
            }
        }
        match ground.try_start(&bytes, "", "call-deadline = \"200ms\", memory = \"1MiB\"")? {
            Err(StartError::NotAComponent { .. } | StartError::UnknownImports { .. }) => refused += 1,
            Err(other) => return Err(format!("round {round}: {other}")),
            Ok(guest) => {
                started += 1;
                let _ = guest.call("fine", &[]);
            }
        }
    }
    holds(refused > 60, &format!("only {refused} of 120 are refused"))?;
    Ok(format!("{refused} of 120 are refused, {started} are other components"))
}
