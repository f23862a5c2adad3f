//! The arrows and the invariants of ARCHITECTURE.md, read from what is there.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use harness::root;

/// Who may depend on whom. Nothing else, and every crate of the workspace is here.
const ARROWS: [(&str, &[&str]); 30] = [
    ("capability-manifest", &[]),
    ("caption", &["cofferdam", "cofferdam-guest"]),
    ("cofferdam", &["capability-manifest", "cofferdam-bindgen", "cofferdam-launcher", "cofferdam-wire"]),
    ("cofferdam-audit", &["capability-manifest"]),
    ("cofferdam-bindgen", &[]),
    ("cofferdam-cli", &["cofferdam", "cofferdam-audit", "cofferdam-selftest", "cofferdam-toolchain"]),
    ("cofferdam-example-hostile", &["cofferdam", "cofferdam-guest"]),
    ("cofferdam-example-zlib", &["cofferdam", "cofferdam-guest"]),
    ("cofferdam-guest", &["cofferdam-bindgen", "cofferdam-wire"]),
    ("cofferdam-hot-paths", &["capability-manifest", "cofferdam", "cofferdam-wire"]),
    ("cofferdam-launcher", &["cofferdam-wire"]),
    ("cofferdam-selftest", &["cofferdam"]),
    ("cofferdam-selftest-guest", &["cofferdam-wire"]),
    ("cofferdam-test-guests", &["cofferdam-guest", "cofferdam-wire"]),
    ("cofferdam-toolchain", &[]),
    ("cofferdam-unified", &["cofferdam-bindgen", "cofferdam-wire", "counters", "paths"]),
    ("cofferdam-wire", &[]),
    ("counters", &["cofferdam", "cofferdam-guest"]),
    ("evil-decode", &["cofferdam", "cofferdam-guest"]),
    ("exif-read", &["cofferdam", "cofferdam-guest"]),
    ("image-fetch", &["cofferdam", "cofferdam-guest"]),
    ("jpeg-decode", &["cofferdam", "cofferdam-guest"]),
    ("measured", &["cofferdam", "cofferdam-guest"]),
    ("paths", &["cofferdam", "cofferdam-guest"]),
    ("plugin-host", &["cofferdam"]),
    ("png-decode", &["cofferdam", "cofferdam-guest"]),
    ("resize", &["cofferdam", "cofferdam-guest"]),
    ("webp-decode", &["cofferdam", "cofferdam-guest"]),
    ("xtask", &[]),
    (
        "thumbnailer",
        &[
            "caption",
            "cofferdam",
            "cofferdam-toolchain",
            "evil-decode",
            "exif-read",
            "image-fetch",
            "jpeg-decode",
            "png-decode",
            "resize",
            "webp-decode",
        ],
    ),
];

/// What a pure crate may depend on: nothing that reaches the world.
const PURE: &[&str] = &["semver", "serde", "strsim", "thiserror", "toml"];

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs the tests");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Each package of the workspace with its dependencies that ship.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list").iter();
            let shipped = dependencies
                .filter(|one| one["kind"] != "dev")
                .map(|one| one["name"].as_str().expect("text").to_owned());
            (package["name"].as_str().expect("text").to_owned(), shipped.collect())
        })
        .collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let drawn: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, drawn, "every crate of the workspace has its arrows here and in ARCHITECTURE.md");
    for (name, allowed) in ARROWS {
        let found: BTreeSet<&str> =
            dependencies[name].iter().map(String::as_str).filter(|other| ours.contains(other)).collect();
        assert_eq!(found, allowed.iter().copied().collect(), "{name}");
    }
}

#[test]
fn the_pure_crate_has_only_pure_dependencies() {
    let found = &dependencies()["capability-manifest"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), PURE);
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, std::fs::read_to_string(&path).expect("readable")));
            }
        }
    }
    found
}

/// The part of a file before its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn the_pure_crate_names_nothing_of_the_world() {
    for (name, text) in sources("capability-manifest/src") {
        for word in [
            "std::fs",
            "std::env",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "ToSocketAddrs",
            "std::process",
            "std::thread",
            "std::time",
            "std::io",
            "SystemTime",
            "Instant",
        ] {
            for (number, line) in shipped(&text).lines().enumerate() {
                let code = line.trim_start();
                let is_text = code.starts_with("//") || code.starts_with('"');
                assert!(is_text || !code.contains(word), "{name}:{}: {word}", number + 1);
            }
        }
    }
}

#[test]
fn a_grant_is_made_in_one_place() {
    let mut makers = BTreeSet::new();
    for folder in ["capability-manifest/src", "audit/src", "runtime/host/src", "toolchain/src", "cli/src"] {
        for (name, text) in sources(folder) {
            if shipped(&text).contains("Grant::new(") {
                makers.insert(name);
            }
        }
    }
    assert_eq!(makers.into_iter().collect::<Vec<_>>(), ["capability-manifest/src/resolve.rs"]);
    let grant =
        std::fs::read_to_string(root().join("capability-manifest/src/resolve/grant.rs")).expect("readable");
    let declaration =
        grant.split("pub struct Grant {").next().expect("there").lines().last().expect("a derive");
    assert!(declaration.contains("derive") && !declaration.contains("Clone"), "{declaration}");
    assert!(grant.contains("pub(super) fn new(from: CrateIndex"), "only the resolver can call it");
}

#[test]
fn only_the_programs_make_ambient_authority() {
    let mut makers = BTreeSet::new();
    for folder in ["capability-manifest/src", "audit/src", "runtime/host/src", "toolchain/src", "cli/src"] {
        for (name, text) in sources(folder) {
            // Examples in the documentation are programs of their own, and so are tests, which come last in a file.
            let code = |line: &&str| !line.trim_start().starts_with("//");
            let shipped = text.lines().take_while(|line| *line != "#[cfg(test)]");
            if shipped.filter(code).any(|line| line.contains("ambient_authority()")) {
                makers.insert(name);
            }
        }
    }
    assert_eq!(makers.into_iter().collect::<Vec<_>>(), ["cli/src/bin/cargo-cofferdam.rs", "cli/src/main.rs"]);
}

#[test]
fn unsafe_code_is_forbidden_where_nothing_needs_it() {
    for name in [
        "audit/src/lib.rs",
        "capability-manifest/src/lib.rs",
        "runtime/bindgen/src/lib.rs",
        "toolchain/src/lib.rs",
        "cli/src/lib.rs",
    ] {
        let text = std::fs::read_to_string(root().join(name)).expect("readable");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name}");
    }
}

/// The files that may hold `unsafe`, and nothing else may.
const UNSAFE: &[&str] = &[
    "runtime/guest/src/sys.rs",
    "runtime/host/src/hot.rs",
    "runtime/host/src/wasm/unchecked.rs",
    "runtime/launcher/src/sys/mod.rs",
    "runtime/wire/src/memory.rs",
    "runtime/wire/src/notification.rs",
];

#[test]
fn unsafe_code_is_in_few_named_files() {
    for folder in ["audit/src", "runtime", "toolchain/src", "cli/src"] {
        for (name, text) in sources(folder) {
            let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
            let found = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe impl")).count();
            assert_eq!(found > 0, UNSAFE.contains(&name.as_str()), "{name}: {found} blocks");
            let justified = text.matches("// SAFETY: ").count();
            assert!(justified >= found, "{name}: {found} blocks, {justified} reasons");
        }
    }
}

/// One that is missing would make every build after a test, and every test after a build, compile the engine anew.
#[test]
fn building_and_testing_have_the_same_features() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    let named = |name: &str| packages.iter().find(|package| package["name"] == name);
    let dependencies =
        |package: &serde_json::Value| package["dependencies"].as_array().expect("a list").clone();
    let unified = dependencies(named("cofferdam-unified").expect("a member"));
    let all = |one: &serde_json::Value| -> Vec<String> {
        let features = one["features"].as_array().expect("a list").iter();
        let default = one["uses_default_features"].as_bool().expect("a choice").then(|| "default".to_owned());
        features.map(|feature| feature.as_str().expect("a name").to_owned()).chain(default).collect()
    };
    let mut seen = 0;
    for package in packages {
        for wanted in dependencies(package).iter().filter(|one| one["kind"] == "dev") {
            let name = wanted["name"].as_str().expect("a name");
            if named(name).is_some() {
                continue;
            }
            // What a macro's tests turn on is turned on for macros.
            assert_ne!(package["name"], "cofferdam-bindgen", "its tests are in tests/unified");
            let found = unified.iter().find(|one| one["name"] == name).map(all).unwrap_or_default();
            let missing: Vec<String> =
                all(wanted).into_iter().filter(|feature| !found.contains(feature)).collect();
            assert!(
                missing.is_empty() && unified.iter().any(|one| one["name"] == name),
                "{}: its tests need `{name}`, which tests/unified has not, or not with {missing:?}",
                package["name"]
            );
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    let section =
        text.split("[workspace.dependencies]").nth(1).expect("there").split("\n[").next().expect("there");
    for line in section.lines().filter(|line| {
        line.contains(" = ") && !line.trim_start().starts_with('#') && !line.contains("path = ")
    }) {
        let reason = line.split_once(" # ").map(|(_, reason)| reason.trim());
        assert!(reason.is_some_and(|reason| reason.len() > 10), "{line}");
    }
}
