//! Whether what was built of a crate is older than the crate. It finds forgotten builds while somebody works on a workspace; that the
//! right thing runs, a pinned checksum says.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most files and folders that are looked at. A crate with more is not looked at to its end.
const ENTRIES_MAX: usize = 10_000;

/// The ending of the file beside a built one that says where its crate's source is.
const SOURCES: &str = "sources";

/// The folder that a file was built from, as `cofferdam build` noted it; `None` where it did not, or where that folder is no more.
pub(super) fn sources_of(built: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(built.with_added_extension(SOURCES)).ok()?;
    Some(PathBuf::from(text.trim_end())).filter(|folder| folder.is_dir())
}

/// A file below `sources` that was changed after `built` was made.
pub(super) fn newer(sources: &Path, built: &Path) -> Option<PathBuf> {
    let made = std::fs::metadata(built).and_then(|found| found.modified()).ok()?;
    let mut folders = vec![sources.to_owned()];
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
            } else if found.modified().is_ok_and(|changed: SystemTime| changed > made) {
                return Some(entry.path());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_that_was_changed_after_the_build_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (crates, built) = (folder.path().join("codec"), folder.path().join("codec.wasm"));
        for path in ["codec/src/lib.rs", "codec/target/x", "codec/inner/Cargo.toml", "codec.wasm"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, "").expect("writable");
        }
        let touch = |path: &Path, seconds: u64| {
            let time = SystemTime::now() + Duration::from_secs(seconds);
            File::options()
                .append(true)
                .open(path)
                .and_then(|file| file.set_modified(time))
                .expect("writable");
        };
        touch(&built, 10);
        assert_eq!(newer(&crates, &built), None);
        touch(&crates.join("target/x"), 20);
        touch(&crates.join("inner/Cargo.toml"), 20);
        assert_eq!(newer(&crates, &built), None, "neither is a source of it");
        touch(&crates.join("src/lib.rs"), 20);
        assert_eq!(newer(&crates, &built), Some(crates.join("src/lib.rs")));
    }
}
