//! The commands on real Cargo workspaces, as a user meets them.

mod harness;

use harness::{Workspace, cofferdam, root};

/// The place in `text` of each part, in that order.
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some(at) = rest.find(part) else {
            panic!("`{part}` is not there, or not in this order, in:\n{text}")
        };
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn nothing_declared_is_nothing_denied() {
    let run = Workspace::three_crates().run(&["check"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.stdout.contains("3 crates undeclared: app, codec, util"), "{run}");
    assert!(run.stdout.contains("start with `cofferdam init`"), "{run}");
}

#[test]
fn a_manifest_beside_the_workspace_is_named() {
    let workspace = Workspace::three_crates();
    workspace.write("capabilities.toml", "[crates.app]\n");
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.stdout.contains("which `--manifest capabilities.toml` checks"), "{run}");
    assert!(!run.stdout.contains("cofferdam init"), "{run}");
}

#[test]
fn a_wish_without_a_grant_points_at_both_ends() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "util/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"filesystem.read\" = \"opens the index\" }\n",
    );
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(4), "{run}");
    in_order(
        &run.stderr,
        &[
            "error[not-granted]: `codec` does not grant `filesystem.read` to `util`, which needs it",
            "util/Cargo.toml:9:14",
            "`filesystem.read` is asked for here",
            "codec/Cargo.toml:7:1",
            "`codec` grants it nothing",
            "path from the root: app -> codec -> util",
            "[package.metadata.capabilities.grants.util]",
        ],
    );
}

#[test]
fn pasting_the_suggested_lines_mends_it() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "util/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"filesystem.read\" = \"opens the index\" }\n",
    );
    let run = workspace.run(&["check", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let fixes = document["findings"][0]["fixes"].as_array().expect("a list");
    assert_eq!(fixes.len(), 3, "one for each hop: {document}");
    for fix in fixes {
        let table: Vec<&str> =
            fix["table"].as_array().expect("a list").iter().map(|key| key.as_str().expect("text")).collect();
        let file = fix["file"].as_str().expect("text");
        workspace
            .append(file, &format!("\n[{}]\n{}\n", table.join("."), fix["line"].as_str().expect("text")));
    }
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(0), "{run}");
}

/// Who stops reading has not heard the verdict: that must not look like a good one.
#[test]
fn output_that_nobody_reads_is_no_success() {
    let workspace = Workspace::three_crates();
    for arguments in [&["check", "--format", "json"][..], &["graph", "--format", "dot"], &["check"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command
            .args(arguments)
            .current_dir(workspace.path())
            .stdout(writer)
            .stderr(std::process::Stdio::piped());
        let run = command.output().expect("it starts");
        assert_eq!(run.status.code(), Some(7), "{arguments:?}");
        assert!(!String::from_utf8_lossy(&run.stderr).contains("panicked"), "{arguments:?}");
    }
}

#[test]
fn fix_writes_the_lines_and_shows_the_diff() {
    let workspace = Workspace::three_crates();
    workspace.write(
        "util/Cargo.toml",
        "# a comment that stays\n[package]\nname    = \"util\" # and odd spacing\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [package.metadata.capabilities]\nconsumes = { clock = \"stamps\", \"filesystem.write\" = \"keeps a cache\" }\n",
    );
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nfilesystem = { read = [\"data\"], write = [\"cache\"], quota = \"1MiB\" } # decided by us\n");
    // What only a person says: the rest waits for it.
    let waits = workspace.run(&["check", "--fix"]);
    assert_eq!(waits.code, Some(4), "{waits}");
    assert!(
        waits.stderr.contains("`--fix` leaves it to you to decide that the workspace holds this"),
        "{waits}"
    );
    in_order(&waits.stderr, &["--- app/Cargo.toml", "+[package.metadata.capabilities.grants.codec]"]);
    assert!(!workspace.read("Cargo.toml").contains("clock = true"));
    workspace.append("Cargo.toml", "clock = true\n");
    workspace.write("data/x", "");
    workspace.write("cache/x", "");
    let run = workspace.run(&["check", "--fix"]);
    assert_eq!(run.code, Some(0), "{run}");
    in_order(&run.stderr, &["--- app/Cargo.toml", "+clock = true"]);
    assert!(workspace.read("Cargo.toml").contains("# decided by us"));
    let codec = workspace.read("codec/Cargo.toml");
    assert!(codec.contains("filesystem = { write = [\"cache\"], quota = \"1MiB\" }"), "{codec}");
    assert!(
        workspace
            .read("util/Cargo.toml")
            .starts_with("# a comment that stays\n[package]\nname    = \"util\" # and odd spacing")
    );
    let again = workspace.run(&["check", "--fix"]);
    assert_eq!(again.code, Some(0));
    assert!(!again.stderr.contains("+++"), "nothing is left to mend: {again}");
}

#[test]
fn fix_leaves_alone_what_only_a_person_can_say() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "util/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"network.connect\" = \"downloads\" }\n",
    );
    let before: Vec<String> =
        ["Cargo.toml", "app/Cargo.toml", "codec/Cargo.toml"].map(|file| workspace.read(file)).into();
    let run = workspace.run(&["check", "--fix"]);
    assert_eq!(run.code, Some(4), "{run}");
    assert!(run.stderr.contains("put what it really needs in the place of the example"), "{run}");
    let after: Vec<String> =
        ["Cargo.toml", "app/Cargo.toml", "codec/Cargo.toml"].map(|file| workspace.read(file)).into();
    assert_eq!(before, after);
}

#[test]
fn fix_lets_the_workspace_hold_nothing_that_a_dependency_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capabilities.toml");
    for name in ["a_dependency_asks_for_everything", "powers_that_fix_does_not_give"] {
        let text =
            std::fs::read_to_string(root().join(format!("tests/invalid/{name}.toml"))).expect("readable");
        std::fs::write(&file, &text).expect("writable");
        let run = cofferdam(&["check", "--fix", "--manifest", file.to_str().expect("UTF-8")]);
        assert_eq!(run.code, Some(4), "{run}");
        let after = std::fs::read_to_string(&file).expect("readable");
        let holds = |text: &str| {
            text.split("[holds]").nth(1).map(|rest| rest.split("\n[").next().unwrap_or_default().to_owned())
        };
        assert_eq!(holds(&after), holds(&text), "{name}: {after}");
    }
}

#[test]
fn fix_writes_a_chain_whole_or_not_at_all() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "Cargo.toml",
        "\n[workspace.metadata.capabilities.holds]\nfilesystem = { read = [\"app\"], write = [\"app\"] }\n",
    );
    // A second path does not fit beside this `at`.
    workspace.append(
        "app/Cargo.toml",
        "\n[package.metadata.capabilities.grants.codec]\nfilesystem = { read = [\"app\"], at = \"/x\" }\n",
    );
    workspace
        .append("codec/Cargo.toml", "\n[package.metadata.capabilities.compartment]\nbackend = \"wasm\"\n");
    workspace.append(
        "util/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"filesystem.write\" = \"w\" }\n",
    );
    let before = ["Cargo.toml", "app/Cargo.toml", "codec/Cargo.toml"].map(|file| workspace.read(file));
    let run = workspace.run(&["check", "--fix"]);
    assert_eq!(run.code, Some(4), "{run}");
    let after = ["Cargo.toml", "app/Cargo.toml", "codec/Cargo.toml"].map(|file| workspace.read(file));
    assert_eq!(before, after, "{run}");
}

#[test]
fn fix_never_leaves_a_file_worse_than_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capabilities.toml");
    let path = file.to_str().expect("UTF-8");
    // A second path beside an `at` that names a place for one would be refused.
    let text = "[holds]\nfilesystem = { read = [\"a\"], write = [\"b\"] }\n[crates.app]\ndependencies = [\"x\"]\n\
        [crates.app.grants.x]\nfilesystem = { read = [\"a\"], at = \"/x\" }\n[crates.x]\n\
        consumes = { \"filesystem.read\" = \"r\", \"filesystem.write\" = \"w\" }\ncompartment = { backend = \"wasm\" }\n";
    // Keys with escapes are other texts than what they name.
    let escaped = "[holds]\nclock = true\n[crates.\"ap\\u0070\"]\ndependencies = [\"x\"]\n[crates.x]\nconsumes = { clock = \"c\" }\n";
    for text in [text, escaped] {
        std::fs::write(&file, text).expect("writable");
        cofferdam(&["check", "--fix", "--manifest", path]);
        let after = cofferdam(&["check", "--manifest", path]);
        assert_ne!(after.code, Some(3), "{after}\n{}", std::fs::read_to_string(&file).expect("readable"));
    }
    // Line ends and a byte order mark are part of the format.
    let windows = "\u{feff}[holds]\r\nclock = true\r\n[crates.app]\r\ndependencies = [\"x\"]\r\n[crates.x]\r\nconsumes = { clock = \"c\" }\r\n";
    std::fs::write(&file, windows).expect("writable");
    let run = cofferdam(&["check", "--fix", "--manifest", path]);
    assert_eq!(run.code, Some(0), "{run}");
    let after = std::fs::read_to_string(&file).expect("readable");
    assert!(
        after.starts_with('\u{feff}') && after.contains("[crates.app.grants.x]\r\nclock = true\r\n"),
        "{after:?}"
    );
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
}

#[test]
fn fix_extends_what_is_already_granted() {
    let workspace = Workspace::three_crates();
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities]\nholds = { environment = { read = [\"A\"] }, clock = true, mmap.file = true }\ngrants = { \"codec->util\" = { clock = true } }\n");
    workspace.append(
        "app/Cargo.toml",
        "\n[package.metadata.capabilities.grants]\ncodec = { clock = true, mmap = { file = true } }\n",
    );
    workspace.append("util/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { \"environment.read\" = \"x\", clock = \"y\", \"mmap.file\" = \"z\" }\n");
    let run = workspace.run(&["check", "--fix"]);
    assert_eq!(run.code, Some(0), "{run}");
    let root = workspace.read("Cargo.toml");
    assert!(root.contains("\"codec->util\" = { clock = true"), "the key stays as it was written: {root}");
    assert!(!root.contains("\"codec -> util\""), "{root}");
    // What is added to a table in one line stands as a person would have written it.
    let app = workspace.read("app/Cargo.toml");
    for text in [&root, &app] {
        assert!(!text.contains(" ,") && !text.contains("  }"), "{text}");
    }
    let line = app.lines().rfind(|line| line.starts_with("codec = ")).expect("it was there");
    assert!(line.contains("true }, ") && line.ends_with(" }"), "{line}");
}

#[test]
fn widening_beyond_what_the_consumer_holds_names_the_hop() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "Cargo.toml",
        "\n[workspace.metadata.capabilities.holds]\nfilesystem = { read = [\"data\"] }\n",
    );
    workspace.append(
        "app/Cargo.toml",
        "\n[package.metadata.capabilities.grants.codec]\nfilesystem = { read = [\"data/small\"] }\n",
    );
    workspace.append(
        "codec/Cargo.toml",
        "\n[package.metadata.capabilities.grants.util]\nfilesystem = { read = [\"data\"] }\n",
    );
    workspace.append(
        "util/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"filesystem.read\" = \"x\" }\n",
    );
    workspace.write("data/x", "");
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(4), "{run}");
    in_order(
        &run.stderr,
        &[
            "error[grant-exceeds-holdings]: `codec` grants `filesystem.read` of `data` to `util`, but `codec` itself holds only `filesystem.read` of `data/small`",
            "codec/Cargo.toml:10:23",
            "filesystem = { read = [\"data/small\"] }",
        ],
    );
}

#[test]
fn slips_of_the_hand_are_errors_with_the_right_spelling() {
    for (file, text, message, help) in [
        (
            "util/Cargo.toml",
            "[package.metadata.capabilities]\nconsume = {}\n",
            "unknown key `consume`",
            "did you mean `consumes`?",
        ),
        (
            "util/Cargo.toml",
            "[package.metadata.capabilties]\nconsumes = {}\n",
            "unknown key `capabilties`",
            "did you mean `capabilities`?",
        ),
        (
            "Cargo.toml",
            "[workspace.metadata.capability]\nholds = {}\n",
            "unknown key `capability`",
            "did you mean `capabilities`?",
        ),
        (
            "util/Cargo.toml",
            "[package.metadata.capabilities]\nconsumes = { \"filesystem.raed\" = \"x\" }\n",
            "there is no capability `filesystem.raed`",
            "did you mean `filesystem.read`?",
        ),
        (
            "app/Cargo.toml",
            "[package.metadata.capabilities.grants.codex]\nclock = true\n",
            "`app` does not depend on `codex`",
            "did you mean `codec`?",
        ),
        (
            "Cargo.toml",
            "[workspace.metadata.capabilities.grants.\"codec -> utli\"]\nclock = true\n",
            "`codec` does not depend on `utli`",
            "did you mean `util`?",
        ),
        (
            "util/Cargo.toml",
            "[package.metadata.capabilities.holds]\nclock = true\n",
            "`holds` does not belong in [package.metadata.capabilities]",
            "[workspace.metadata.capabilities]",
        ),
        (
            "Cargo.toml",
            "[workspace.metadata.capabilities.compartments.utl]\nbackend = \"wasm\"\n",
            "there is no crate `utl`",
            "did you mean `util`?",
        ),
    ] {
        let workspace = Workspace::three_crates();
        workspace.append(file, &format!("\n{text}"));
        let run = workspace.run(&["check"]);
        assert_eq!(run.code, Some(3), "{run}");
        in_order(&run.stderr, &[message, file, help]);
    }
}

#[test]
fn a_missing_path_is_a_warning_for_check_and_an_error_for_plan() {
    let workspace = Workspace::three_crates();
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nfilesystem = { read = [\"nowhere\", { file = \"app\" }] }\n");
    workspace.append(
        "app/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"filesystem.read\" = \"x\" }\n",
    );
    let check = workspace.run(&["check"]);
    assert_eq!(check.code, Some(0), "{check}");
    assert!(
        check.stderr.contains("warning[path-missing]: `nowhere`, which the workspace holds, does not exist"),
        "{check}"
    );
    assert!(check.stderr.contains("`app`, which the workspace holds, is not a file"), "{check}");
    assert_eq!(workspace.run(&["check", "--deny-warnings"]).code, Some(4));
    // Nothing is opened for what only the program's own code may use, and the program may make it.
    let plan = workspace.run(&["plan"]);
    assert_eq!(plan.code, Some(0), "{plan}");
    assert!(plan.stderr.contains("warning[path-missing]: `nowhere`, which the workspace holds"), "{plan}");
    workspace.write("nowhere/x", "");
    workspace.append("Cargo.toml", "\n");
    let text = workspace.read("Cargo.toml").replace(", { file = \"app\" }", ", { file = \"Cargo.toml\" }");
    workspace.write("Cargo.toml", &text);
    let plan = workspace.run(&["plan"]);
    assert!(plan.code == Some(0) && !plan.stderr.contains("path-missing"), "{plan}");
    // A compartment is started with what it is granted.
    workspace.append(
        "app/Cargo.toml",
        "\n[package.metadata.capabilities.grants.codec]\nfilesystem = { read = [\"nowhere/deeper\"] }\n",
    );
    let says = ["`nowhere/deeper`, which `app` grants to `codec`, does not exist", "app/Cargo.toml"];
    let granted = workspace.run(&["plan"]);
    assert_eq!(granted.code, Some(0), "{granted}");
    in_order(&granted.stderr, &says);
    workspace.append(
        "codec/Cargo.toml",
        "\n[package.metadata.capabilities]\ncompartment = { backend = \"process\" }\n",
    );
    let granted = workspace.run(&["plan"]);
    assert_eq!(granted.code, Some(5), "{granted}");
    in_order(&granted.stderr, &says);
    // A file is granted as one.
    let app = workspace.read("app/Cargo.toml").replace("nowhere/deeper", "nowhere/x");
    workspace.write("app/Cargo.toml", &app);
    let granted = workspace.run(&["plan"]);
    assert_eq!(granted.code, Some(5), "{granted}");
    in_order(&granted.stderr, &["error[path-missing]: `nowhere/x`", "is not a folder: `{ file = \"...\" }`"]);
}

/// What starting would refuse on every machine, checking refuses already.
#[test]
fn a_grant_that_no_process_can_be_held_to_is_denied() {
    for (consumes, grant, what) in [
        ("clock", "clock = { resolution = \"1ms\" }", "a coarse clock"),
        ("filesystem.write", "filesystem = { write = [\"app\"], quota = \"1KiB\" }", "a quota on writing"),
        ("network.listen", "network = { listen = [\"127.0.0.1:8080\"] }", "`network.listen`"),
        ("network.connect", "network = { connect = [\"*.example.org:443\"] }", "every host of a domain"),
        ("stdio", "stdio = [\"stdin\"]", "`stdio` of `stdin`"),
    ] {
        let of = |backend: &str| {
            let workspace = Workspace::three_crates();
            workspace.append("Cargo.toml", &format!("\n[workspace.metadata.capabilities.holds]\n{grant}\n"));
            workspace.append(
                "app/Cargo.toml",
                &format!("\n[package.metadata.capabilities.grants.codec]\n{grant}\n"),
            );
            let codec = format!(
                "\n[package.metadata.capabilities]\nconsumes = {{ \"{consumes}\" = \"x\" }}\ncompartment = {{ backend = \"{backend}\" }}\n"
            );
            workspace.append("codec/Cargo.toml", &codec);
            workspace
        };
        let workspace = of("process");
        for (command, code) in [("check", 4), ("plan", 5)] {
            let run = workspace.run(&[command]);
            assert_eq!(run.code, Some(code), "{run}");
            let says = ["error[backend-cannot-provide]: `codec` runs as a process", what, "app/Cargo.toml"];
            in_order(&run.stderr, &says);
        }
        let run = of("wasm").run(&["plan"]);
        assert_eq!(run.code, Some(0), "{run}");
    }
}

/// What `init` writes where the source names no path stands for the capability alone, and stops nothing that runs.
#[test]
fn placeholders_of_the_build_stop_no_plan() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "Cargo.toml",
        "\n[workspace.metadata.capabilities.holds]\nbuild = { process = { spawn = [\"/usr/bin/no-such-program\"] } }\n\
         device = [\"/dev/no-such-device\"]\n",
    );
    let plan = workspace.run(&["plan"]);
    assert_eq!(plan.code, Some(0), "{plan}");
}

#[test]
fn a_build_dependency_and_a_proc_macro_use_build_stage_powers() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"app\", \"tool\", \"derive\"]\nresolver = \"3\"\n"),
        (
            "app/Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nderive = { path = \"../derive\" }\n[build-dependencies]\ntool = { path = \"../tool\" }\n",
        ),
        (
            "tool/Cargo.toml",
            "[package]\nname = \"tool\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[package.metadata.capabilities]\nconsumes = { \"process.spawn\" = \"runs cc\" }\n",
        ),
        (
            "derive/Cargo.toml",
            "[package]\nname = \"derive\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nproc-macro = true\n[package.metadata.capabilities]\nconsumes = { \"environment.read\" = \"reads DEBUG\", \"build.proc-macro\" = \"derives\" }\n",
        ),
    ]);
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(4), "{run}");
    assert!(run.stderr.contains("`app` does not grant `build.process.spawn` to `tool`"), "{run}");
    assert!(run.stderr.contains("`app` does not grant `build.environment.read` to `derive`"), "{run}");
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds.build]\nprocess = { spawn = [\"/usr/bin/cc\"] }\nenvironment = { read = [\"DEBUG\"] }\nproc-macro = true\n");
    workspace.append("app/Cargo.toml", "\n[package.metadata.capabilities.grants]\ntool = { build = { process = { spawn = [\"/usr/bin/cc\"] } } }\nderive = { build = { environment = { read = [\"DEBUG\"] }, proc-macro = true } }\n");
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(0), "{run}");
}

#[test]
fn development_dependencies_are_no_edges() {
    let workspace = Workspace::three_crates();
    let app = workspace.read("app/Cargo.toml").replace("[dependencies]", "[dev-dependencies]");
    workspace.write("app/Cargo.toml", &app);
    workspace.append("util/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { clock = \"x\" }\n");
    let run = workspace.run(&["check"]);
    assert!(
        run.stderr.contains("path from the root: codec -> util")
            || run.stderr.contains("`codec` does not grant `clock`"),
        "{run}"
    );
    assert!(!run.stderr.contains("app ->"), "{run}");
}

#[test]
fn roots_can_be_named_and_a_workspace_without_roots_says_so() {
    let workspace = Workspace::three_crates();
    workspace.append(
        "Cargo.toml",
        "\n[workspace.metadata.capabilities]\nroots = [\"util\"]\nholds = { clock = true }\n",
    );
    workspace.append("util/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { clock = \"x\" }\n");
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(0), "{run}");
    let told = workspace.run(&["explain", "util", "clock"]);
    assert!(told.stdout.contains("the workspace holds for util clock"), "{told}");
}

#[test]
fn a_checksum_pin_is_held_against_the_lock_file() {
    let workspace = Workspace::three_crates();
    workspace.append("Cargo.toml", &format!("\n[workspace.metadata.capabilities]\nholds = {{ clock = true }}\n[workspace.metadata.capabilities.grants.\"codec -> util\"]\nclock = true\nchecksum = \"{}\"\n", "0".repeat(64)));
    workspace.append("app/Cargo.toml", "\n[package.metadata.capabilities.grants.codec]\nclock = true\n");
    let run = workspace.run(&["check"]);
    assert_eq!(run.code, Some(4), "{run}");
    assert!(
        run.stderr.contains("error[pin-mismatch]") && run.stderr.contains("the graph has no checksum"),
        "{run}"
    );
}

#[test]
fn a_feature_that_is_off_makes_no_crate_a_root() {
    let workspace = Workspace::three_crates();
    let app = workspace
        .read("app/Cargo.toml")
        .replace("path = \"../codec\"", "path = \"../codec\", optional = true");
    workspace.write("app/Cargo.toml", &app);
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    workspace.append("codec/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { clock = \"x\" }\n");
    let told = workspace.run(&["explain", "codec", "clock"]);
    assert!(told.stdout.contains("no root reaches it"), "{told}");
    let with = workspace.run(&["check", "--all-features"]);
    assert_eq!(with.code, Some(4), "{with}");
}

#[test]
fn a_package_of_equal_name_and_version_from_elsewhere_is_another() {
    let package = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{more}")
    };
    let workspace = Workspace::new(&[
        (
            "w/Cargo.toml",
            "[workspace]\nmembers = [\"app\"]\nresolver = \"3\"\n[workspace.metadata.capabilities.holds]\nclock = true\n",
        ),
        (
            "w/app/Cargo.toml",
            &package(
                "app",
                "[dependencies]\none = { package = \"twin\", path = \"../../one\" }\ntwo = { package = \"twin-user\", path = \"../../user\" }\n[package.metadata.capabilities.grants.one]\nclock = true\n",
            ),
        ),
        (
            "one/Cargo.toml",
            &package("twin", "[package.metadata.capabilities]\nconsumes = { clock = \"x\" }\n[workspace]\n"),
        ),
        ("user/Cargo.toml", &package("twin-user", "[workspace]\n")),
    ]);
    let run = workspace.run(&["check", "--manifest-path", "w/Cargo.toml"]);
    assert_eq!(run.code, Some(3), "{run}");
    assert!(
        run.stderr.contains("`app` does not depend on `one`") && run.stderr.contains("did you mean `twin`?"),
        "{run}"
    );
}

#[test]
fn explain_tells_the_chain_and_the_hop_where_it_stops() {
    let example = "tests/photo-library/capabilities.toml";
    let told = cofferdam(&["explain", "--manifest", example, "icc-profile", "filesystem.read"]);
    in_order(
        &told.stdout,
        &[
            "the workspace holds for thumbnailer filesystem.read of assets, photos, thumbs",
            "thumbnailer gives png-decode filesystem.read of assets/icc\n",
            "png-decode gives icc-profile filesystem.read of assets/icc/v4",
        ],
    );
    let stops = cofferdam(&[
        "explain",
        "--manifest",
        "tests/invalid/consumed_deep_below.toml",
        "codec -> clocks",
        "clock",
    ]);
    in_order(
        &stops.stdout,
        &[
            "the workspace holds for app no clock   <- it stops here",
            "not reached: library -> codec -> clocks",
        ],
    );
    let exceeds = cofferdam(&[
        "explain",
        "--manifest",
        "tests/invalid/grant_exceeds_at_the_second_hop.toml",
        "codec",
        "filesystem.read",
    ]);
    in_order(
        &exceeds.stdout,
        &["library gives codec filesystem.read of assets, more than it holds itself   <- it stops here"],
    );
    let json =
        cofferdam(&["explain", "--manifest", example, "icc-profile", "filesystem.read", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(document["granted"], true);
    assert_eq!(document["routes"][0]["steps"].as_array().map(Vec::len), Some(3));
}

#[test]
fn explain_prints_pages_and_codes_and_says_what_it_does_not_know() {
    let page = cofferdam(&["explain", "network.connect"]);
    in_order(
        &page.stdout,
        &[
            "network.connect",
            "Risk",
            "Grant",
            "Acquired by",
            "std::net::TcpStream::connect",
            "In a wasm compartment",
            "wasi:sockets",
            "In a process compartment",
        ],
    );
    let twin = cofferdam(&["explain", "build.network.connect"]);
    assert!(twin.stdout.contains("used while a crate is compiled"), "{twin}");
    assert!(cofferdam(&["explain", "filesystem"]).stdout.contains("filesystem.watch"));
    assert!(cofferdam(&["explain", "capabilities"]).stdout.lines().count() > 36);
    let workspace = Workspace::three_crates();
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = harness::cofferdam_in(folder.path(), &["explain", "not-grantd"]);
    assert_eq!(nowhere.code, Some(2), "{nowhere}");
    assert!(nowhere.stderr.contains("cofferdam explain not-granted"), "{nowhere}");
    let slip = workspace.run(&["explain", "util", "clcok"]);
    assert!(slip.stderr.contains("did you mean `clock`?"), "{slip}");
    let unknown = workspace.run(&["explain", "utli"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `util`?"), "{unknown}");
    let class = workspace.run(&["explain", "util", "filesystem"]);
    assert!(class.stderr.contains("`filesystem` is a class; name one of its actions"), "{class}");
    let edge = workspace.run(&["explain", "app -> util", "clock"]);
    assert!(edge.stderr.contains("`app` does not depend on `util`"), "{edge}");
}

#[test]
fn graphs_are_drawn_in_every_format() {
    let example = "tests/photo-library/capabilities.toml";
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots/graphs"));
    settings.set_prepend_module_to_snapshot(false);
    for format in ["svg", "dot", "mermaid", "json"] {
        let run = cofferdam(&["graph", "--manifest", example, "--format", format]);
        assert_eq!(run.code, Some(0), "{run}");
        settings.bind(|| insta::assert_snapshot!(format!("thumbnailer_{format}"), run.stdout));
    }
    let html = cofferdam(&["graph", "--manifest", example, "--format", "html"]);
    in_order(
        &html.stdout,
        &[
            "<!doctype html>",
            "<option>network.connect</option>",
            "<svg ",
            "data-crate=\"thumbnailer\"",
            "<script>",
        ],
    );
    assert!(
        !html.stdout.contains("http://") || html.stdout.matches("http://").count() == 1,
        "only the SVG namespace is an address"
    );
    let denied = cofferdam(&["graph", "--manifest", "tests/invalid/grant_exceeds_path.toml"]);
    assert!(
        denied.stdout.contains("wire denied") && denied.stdout.contains("\u{2717} filesystem.read"),
        "{denied}"
    );
    let focus = cofferdam(&[
        "graph",
        "--manifest",
        example,
        "--focus",
        "memmap2",
        "--depth",
        "1",
        "--format",
        "json",
    ]);
    let document: serde_json::Value = serde_json::from_str(&focus.stdout).expect("JSON");
    let names: Vec<&str> = document["crates"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["memmap2", "photo-index"]);
}

#[test]
fn names_from_manifests_cannot_leave_their_place_in_a_drawing() {
    let text = "[holds]\nfilesystem = { read = [\"<script>&\"] }\n[crates.app]\ndependencies = [\"b\"]\n[crates.app.grants.b]\nfilesystem = { read = [\"<script>&\", \"#quot;]\"] }\n[crates.b]\nconsumes = { \"filesystem.read\" = \"x\" }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capabilities.toml");
    std::fs::write(&file, text).expect("writable");
    for format in ["svg", "html", "mermaid"] {
        let run = cofferdam(&["graph", "--manifest", file.to_str().expect("UTF-8"), "--format", format]);
        assert!(!run.stdout.contains("<script>&"), "{format}: {run}");
        if format == "mermaid" {
            assert!(!run.stdout.contains("#quot;]\""), "{run}");
        }
    }
}

#[test]
fn the_plan_is_what_would_run() {
    let run = cofferdam(&["plan", "--manifest", "tests/photo-library/capabilities.toml", "--format", "json"]);
    assert_eq!(run.code, Some(0), "{run}");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let compartments = document["compartments"].as_array().expect("a list");
    let named =
        |name: &str| compartments.iter().find(|one| one["krate"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(compartments.len(), 7);
    assert_eq!(named("jpeg-decode")["grants"].as_array().map(Vec::len), Some(0));
    assert_eq!(named("jpeg-decode")["syscalls"].as_array().map(Vec::len), Some(0));
    assert_eq!(named("icc-profile")["mounts"][0]["at"], "/icc/v4");
    assert_eq!(named("icc-profile")["mounts"][0]["host"], "assets/icc/v4");
    assert_eq!(named("icc-profile")["inside"], named("png-decode")["number"]);
    let imports = named("image-fetch")["wasm_imports"].as_array().expect("a list");
    assert!(imports.iter().any(|import| import["interface"] == "wasi:sockets/tcp"));
    let denied = cofferdam(&["plan", "--manifest", "tests/invalid/grant_exceeds_path.toml"]);
    assert_eq!(
        (denied.code, denied.stdout.as_str()),
        (Some(4), ""),
        "nothing is planned when something is denied"
    );
}

#[test]
fn a_denied_plan_is_a_document_too() {
    let denied =
        cofferdam(&["plan", "--format", "json", "--manifest", "tests/invalid/grant_exceeds_path.toml"]);
    let document: serde_json::Value = serde_json::from_str(&denied.stdout).expect("JSON");
    assert_eq!(
        (denied.code, &document["document"], &document["outcome"]),
        (Some(4), &"check".into(), &"denied".into())
    );
}

/// Tells the time, adds, panics, and writes a line to standard output before it answers.
const COMPONENT: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "h" "now" (func $now (result i64)))
    (func (export "now") (result i64) (call $now))
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "panic") unreachable)
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
    (func (export "greet") (param i32 i32))
    (func (export "spin") (loop $again (br $again))))
  (core instance $i (instantiate $m (with "h" (instance (export "now" (func $now))))))
  (func (export "now") (result u64) (canon lift (core func $i "now")))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "panic") (canon lift (core func $i "panic")))
  (func (export "greet") (param "name" string)
    (canon lift (core func $i "greet") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "spin") (canon lift (core func $i "spin"))))"#;

#[test]
fn a_component_is_called_with_only_what_the_command_line_grants() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("c.wasm"), wat::parse_str(COMPONENT).expect("component text"))
        .expect("writable");
    let run = |arguments: &[&str]| harness::cofferdam_in(folder.path(), arguments);
    let sum = run(&["call", "c.wasm", "add", "40", "2"]);
    assert_eq!((sum.code, sum.stdout.as_str()), (Some(0), "42\n"), "{sum}");
    let now = run(&["call", "c.wasm", "now", "--audit", "audit.jsonl"]);
    assert_eq!(now.code, Some(6), "{now}");
    in_order(
        &now.stderr,
        &["wasi:clocks/monotonic-clock@0.2.0#now", "does not grant `clock`", "clock = true"],
    );
    let log = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("written");
    assert!(log.contains("\"event\":\"violation\""), "{log}");
    let now = run(&["call", "c.wasm", "now", "--grant", "clock = { resolution = \"1s\" }"]);
    assert_eq!((now.code, now.stdout.as_str()), (Some(0), "0\n"), "{now}");
    assert_eq!(run(&["call", "c.wasm", "panic"]).code, Some(6));
    let spin = run(&["call", "c.wasm", "spin", "--limit", "call-deadline = \"50ms\""]);
    assert!(spin.code == Some(6) && spin.stderr.contains("no answer within 50ms"), "{spin}");
    for (arguments, code, says) in [
        (&["call", "c.wasm", "ad", "1", "2"][..], 2, "exports no function `ad`"),
        (&["call", "c.wasm", "add", "1"], 2, "takes 2 arguments, not 1: `func(a: u32, b: u32) -> u32`"),
        (&["call", "c.wasm", "add", "1", "x"], 2, "the argument `b`"),
        (&["call", "c.wasm", "add", "1", "x"], 2, "the function is `func(a: u32, b: u32) -> u32`"),
        (&["call", "c.wasm", "greet", "Ada"], 2, "text is written in quotes: '\"Ada\"'"),
        (&["call", "c.wasm", "greet", "it's \"x\""], 2, r#"'"it\'\''s \"x\""'"#),
        (&["call", "c.wasm", "greet"], 2, "takes 1 argument, not 0: `func(name: string)`"),
        (&["call", "c.wasm", "now", "--grant", "clok = true"], 4, "did you mean `clock`?"),
        (
            &["call", "c.wasm", "now", "--grant", "filesystem = { raed = [\"x\"] }"],
            3,
            "did you mean `filesystem.read`?",
        ),
        (
            &["call", "c.wasm", "now", "--grant", "filesystem = { read = [\"nowhere\"] }"],
            5,
            "cannot open `nowhere`",
        ),
        (
            &[
                "call",
                "c.wasm",
                "now",
                "--grant",
                "filesystem = { read = [{ file = \"a/x\" }, { file = \"a/y\" }] }",
            ],
            5,
            "cannot enforce two granted paths with the same folder inside",
        ),
        (&["call", "c.wasm", "now", "--limit", "memroy = \"1MiB\""], 3, "did you mean `memory`?"),
        (&["call", "c.wasm", "now", "--grant", "clock = true\n[crates.x]"], 2, "--grant takes one line"),
        (&["call", "c.wasm", "now", "--limit", "[compartments.component]"], 2, "--limit takes one line"),
        (&["call", "missing.wasm", "f"], 3, "cannot read `missing.wasm`"),
    ] {
        let run = run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {run}");
        assert!(run.stderr.contains(says), "{arguments:?}: {run}");
    }
}

#[test]
fn a_component_is_inspected_without_running() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("c.wasm"), wat::parse_str(COMPONENT).expect("component text"))
        .expect("writable");
    std::fs::write(folder.path().join("text.wasm"), "no component").expect("writable");
    let run = harness::cofferdam_in(folder.path(), &["inspect", "c.wasm"]);
    in_order(&run.stdout, &["sha256 ", "imports wasi:clocks/monotonic-clock@0.2.0  clock", "exports add"]);
    let json = harness::cofferdam_in(folder.path(), &["inspect", "c.wasm", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(document["imports"][0]["capabilities"][0], "clock");
    assert!(document["claims"].is_null() && run.stdout.contains("has no manifest inside"), "{run}");
    let wrong = harness::cofferdam_in(folder.path(), &["inspect", "text.wasm"]);
    assert!(wrong.code == Some(3) && wrong.stderr.contains("not a component"), "{wrong}");
}

#[test]
fn what_a_component_asks_for_is_shown_and_what_is_no_manifest_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.wasm");
    let with = |manifest: &str| {
        let escaped = manifest.replace('\\', "\\5c").replace('"', "\\22").replace('\n', "\\0a");
        let text = format!("(component (@custom \"cofferdam:capabilities\" \"{escaped}\"))");
        std::fs::write(&path, wat::parse_str(text).expect("component text")).expect("writable");
        let run = harness::cofferdam_in(folder.path(), &["inspect", "c.wasm"]);
        let json = harness::cofferdam_in(folder.path(), &["inspect", "c.wasm", "--format", "json"]);
        assert_eq!((run.code, json.code), (Some(0), Some(0)), "{run}\n{json}");
        let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        (run.stdout, document["claims"].clone())
    };
    let (text, claims) = with(
        "[crates.words.consumes]\n\"filesystem.read\" = \"reads its list\"\nclock = { reason = \"stamps\", optional = true }",
    );
    in_order(
        &text,
        &[
            "its manifest asks for",
            "filesystem.read  needed    reads its list",
            "clock            optional  stamps\n",
        ],
    );
    assert_eq!(
        claims,
        serde_json::json!({
            "consumes": [
                { "capability": "filesystem.read", "reason": "reads its list", "optional": false },
                { "capability": "clock", "reason": "stamps", "optional": true },
            ],
            "problems": [],
        })
    );
    let (text, claims) = with("[crates.words]");
    assert!(text.contains("its manifest asks for nothing"), "{text}");
    assert_eq!(claims, serde_json::json!({ "consumes": [], "problems": [] }));
    let large = " ".repeat(cofferdam::manifest::limits::MANIFEST_BYTES_MAX + 1);
    for (wrong, says) in [
        ("[crates", "unclosed table"),
        ("[crates.words.consumes]\nclock = \"x\\u001b[1A\"", "a reason contains a control"),
        ("[holds]\nclock = true\n[crates.words]", "gives itself authority"),
        (large.as_str(), "bytes"),
    ] {
        let (text, claims) = with(wrong);
        in_order(&text, &["its manifest cannot be used", says]);
        assert_eq!(claims["consumes"], serde_json::json!([]));
        assert!(claims["problems"][0].as_str().is_some_and(|problem| problem.contains(says)), "{claims}");
    }
}

#[test]
fn a_wrong_grant_of_the_command_line_is_reported_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("c.wasm"), wat::parse_str(COMPONENT).expect("component text"))
        .expect("writable");
    let run = harness::cofferdam_in(folder.path(), &["call", "c.wasm", "now", "--grant", "clok = true"]);
    assert_eq!(run.code, Some(4), "{run}");
    assert!(run.stderr.matches("`clok`").count() == 1 && run.stderr.contains("1 error\n"), "{run}");
}

/// Opening a pipe waits for who writes to it. Nobody does here: what does not refuse it never ends.
#[cfg(unix)]
#[test]
fn a_pipe_is_no_file_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
    assert!(made.success());
    for arguments in [
        &["check", "--manifest", "pipe"][..],
        &["plan", "--manifest", "pipe"],
        &["check", "--manifest-path", "pipe"],
        &["inspect", "pipe"],
        &["call", "pipe", "f"],
    ] {
        let run = harness::cofferdam_in(folder.path(), arguments);
        assert_eq!(run.code, Some(3), "{arguments:?}: {run}");
        assert!(run.stderr.contains("cannot read `pipe`: it is a pipe"), "{arguments:?}: {run}");
    }
    // Nor for one that a manifest names.
    let text = "[crates.app]\ndependencies = [\"x\"]\n[crates.x]\ncompartment = { component = \"pipe\" }\n";
    std::fs::write(folder.path().join("c.toml"), text).expect("writable");
    let run = harness::cofferdam_in(folder.path(), &["check", "--manifest", "c.toml"]);
    assert!(run.code != Some(0) && run.stderr.contains("it is a pipe"), "{run}");
    // A link is the file that it leads to, and a pipe that a shell has opened has somebody who writes.
    std::fs::write(folder.path().join("good.toml"), "[crates.app]\n").expect("writable");
    std::os::unix::fs::symlink("good.toml", folder.path().join("link.toml")).expect("writable");
    let run = harness::cofferdam_in(folder.path(), &["check", "--manifest", "link.toml"]);
    assert_eq!(run.code, Some(0), "{run}");
    let piped = std::process::Command::new("sh")
        .args(["-c", "cat good.toml | \"$0\" check --manifest /dev/stdin", env!("CARGO_BIN_EXE_cofferdam")])
        .current_dir(folder.path())
        .output()
        .expect("a shell is there");
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
}

#[test]
fn a_plan_prints_no_version_that_nobody_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |name: &str| {
        format!(
            "[crates.app]\ndependencies = [\"words\"]\n[crates.{name:?}.compartment]\nbackend = \"wasm\"\n"
        )
    };
    for (name, line) in
        [("words", "1. app -> words (wasm), called"), ("words@1.2.0", "1. app -> words 1.2.0 (wasm), called")]
    {
        std::fs::write(folder.path().join("c.toml"), text(name)).expect("writable");
        let run = harness::cofferdam_in(folder.path(), &["plan", "--manifest", "c.toml"]);
        assert!(run.code == Some(0) && run.stdout.starts_with(line), "{run}");
    }
}

#[test]
fn colours_are_for_terminals_and_can_be_forced() {
    let arguments = ["check", "--manifest", "tests/invalid/misspelt_flag.toml"];
    assert!(!cofferdam(&arguments).stderr.contains('\u{1b}'), "a pipe gets no colours");
    let forced = [&arguments[..], &["--color", "always"]].concat();
    assert!(cofferdam(&forced).stderr.contains('\u{1b}'));
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    for arguments in [
        &["chekc"][..],
        &["check", "--manifest", "x", "--locked"],
        &["graph", "--format", "png"],
        &["explain"],
        &["graph", "--depth", "1"],
    ] {
        assert_eq!(cofferdam(arguments).code, Some(2), "{arguments:?}");
    }
    assert_eq!(cofferdam(&["check", "--manifest", "there/is/no.toml"]).code, Some(3));
    assert_eq!(cofferdam(&["--help"]).code, Some(0));
    assert_eq!(cofferdam(&["--version"]).code, Some(0));
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(cofferdam(&["completions", shell]).stdout.contains("cofferdam"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run = cofferdam(&["man", folder.path().to_str().expect("UTF-8")]);
    assert_eq!(run.code, Some(0), "{run}");
    let page = std::fs::read_to_string(folder.path().join("cofferdam-check.1")).expect("written");
    assert!(page.contains("Resolve the whole graph"), "{page}");
}

#[test]
fn it_works_as_a_subcommand_of_cargo() {
    let folder = root();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_cargo-cofferdam"))
        .current_dir(&folder)
        .args(["cofferdam", "check", "--manifest", "tests/valid/exported_names.toml"])
        .output()
        .expect("built");
    assert_eq!(run.status.code(), Some(0));
}
