//! An ordinary user, for tests that run as root: nobody's number, or one below it.

use std::process::Command;

use cofferdam_selftest::suite::key_bytes;

/// A program, run as an ordinary user without anything that root had.
pub(crate) fn ordinary(program: impl AsRef<std::ffi::OsStr>) -> (u32, Command) {
    let user = (60_000..=65_534).rev().find(|user| has_room_for_keys(*user)).expect("5,000 users");
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={user}"), format!("--regid={user}")])
        .args(["--clear-groups", "--bounding-set=-all", "--inh-caps=-all"])
        .arg(program)
        .env("TMPDIR", "/tmp")
        .current_dir("/");
    (user, command)
}

/// What programs of all kinds left in the account of a user's keyring stays there until the machine starts again.
fn has_room_for_keys(user: u32) -> bool {
    key_bytes(user).is_none_or(|(bytes, most)| bytes < most / 2)
}
