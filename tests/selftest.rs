//! `cofferdam selftest`, as a user runs it, once as an ordinary user when the tests run as root.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod ordinary;
#[path = "static_guests.rs"]
mod static_guests;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use static_guests::{launcher, static_guest};

fn passes(mut command: Command) {
    let output = command.args(["selftest", "--format", "json"]).output().expect("cargo built it");
    let text = String::from_utf8_lossy(&output.stdout);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    let attempts = document["attempts"].as_array().expect("a list");
    let failed: Vec<_> = attempts.iter().filter(|attempt| attempt["passed"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(attempts.len() > 200, "{}", attempts.len());
    assert_eq!((output.status.code(), &document["passed"]), (Some(0), &true.into()), "{document}");
}

/// The programs in a folder of their own, as they are installed: where anybody can run them.
fn installed(folder: &Path) {
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    };
    open(folder);
    for (from, name) in [
        (Path::new(env!("CARGO_BIN_EXE_cofferdam")), "cofferdam"),
        (&launcher(), "cofferdam-launcher"),
        (&static_guest("cofferdam-selftest-guest", "cofferdam-selftest-guest"), "cofferdam-selftest-guest"),
    ] {
        std::fs::copy(from, folder.join(name)).expect("copied");
        open(&folder.join(name));
    }
}

#[test]
fn an_installed_suite_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    installed(folder.path());
    let own = folder.path().join("cofferdam");
    if rustix::process::geteuid().is_root() {
        let (_, mut command) = ordinary::ordinary(&own);
        command.env_remove("COFFERDAM_LAUNCHER");
        passes(command);
    } else {
        passes(Command::new(own));
    }
}

/// One that is slowed down already, by so many steps that a fixed number would not show.
#[test]
fn an_attempt_on_priorities_works_from_any_niceness() {
    let folder = tempfile::tempdir().expect("a folder");
    installed(folder.path());
    let own = rustix::process::getpriority_process(None).expect("always known");
    // At 19 nothing can be slowed down further, and the suite says that it does not try.
    for steps in [0, 5, 7].into_iter().filter(|steps| own + steps < 19) {
        let mut command = Command::new("nice");
        command.args(["-n", &steps.to_string()]).arg(folder.path().join("cofferdam"));
        command.args(["selftest", "--trial", "26a control"]).env_remove("COFFERDAM_LAUNCHER");
        let output = command.output().expect("every system has it");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("\"passed\":true"), "{steps}: {said}");
    }
}

#[test]
fn what_is_missing_is_named_with_what_gets_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("cofferdam");
    std::fs::copy(env!("CARGO_BIN_EXE_cofferdam"), &own).expect("copied");
    let run = |more: &[(&str, &Path)]| {
        let mut command = Command::new(&own);
        command.arg("selftest").env("CARGO_HOME", folder.path()).env("HOME", folder.path());
        command.env_remove("COFFERDAM_LAUNCHER").env_remove("COFFERDAM_SELFTEST_GUEST");
        let output = command.envs(more.iter().copied()).output().expect("copied");
        assert_eq!(output.status.code(), Some(5));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&[]);
    assert!(said.contains("cargo install --locked --path runtime/launcher"), "{said}");
    let said = run(&[("COFFERDAM_LAUNCHER", &launcher())]);
    for says in [
        "+crt-static",
        "--path tests/escape/guest --target x86_64-unknown-linux-gnu",
        "COFFERDAM_SELFTEST_GUEST",
    ] {
        assert!(said.contains(says), "{says} in {said}");
    }
}

#[test]
fn inspect_says_what_a_native_guest_lacks() {
    let inspect = |program: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        let output = command.arg("inspect").arg(program).args(more).output().expect("cargo built it");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let guest = static_guest("cofferdam-selftest-guest", "cofferdam-selftest-guest");
    let (code, said) = inspect(&guest, &[]);
    assert_eq!(code, Some(0));
    for line in ["static                 yes", "random addresses       yes", "stack without code     yes"] {
        assert!(said.contains(line), "{line} in {said}");
    }
    // A dynamic program that every system has.
    let (code, said) = inspect(Path::new("/bin/true"), &["--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &document["is_static"]), (Some(0), &false.into()));
    assert!(document["lacks"][0].as_str().is_some_and(|what| what.contains("crt-static")), "{said}");
}
