//! Every manifest under `tests/invalid` is refused with the message in its snapshot, and every one under `tests/valid` is
//! granted. A fixture is named after its flaw, and begins with a line about it.

mod harness;

use std::collections::BTreeSet;

use harness::{cofferdam, root};

fn fixtures(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join("tests").join(folder)).expect("the folder is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned())
        .collect();
    names.sort();
    names
}

fn snapshot(folder: &str, name: &str, run: &harness::Run) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, run.to_string()));
}

#[test]
fn every_invalid_manifest_is_refused_with_its_message() {
    let names = fixtures("invalid");
    assert!(names.len() >= 60, "only {} fixtures", names.len());
    for name in names {
        let run = cofferdam(&["check", "--manifest", &format!("tests/invalid/{name}.toml")]);
        assert!(matches!(run.code, Some(3 | 4)), "{name}: {run}");
        snapshot("invalid", &name, &run);
    }
}

#[test]
fn every_valid_manifest_is_granted() {
    for name in fixtures("valid") {
        let file = format!("tests/valid/{name}.toml");
        let run = cofferdam(&["check", "--manifest", &file]);
        assert_eq!(run.code, Some(0), "{name}: {run}");
        snapshot("valid", &name, &run);
        let plan = cofferdam(&["plan", "--manifest", &file]);
        snapshot("plans", &name, &plan);
    }
}

/// Errors that these fixtures cannot cause, each with the test that does.
const ELSEWHERE: [&str; 17] = [
    "import-not-consumed", // build.rs
    "import-unknown",      // `judge` of the library
    "undeclared",          // reported as a list, not as a finding: commands.rs
    "unreadable",          // hostile.rs
    "too-large",           // hostile.rs, and `name_too_long` here
    "no-roots",            // commands.rs
    "path-missing",        // commands.rs
    // About code, which these files have none of: audit.rs.
    "reach-not-granted",
    "reach-not-held",
    "reach-not-declared",
    "unused-claim",
    "untagged-unsafe",
    "not-analysed",
    // The same: evasion.rs.
    "grant-not-reached",
    "build-script-changed",
    "new-edge",
    "claim-disagrees",
];

#[test]
fn every_code_is_shown_by_a_fixture() {
    let mut shown = BTreeSet::new();
    for folder in ["invalid", "valid"] {
        for name in fixtures(folder) {
            let run = cofferdam(&["check", "--manifest", &format!("tests/{folder}/{name}.toml")]);
            for line in run.stderr.lines() {
                let code = line.strip_prefix("error[").or(line.strip_prefix("warning["));
                if let Some((code, _)) = code.and_then(|rest| rest.split_once(']')) {
                    shown.insert(code.to_owned());
                }
            }
        }
    }
    let codes = cofferdam(&["explain", "codes"]).stdout;
    for code in codes.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(shown.contains(code) || ELSEWHERE.contains(&code), "no fixture shows `{code}`");
        let page = cofferdam(&["explain", code]);
        assert_eq!(page.code, Some(0));
        assert!(page.stdout.contains(&format!("[{code}]")) && page.stdout.lines().count() >= 3, "{page}");
    }
}
