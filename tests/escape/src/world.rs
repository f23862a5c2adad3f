//! What is around a guest while it tries something: files, and a victim outside of its compartment.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::fs::{FileType, Mode};
use rustix::process::{Pid, getpriority_process};

use crate::attempt::Attempt;
use crate::suite::processors;

/// The least that a process can be preferred, nice(2).
pub(crate) const NICENESS_MOST: i32 = 19;

/// Files and a victim. Both are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
    victim: Child,
    out: BufReader<ChildStdout>,
    facts: BTreeMap<String, String>,
}

impl World {
    /// Makes all of it, with what this attempt wants of its victim.
    pub(crate) fn new(guest: &Path, attempt: &Attempt) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("cofferdam-selftest-").tempdir().map_err(text)?;
        let at = |name: &str| folder.path().join(name);
        for name in ["data", "data/sub", "out", "lies"] {
            std::fs::create_dir(at(name)).map_err(text)?;
        }
        for (name, bytes) in [
            ("data/file", "readable"),
            ("data/movable", "readable"),
            ("out/seed", "writable"),
            ("secret", "secret"),
            ("program", "program"),
        ] {
            std::fs::write(at(name), bytes).map_err(text)?;
        }
        for (target, name) in [
            ("../secret".into(), "data/link-up"),
            (at("secret"), "data/link-absolute"),
            ("link-up".into(), "data/link-chain"),
            (PathBuf::from(".."), "data/link-folder"),
        ] {
            symlink(target, at(name)).map_err(text)?;
        }
        let own = std::process::id();
        let mut facts = BTreeMap::from([
            ("folder".to_owned(), folder.path().display().to_string()),
            ("name".to_owned(), format!("cofferdam-selftest-{own}")),
            ("key".to_owned(), (0x0C0F_0000 + u64::from(own)).to_string()),
            ("secret".to_owned(), at("secret").display().to_string()),
            ("program".to_owned(), at("program").display().to_string()),
            ("socket".to_owned(), at("lies/socket").display().to_string()),
            ("datagram".to_owned(), at("lies/datagram").display().to_string()),
        ]);
        if let Some(first) = processors().first() {
            facts.insert("processor".to_owned(), first.to_string());
        }
        facts.insert("abstract".to_owned(), facts["name"].clone());
        facts.insert("queue".to_owned(), facts["name"].clone());
        let mut victim = Command::new(guest)
            .args(["victim", &format!("folder={}/lies", facts["folder"])])
            .args([format!("name={}", facts["name"]), format!("key={}", facts["key"])])
            .arg(format!("holds={}", attempt.victim_holds))
            .env_clear()
            .env("SECRET_OF_THE_VICTIM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`{}` does not run: {error}", guest.display()))?;
        // One step below wherever it began: anybody may do that to a process of their own, and it shows.
        let niceness = getpriority_process(Some(Pid::from_child(&victim))).map_err(text)?;
        facts.insert("niceness".to_owned(), NICENESS_MOST.min(niceness.saturating_add(1)).to_string());
        let mut out = BufReader::new(victim.stdout.take().ok_or("no pipe")?);
        loop {
            let mut line = String::new();
            if out.read_line(&mut line).map_err(text)? == 0 {
                return Err("the victim ended".to_owned());
            }
            match line.trim().split_once('=') {
                Some((name, value)) => drop(facts.insert(name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        Ok(Self { folder, victim, out, facts })
    }

    /// Where the granted paths are.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A text with the facts that it names in braces put in.
    pub(crate) fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in ["port", "granted-port", "udp"] {
            text = text.replace(&format!("{{{name}}}"), &self.facts[name]);
        }
        text
    }

    /// What a guest is told; `outside` when it sees the host's own paths.
    pub(crate) fn told(&self, more: &[&str], outside: bool) -> Vec<String> {
        let mut all: Vec<String> = self.facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if outside {
            all.push(format!("prefix={}", self.facts["folder"]));
        }
        all.extend(more.iter().map(|fact| (*fact).to_owned()));
        all
    }

    /// Makes something that is neither a file nor a folder, or a file.
    pub(crate) fn make(&self, kind: &str) -> Result<(), String> {
        let path = self.path().join("odd");
        match kind {
            "fifo" => {
                rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0).map_err(text)
            }
            "socket" => std::os::unix::net::UnixListener::bind(&path).map(drop).map_err(text),
            _ => std::fs::write(&path, "even").map_err(text),
        }
    }

    /// Whether something still writes to the files that a guest may write to.
    pub(crate) fn is_still(&self) -> bool {
        let length = || std::fs::metadata(self.path().join("out/daemon")).map(|found| found.len()).ok();
        let before = length();
        if before.is_none() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        length() == before
    }

    /// What the victim noticed.
    pub(crate) fn end(mut self) -> Result<Vec<String>, String> {
        drop(self.victim.stdin.take());
        let mut said = String::new();
        self.out.read_to_string(&mut said).map_err(text)?;
        let ended = self.victim.wait().map_err(text)?;
        if !ended.success() {
            return Err(format!("the victim ended with {ended}"));
        }
        Ok(said.lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
