//! The hostile example, as its README runs it: at least 20 attempts, each stopped, most with a full report.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "static_guests.rs"]
mod static_guests;

use static_guests::static_guest;

#[test]
fn what_keeps_it_from_starting_is_said_in_words() {
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hostile"));
        let output = command.args(arguments).output().expect("cargo built it");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&[]), (Some(1), "error: usage: hostile GUEST\n".to_owned()));
    let (code, said) = run(&["/no/such/guest"]);
    assert!(code == Some(1) && said.starts_with("error: ") && said.contains("/no/such/guest"), "{said}");
    assert!(!said.contains('{'), "{said}");
}

#[test]
fn every_attempt_is_stopped_and_reported() {
    let guest = static_guest("cofferdam-example-hostile", "hostile-guest");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hostile"))
        .arg(guest)
        .env_remove("COFFERDAM_LAUNCHER")
        .output()
        .expect("cargo built it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("SUCCEEDED"), "{text}");
    let reports: Vec<&str> =
        text.lines().filter(|line| line.contains("`watcher -> hostile`: called ")).collect();
    assert!(reports.len() >= 20, "{text}");
    for report in &reports {
        assert!(
            report.contains("this line would allow it: ") || report.contains("no grant allows"),
            "{report}"
        );
    }
    for report in [
        "`watcher -> hostile`: called execve(",
        "on \"/bin/sh\", which the edge does not grant (`process.spawn`); this line would allow it: process = { spawn = [\"/bin/sh\"] }",
        "which the edge does not grant (`filesystem.write`)",
        "system call 0x40000027 of the x32 convention",
    ] {
        assert!(text.contains(report), "{report} in {text}");
    }
}
