//! Runs the built program, as a user would, and keeps what it said.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the repository").to_owned()
}

/// What a run of the program left behind.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
        }
    }
}

/// Everything, for a snapshot.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("killed".to_owned(), |code| code.to_string());
        write!(f, "exit {code}\n----- stdout\n{}----- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs `cofferdam` in a folder.
pub(crate) fn cofferdam_in(folder: &Path, arguments: &[&str]) -> Run {
    cofferdam_with(folder, arguments, &[])
}

/// Runs `cofferdam` in a folder, with some variables.
pub(crate) fn cofferdam_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.current_dir(folder).args(arguments);
    // Nothing of the machine's may show in what is compared.
    command
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env("CARGO_NET_OFFLINE", "true")
        .env("COLUMNS", "100");
    command.envs(variables.iter().copied());
    Run::new(command.output().expect("the program was built"))
}

/// Runs `cofferdam` in the repository's root.
pub(crate) fn cofferdam(arguments: &[&str]) -> Run {
    cofferdam_in(&root(), arguments)
}

/// A Cargo workspace in a folder of its own.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    /// Makes a workspace from `(path, text)`; every package gets an empty library.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let workspace = Self { folder };
        for (path, text) in files {
            workspace.write(path, text);
            if path.ends_with("Cargo.toml") && text.contains("[package]") {
                let source = Path::new(path).with_file_name("src").join("lib.rs");
                workspace.write(source.to_str().expect("UTF-8"), "");
            }
        }
        workspace
    }

    /// Three crates in a row, `app -> codec -> util`, with nothing declared.
    pub(crate) fn three_crates() -> Self {
        let package = |name: &str, dependency: &str| {
            let dependencies = match dependency {
                "" => String::new(),
                name => format!("{name} = {{ path = \"../{name}\" }}\n"),
            };
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}"
            )
        };
        Self::new(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"app\", \"codec\", \"util\"]\nresolver = \"3\"\n"),
            ("app/Cargo.toml", &package("app", "codec")),
            ("codec/Cargo.toml", &package("codec", "util")),
            ("util/Cargo.toml", &package("util", "")),
        ])
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, text).expect("writable");
    }

    pub(crate) fn append(&self, path: &str, text: &str) {
        let old = self.read(path);
        self.write(path, &(old + text));
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).expect("readable")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        cofferdam_in(self.path(), arguments)
    }

    /// What git says in the workspace, as somebody whom no settings of this machine's user are of.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.path())
            .output()
            .expect("git is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
