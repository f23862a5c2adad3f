//! A launcher that leaves out the layers that its mark names: the launcher's own source, copied, edited and compiled here.
//!
//! Nothing of it is in what is shipped. Each edit names the text that it replaces, so that a change of the launcher which an edit no
//! longer fits fails here, and does not pass for a mutation that was made.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `(file, text, what stands there instead)`.
const EDITS: &[(&str, &str, &str)] = &[
    ("lib.rs", "mod confine;\n", "mod confine;\nmod leave;\n"),
    (
        "confine.rs",
        "    reports.probe = received.order.probe;\n",
        "    let mut received = received;\n    crate::leave::change(&mut received.order);\n    reports.probe = received.order.probe;\n",
    ),
    (
        "confine.rs",
        "order.version))))?;\n    reports.keep(Layer::Session, rustix::process::setsid().named(\"setsid\").map(|_| Done::plain()))?;",
        "order.version))))?;\n    reports.keep(Layer::Session, if crate::leave::out(\"session\") { Ok(Done::plain()) } else { rustix::process::setsid().named(\"setsid\").map(|_| Done::plain()) })?;",
    ),
    ("confine.rs", "sys::unshare(namespaces())", "sys::unshare(crate::leave::namespaces(namespaces()))"),
    (
        "confine.rs",
        "fn drop_privileges(in_own_namespace: bool) -> Result<Done, Failure> {\n",
        "fn drop_privileges(in_own_namespace: bool) -> Result<Done, Failure> {\n    if crate::leave::out(\"capabilities\") { return Ok(Done::plain()); }\n",
    ),
    (
        "confine.rs",
        "filesystem::landlock(&order.mounts)",
        "if crate::leave::out(\"landlock\") { Ok(Done::plain()) } else { filesystem::landlock(&order.mounts) }",
    ),
    ("filesystem.rs", "Path::new(\"/\").join(&mount.at)", "crate::leave::place(mount)"),
    (
        "filesystem.rs",
        "sys::restrict_mount(root, false, false, false)",
        "sys::restrict_mount(root, crate::leave::out(\"read-only-root\"), false, false)",
    ),
    (
        "filesystem.rs",
        "sys::restrict_mount(&tree, mount.writable, mount.executable, true)",
        "sys::restrict_mount(&tree, mount.writable || crate::leave::out(\"read-only-mounts\"), mount.executable, true)",
    ),
    (
        "sys/mod.rs",
        "    drop(high);\n    close_from(PLACED_MAX + 1)\n",
        "    drop(high);\n    if crate::leave::out(\"descriptors\") { return Ok(()); }\n    close_from(PLACED_MAX + 1)\n",
    ),
    (
        "report.rs",
        "let report = Report { layers: self.layers.clone() };",
        "let mut report = Report { layers: self.layers.clone() };\n        \
         for one in &mut report.layers { if one.outcome == Outcome::NotAsked { one.outcome = Outcome::Enforced; } }",
    ),
];

/// What the edits call.
const LEAVE: &str = r#"//! What is left out, as the suite writes it into this program.

use std::path::PathBuf;
use std::os::unix::ffi::OsStrExt as _;

use cofferdam_wire::order::{MountOrder, Order};
use rustix::thread::UnshareFlags;

#[used]
static MARK: [u8; 256] = {
    let (text, mut mark, mut at) = (*b"leave out: ", [b' '; 256], 0);
    while at < text.len() {
        mark[at] = text[at];
        at += 1;
    }
    mark
};

fn tokens() -> Vec<String> {
    let mark = std::hint::black_box(&MARK);
    String::from_utf8_lossy(&mark[11..]).split_whitespace().map(str::to_owned).collect()
}

/// Whether something is left out.
pub(crate) fn out(what: &str) -> bool {
    tokens().iter().any(|token| token == what)
}

/// Without the namespaces that are left out.
pub(crate) fn namespaces(mut all: UnshareFlags) -> UnshareFlags {
    for (what, flag) in [("process", UnshareFlags::NEWPID), ("network", UnshareFlags::NEWNET), ("ipc", UnshareFlags::NEWIPC)] {
        if out(&format!("namespace:{what}")) {
            all.remove(flag);
        }
    }
    all
}

/// Where a granted path is, for Landlock.
pub(crate) fn place(mount: &MountOrder) -> PathBuf {
    if out("namespaces") {
        return PathBuf::from(std::ffi::OsStr::from_bytes(&mount.path));
    }
    PathBuf::from("/").join(&mount.at)
}

/// The order without what is left out of it.
pub(crate) fn change(order: &mut Order) {
    const PROCESSES: u32 = 6;
    if out("namespaces") {
        order.namespaces = false;
        // It would count every process of the host's user.
        order.limits.retain(|(resource, _)| *resource != PROCESSES);
    }
    if out("limits") {
        order.limits.clear();
    }
    if out("write-execute") {
        order.deny_write_execute = false;
    }
    let mut filter = Vec::new();
    let mut add = |code: u16, yes: u8, no: u8, value: u32| {
        filter.extend(code.to_le_bytes());
        filter.extend([yes, no]);
        filter.extend(value.to_le_bytes());
    };
    const ALLOW: u32 = 0x7FFF_0000;
    // The convention, then the number: `struct seccomp_data`.
    add(0x20, 0, 0, 4);
    if out("convention:32") {
        add(0x15, 0, 1, 0x4000_0003);
        add(0x06, 0, 0, ALLOW);
    }
    let calls: Vec<u32> = tokens().iter().filter_map(|token| token.strip_prefix("call:")?.parse().ok()).collect();
    let count = 2 * u32::try_from(calls.len()).unwrap_or(0) + 1 + 2 * u32::from(out("convention:x32"));
    add(0x15, 1, 0, 0xC000_003E);
    add(0x05, 0, 0, count);
    add(0x20, 0, 0, 0);
    for call in calls {
        add(0x15, 0, 1, call);
        add(0x06, 0, 0, ALLOW);
    }
    if out("convention:x32") {
        add(0x45, 0, 1, 0x4000_0000);
        add(0x06, 0, 0, ALLOW);
    }
    filter.append(&mut order.filter);
    order.filter = filter;
}
"#;

/// Compiles it, and gives its path.
pub(crate) fn mutant(root: &Path) -> PathBuf {
    let folder = root.join("target/escape/launcher");
    let source = root.join("runtime/launcher/src");
    for name in ["main.rs", "lib.rs", "confine.rs", "filesystem.rs", "report.rs", "serve.rs", "sys/mod.rs"] {
        let mut text = std::fs::read_to_string(source.join(name)).expect("the launcher's source");
        for (_, from, to) in EDITS.iter().filter(|(file, ..)| *file == name) {
            assert_eq!(text.matches(from).count(), 1, "{name} has not exactly one `{from}`");
            text = text.replace(from, to);
        }
        put(&folder.join("src").join(name), &text);
    }
    put(&folder.join("src/leave.rs"), LEAVE);
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("readable");
    let version = |name: &str| {
        let line =
            manifest.lines().find(|line| line.starts_with(&format!("{name} = "))).expect("a dependency");
        line.split(" #").next().expect("text").to_owned()
    };
    let mut own = String::from(
        "[package]\nname = \"mutant-launcher\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[lib]\nname = \"cofferdam_launcher\"\n[[bin]]\nname = \"mutant-launcher\"\npath = \"src/main.rs\"\n[dependencies]\n",
    );
    let _ = writeln!(own, "cofferdam-wire = {{ path = \"{}\" }}", root.join("runtime/wire").display());
    for name in ["landlock", "libc", "rustix"] {
        let _ = writeln!(own, "{}", version(name));
    }
    put(&folder.join("Cargo.toml"), &own);
    if !folder.join("Cargo.lock").exists() {
        std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    }
    let target = root.join("target/guests");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&folder)
        .output()
        .expect("cargo runs the tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("x86_64-unknown-linux-gnu/debug/mutant-launcher")
}

/// Writes a file if it is not so already, so that nothing is compiled again for nothing.
fn put(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return;
    }
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    std::fs::write(path, text).expect("writable");
}
