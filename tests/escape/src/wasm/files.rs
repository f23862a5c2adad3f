//! Files by their paths, through `wasi:filesystem`.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use cofferdam::wasm::{CallError, Val, WasmCompartment};

use super::ground::{Ground, holds, number};
use crate::trial::text;

/// Opens a path below its first folder, with these open flags, for writing or not; answers 0, or 1 more than the error's number, or
/// 1000 without a folder.
const OPENS: &str = r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $e (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links"
      "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
      "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted"
      "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error (eq $e)))
    (type $p (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $p)))
    (type $o (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $o)))
    (type $d (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $d)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (export "descriptor" (type $d (eq $descriptor)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (core module $libc
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $dirs (canon lower (func $preopens "get-directories") (memory (core memory $memory)) (realloc (core func $libc "realloc"))))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $memory)))
  (core module $m
    (import "h" "dirs" (func $dirs (param i32)))
    (import "h" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "h" "memory" (memory 1))
    (func (export "open") (param $path i32) (param $length i32) (param $create i32) (param $write i32) (result i32)
      (call $dirs (i32.const 16))
      (if (i32.eqz (i32.load (i32.const 20))) (then (return (i32.const 1000))))
      (call $open
        (i32.load (i32.load (i32.const 16))) (i32.const 1) (local.get $path) (local.get $length) (local.get $create)
        (i32.or (i32.const 1) (i32.shl (local.get $write) (i32.const 1))) (i32.const 32))
      (if (result i32) (i32.eqz (i32.load8_u (i32.const 32)))
        (then (i32.const 0))
        (else (i32.add (i32.load8_u (i32.const 36)) (i32.const 1))))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "dirs" (func $dirs)) (export "open" (func $open)) (export "memory" (memory $memory))))))
  (func (export "open") (param "path" string) (param "flags" u32) (param "write" bool) (result u32)
    (canon lift (core func $i "open") (memory (core memory $memory)) (realloc (core func $libc "realloc")))))"#;

/// Numbers of `error-code`, and one more.
const NOT_PERMITTED: u32 = 32;
const TRUNCATE: u32 = 8;
const CREATE: u32 = 1;

const READ: &str = "filesystem = { read = [\"data\"] }";
const WRITE: &str = "filesystem = { read = [\"data\"], write = [\"data\"] }";

fn open(guest: &WasmCompartment, path: &str, flags: u32, write: bool) -> Result<u32, String> {
    number(guest, "open", &[Val::String(path.to_owned()), Val::U32(flags), Val::Bool(write)])
}

/// Each path is refused so, and one inside works.
fn refused(ground: &Ground, paths: &[&str]) -> Result<String, String> {
    let guest = ground.start(OPENS, READ, "")?;
    holds(open(&guest, "file", 0, false)? == 0, "a file inside")?;
    for path in paths {
        let answer = open(&guest, path, 0, false)?;
        holds(answer == NOT_PERMITTED, &format!("`{path}`: {answer}"))?;
    }
    Ok(format!("not-permitted, {} times", paths.len()))
}

pub(super) fn above(ground: &mut Ground) -> Result<String, String> {
    refused(ground, &["..", "../secret", "sub/../../secret", "./../secret", "sub/../../data/../secret"])
}

pub(super) fn absolute(ground: &mut Ground) -> Result<String, String> {
    let secret = ground.path().join("secret");
    refused(ground, &["/etc/passwd", "/", secret.to_str().ok_or("a path")?])
}

pub(super) fn links(ground: &mut Ground) -> Result<String, String> {
    let data = ground.path().join("data");
    for (target, name) in [
        ("../secret", "up"),
        ("/etc/passwd", "away"),
        ("up", "chain"),
        ("..", "folder"),
        ("../", "slash"),
        ("folder/../data/folder", "winding"),
    ] {
        symlink(target, data.join(name)).map_err(text)?;
    }
    symlink("file", data.join("inside")).map_err(text)?;
    let guest = ground.start(OPENS, READ, "")?;
    holds(open(&guest, "inside", 0, false)? == 0, "a link that stays inside")?;
    refused(
        ground,
        &[
            "up",
            "away",
            "chain",
            "folder",
            "folder/secret",
            "slash",
            "slash/secret",
            "folder/",
            "folder/.",
            "winding/secret",
        ],
    )
}

pub(super) fn write_read_only(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(OPENS, READ, "")?;
    for (path, flags) in [("file", 0), ("new", CREATE)] {
        let answer = open(&guest, path, flags, true)?;
        holds(answer == NOT_PERMITTED, &format!("`{path}`: {answer}"))?;
    }
    holds(!ground.path().join("data/new").exists(), "a file was made")?;
    let guest = ground.start(OPENS, WRITE, "")?;
    holds(open(&guest, "new", CREATE, true)? == 0, "where it is granted")?;
    Ok("not-permitted, twice".to_owned())
}

pub(super) fn truncate_read_only(ground: &mut Ground) -> Result<String, String> {
    let length = || std::fs::metadata(ground.path().join("data/file")).map(|found| found.len()).map_err(text);
    let guest = ground.start(OPENS, READ, "")?;
    let answer = open(&guest, "file", TRUNCATE, false)?;
    holds(answer == NOT_PERMITTED, &format!("{answer}"))?;
    holds(length()? == 8, "the file is shorter")?;
    let guest = ground.start(OPENS, WRITE, "")?;
    holds(open(&guest, "file", TRUNCATE, true)? == 0, "where it is granted")?;
    holds(length()? == 0, "the file is as long as before")?;
    Ok("not-permitted".to_owned())
}

/// Swaps of the link; `COFFERDAM_ESCAPE_ROUNDS` says how many.
fn rounds() -> usize {
    std::env::var("COFFERDAM_ESCAPE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

/// A folder of the granted one is exchanged with a link to the outside, over and over, while the guest opens a file through it and
/// shortens it. The file outside must keep its length.
pub(super) fn swapped(ground: &mut Ground) -> Result<String, String> {
    let data = ground.path().join("data");
    symlink("..", data.join("trap")).map_err(text)?;
    std::fs::create_dir(data.join("real")).map_err(text)?;
    std::fs::write(data.join("real/secret"), "inside").map_err(text)?;
    let outside = ground.path().join("secret");
    let guest = ground.start(OPENS, WRITE, "call-deadline = \"60s\", handles = 1000000")?;
    let going = AtomicBool::new(true);
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| -> Result<(), String> {
        let swapper = scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let mut swaps = 0_usize;
            while going.load(Ordering::Relaxed) {
                let swap = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    data.join("trap"),
                    rustix::fs::CWD,
                    data.join("real"),
                    flags,
                );
                swaps += usize::from(swap.is_ok());
            }
            swaps
        });
        let tried = (|| {
            for _ in 0..rounds() {
                match open(&guest, "real/secret", TRUNCATE, true)? {
                    0 => opened += 1,
                    _ => refused += 1,
                }
                if std::fs::metadata(&outside).map(|found| found.len()).map_err(text)? != 6 {
                    return Err("the file outside was opened".to_owned());
                }
            }
            Ok(())
        })();
        going.store(false, Ordering::Relaxed);
        let swaps = swapper.join().unwrap_or(0);
        holds(swaps > 0, "nothing was exchanged")?;
        tried
    })?;
    holds(opened > 0 && refused > 0, &format!("{opened} opened and {refused} refused: there was no race"))?;
    Ok(format!("{opened} opened inside, {refused} refused"))
}

pub(super) fn odd_names(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(OPENS, READ, "")?;
    for path in ["", "file/", "file/.", "file/x", "missing", "no\0name"] {
        let answer = open(&guest, path, 0, false)?;
        holds(answer != 0, &format!("`{}` was opened", path.escape_debug()))?;
    }
    for length in [300, 5000, 60_000] {
        let answer = open(&guest, &"x".repeat(length), 0, false)?;
        holds(answer != 0, &format!("a name of {length} was opened"))?;
    }
    holds(open(&guest, "file", 0, false)? == 0, "a name that is one")?;
    Ok("an error each".to_owned())
}

pub(super) fn handles(ground: &mut Ground) -> Result<String, String> {
    let guest = ground.start(OPENS, READ, "handles = 8")?;
    let mut opened = 0;
    let error = loop {
        match guest.call("open", &[Val::String("file".to_owned()), Val::U32(0), Val::Bool(false)]) {
            Ok(_) => opened += 1,
            Err(error) => break error,
        }
        holds(opened < 20, "there is no bound")?;
    };
    holds(
        matches!(error, CallError::Fault { .. } | CallError::Limit { .. }),
        &format!("another error: {error}"),
    )?;
    holds(opened > 0, "none was opened")?;
    holds(ground.events("fault").len() == 1, "it is not in the log once")?;
    holds(open(&guest, "file", 0, false)? == 0, "the next call")?;
    Ok(error.to_string())
}
