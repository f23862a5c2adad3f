//! The folder that stands for every path that is not granted. It leads nowhere; it is there so that a guest's attempt is heard of.
//!
//! Behind it is the null device, opened for reading, of which no method of a folder can make anything.

use std::fs::File;
use std::sync::LazyLock;

use wasmtime::component::Resource;
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{self, Descriptor, OpenMode};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, DescriptorStat, DescriptorType, DirectoryEntryStream, ErrorCode,
};
use wasmtime_wasi::p2::bindings::sync::filesystem::types as sync;
use wasmtime_wasi::p2::{FsError, FsResult};
use wasmtime_wasi_io::bindings::wasi::io::streams;

use super::files::{Deed, FolderRule, GuardedFiles};

/// The folders of a system's root, which the Filesystem Hierarchy Standard 3.0 lists in sections 3.2 and 6.1.
const OF_THE_ROOT: [&str; 20] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root",
    "run", "sbin", "srv", "sys", "tmp", "usr", "var",
];

/// A handle of it. None where there is no null device, and then attempts are not heard of.
pub(super) fn descriptor() -> Option<Descriptor> {
    static NOWHERE: LazyLock<Option<filesystem::File>> = LazyLock::new(|| {
        let file = File::open("/dev/null").ok()?;
        Some(filesystem::File::new(file, FsPerms::ReadOnly, OpenMode::READ, true))
    });
    NOWHERE.clone().map(Descriptor::File)
}

pub(super) fn rule() -> FolderRule {
    FolderRule { outside: true, ..FolderRule::default() }
}

/// Where the guest's path would be on the host. Its library drops the slash that a path begins with, so that the two kinds are
/// told apart by where they lead: into a folder that every system has, or not.
pub(super) fn named(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    let first = path.split('/').next().unwrap_or_default();
    match () {
        () if is_root(path) => "/".to_owned(),
        () if OF_THE_ROOT.contains(&first) => format!("/{path}"),
        () => path.to_owned(),
    }
}

/// Whether a path is the folder itself.
pub(super) fn is_root(path: &str) -> bool {
    path.split('/').all(|part| matches!(part, "" | "."))
}

/// It is a folder, and nothing else can be said of it.
pub(super) fn stat() -> DescriptorStat {
    DescriptorStat {
        type_: DescriptorType::Directory,
        link_count: 1,
        size: 0,
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    }
}

type Fd = Resource<Descriptor>;

impl GuardedFiles<'_> {
    /// Refused on the one folder that there is, and on anything else, which the guest cannot have.
    fn nowhere<T>(&self, fd: &Fd, path: &str, deed: Deed) -> FsResult<T> {
        if !self.is_outside(fd) {
            return Err(ErrorCode::BadDescriptor.into());
        }
        self.refused(fd.rep(), path, deed);
        Err(denied(path))
    }

    fn known<T>(&self, fd: &Fd, value: T) -> FsResult<T> {
        if self.is_outside(fd) { Ok(value) } else { Err(ErrorCode::BadDescriptor.into()) }
    }
}

/// What is not granted is not there, as in a process: many programs do without a file that is missing, and few without one that is
/// forbidden. The folder itself is there.
pub(super) fn denied(path: &str) -> FsError {
    if is_root(path) { ErrorCode::NotPermitted.into() } else { ErrorCode::NoEntry.into() }
}

fn no_file<T>() -> FsResult<T> {
    Err(ErrorCode::BadDescriptor.into())
}

impl sync::Host for GuardedFiles<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<sync::ErrorCode> {
        Ok(types::Host::convert_error_code(self, error)?.into())
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<streams::Error>,
    ) -> wasmtime::Result<Option<sync::ErrorCode>> {
        Ok(types::Host::filesystem_error_code(self, error)?.map(Into::into))
    }
}

/// For guests that nothing can make wait, and that therefore have no folder but this.
impl sync::HostDescriptor for GuardedFiles<'_> {
    fn advise(&mut self, _: Fd, _: u64, _: u64, _: sync::Advice) -> FsResult<()> {
        no_file()
    }

    fn sync_data(&mut self, _: Fd) -> FsResult<()> {
        no_file()
    }

    fn get_flags(&mut self, fd: Fd) -> FsResult<sync::DescriptorFlags> {
        self.known(&fd, sync::DescriptorFlags::READ)
    }

    fn get_type(&mut self, fd: Fd) -> FsResult<sync::DescriptorType> {
        self.known(&fd, sync::DescriptorType::Directory)
    }

    fn set_size(&mut self, _: Fd, _: u64) -> FsResult<()> {
        no_file()
    }

    fn set_times(&mut self, fd: Fd, _: sync::NewTimestamp, _: sync::NewTimestamp) -> FsResult<()> {
        self.nowhere(&fd, ".", Deed::Write)
    }

    fn read(&mut self, _: Fd, _: u64, _: u64) -> FsResult<(Vec<u8>, bool)> {
        no_file()
    }

    fn write(&mut self, _: Fd, _: Vec<u8>, _: u64) -> FsResult<u64> {
        no_file()
    }

    fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        self.nowhere(&fd, ".", Deed::List)
    }

    fn sync(&mut self, _: Fd) -> FsResult<()> {
        no_file()
    }

    fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Around)
    }

    fn stat(&mut self, fd: Fd) -> FsResult<sync::DescriptorStat> {
        self.known(&fd, stat().into())
    }

    fn stat_at(&mut self, fd: Fd, _: sync::PathFlags, path: String) -> FsResult<sync::DescriptorStat> {
        if is_root(&path) {
            return self.known(&fd, stat().into());
        }
        self.nowhere(&fd, &path, Deed::Read)
    }

    fn set_times_at(
        &mut self,
        fd: Fd,
        _: sync::PathFlags,
        path: String,
        _: sync::NewTimestamp,
        _: sync::NewTimestamp,
    ) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Write)
    }

    fn link_at(&mut self, fd: Fd, _: sync::PathFlags, path: String, _: Fd, _: String) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Around)
    }

    fn open_at(
        &mut self,
        fd: Fd,
        _: sync::PathFlags,
        path: String,
        open: sync::OpenFlags,
        flags: sync::DescriptorFlags,
    ) -> FsResult<Fd> {
        self.nowhere(&fd, &path, deed(open.into(), flags.into()))
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        types::HostDescriptor::drop(self, fd)
    }

    fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.nowhere(&fd, &path, Deed::Read)
    }

    fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Around)
    }

    fn rename_at(&mut self, fd: Fd, path: String, _: Fd, _: String) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Around)
    }

    fn symlink_at(&mut self, fd: Fd, _: String, path: String) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Around)
    }

    fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.nowhere(&fd, &path, Deed::Around)
    }

    fn read_via_stream(&mut self, _: Fd, _: u64) -> FsResult<Resource<streams::InputStream>> {
        no_file()
    }

    fn write_via_stream(&mut self, _: Fd, _: u64) -> FsResult<Resource<streams::OutputStream>> {
        no_file()
    }

    fn append_via_stream(&mut self, _: Fd) -> FsResult<Resource<streams::OutputStream>> {
        no_file()
    }

    fn is_same_object(&mut self, one: Fd, other: Fd) -> wasmtime::Result<bool> {
        // There is one object. Whatever else a number stands for is no descriptor.
        Ok(self.is_outside(&one) && self.is_outside(&other))
    }

    fn metadata_hash(&mut self, fd: Fd) -> FsResult<sync::MetadataHashValue> {
        self.known(&fd, sync::MetadataHashValue { lower: 0, upper: 0 })
    }

    fn metadata_hash_at(
        &mut self,
        fd: Fd,
        _: sync::PathFlags,
        path: String,
    ) -> FsResult<sync::MetadataHashValue> {
        self.nowhere(&fd, &path, Deed::Read)
    }
}

impl sync::HostDirectoryEntryStream for GuardedFiles<'_> {
    fn read_directory_entry(
        &mut self,
        _: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<sync::DirectoryEntry>> {
        no_file()
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        types::HostDirectoryEntryStream::drop(self, stream)
    }
}

/// What a guest wants that opens a path so.
pub(super) fn deed(open: types::OpenFlags, flags: types::DescriptorFlags) -> Deed {
    use types::{DescriptorFlags, OpenFlags};
    if open.contains(OpenFlags::CREATE) {
        return Deed::Around;
    }
    let writes = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
    match () {
        // Whoever opens a folder asks for the right to change it, and most only list it.
        () if open.contains(OpenFlags::DIRECTORY) => Deed::List,
        () if open.contains(OpenFlags::TRUNCATE) || flags.intersects(writes) => Deed::Write,
        () => Deed::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_path_is_named_as_the_manifest_would_name_it() {
        for (path, expected) in [
            ("etc/passwd", "/etc/passwd"),
            ("/etc/passwd", "/etc/passwd"),
            ("words/en.txt", "words/en.txt"),
            ("./words/en.txt", "words/en.txt"),
            ("home", "/home"),
            ("homes", "homes"),
            ("tmp/dots...", "/tmp/dots..."),
            (".", "/"),
            ("", "/"),
        ] {
            assert_eq!(named(path), expected, "{path}");
        }
    }
}
