//! What a run found out, kept for the next. Each file is named by a digest of all that decides what is in it, the code of ours
//! that made it included, and begins with a digest of what follows: what does not fit is made anew, never believed.
//!
//! | kind | holds | named by |
//! | --- | --- | --- |
//! | `source` | the summary of a package | its checksum; without one, all that the scan looked at |
//! | `looks` | what the scan of a package without a checksum looked at | its folder and targets |
//! | `files` | the files of each target of a graph | the names of the packages' summaries |
//! | `verdict` | the facts of a verdict | the same, the graph, the platform and the tables |
//!
//! The folder is the user's own: who can write there can also replace this program.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::limits::CACHE_BYTES_MAX;
use crate::package::Package;
use crate::predicate::CfgSet;
use crate::revision::SCAN;
use crate::scan::Observation;
use crate::summary::Summary;

/// Changes when the form of the folder changes.
const VERSION: &str = "cofferdam-source-8";

/// The name of a file: a digest of what decides what is in it.
pub(crate) type Key = [u8; 32];

/// A folder of what was found out.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// What is read of a package: the folder in which a member's sources may lie, and the platform when nothing else is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'g> {
    pub(crate) package: &'g Package,
    pub(crate) workspace: &'g Path,
    pub(crate) platform: Option<&'g CfgSet>,
}

impl Asked<'_> {
    /// All that decides what a scan says, but what it finds in files that may change.
    fn key(&self) -> Key {
        let Self { package, workspace, platform } = *self;
        let mut hash = Sha256::new();
        hash.update(VERSION);
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(SCAN.to_le_bytes());
        match &package.checksum {
            Some(checksum) => hash.update(checksum),
            None => {
                for folder in [package.folder.as_path(), workspace] {
                    hash.update(folder.as_os_str().as_encoded_bytes());
                    hash.update([0]);
                }
            }
        }
        for target in &package.targets {
            hash.update([target.kind as u8]);
            let source = target.source.strip_prefix(&package.folder).unwrap_or(&target.source);
            hash.update(source.to_string_lossy().as_bytes());
            hash.update([0]);
        }
        hash.update([
            u8::from(package.links.is_some()),
            u8::from(platform.is_some()),
            u8::from(package.checksum.is_some()),
        ]);
        if let Some(platform) = platform {
            // What was left out depends on both.
            hash.update(format!("{platform:?} {:?}", package.features));
        }
        hash.finalize().into()
    }
}

impl Cache {
    /// The cache in a folder, which need not exist yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.join(VERSION) }
    }

    /// The key of what the source of a package says now. `None` when that is not known without reading it.
    pub(crate) fn key_of(&self, asked: Asked<'_>) -> Option<Key> {
        let key = asked.key();
        if asked.package.checksum.is_some() {
            return Some(key);
        }
        let looks: Vec<Observation> = self.read("looks", &key)?;
        if looks.iter().all(Observation::is_still_so) { with_looks(key, &looks) } else { None }
    }

    /// Whether there is a summary under a key.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.path("source", key).is_file()
    }

    /// The summary under a key, when it was kept whole and fits.
    pub(crate) fn load(&self, key: &Key, package: &Package) -> Option<Summary> {
        let summary: Summary = self.read("source", key)?;
        (summary.targets.len() == package.targets.len() && summary.is_sound()).then_some(summary)
    }

    /// Keeps a summary, and says under which key. `looks` is what the scan looked at, for a package without a checksum.
    pub(crate) fn store(
        &self,
        asked: Asked<'_>,
        summary: &Summary,
        looks: Option<&[Observation]>,
    ) -> Option<Key> {
        let mut key = asked.key();
        if asked.package.checksum.is_none() {
            let looks = looks?;
            let fixed = key;
            key = with_looks(fixed, looks)?;
            // What was there before nobody will ask for again.
            if let Some(before) = self.read::<Vec<Observation>>("looks", &fixed) {
                let before = with_looks(fixed, &before);
                if let Some(before) = before.filter(|before| *before != key) {
                    let _ = std::fs::remove_file(self.path("source", &before));
                }
            }
            self.write("looks", &fixed, &looks);
        }
        self.write("source", &key, summary);
        Some(key)
    }

    /// Removes what is oldest when there is too much: sources of checkouts that are gone, verdicts that nobody will ask for.
    pub(crate) fn prune(&self, most: u64) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(std::time::SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        files.sort();
        for (_, length, path) in files {
            if total <= most {
                return;
            }
            if std::fs::remove_file(path).is_ok() {
                total -= length;
            }
        }
    }

    fn path(&self, kind: &str, key: &Key) -> PathBuf {
        self.folder.join(format!("{}.{kind}", hex(key)))
    }

    /// What was kept of a kind under a key.
    pub(crate) fn read<T: DeserializeOwned>(&self, kind: &str, key: &Key) -> Option<T> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(self.path(kind, key)).ok()?;
        file.take(CACHE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        if bytes.len() as u64 > CACHE_BYTES_MAX {
            return None;
        }
        let (digest, body) = bytes.split_at_checked(32)?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        postcard::from_bytes(body).ok()
    }

    /// Keeps something. A failure is no error: the next run finds it out again.
    pub(crate) fn write<T: Serialize + ?Sized>(&self, kind: &str, key: &Key, value: &T) {
        let Ok(body) = postcard::to_stdvec(value) else { return };
        let path = self.path(kind, key);
        let stored = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            let temporary = path.with_extension(format!("{kind}.{}.new", std::process::id()));
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&Sha256::digest(&body))?;
            file.write_all(&body)?;
            drop(file);
            std::fs::rename(&temporary, &path)
        };
        let _ = stored();
    }
}

/// `None` for what cannot be written, such as a path that is no text: it is read anew each time.
fn with_looks(key: Key, looks: &[Observation]) -> Option<Key> {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(postcard::to_stdvec(looks).ok()?);
    Some(hash.finalize().into())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_believed_only_whole_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::in_folder(folder.path());
        let keys = [[1; 32], [2; 32], [3; 32]];
        for (age, key) in keys.iter().enumerate() {
            cache.write("verdict", key, &vec![7_u8; 100]);
            let file = std::fs::File::options().append(true).open(cache.path("verdict", key)).expect("kept");
            let days = std::time::Duration::from_secs(86_400 * (3 - age as u64));
            file.set_modified(std::time::SystemTime::now() - days).expect("settable");
        }
        assert_eq!(cache.read::<Vec<u8>>("verdict", &keys[0]), Some(vec![7; 100]));
        assert_eq!(cache.read::<Vec<u8>>("source", &keys[0]), None);
        cache.prune(300);
        let left = keys.map(|key| cache.read::<Vec<u8>>("verdict", &key).is_some());
        assert_eq!(left, [false, true, true]);
        let path = cache.path("verdict", &keys[1]);
        let mut bytes = std::fs::read(&path).expect("kept");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&path, bytes).expect("writable");
        assert_eq!(cache.read::<Vec<u8>>("verdict", &keys[1]), None);
    }
}
