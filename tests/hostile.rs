//! Manifests that are meant to hurt: each is refused with a clear error, in bounded time and memory.
//!
//! The program runs under limits that the kernel enforces, so that a test of a bound cannot pass by luck.

mod harness;

use std::fmt::Write as _;
use std::process::Command;

use harness::root;

/// Seconds of processor time that one refusal may take in an unoptimised build. A bound, not a benchmark.
const CPU_SECONDS: u32 = 20;
/// KiB of address space.
const MEMORY_KIB: u32 = 1_500_000;

fn refused(text: &[u8], parts: &[&str]) {
    let (code, said) = check(text);
    assert_eq!(code, Some(3), "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in:\n{}", &said[..said.len().min(4000)]);
    }
    assert!(said.len() < 300_000, "{} bytes of message", said.len());
}

fn check(text: &[u8]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capabilities.toml");
    std::fs::write(&file, text).expect("writable");
    let script = format!("ulimit -t {CPU_SECONDS} && ulimit -v {MEMORY_KIB} && exec \"$0\" \"$@\"");
    let output = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_cofferdam"), "check", "--manifest"])
        .arg(&file)
        .current_dir(root())
        .output()
        .expect("bash is there");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn ten_megabytes() {
    let line = "# nothing to see here, only a comment that goes on and on and on and on and on\n";
    refused(
        line.repeat(10_000_000 / line.len() + 1).as_bytes(),
        &["too-large", "the most that is read is 8388608"],
    );
}

#[test]
fn a_megabyte_of_what_is_allowed_is_read() {
    let mut text = String::from("[crates.app]\n");
    while text.len() < 1_000_000 {
        text.push_str("# a comment\n");
    }
    let (code, said) = check(text.as_bytes());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_hundred_thousand_edges_in_a_cycle() {
    let mut text = String::new();
    for index in 0..100_000 {
        let _ = writeln!(text, "[crates.c{index}]\ndependencies = [\"c{}\"]", (index + 1) % 100_000);
    }
    refused(text.as_bytes(), &["dependency-cycle", "`c0` -> `c1` -> `c2`", "(99992 more)"]);
}

#[test]
fn a_chain_longer_than_any() {
    let mut text = String::new();
    for index in 0..5_000 {
        let _ = writeln!(text, "[crates.c{index}]\ndependencies = [\"c{}\"]", index + 1);
    }
    text.push_str("[crates.c5000]\n");
    refused(
        text.as_bytes(),
        &["too-large", "edges in one chain of dependencies: 5000 where at most 4096 are resolved"],
    );
}

#[test]
fn too_many_crates() {
    let mut text = String::new();
    for index in 0..131_073 {
        let _ = writeln!(text, "[crates.c{index}]");
    }
    refused(text.as_bytes(), &["too-large", "crates: 131073 where at most 131072 are read"]);
}

#[test]
fn nesting_ten_thousand_deep() {
    refused(format!("holds = {}{}", "[".repeat(10_000), "]".repeat(10_000)).as_bytes(), &["syntax"]);
    refused(format!("holds = {}1{}", "{a=".repeat(10_000), "}".repeat(10_000)).as_bytes(), &["syntax"]);
    refused(format!("[holds{}]\nx = true", ".a".repeat(10_000)).as_bytes(), &["error["]);
}

#[test]
fn invalid_utf8() {
    refused(
        b"[holds]\nclock = true\n# \xff\xfe\n",
        &["unreadable", "is not UTF-8: line 3, byte 23 of the file"],
    );
}

#[test]
fn duplicate_keys() {
    refused(
        b"[holds]\nclock = true\n[holds]\nentropy = true\n",
        &["syntax", "duplicate key", "capabilities.toml:3:2"],
    );
}

#[test]
fn more_errors_than_anyone_reads() {
    let mut text = String::from("[holds]\n");
    for index in 0..10_000 {
        let _ = writeln!(text, "\"filesystem.x{index}\" = true");
    }
    refused(text.as_bytes(), &["9800 more errors in this file are not listed"]);
}

#[test]
fn lists_that_are_too_long() {
    let entries = |count: usize| vec!["\"a\""; count].join(", ");
    let (code, said) =
        check(format!("[holds]\nfilesystem = {{ read = [{}] }}\n[crates.app]\n", entries(1_024)).as_bytes());
    assert_eq!(code, Some(0), "{said}");
    refused(
        format!("[holds]\nfilesystem = {{ read = [{}] }}\n", entries(1_025)).as_bytes(),
        &["entries in one list: 1025 where at most 1024"],
    );
}

#[test]
fn more_compartments_than_can_run() {
    // Each level doubles the contexts: every crate has two consumers, and each hands on a different half of what it sees.
    let mut text = String::from(
        "[holds]\nfilesystem = { read = [\"x\"] }\n[crates.l0]\ndependencies = [\"l1a\", \"l1b\"]\n",
    );
    let grant = |text: &mut String, from: &str, to: String, path: String| {
        let _ = writeln!(
            text,
            "[crates.{from}.grants.{to}]\nfilesystem = {{ read = [\"{path}\"], at = \"/x\" }}"
        );
    };
    for side in ["a", "b"] {
        grant(&mut text, "l0", format!("l1{side}"), format!("x/{side}"));
    }
    for level in 1..15 {
        let next = level + 1;
        for side in ["a", "b"] {
            let _ = writeln!(text, "[crates.l{level}{side}]\ncompartment = {{ backend = \"wasm\" }}");
            let _ = writeln!(text, "dependencies = [\"l{next}a\", \"l{next}b\"]");
            for other in ["a", "b"] {
                grant(
                    &mut text,
                    &format!("l{level}{side}"),
                    format!("l{next}{other}"),
                    format!("/x/{other}"),
                );
            }
        }
    }
    for side in ["a", "b"] {
        let _ = writeln!(text, "[crates.l15{side}]\ncompartment = {{ backend = \"wasm\" }}");
    }
    let (code, said) = check(text.as_bytes());
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("compartments: 4097 where at most 4096 are resolved"), "{said}");
}

#[test]
fn compartments_nested_too_deep() {
    let nested = |depth: usize| {
        let mut text = String::from("[crates.c0]\ndependencies = [\"c1\"]\n");
        for index in 1..=depth {
            let next = if index < depth { format!("\"c{}\"", index + 1) } else { String::new() };
            let _ = writeln!(
                text,
                "[crates.c{index}]\ndependencies = [{next}]\ncompartment = {{ backend = \"wasm\" }}"
            );
        }
        text
    };
    let (code, said) = check(nested(16).as_bytes());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(nested(17).as_bytes());
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("compartments inside each other: 17 where at most 16 are resolved"), "{said}");
}

#[test]
fn what_reads_otherwise_than_it_is_does_not_reach_the_terminal() {
    // C1 controls and reversed text in a comment beside what a message shows, and in what `--fix` shows and `explain` quotes.
    let text = "[holds]\nclock = true\n[crates.app]\ndependencies = [\"x\"] # \u{9b}2J \u{202e}\n[crates.x]\nconsumes = { clock = \"s\" }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capabilities.toml");
    let path = file.to_str().expect("UTF-8");
    std::fs::write(&file, text).expect("writable");
    for arguments in [
        &["check", "--manifest", path][..],
        &["explain", "--manifest", path, "x", "clock"],
        &["check", "--fix", "--manifest", path],
    ] {
        let run = harness::cofferdam(arguments);
        let said = run.to_string();
        assert!(!said.contains('\u{9b}') && !said.contains('\u{202e}'), "{arguments:?}: {said:?}");
    }
    let (_, said) = check("[crates.app]\nconsumes = { clock = \"\u{9b}31m\" }\n".as_bytes());
    assert!(said.contains("deceptive-name") && !said.contains('\u{9b}'), "{said:?}");
}

#[test]
fn a_terminal_is_not_obeyed() {
    let (_, said) =
        check("[crates.app]\n\"\\u001b[31mred\" = 1\n[crates.\"a\\u001b]0;title\\u0007\"]\n".as_bytes());
    assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
    // A raw control character is no TOML, and its line is shown.
    let (_, said) = check(b"[crates.app]\nx = \"\x1b[31m\"\n# \x1b]0;t\x07\n");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
}
