//! A guest's program: a private copy in sealed memory, so that what was checked is what runs.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};

use super::limits::{PROGRAM_BYTES_MAX, UNWOUND_PROGRAM_BYTES_MAX};
use super::symbols::Symbols;

/// A program that nobody can change any more.
#[derive(Debug)]
pub(super) struct Program {
    /// Where it is.
    pub(super) memory: OwnedFd,
    /// Its size, bytes.
    pub(super) length: u64,
    /// What backtraces need of it, read when the first is wanted.
    symbols: OnceLock<Option<Symbols>>,
    /// SHA-256, lowercase hexadecimal, computed when it is first wanted: of some megabytes it is a good part of a start.
    #[cfg(feature = "wasm")]
    digest: OnceLock<String>,
}

/// Programs that were read before. A file that was changed since is another.
#[derive(Debug, Default)]
pub(super) struct Programs(Mutex<Vec<(Version, Arc<Program>)>>);

/// Device, inode, size, and the time of the last change, which nobody can set back.
type Version = (u64, u64, u64, i64, i64);

/// Most programs that are kept. A host starts a handful, again and again.
const PROGRAMS_MAX: usize = 16;

impl Programs {
    /// A copy of a file: the one from before, if the file is still the same.
    pub(super) fn read(&self, path: &Path) -> Result<Arc<Program>, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let kind = file.metadata().map_err(|error| error.to_string())?;
        if !kind.is_file() {
            return Err("it is not a file".to_owned());
        }
        let version = (kind.dev(), kind.ino(), kind.size(), kind.ctime(), kind.ctime_nsec());
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, program)) = known().iter().find(|(known, _)| *known == version) {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(Program::copy(file)?);
        let mut known = known();
        if known.len() == PROGRAMS_MAX {
            known.remove(0);
        }
        known.push((version, Arc::clone(&program)));
        Ok(program)
    }
}

impl Program {
    fn copy(file: File) -> Result<Self, String> {
        let mut bytes = Vec::new();
        file.take(PROGRAM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Self::from_bytes(&bytes)
    }

    /// Its tables, if it has any and is not too large.
    pub(super) fn symbols(&self) -> Option<&Symbols> {
        let read = || {
            (self.length <= UNWOUND_PROGRAM_BYTES_MAX).then_some(())?;
            Symbols::read(&self.bytes().ok()?)
        };
        self.symbols.get_or_init(read).as_ref()
    }

    /// SHA-256 of it, lowercase hexadecimal.
    #[cfg(feature = "wasm")]
    pub(super) fn digest(&self) -> String {
        let read =
            || self.bytes().map_or_else(|error| error.to_string(), |bytes| crate::wasm::digest(&bytes));
        self.digest.get_or_init(read).clone()
    }

    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).map_err(std::io::Error::other)?];
        let file = File::from(self.memory.try_clone()?);
        // At a place of its own: the descriptor's is shared with the guest's start.
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Copies bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > PROGRAM_BYTES_MAX {
            return Err(format!("it is larger than {PROGRAM_BYTES_MAX} bytes"));
        }
        is_static(bytes)?;
        let memory = seal(bytes).map_err(|error| error.to_string())?;
        Ok(Self {
            memory,
            length: bytes.len() as u64,
            symbols: OnceLock::new(),
            #[cfg(feature = "wasm")]
            digest: OnceLock::new(),
        })
    }
}

/// Bytes in memory that nobody can change any more, and that can be run.
pub(super) fn seal(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the second flag, and need none.
    let memory = rustix::fs::memfd_create(c"cofferdam", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(c"cofferdam", flags))?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    rustix::io::retry_on_intr(|| rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)))?;
    let memory = OwnedFd::from(file);
    let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, all)?;
    Ok(memory)
}

/// Whether it is a program for this platform that needs no loader.
fn is_static(bytes: &[u8]) -> Result<(), String> {
    match interpreter(bytes)? {
        None => Ok(()),
        Some(_) => {
            Err("it needs a loader and shared libraries, which a compartment has not; build it statically, \
                        with `-C target-feature=+crt-static`"
                .to_owned())
        }
    }
}

/// The loader that a program for this platform names, if it needs one: ELF, 64 bits, x86-64, its `PT_INTERP`.
pub(super) fn interpreter(bytes: &[u8]) -> Result<Option<String>, String> {
    const PT_INTERP: u32 = 3;
    // `PATH_MAX` of the kernel.
    const PATH_BYTES_MAX: usize = 4096;
    let wrong = "it is no program for Linux on x86-64".to_owned();
    let half = |at: usize| bytes.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01".as_slice()) || half(18) != Some(62) {
        return Err(wrong);
    }
    let table = bytes.get(32..40).and_then(|all| all.first_chunk()).map(|all| u64::from_le_bytes(*all));
    let (Some(table), Some(size), Some(count)) = (table, half(54), half(56)) else { return Err(wrong) };
    for index in 0..u64::from(count) {
        let at = table.checked_add(index * u64::from(size)).and_then(|at| usize::try_from(at).ok());
        let kind = at.and_then(|at| bytes.get(at..at.checked_add(4)?)).and_then(|four| four.first_chunk());
        match kind.map(|kind| u32::from_le_bytes(*kind)) {
            Some(PT_INTERP) => {
                let word = |field: u64| {
                    let at = usize::try_from(table + index * u64::from(size) + field).ok()?;
                    let eight = bytes.get(at..at.checked_add(8)?)?.first_chunk()?;
                    usize::try_from(u64::from_le_bytes(*eight)).ok()
                };
                let (offset, length) = (word(8), word(32).filter(|length| *length <= PATH_BYTES_MAX));
                let name = offset.zip(length).and_then(|(at, length)| bytes.get(at..at.checked_add(length)?));
                let name = name.and_then(|name| std::str::from_utf8(name).ok()).ok_or(wrong)?;
                return Ok(Some(name.trim_end_matches('\0').to_owned()));
            }
            Some(_) => {}
            None => return Err(wrong),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_static_program_is_refused() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01", &[0; 100]] {
            assert_eq!(
                Program::from_bytes(bytes).err(),
                Some("it is no program for Linux on x86-64".to_owned())
            );
        }
        // This test is a dynamic program on every platform that the project builds on.
        let own = std::fs::read("/proc/self/exe").expect("a test has a program");
        if own.windows(9).any(|word| word == b"/ld-linux") {
            assert!(Program::from_bytes(&own).expect_err("dynamic").contains("crt-static"));
        }
        assert_eq!(Programs::default().read(Path::new("/")).err(), Some("it is not a file".to_owned()));
        // A table of headers that lies outside the file.
        let mut bytes = own[..64].to_vec();
        bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Program::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_program_is_read_again_when_it_was_changed() {
        // The smallest that passes for a static program: a header, and no table behind it.
        let mut bytes = [0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes[32] = 64;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("program");
        std::fs::write(&path, bytes).expect("written");
        let programs = Programs::default();
        let first = programs.read(&path).expect("a program");
        assert!(Arc::ptr_eq(&first, &programs.read(&path).expect("the same")));
        std::thread::sleep(std::time::Duration::from_millis(20));
        bytes[63] = 1;
        std::fs::write(&path, bytes).expect("written");
        assert!(!Arc::ptr_eq(&first, &programs.read(&path).expect("another")));
        for index in 0..2 * PROGRAMS_MAX {
            let path = folder.path().join(index.to_string());
            std::fs::write(&path, bytes).expect("written");
            programs.read(&path).expect("a program");
        }
        assert_eq!(programs.0.lock().expect("no panic inside").len(), PROGRAMS_MAX);
    }

    #[test]
    fn sealed_bytes_stay_as_they_are() {
        let memory = seal(b"abc").expect("memory");
        let mut file = File::from(memory);
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(1).is_err());
    }
}
