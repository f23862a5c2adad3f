//! Machines without user namespaces: nothing starts, unless the workspace accepts that by name, and then everything says so.
//!
//! The kernel forbids them for real, in a namespace of our own where that setting is ours.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod family;
mod lines;
mod native;

use std::process::Command;

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::manifest::{Files, Form, ManifestText, parse};
use cofferdam::process::{FaultKind, ProcessCompartment, StartError, Tier, examine_ambient};
use native::{ALONE, Events, Guest, as_an_ordinary_user, guest, host, is_alone, planned_with, violation};

/// Runs one test of this program again where the kernel gives no user namespaces. True in there.
fn without_namespaces(test: &str) -> bool {
    if is_alone() {
        return true;
    }
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .env("COFFERDAM_TEST_GUESTS", guest("fixture").parent().expect("a folder"))
        .output()
        .expect("util-linux is everywhere");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

const ACCEPTED: &str = "[compartments.guest]\nweakenings = { namespaces = \"the build farm has none\" }\n";

fn try_start(grants: &str, workspace: &str) -> (Result<Guest, StartError>, lines::Lines) {
    let (log, folder) = (lines::Lines::default(), native::folder_with_file());
    let started = ProcessCompartment::start_ambient(
        host(),
        &planned_with(grants, "", workspace),
        &guest("fixture"),
        folder.path(),
        &AuditLog::to_writer(log.clone()),
        ambient_authority(),
    );
    (started.map(|compartment| Guest { compartment, log: log.clone(), folder }), log)
}

fn layers(guest: &Guest) -> Vec<String> {
    let confined = guest.log.events("confined").pop().expect("recorded");
    serde_json::from_value(confined["layers"].clone()).expect("texts")
}

#[test]
fn without_user_namespaces_nothing_starts_and_the_doctor_says_why() {
    if !without_namespaces("without_user_namespaces_nothing_starts_and_the_doctor_says_why") {
        return;
    }
    let found = examine_ambient(host(), ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.tier, Tier::WithoutNamespaces, "{found}");
    let text = found.to_string();
    assert!(text.contains("sudo sysctl -w user.max_user_namespaces="), "{text}");
    assert!(text.contains("weakenings = { namespaces = "), "{text}");
    let (started, log) = try_start("", "");
    let error = started.err().expect("it does not start");
    assert!(matches!(error, StartError::Layer { .. }) && error.to_string().contains("namespaces"), "{error}");
    assert!(log.events("weakening").is_empty());
}

#[test]
fn an_accepted_weakening_starts_and_says_so_everywhere() {
    if !without_namespaces("an_accepted_weakening_starts_and_says_so_everywhere") {
        return;
    }
    let (started, _) = try_start("entropy = true", ACCEPTED);
    let mut guest = started.unwrap_or_else(|error| panic!("{error}"));
    guest.lives();
    let said = guest.log.events("weakening");
    let reason = said[0]["reason"].as_str().expect("text");
    assert!(
        reason.contains("no namespaces") && reason.ends_with("accepted: the build farm has none"),
        "{reason}"
    );
    let weakened: Vec<String> = layers(&guest).into_iter().filter(|one| one.contains("WEAKENED")).collect();
    let names: Vec<&str> = weakened.iter().filter_map(|one| one.split(':').next()).collect();
    assert_eq!(names, ["namespaces", "identity", "empty root"], "{weakened:?}");
    assert!(weakened[0].contains("the build farm has none"));
    // Everything else holds: the filter, the grants, the reports, the end.
    guest.call(318, &[0, 0, 0]).expect("granted");
    for (number, arguments, name) in [
        (257, &[0, 0, 0][..], "openat"),
        (62, &[1, 9], "kill"),
        (90, &[0, 0], "chmod"),
        (4, &[0, 0], "stat"),
        (41, &[2, 1, 0], "socket"),
        (57, &[], "fork"),
        (302, &[1, 7, 0, 0], "prlimit64"),
    ] {
        assert_eq!(violation(guest.call(number, arguments).expect_err("nothing allows it")).0, name);
        guest.lives();
    }
    let open: Vec<i32> = guest.compartment.call_typed("descriptors", &()).expect("an answer");
    assert_eq!(open, [0, 1, 2, 3, 4]);
    let error = guest.fails("crash");
    assert!(
        matches!(error, cofferdam::process::CallError::Fault { kind: FaultKind::Signal(11, _), .. }),
        "{error}"
    );
    guest.lives();
    // Each start without them is said, not only the first.
    assert!(guest.log.events("weakening").len() > 7);
}

/// What the kernel says of the speculation of the guest that runs.
fn speculation() -> Vec<String> {
    let guest = family::guest_of(std::process::id()).expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{guest}/status")).expect("its parent may");
    status.lines().filter(|line| line.starts_with("Speculation")).map(str::to_owned).collect()
}

#[test]
fn a_guest_speculates_only_where_that_is_accepted_and_then_it_says_so() {
    if !is_alone() {
        let output =
            native::alone("a_guest_speculates_only_where_that_is_accepted_and_then_it_says_so").output();
        let output = output.expect("it was built");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let (started, log) = try_start("", "");
    let guest = started.unwrap_or_else(|error| panic!("{error}"));
    let strict = speculation();
    assert!(log.events("weakening").is_empty());
    drop(guest);
    let (started, _) =
        try_start("", "[compartments.guest]\nweakenings = { speculation = \"it reads no secrets\" }\n");
    let mut guest = started.unwrap_or_else(|error| panic!("{error}"));
    let said = guest.log.events("weakening");
    assert_eq!(said[0]["reason"], "no speculation control; accepted: it reads no secrets");
    let layers = layers(&guest);
    let layer = layers.iter().find(|one| one.starts_with("speculation control")).expect("listed");
    assert_eq!(layer, "speculation control: not asked for (WEAKENED: it reads no secrets)");
    guest.lives();
    // Where the processor has a control, the kernel tells the two apart.
    let (loose, forced) = (speculation(), strict.iter().any(|line| line.contains("force")));
    assert_eq!(strict != loose, forced, "{strict:?} {loose:?}");
}

#[test]
fn what_only_namespaces_hold_is_refused_without_them() {
    if !without_namespaces("what_only_namespaces_hold_is_refused_without_them") {
        return;
    }
    for grants in [
        "filesystem = { read = [\"data\"] }",
        "filesystem = { write = [\"data\"] }",
        "thread = true",
        "system-info = true",
        "process = { signal = true }",
        "mmap = { file = true }",
    ] {
        let (started, log) = try_start(grants, ACCEPTED);
        let error = started.err().expect(grants);
        assert!(
            matches!(error, StartError::CannotEnforce { .. })
                && error.to_string().contains("without namespaces"),
            "{grants}: {error}"
        );
        assert!(log.events("weakening").is_empty(), "nothing ran weakened");
    }
}

#[test]
fn a_weakening_changes_nothing_where_namespaces_are() {
    if is_alone() {
        return;
    }
    let (started, log) = try_start("", ACCEPTED);
    let mut guest = started.unwrap_or_else(|error| panic!("{error}"));
    guest.lives();
    assert!(log.events("weakening").is_empty());
    assert!(layers(&guest).iter().any(|layer| layer.starts_with("namespaces: enforced")));
}

#[test]
fn only_the_workspace_accepts_it_and_only_with_a_reason() {
    let errors = |text: &str| -> Vec<String> {
        let mut files = Files::default();
        let text = ManifestText::from_bytes("capabilities.toml", text.into()).expect("small");
        let file = files.add(text);
        match parse(file, files.get(file), Form::Standalone) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| error.kind.to_string()).collect(),
        }
    };
    assert!(errors(ACCEPTED).is_empty());
    for (text, says) in [
        ("[crates.guest.compartment]\nweakenings = { namespaces = \"mine\" }\n", "does not belong"),
        ("[compartments.guest]\nweakenings = { namespaces = \"\" }\n", "reason"),
        ("[compartments.guest]\nweakenings = { namespaces = true }\n", "reason"),
        ("[compartments.guest]\nweakenings = { seccomp = \"slow\" }\n", "seccomp"),
        ("[compartments.guest]\nweakenings = {}\n", "weakenings"),
    ] {
        let found = errors(text);
        assert!(found.len() == 1 && found[0].contains(says), "{text}: {found:?}");
    }
}

/// All of the above as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !is_alone() {
        as_an_ordinary_user();
    }
}
