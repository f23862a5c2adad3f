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
        &["too-large", "has more than the 8388608 bytes that are read"],
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

/// A text that is accepted at a limit, and one that is refused just past it with these words.
fn at_the_limit(fits: &str, exceeds: &str, code: i32, parts: &[&str]) {
    let (found, said) = check(fits.as_bytes());
    assert_eq!(found, Some(0), "at the limit: {}", &said[..said.len().min(2000)]);
    let (found, said) = check(exceeds.as_bytes());
    assert_eq!(found, Some(code), "past the limit: {}", &said[..said.len().min(2000)]);
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in:\n{}", &said[..said.len().min(2000)]);
    }
}

#[test]
fn bytes_of_a_manifest() {
    let text = |bytes: usize| {
        let head = "[crates.app]\n#";
        format!("{head}{}", "x".repeat(bytes - head.len()))
    };
    at_the_limit(
        &text(8 << 20),
        &text((8 << 20) + 1),
        3,
        &["too-large", "has more than the 8388608 bytes that are read"],
    );
}

#[test]
fn length_of_a_chain() {
    let chain = |edges: usize| {
        let mut text = format!("[crates.c{edges}]\n");
        for index in 0..edges {
            let _ = writeln!(text, "[crates.c{index}]\ndependencies = [\"c{}\"]", index + 1);
        }
        text
    };
    at_the_limit(
        &chain(4_096),
        &chain(4_097),
        3,
        &["edges in one chain of dependencies: 4097 where at most 4096"],
    );
}

#[test]
fn dependencies_of_a_graph() {
    let text =
        |edges: usize| format!("[crates.b]\n[crates.a]\ndependencies = [{}]\n", "\"b\",".repeat(edges));
    at_the_limit(&text(1_048_576), &text(1_048_577), 3, &["dependencies: 1048577 where at most 1048576"]);
}

#[test]
fn lengths_of_reasons_and_names() {
    let reason = |bytes: usize| {
        format!("[holds]\nclock = true\n[crates.a]\nconsumes = {{ clock = \"{}\" }}\n", "x".repeat(bytes))
    };
    at_the_limit(&reason(2_048), &reason(2_049), 3, &["a reason is 2049 bytes long; at most 2048"]);
    let name = |bytes: usize| {
        let name = "X".repeat(bytes);
        format!(
            "[holds]\nenvironment = {{ read = [\"{name}\"] }}\n[crates.a]\nconsumes = {{ \"environment.read\" = \"r\" }}\n"
        )
    };
    at_the_limit(&name(256), &name(257), 3, &["257 bytes long; at most 256"]);
    let host = |bytes: usize| {
        let label = "a".repeat(62);
        let host = format!("{label}.{label}.{label}.{}", "b".repeat(bytes - 189));
        format!(
            "[holds]\nnetwork = {{ connect = [\"{host}:1\"] }}\n[crates.a]\nconsumes = {{ \"network.connect\" = \"r\" }}\n"
        )
    };
    at_the_limit(&host(252), &host(254), 3, &["bad-host"]);
}

#[test]
fn names_that_crates_export() {
    let text = |names: usize| {
        let mut text = String::from("[crates.app]\n");
        for index in 0..names {
            let _ = writeln!(
                text,
                "[crates.c{index}]\nexports = {{ \"own.x{index}\" = {{ items = [\"f\"], reason = \"r\" }} }}"
            );
        }
        text
    };
    at_the_limit(&text(1_024), &text(1_025), 4, &["names beside the host's: 1025 where at most 1024"]);
}

#[test]
fn patterns_of_one_inline_crate() {
    // Consumers of one inline crate, each with as many paths as a list may have.
    let text = |paths: usize| {
        let mut text = String::from(
            "[holds]\nfilesystem = { read = [\".\"] }\n[crates.hub]\nconsumes = { \"filesystem.read\" = \"r\" }\n",
        );
        let consumers: Vec<(usize, usize)> =
            (0..paths).step_by(1_024).map(|first| (first, (first + 1_024).min(paths))).collect();
        let names: Vec<String> = consumers.iter().map(|(first, _)| format!("\"c{first}\"")).collect();
        let _ = writeln!(text, "[crates.app]\ndependencies = [{}]", names.join(", "));
        for (first, last) in consumers {
            let list: Vec<String> = (first..last).map(|index| format!("\"p{index}\"")).collect();
            let list = list.join(", ");
            let _ = writeln!(
                text,
                "[crates.c{first}]\ndependencies = [\"hub\"]\n[crates.app.grants.c{first}]\nfilesystem = {{ read = [{list}] }}"
            );
            let _ = writeln!(text, "[crates.c{first}.grants.hub]\nfilesystem = {{ read = [{list}] }}");
        }
        text
    };
    at_the_limit(
        &text(4_096),
        &text(4_097),
        4,
        &["patterns in the union of one inline crate: 4097 where at most 4096"],
    );
}

#[test]
fn edges_in_all_contexts() {
    // An inline crate with many dependencies, linked into many compartments.
    let text = |compartments: usize| {
        let names = |prefix: &str, count: usize| {
            (0..count).map(|index| format!("\"{prefix}{index}\"")).collect::<Vec<_>>().join(", ")
        };
        let mut text = format!("[crates.app]\ndependencies = [{}]\n", names("w", compartments));
        let _ = writeln!(text, "[crates.hub]\ndependencies = [{}]", names("d", 200));
        for index in 0..compartments {
            let _ = writeln!(
                text,
                "[crates.w{index}]\ndependencies = [\"hub\"]\ncompartment = {{ backend = \"wasm\" }}"
            );
        }
        for index in 0..200 {
            let _ = writeln!(text, "[crates.d{index}]");
        }
        text
    };
    at_the_limit(&text(2_500), &text(2_700), 4, &["edges in all contexts: ", "where at most 524288"]);
}

#[test]
fn more_denials_than_anyone_reads() {
    let names: Vec<String> = (0..30_000).map(|index| format!("\"c{index}\"")).collect();
    let mut text = format!("[crates.app]\ndependencies = [{}]\n", names.join(", "));
    for index in 0..30_000 {
        let _ = writeln!(text, "[crates.c{index}]\nconsumes = {{ \"filesystem.read\" = \"r\" }}");
    }
    let (code, said) = check(text.as_bytes());
    assert_eq!(code, Some(4), "{}", &said[..said.len().min(2000)]);
    assert!(
        said.contains("29800 more denials are not listed"),
        "{}",
        &said[said.len().saturating_sub(2000)..]
    );
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

/// What is bounded is what is kept: a range of ports that others take pieces from is several, and a version is longer written out.
#[test]
fn what_grows_when_it_is_read() {
    let holes = |count: usize| {
        let holes: Vec<String> = (1..=count).map(|index| format!("\"*.b:{}\"", 2 * index)).collect();
        format!("[holds]\nnetwork = {{ connect = [\"a.b:1-65535\", {}] }}\n[crates.app]\n", holes.join(", "))
    };
    let (code, said) = check(holes(511).as_bytes());
    assert_eq!(code, Some(0), "{said}");
    refused(holes(512).as_bytes(), &["entries in one list: 1025 where at most 1024"]);
    let versions = |last: &str| {
        let versions = [vec![">=1.0.0-aaa"; 19].join(","), last.to_owned()].join(",");
        let app = "[crates.app]\ndependencies = [\"b\"]\n";
        let b = "[crates.\"b@1.0.0\"]\n";
        format!(
            "[grants.\"app -> b\"]\nentropy = true\nversion = \"{versions}\"\n{app}{b}[holds]\nentropy = true\n"
        )
    };
    let (code, said) = check(versions(">=1.0.0").as_bytes());
    assert_eq!(code, Some(0), "{said}");
    refused(versions(">=1.0.0-aaa").as_bytes(), &["`version`, written out, is 258 bytes long; at most 256"]);
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
fn file_names_deceive_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a\u{1b}[31m\u{202e}red\nx.toml");
    std::fs::write(&file, "[crates.app]\ndependencies = [\"x\"]\n[crates.x]\nconsumes = { clock = \"c\" }\n")
        .expect("writable");
    let path = file.to_str().expect("UTF-8");
    for arguments in [
        &["check", "--manifest", path][..],
        &["check", "--format", "json", "--manifest", path],
        &["explain", "--manifest", path, "x", "clock"],
        &["check", "--fix", "--manifest", path],
    ] {
        let said = harness::cofferdam(arguments).to_string();
        assert!(
            !said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains("red\nx"),
            "{arguments:?}: {said:?}"
        );
    }
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
