//! Whether what was built of a crate is older than the crate. It finds forgotten builds while somebody works on a workspace; that the
//! right thing runs, a pinned checksum says.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

/// Most files and folders that are looked at. A crate with more is not looked at to its end.
const ENTRIES_MAX: usize = 10_000;

/// The ending of the file beside a built one that says where its crate's source is.
const SOURCES: &str = "sources";

/// What a built file was made of, as `cofferdam build` notes it beside it.
#[derive(Debug, Deserialize)]
pub(super) struct Sources {
    folder: PathBuf,
    /// By their paths in the folder; nothing where any file of it may be one.
    files: Option<BTreeSet<PathBuf>>,
    /// Files of other crates.
    others: Vec<PathBuf>,
}

/// What a file was built from: the crate in this folder, if that is known, and what `cofferdam build` noted about it. `None` where neither
/// is known, or where that folder is no more.
pub(super) fn sources_of(built: &Path, known: Option<PathBuf>) -> Option<Sources> {
    let noted = std::fs::read(built.with_added_extension(SOURCES)).ok();
    let noted: Option<Sources> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let found = match (noted, known) {
        // A workspace that was copied with what was built in it: the other crates are those of the first one.
        (Some(noted), Some(known)) if noted.folder != known => {
            Sources { folder: known, others: Vec::new(), ..noted }
        }
        (Some(noted), _) => noted,
        (None, Some(folder)) => Sources { folder, files: None, others: Vec::new() },
        (None, None) => return None,
    };
    found.folder.is_dir().then_some(found)
}

impl Sources {
    /// A file of it that was changed, or taken away, after `built` was made.
    pub(super) fn newer(&self, built: &Path) -> Option<PathBuf> {
        let made = std::fs::metadata(built).and_then(|found| found.modified()).ok()?;
        let after = |changed: std::io::Result<SystemTime>| changed.is_ok_and(|changed| changed > made);
        let mut folders = vec![self.folder.clone()];
        let mut looked_at = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).ok()?.flatten() {
                looked_at += 1;
                if looked_at > ENTRIES_MAX {
                    return None;
                }
                let name = entry.file_name();
                // What Cargo and editors keep there is no source, and a crate inside a crate is looked at as its own.
                if name == "target" || name.to_string_lossy().starts_with('.') {
                    continue;
                }
                let Ok(found) = entry.metadata() else { continue };
                if found.is_dir() {
                    if !entry.path().join("Cargo.toml").exists() {
                        folders.push(entry.path());
                    }
                } else if self.may_be_one(&entry.path()) && after(found.modified()) {
                    return Some(entry.path());
                }
            }
        }
        let inside = self.files.iter().flatten().map(|path| self.folder.join(path));
        inside
            .chain(self.others.iter().cloned())
            .find(|path| std::fs::metadata(path).map_or(true, |found| after(found.modified())))
    }

    /// Whether a file of the crate's folder may be a source. Where it is known which are, a program may write its logs and its data beside
    /// them, and what lies in a folder that holds one counts as one: it may be new, and of a folder that is read whole, as `wit` is.
    fn may_be_one(&self, path: &Path) -> bool {
        let (Some(files), Ok(inside)) = (&self.files, path.strip_prefix(&self.folder)) else { return true };
        let top = |path: &Path| {
            path.components().nth(1).and_then(|_| Some(path.components().next()?.as_os_str().to_owned()))
        };
        match top(inside) {
            None => files.contains(inside) || inside.as_os_str() == OsStr::new("Cargo.toml"),
            Some(first) => files.iter().any(|file| top(file).as_ref() == Some(&first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    fn written(folder: &Path, path: &str, text: &str) -> PathBuf {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(&path, text).expect("writable");
        path
    }

    fn touch(path: &Path, seconds: u64) {
        let time = SystemTime::now() + Duration::from_secs(seconds);
        File::options().append(true).open(path).and_then(|file| file.set_modified(time)).expect("writable");
    }

    /// What is newer, when this note stands beside what was built, and this file was changed after it.
    fn newer(note: Option<&str>, changed: &str) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| written(folder.path(), path, "");
        for path in ["codec/src/lib.rs", "codec/inner/Cargo.toml", "codec/run.jsonl", "other/src/lib.rs"] {
            at(path);
        }
        let built = at("codec.wasm");
        let codec = folder.path().join("codec");
        if let Some(note) = note {
            let text = note.replace("HERE", &folder.path().display().to_string());
            written(folder.path(), "codec.wasm.sources", &text);
        }
        touch(&built, 10);
        let known = || sources_of(&built, Some(codec.clone())).expect("it is there");
        assert_eq!(known().newer(&built), None);
        touch(&at(changed), 20);
        let found = known().newer(&built)?;
        Some(found.strip_prefix(folder.path()).expect("inside").display().to_string())
    }

    const NOTE: &str = r#"{"folder":"HERE/codec","files":["src/lib.rs"],"others":["HERE/other/src/lib.rs"]}"#;

    #[test]
    fn a_source_that_was_changed_after_the_build_is_named() {
        let unknown = NOTE.replace(r#"["src/lib.rs"]"#, "null");
        for (changed, counts_unnoted, counts_noted) in [
            ("codec/src/lib.rs", true, true),
            ("codec/src/new.rs", true, true),
            ("codec/Cargo.toml", true, true),
            ("codec/run.jsonl", true, false),
            ("codec/out/data.bin", true, false),
            ("codec/target/x", false, false),
            ("codec/inner/Cargo.toml", false, false),
            ("other/src/lib.rs", false, true),
        ] {
            let named = |counts: bool| counts.then(|| changed.to_owned());
            assert_eq!(newer(None, changed), named(counts_unnoted), "{changed}");
            assert_eq!(newer(Some("no note"), changed), named(counts_unnoted), "{changed}");
            assert_eq!(newer(Some(NOTE), changed), named(counts_noted), "{changed}");
            let counts = counts_unnoted || changed.starts_with("other/");
            assert_eq!(newer(Some(&unknown), changed), named(counts), "{changed}");
        }
    }

    #[test]
    fn a_source_that_is_gone_is_named_and_another_place_has_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        written(&here, "src/lib.rs", "");
        written(&there, "src/lib.rs", "");
        let note =
            format!(r#"{{"folder":"{}","files":["src/lib.rs"],"others":["/none.rs"]}}"#, here.display());
        written(folder.path(), "codec.wasm.sources", &note);
        let built = written(folder.path(), "codec.wasm", "");
        touch(&built, 10);
        let newer = |known: Option<&Path>| sources_of(&built, known.map(Path::to_owned))?.newer(&built);
        assert_eq!(newer(None), Some(PathBuf::from("/none.rs")));
        assert_eq!(newer(Some(&there)), None);
        std::fs::remove_file(there.join("src/lib.rs")).expect("it is there");
        assert_eq!(newer(Some(&there)), Some(there.join("src/lib.rs")));
        assert!(sources_of(&built, Some(folder.path().join("nowhere"))).is_none());
    }
}
