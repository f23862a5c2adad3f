//! Whether anything that a guest is made of has changed since it was made.
//!
//! Everything is compared that could matter, and what cannot be told is taken for a change: then Cargo is asked, which knows
//! better and takes longer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::limits::FINGERPRINT_FILES_MAX;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// Folders of packages that can be edited: everything below them.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Files, whether they are there or not. A folder among them is looked at as those above.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Environment variables that build scripts and sources have asked for.
    pub(crate) variables: BTreeSet<String>,
}

/// Environment variables that Cargo, the compiler and `cc` read, by how they begin.
const VARIABLES: [&str; 10] =
    ["CARGO_", "RUST", "CC", "CFLAGS", "CXX", "AR_", "TARGET_", "HOST_", "WASI_", "SOURCE_DATE_EPOCH"];

/// Those of them that differ by who runs Cargo, and that a build does not see as they are.
const VARIABLES_LEFT_OUT: [&str; 6] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_MAKEFLAGS",
];

impl Inputs {
    /// A digest of the state of all of it. `None` when there is too much to look at, or something cannot be read.
    pub(crate) fn digest(&self) -> Option<String> {
        let mut digest = Sha256::new();
        let mut files = 0;
        for folder in &self.folders {
            walk(folder, &mut files, &mut |path, metadata| add(&mut digest, path, Some(metadata)))?;
        }
        for path in &self.files {
            match std::fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => {
                    walk(path, &mut files, &mut |path, metadata| add(&mut digest, path, Some(metadata)))?;
                }
                Ok(metadata) => add_followed(path, &metadata, &mut |path, metadata| {
                    add(&mut digest, path, Some(metadata));
                }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => add(&mut digest, path, None),
                Err(_) => return None,
            }
        }
        for (name, value) in self.environment() {
            digest.update(format!("{}={}\n{name}{value:?}", name.len(), value.is_some()));
        }
        Some(hexadecimal(&digest.finalize()))
    }

    fn environment(&self) -> BTreeMap<String, Option<std::ffi::OsString>> {
        let mut found: BTreeMap<String, Option<std::ffi::OsString>> =
            self.variables.iter().map(|name| (name.clone(), std::env::var_os(name))).collect();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
            if begins(&VARIABLES) && !begins(&VARIABLES_LEFT_OUT) {
                found.insert(name, Some(value));
            }
        }
        found
    }

    /// Whether the folders hold a path.
    pub(crate) fn covers(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| path.starts_with(folder))
    }
}

/// Everything below a folder, in the order of names; without what Cargo and git make.
fn walk(folder: &Path, files: &mut usize, found: &mut dyn FnMut(&Path, &Metadata)) -> Option<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(&folder)
            .ok()?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .ok()?;
        entries.sort();
        for path in entries {
            *files += 1;
            if *files > FINGERPRINT_FILES_MAX {
                return None;
            }
            let metadata = std::fs::symlink_metadata(&path).ok()?;
            if !metadata.is_dir() {
                add_followed(&path, &metadata, found);
            } else if !is_output(&path) {
                folders.push(path);
            }
        }
    }
    Some(())
}

/// What is made and not read: Cargo marks its output folder, and git's own folder changes with every commit.
fn is_output(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == ".git") || folder.join("CACHEDIR.TAG").is_file()
}

/// A file, and what it leads to when it is a link.
fn add_followed(path: &Path, metadata: &Metadata, found: &mut dyn FnMut(&Path, &Metadata)) {
    found(path, metadata);
    if metadata.is_symlink()
        && let Ok(target) = std::fs::metadata(path)
    {
        found(path, &target);
    }
}

fn add(digest: &mut Sha256, path: &Path, metadata: Option<&Metadata>) {
    let name = path.as_os_str().as_encoded_bytes();
    digest.update((name.len() as u64).to_le_bytes());
    digest.update(name);
    let Some(metadata) = metadata else {
        digest.update(b"absent");
        return;
    };
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    digest.update(metadata.len().to_le_bytes());
    digest.update(modified.to_le_bytes());
    // A file that was put in place of another with its time kept has another number or another time of change.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        for number in
            [metadata.ino(), metadata.ctime().cast_unsigned(), metadata.ctime_nsec().cast_unsigned()]
        {
            digest.update(number.to_le_bytes());
        }
    }
}

/// Bytes in lowercase hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(folder: &Path) -> Inputs {
        Inputs { folders: [folder.to_owned()].into(), files: BTreeSet::new(), variables: BTreeSet::new() }
    }

    #[test]
    fn a_new_file_is_a_change_and_an_output_folder_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str| std::fs::write(folder.path().join(name), "x").expect("writable");
        write("a.rs");
        let inputs = inputs(folder.path());
        let first = inputs.digest().expect("readable");
        assert_eq!(inputs.digest().expect("readable"), first);
        std::fs::create_dir_all(folder.path().join("out/deep")).expect("writable");
        write("out/CACHEDIR.TAG");
        write("out/deep/b");
        assert_eq!(inputs.digest().expect("readable"), first);
        write("c.rs");
        assert_ne!(inputs.digest().expect("readable"), first);
    }

    #[test]
    fn a_file_replaced_with_its_time_kept_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.rs");
        std::fs::write(&path, "one").expect("writable");
        let inputs = inputs(folder.path());
        let first = inputs.digest().expect("readable");
        let old = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
        let other = folder.path().join("b.rs");
        std::fs::write(&other, "two").expect("writable");
        std::fs::File::options()
            .write(true)
            .open(&other)
            .and_then(|file| file.set_modified(old))
            .expect("set");
        std::fs::rename(&other, &path).expect("renamed");
        assert_ne!(inputs.digest().expect("readable"), first);
    }

    #[test]
    fn too_many_files_are_taken_for_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..FINGERPRINT_FILES_MAX {
            std::fs::write(folder.path().join(number.to_string()), "").expect("writable");
        }
        let inputs = inputs(folder.path());
        assert!(inputs.digest().is_some());
        std::fs::write(folder.path().join("one more"), "").expect("writable");
        assert_eq!(inputs.digest(), None);
    }

    #[test]
    fn a_file_that_appears_where_it_was_looked_for_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rust-toolchain.toml");
        let inputs =
            Inputs { folders: BTreeSet::new(), files: [path.clone()].into(), variables: BTreeSet::new() };
        let first = inputs.digest().expect("readable");
        std::fs::write(&path, "").expect("writable");
        assert_ne!(inputs.digest().expect("readable"), first);
    }
}
