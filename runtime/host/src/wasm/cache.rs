//! Compiled code on disk, under our own seal.
//!
//! An entry is found by what the component is and what compiled it, and is used only when a keyed digest over the code says that
//! this user's program wrote it, whole. Anything else about it - a flipped bit, another engine, another user's file - and
//! the component is compiled again.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::host::WasmHost;
use super::limits::CACHE_BYTES_DEFAULT;
use super::unchecked;

/// A folder of compiled components. Safe to share between processes of one user.
#[derive(Debug, Clone)]
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; 32],
    bytes_max: u64,
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
#[error("the cache of compiled code at `{}` cannot be used: {source}", folder.display())]
pub struct CacheError {
    /// The folder.
    pub folder: PathBuf,
    /// What happened.
    #[source]
    pub source: std::io::Error,
}

/// What is in a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheSummary {
    /// Components.
    pub entries: usize,
    /// Their size on disk, bytes.
    pub bytes: u64,
}

/// Code whose seal was checked, copied to memory before.
pub(super) struct Verified(Vec<u8>);

impl Verified {
    pub(super) fn code(&self) -> &[u8] {
        &self.0[SEAL_BYTES..]
    }
}

const SEAL_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const EXTENSION: &str = "code";

impl CodeCache {
    /// Opens a cache, and makes it where there is none: a folder that only this user may enter, with a key of its own.
    ///
    /// # Errors
    /// When the folder cannot be made, is another user's, or may be written by others.
    ///
    /// # Authority
    /// Reads and writes in `folder`, now and whenever a component is compiled.
    pub fn open_ambient(folder: &Path, _: ambient_authority::AmbientAuthority) -> Result<Self, CacheError> {
        Self::open(folder).map_err(|source| CacheError { folder: folder.to_owned(), source })
    }

    fn open(folder: &Path) -> std::io::Result<Self> {
        make_private(folder)?;
        let key = key(folder)?;
        Ok(Self { folder: folder.to_owned(), key, bytes_max: CACHE_BYTES_DEFAULT })
    }

    /// The most that is kept, bytes; what was not used for longest goes first.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// What is in it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn summary(&self) -> std::io::Result<CacheSummary> {
        let entries = self.entries()?;
        Ok(CacheSummary { entries: entries.len(), bytes: entries.iter().map(|entry| entry.bytes).sum() })
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn clear(&self) -> std::io::Result<CacheSummary> {
        let entries = self.entries()?;
        for entry in &entries {
            remove(&entry.path)?;
        }
        Ok(CacheSummary { entries: entries.len(), bytes: entries.iter().map(|entry| entry.bytes).sum() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn entries(&self) -> std::io::Result<Vec<CacheEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push(CacheEntry { path, bytes: metadata.len(), used });
            }
        }
        entries.sort_by_key(|entry| entry.used);
        Ok(entries)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension(EXTENSION)
    }

    fn seal(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut seal = blake3::Hasher::new_keyed(&self.key);
        // The name says what the code is of, so that one entry's content is not good under another's name.
        seal.update(name.as_bytes()).update(&[0]).update(code).finalize()
    }

    /// The code of that name, if it is there and whole.
    fn read(&self, name: &str) -> Option<Verified> {
        let path = self.path(name);
        let file = File::open(&path).ok()?;
        let size = file.metadata().ok()?.len().min(CODE_BYTES_MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(size).ok()? + 1);
        file.take(CODE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let (seal, code) = bytes.split_at_checked(SEAL_BYTES)?;
        // Compared in constant time.
        if self.seal(name, code) != *seal {
            tracing::warn!(path = %path.display(), "compiled code is not as it was written; it is made again");
            let _ = remove(&path);
            return None;
        }
        // When it was last used decides what goes first.
        if let Ok(file) = OpenOptions::new().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(Verified(bytes))
    }

    /// Writes beside the place and moves into it: a reader sees all of it or nothing.
    fn write(&self, name: &str, code: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder)?;
        file.write_all(self.seal(name, code).as_bytes())?;
        file.write_all(code)?;
        file.persist(self.path(name)).map_err(|error| error.error)?;
        self.shrink()
    }

    fn shrink(&self) -> std::io::Result<()> {
        let entries = self.entries()?;
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if bytes <= self.bytes_max {
                break;
            }
            remove(&entry.path)?;
            bytes -= entry.bytes;
        }
        Ok(())
    }
}

struct CacheEntry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Largest entry that is read, bytes: compiled code is a few times its component, which has at most 256 MiB.
const CODE_BYTES_MAX: u64 = 2 << 30;

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A folder that only its owner may enter, and whose owner is this user.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
        builder.mode(0o700).create(folder)?;
        let found = fs::symlink_metadata(folder)?;
        let refuse = |message: &str| Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, message));
        if !found.is_dir() {
            return refuse("it is not a folder");
        }
        if found.mode() & 0o022 != 0 {
            return refuse("others may write in it; `chmod 700` it, or remove it");
        }
        let probe = tempfile::tempfile_in(folder)?;
        if probe.metadata()?.uid() != found.uid() {
            return refuse("it belongs to another user");
        }
    }
    #[cfg(not(unix))]
    builder.create(folder)?;
    Ok(())
}

/// The key of a cache: made once, by whichever process comes first.
fn key(folder: &Path) -> std::io::Result<[u8; 32]> {
    let path = folder.join(KEY_FILE);
    let read = || -> std::io::Result<[u8; 32]> {
        let bytes = fs::read(&path)?;
        <[u8; 32]>::try_from(bytes)
            .map_err(|_| std::io::Error::other("its key is damaged; remove the folder"))
    };
    match read() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(std::io::Error::other)?;
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
            file.write_all(&key)?;
            match file.persist_noclobber(&path) {
                Ok(_) => Ok(key),
                // Another process was first.
                Err(_) => read(),
            }
        }
        other => other,
    }
}

/// The component of those bytes, from the host's cache where it is there.
pub(super) fn compile(host: &WasmHost, bytes: &[u8], digest: &str) -> wasmtime::Result<Component> {
    let Some(cache) = host.cache() else { return Component::new(host.engine(), bytes) };
    let name = format!("{digest}-{}", compatibility(host));
    if let Some(verified) = cache.read(&name)
        && let Ok(component) = unchecked::precompiled(host.engine(), &verified)
    {
        return Ok(component);
    }
    let component = Component::new(host.engine(), bytes)?;
    match component.serialize().map(|code| cache.write(&name, &code)) {
        Ok(Ok(())) => {}
        // A full disk makes the next start slower, and nothing else.
        Ok(Err(error)) => tracing::warn!(%error, "compiled code was not kept"),
        Err(error) => tracing::warn!(%error, "compiled code was not kept"),
    }
    Ok(component)
}

/// What compiled: the engine's version and settings, as the engine itself tells them apart.
fn compatibility(host: &WasmHost) -> String {
    struct Digest(Sha256);
    impl std::hash::Hasher for Digest {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut digest = Digest(Sha256::new());
    std::hash::Hash::hash(&host.engine().precompile_compatibility_hash(), &mut digest);
    super::inspect::hexadecimal(&digest.0.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let entry = (1_000 + SEAL_BYTES) as u64;
        let cache = CodeCache::open(&folder.path().join("cache")).expect("a cache").with_limit(3 * entry);
        let there = |name: &str| cache.path(name).exists();
        let age = |name: &str, seconds: u64| {
            let file = OpenOptions::new().append(true).open(cache.path(name)).expect("there");
            let then = SystemTime::now() - std::time::Duration::from_secs(seconds);
            file.set_modified(then).expect("ours");
        };
        for (name, seconds) in [("a", 300), ("b", 200), ("c", 100)] {
            cache.write(name, &[7; 1_000]).expect("room");
            age(name, seconds);
        }
        assert_eq!(
            cache.summary().expect("readable"),
            CacheSummary { entries: 3, bytes: 3 * entry },
            "at the limit"
        );
        // Reading is using: `b` is the oldest then.
        assert_eq!(cache.read("a").expect("whole").code(), [7; 1_000]);
        cache.write("d", &[7; 1_000]).expect("room is made");
        assert!(there("a") && !there("b") && there("c") && there("d"));
        assert_eq!(cache.summary().expect("readable").bytes, 3 * entry, "and one past it made room");
        // One entry's content is not good under another's name.
        fs::copy(cache.path("a"), cache.path("e")).expect("writable");
        assert!(cache.read("e").is_none());
    }
}
