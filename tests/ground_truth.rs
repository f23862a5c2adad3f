//! What crates are known to reach, against what is found in them: no capability is missed, and hardly any is invented. The crates
//! are those of this repository's lock file, so that nothing has to be fetched; `policies/crates/` is held to the same code.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cofferdam_audit::Claims;
use harness::root;
use serde::Deserialize;

/// A crate whose code people have read: what it has to be found to reach, and what else is true of it.
struct Truth {
    name: &'static str,
    must: &'static [&'static str],
    may: &'static [&'static str],
}

const fn truth(name: &'static str, must: &'static [&'static str], may: &'static [&'static str]) -> Truth {
    Truth { name, must, may }
}

/// A probe of the compiler by a build script, as dtolnay's crates have one.
const PROBE: &[&str] =
    &["build.environment.read", "build.filesystem.write", "build.process.exit", "build.embed"];

const TRUTHS: &[Truth] = &[
    truth("anyhow", &["build.script", "build.process.spawn"], PROBE),
    truth("bytes", &["process.exit"], &[]),
    truth(
        "cc",
        &["build.process.spawn", "build.environment.read", "build.filesystem.read", "build.filesystem.write"],
        &["build.process.exit", "build.entropy", "build.thread", "build.clock"],
    ),
    truth("cargo_metadata", &["process.spawn", "environment.read"], &[]),
    truth("clap_builder", &["environment.read", "stdio", "process.exit"], &[]),
    truth("crc32fast", &["build.script", "build.process.spawn"], &["build.environment.read"]),
    truth("crossbeam-utils", &["thread", "clock"], &["build.script", "process.exit"]),
    truth("etcetera", &["environment.read"], &["filesystem.read"]),
    truth("flate2", &[], &[]),
    truth(
        "getrandom",
        &["filesystem.read", "dlopen", "entropy", "raw-syscall"],
        &["ffi", "asm", "build.link", "build.script", "filesystem.write", "system-info"],
    ),
    truth("gimli", &[], &[]),
    truth("hashbrown", &[], &[]),
    truth("http-body", &[], &[]),
    truth("hyper", &["clock"], &["stdio"]),
    truth("indexmap", &[], &[]),
    truth("itoa", &[], &[]),
    truth(
        "landlock",
        &["privilege", "filesystem.read"],
        &["filesystem.write", "handle-forge", "ffi", "raw-syscall"],
    ),
    truth(
        "libz-sys",
        &["ffi", "build.script", "build.link"],
        &[
            "build.process.spawn",
            "build.environment.read",
            "build.filesystem.read",
            "build.filesystem.write",
            "build.embed",
        ],
    ),
    truth("log", &[], &[]),
    truth("memchr", &[], &[]),
    truth("memfd", &["handle-forge"], &[]),
    truth(
        "mio",
        &["network.connect", "network.listen", "network.unix", "device"],
        &["handle-forge", "clock"],
    ),
    truth(
        "pkg-config",
        &["build.process.spawn", "build.environment.read"],
        &["build.filesystem.read", "build.stdio"],
    ),
    truth(
        "proc-macro2",
        &["build.script", "build.process.spawn"],
        &[
            "build.environment.read",
            "build.filesystem.write",
            "build.process.exit",
            "build.embed",
            "runtime-hook",
            "build.runtime-hook",
        ],
    ),
    truth(
        "psm",
        &["ffi", "build.script"],
        &["build.filesystem.read", "build.filesystem.write", "build.process.spawn", "build.environment.read"],
    ),
    truth("rand", &[], &[]),
    truth(
        "rayon-core",
        &["thread", "environment.read", "process.exit"],
        &["build.script", "build.link", "stdio", "system-info", "clock"],
    ),
    truth("regex-syntax", &[], &[]),
    truth(
        "ring",
        &["ffi", "build.script", "build.process.spawn", "build.environment.read", "build.filesystem.write"],
        &["asm", "build.filesystem.read", "build.link", "build.embed"],
    ),
    truth(
        "rustix",
        &[
            "raw-syscall",
            "asm",
            "filesystem.read",
            "filesystem.write",
            "network.connect",
            "process.spawn",
            "build.process.spawn",
        ],
        &[
            "clock",
            "device",
            "dlopen",
            "environment.read",
            "environment.write",
            "ffi",
            "filesystem.watch",
            "handle-forge",
            "ipc",
            "mmap.anonymous",
            "mmap.executable",
            "mmap.file",
            "network.listen",
            "network.unix",
            "privilege",
            "process.exit",
            "process.signal",
            "signal",
            "system-info",
            "stdio",
            "thread",
            "entropy",
            "build.filesystem.read",
            "build.filesystem.write",
            "build.script",
            "build.environment.read",
        ],
    ),
    truth("rustls", &["environment.read", "filesystem.write"], &["build.script", "clock"]),
    truth("semver", &[], &[]),
    truth(
        "serde",
        &["build.script", "build.process.spawn", "build.filesystem.write"],
        &["build.environment.read"],
    ),
    truth(
        "serde_core",
        &["build.script", "build.process.spawn", "build.filesystem.write"],
        &["build.environment.read"],
    ),
    truth("serde_derive", &["build.proc-macro"], &[]),
    truth("serde_json", &[], &["build.script"]),
    truth("smallvec", &[], &[]),
    truth("socket2", &["network.connect", "network.listen", "network.unix", "handle-forge"], &["clock"]),
    truth("syn", &[], &[]),
    truth("tempfile", &["filesystem.write", "environment.read"], &["filesystem.read"]),
    truth("terminal_size", &["handle-forge"], &["stdio"]),
    truth(
        "tokio",
        &["network.dns", "thread", "clock"],
        &[
            "entropy",
            "environment.read",
            "filesystem.read",
            "filesystem.write",
            "handle-forge",
            "process.exit",
            "process.spawn",
            "stdio",
            "system-info",
            "signal",
            "network.connect",
            "network.listen",
            "network.unix",
        ],
    ),
    truth("toml", &[], &[]),
    truth("tracing-subscriber", &["environment.read", "stdio", "clock"], &[]),
    truth("url", &["network.dns"], &["filesystem.read", "environment.read"]),
];

#[derive(Deserialize)]
struct Printed {
    claim: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    read: Vec<String>,
    uses: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
}

#[test]
fn nothing_is_missed_and_hardly_anything_invented() {
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("ground-truth");
    let run = harness::cofferdam_with(
        &root(),
        &["audit", "--claims", "--locked"],
        &[("COFFERDAM_CACHE", cache.to_str().expect("UTF-8"))],
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let printed: Printed = toml::from_str(&run.stdout).expect("entries as policies/crates/ has them");
    let mut found: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &printed.claim {
        found.entry(&entry.name).or_default().push(entry);
    }

    let mut wrong = String::new();
    let mut invented = Vec::new();
    let mut judged = 0;
    for truth in TRUTHS {
        let Some(entries) = found.get(truth.name) else { continue };
        judged += 1;
        // Of several versions, together they have to reach all of it, and none of them more.
        let all: BTreeSet<&str> = entries.iter().flat_map(|entry| &entry.uses).map(String::as_str).collect();
        for name in truth.must.iter().filter(|name| !all.contains(**name)) {
            let _ = writeln!(wrong, "{}: {name} is missed", truth.name);
        }
        for name in all.iter().filter(|name| !truth.must.contains(name) && !truth.may.contains(name)) {
            invented.push(format!("{}: {name}", truth.name));
        }
    }
    assert!(judged >= 40, "only {judged} of these crates are in the lock file");
    assert_eq!(wrong, "");
    assert!(invented.len() <= judged / 25, "too many in {judged} crates: {invented:?}");

    let claims = Claims::load().expect("valid claims");
    assert!(claims.crates() >= 120, "{} crates", claims.crates());
    let mut compared = 0;
    for entry in &printed.claim {
        let Some(claim) = claims.of(&entry.name, &entry.read[0]) else { continue };
        compared += 1;
        let known: BTreeSet<String> =
            claim.uses.iter().chain(&claim.elsewhere).map(ToString::to_string).collect();
        for name in entry.uses.union(&entry.elsewhere).filter(|name| !known.contains(*name)) {
            let _ = writeln!(
                wrong,
                "policies/crates/ does not know that {} {} reaches {name}",
                entry.name, entry.read[0]
            );
        }
        let uses: BTreeSet<String> = claim.uses.iter().map(ToString::to_string).collect();
        let read_this = claim.read.iter().any(|version| version.to_string() == entry.read[0]);
        for name in uses.difference(&entry.uses).filter(|_| read_this) {
            let _ = writeln!(
                wrong,
                "policies/crates/ says that {} {} reaches {name}, and it does not",
                entry.name, entry.read[0]
            );
        }
    }
    assert!(compared >= 120, "only {compared} claims are about crates of the lock file");
    assert_eq!(wrong, "");
}
