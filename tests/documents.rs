//! The documents say what the program does: what is generated is fresh, and every command in the README runs.

mod harness;

use std::fmt::Write as _;

use harness::{cofferdam, root};
use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a generated document with its file; `COFFERDAM_BLESS=1` writes it instead.
fn fresh(path: &str, made: &str) {
    if std::env::var_os("COFFERDAM_BLESS").is_some() {
        let path = root().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, made).expect("writable");
    }
    assert!(
        read(path) == made,
        "{path} is stale; run the tests with COFFERDAM_BLESS=1 and review the difference"
    );
}

#[test]
fn the_page_of_codes_is_fresh() {
    let mut made = String::from(
        "# Codes\n\nEvery message of `cofferdam` has one of these codes. A code is never renamed and never used for something else.\n\
         `cofferdam explain CODE` prints the same text. This page is made from the program; a test keeps it fresh.\n",
    );
    for line in cofferdam(&["explain", "codes"]).stdout.lines() {
        let code = line.split_whitespace().next().expect("a code");
        let page = cofferdam(&["explain", code]).stdout;
        let (title, text) = page.split_once("\n\n").expect("a title and a text");
        let (severity, summary) = title.split_once(": ").expect("a severity and a summary");
        let severity = severity.split('[').next().expect("a severity");
        let _ = write!(made, "\n## {code}\n\n*{severity}.* {summary}\n\n{}\n", text.trim_end());
    }
    fresh("docs/codes.md", &made);
}

#[test]
fn the_schemas_are_fresh() {
    for document in [
        "audit", "build", "cache", "check", "diff", "explain", "graph", "inspect", "plan", "report",
        "selftest", "why",
    ] {
        let run = cofferdam(&["schema", document]);
        assert_eq!(run.code, Some(0), "{run}");
        fresh(&format!("docs/schema/{document}-1.json"), &run.stdout);
    }
}

/// What a document lacks of what its schema requires, or has beside it.
fn misfits(schema: &Value, root: &Value, document: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("inside the same file");
        return misfits(root.pointer(pointer).expect("there"), root, document, at, found);
    }
    match document {
        Value::Object(fields) if schema["properties"].is_object() => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            found.extend(
                required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{at} has no {name}")),
            );
            for (name, value) in fields {
                match schema["properties"].get(name) {
                    Some(schema) => misfits(schema, root, value, &format!("{at}.{name}"), found),
                    None => found.push(format!("{at} has {name}, which the schema does not know")),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                misfits(&schema["items"], root, value, &format!("{at}[]"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn what_is_printed_has_what_its_schema_requires() {
    let example = ["--manifest", "examples/thumbnailer/capabilities.toml"];
    let inline = ["--manifest", "tests/valid/fifty_crates.toml"];
    let of = ["app -> layer1-0", "clock"];
    for (document, subject, manifest) in [
        ("check", &[][..], example),
        ("check", &[], inline),
        ("plan", &[], example),
        ("plan", &[], inline),
        ("graph", &[], example),
        ("explain", &of, inline),
    ] {
        let run = cofferdam(&[&[document], subject, &manifest, &["--format", "json"]].concat());
        let printed: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
        let schema: Value =
            serde_json::from_str(&read(&format!("docs/schema/{document}-1.json"))).expect("JSON");
        let mut found = Vec::new();
        misfits(&schema, &schema, &printed, document, &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn the_page_of_the_escape_suite_is_fresh() {
    fresh("docs/escape-suite.md", &cofferdam_selftest::table::page());
}

#[test]
fn the_picture_of_the_example_is_fresh() {
    let run = cofferdam(&["graph", "--manifest", "examples/thumbnailer/capabilities.toml"]);
    fresh("docs/images/thumbnailer.svg", &run.stdout);
}

#[test]
fn every_command_of_the_readme_runs() {
    let readme = read("README.md");
    let commands: Vec<&str> = readme
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("cargo run ")?
                .strip_prefix("-q ")
                .or(line.trim().strip_prefix("cargo run "))?
                .strip_prefix("-- ")
        })
        .map(|line| line.split(" #").next().unwrap_or(line).split(" > ").next().unwrap_or(line).trim())
        .collect();
    assert!(commands.len() >= 3, "the README shows {} commands", commands.len());
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let run = cofferdam(&words);
        assert_eq!(run.code, Some(0), "`{command}`: {run}");
    }
}

#[test]
fn the_manifest_of_the_readme_is_granted() {
    let readme = read("README.md");
    let block =
        readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a manifest");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capabilities.toml");
    std::fs::create_dir_all(folder.path().join("assets")).expect("writable");
    std::fs::write(&file, block).expect("writable");
    let run = cofferdam(&["check", "--deny-warnings", "--manifest", file.to_str().expect("UTF-8")]);
    assert_eq!(run.code, Some(0), "{run}");
}

/// The Rust under a folder, all in one.
fn sources(folder: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all += &std::fs::read_to_string(&path).expect("text");
        }
    }
    all
}

/// Runs what a page shows in the order of the page: a manifest is written, and every command of `cofferdam` succeeds. Blocks of Rust are
/// tests of the crate `cofferdam`; blocks marked `rs` are parts of the scaffold that the page makes, and `tests/new.rs` builds that.
#[test]
fn the_guide_does_what_it_says() {
    for page in ["README.md", "plugins.md", "c-library.md", "declare.md"] {
        let text = read(&format!("docs/guide/src/{page}"));
        let folder = tempfile::tempdir().expect("a folder");
        let mut ran = 0;
        for block in text.split("\n```").skip(1).step_by(2) {
            let (kind, body) = block.split_once('\n').expect("a kind of block");
            match kind {
                "toml" => {
                    let file = body
                        .lines()
                        .next()
                        .and_then(|line| line.strip_prefix("# "))
                        .expect("the name of a file");
                    std::fs::write(folder.path().join(file), body).expect("writable");
                }
                "sh" => {
                    for line in body.lines() {
                        let words: Vec<&str> = line.split_whitespace().collect();
                        match words.as_slice() {
                            ["mkdir", name] => {
                                std::fs::create_dir(folder.path().join(name)).expect("writable");
                            }
                            ["cofferdam", rest @ ..] => {
                                let run = harness::cofferdam_in(folder.path(), rest);
                                assert_eq!(run.code, Some(0), "{page}: {line}: {run}");
                                ran += 1;
                            }
                            _ => panic!("{page}: `{line}` is no command that a test runs"),
                        }
                    }
                }
                "rs" => {
                    let made = sources(folder.path());
                    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
                        assert!(made.contains(line), "{page}: `{line}` is not in what the page makes");
                    }
                }
                kind => {
                    assert!(kind.starts_with("rust") || kind == "text" || kind == "wit", "{page}: {kind}");
                }
            }
        }
        assert!(ran > 0, "{page} shows no command");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents =
        vec!["README.md", "ARCHITECTURE.md", "SPECIFICATION.md", "CONTRIBUTING.md", "CHANGELOG.md"]
            .into_iter()
            .map(|name| root().join(name))
            .collect::<Vec<_>>();
    let mut folders = vec![root().join("docs"), root().join("policies")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    for document in documents {
        let text = std::fs::read_to_string(&document).expect("readable");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || link.contains("://") {
                continue;
            }
            let target = document.parent().expect("a folder").join(path);
            assert!(target.exists(), "{}: `{link}` leads nowhere", document.display());
        }
    }
}

#[test]
fn every_limit_is_in_the_specification() {
    let specification = read("SPECIFICATION.md");
    for file in ["capability-manifest/src/limits.rs", "runtime/host/src/wasm/limits.rs"] {
        let limits = read(file);
        for line in limits.lines().filter_map(|line| line.strip_prefix("pub const ")) {
            let name = line.split(':').next().expect("a name");
            assert!(specification.contains(name), "SPECIFICATION.md does not name {name} of {file}");
        }
    }
}
