//! Holds a guest to what WASI's own folders cannot say: single files, and how many bytes may be written.
//!
//! Every method of `wasi:filesystem/types` goes through here and on to wasmtime's implementation, which opens and resolves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{FsError, FsResult, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::streams;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::streams::DynOutputStream;

/// What a new name in a folder costs of a quota, bytes: an empty file fills a disk too.
pub const ENTRY_BYTES: u64 = 256;

/// Bytes that may still be written, for all instances of a compartment together.
#[derive(Debug, Clone)]
pub(super) struct Quota(Arc<AtomicU64>);

impl Quota {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    fn take(&self, bytes: u64) -> FsResult<()> {
        let less = |left: u64| left.checked_sub(bytes);
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(types::ErrorCode::Quota.into()),
        }
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }

    fn left(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The rule for one preopened folder.
#[derive(Debug, Clone, Default)]
pub(super) struct FolderRule {
    /// Only this file: its name inside, and its name on the host.
    pub(super) only: Option<(String, String)>,
    /// What may still be written below.
    pub(super) quota: Option<Quota>,
}

/// The rules of an instance: for the folders of each member of its unit, in the order in which they are opened, and for every
/// open descriptor.
#[derive(Debug, Default)]
pub(super) struct FilePolicy {
    folders: Vec<Vec<FolderRule>>,
    open: HashMap<u32, FolderRule>,
}

impl FilePolicy {
    pub(super) fn new(folders: Vec<Vec<FolderRule>>) -> Self {
        Self { folders, open: HashMap::new() }
    }
}

/// Wasmtime's view of the file system, with the rules in front.
pub(super) struct GuardedFiles<'a> {
    view: WasiFilesystemCtxView<'a>,
    policy: &'a mut FilePolicy,
    member: usize,
}

/// Names [`GuardedFiles`] to the linker.
pub(super) struct Guarded;

impl HasData for Guarded {
    type Data<'a> = GuardedFiles<'a>;
}

type Fd = Resource<Descriptor>;

impl<'a> GuardedFiles<'a> {
    pub(super) fn new(
        ctx: &'a mut WasiFilesystemCtx,
        table: &'a mut ResourceTable,
        policy: &'a mut FilePolicy,
        member: usize,
    ) -> Self {
        Self { view: WasiFilesystemCtxView { ctx, table }, policy, member }
    }

    fn rule(&self, fd: &Fd) -> Option<&FolderRule> {
        self.policy.open.get(&fd.rep())
    }

    fn quota(&self, fd: &Fd) -> Option<Quota> {
        self.rule(fd).and_then(|rule| rule.quota.clone())
    }

    /// The name on the host; refused when the folder stands for one file, and this is not its name.
    fn named(&self, fd: &Fd, path: String) -> FsResult<String> {
        match self.rule(fd).and_then(|rule| rule.only.as_ref()) {
            None => Ok(path),
            Some((inside, host)) if path.strip_prefix("./").unwrap_or(&path) == inside => Ok(host.clone()),
            Some(_) => Err(types::ErrorCode::NotPermitted.into()),
        }
    }

    /// Refused when the folder stands for one file.
    fn whole(&self, fd: &Fd) -> FsResult<()> {
        match self.rule(fd) {
            Some(FolderRule { only: Some(_), .. }) => Err(types::ErrorCode::NotPermitted.into()),
            _ => Ok(()),
        }
    }

    /// Pays for a new name.
    fn pay_entry(&self, fd: &Fd) -> FsResult<()> {
        self.quota(fd).map_or(Ok(()), |quota| quota.take(ENTRY_BYTES))
    }

    /// Puts a counter in front of a stream that writes to a file.
    fn counted(&mut self, fd: &Fd, stream: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
        let Some(quota) = self.quota(fd) else { return Ok(stream) };
        let inner = self.view.table.delete(stream)?;
        let counted: DynOutputStream = Box::new(Counted { inner, quota });
        Ok(self.view.table.push(counted)?)
    }
}

impl preopens::Host for GuardedFiles<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let folders = preopens::Host::get_directories(&mut self.view)?;
        let rules = self.policy.folders.get(self.member).map_or(&[][..], Vec::as_slice);
        for ((fd, _), rule) in folders.iter().zip(rules) {
            self.policy.open.insert(fd.rep(), rule.clone());
        }
        Ok(folders)
    }
}

impl types::Host for GuardedFiles<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        types::Host::convert_error_code(&mut self.view, error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<streams::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.view, error)
    }
}

impl types::HostDescriptor for GuardedFiles<'_> {
    async fn advise(&mut self, fd: Fd, offset: u64, length: u64, advice: types::Advice) -> FsResult<()> {
        types::HostDescriptor::advise(&mut self.view, fd, offset, length, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        types::HostDescriptor::sync_data(&mut self.view, fd).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<types::DescriptorFlags> {
        types::HostDescriptor::get_flags(&mut self.view, fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<types::DescriptorType> {
        types::HostDescriptor::get_type(&mut self.view, fd).await
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        if let Some(quota) = self.quota(&fd) {
            let now = types::HostDescriptor::stat(&mut self.view, Resource::new_borrow(fd.rep())).await?.size;
            quota.take(size.saturating_sub(now))?;
        }
        types::HostDescriptor::set_size(&mut self.view, fd, size).await
    }

    async fn set_times(
        &mut self,
        fd: Fd,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        self.whole(&fd)?;
        types::HostDescriptor::set_times(&mut self.view, fd, accessed, modified).await
    }

    async fn read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        types::HostDescriptor::read(&mut self.view, fd, length, offset).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let Some(quota) = self.quota(&fd) else {
            return types::HostDescriptor::write(&mut self.view, fd, bytes, offset).await;
        };
        let wanted = bytes.len() as u64;
        // A write far behind the end makes the file that long.
        let end = types::HostDescriptor::stat(&mut self.view, Resource::new_borrow(fd.rep())).await?.size;
        let hole = offset.saturating_sub(end);
        quota.take(wanted.saturating_add(hole))?;
        let written = types::HostDescriptor::write(&mut self.view, fd, bytes, offset).await;
        quota.give_back(wanted - written.as_ref().map_or(0, |written| *written).min(wanted));
        written
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<types::DirectoryEntryStream>> {
        self.whole(&fd)?;
        types::HostDescriptor::read_directory(&mut self.view, fd).await
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        types::HostDescriptor::sync(&mut self.view, fd).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.whole(&fd)?;
        self.pay_entry(&fd)?;
        types::HostDescriptor::create_directory_at(&mut self.view, fd, path).await
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<types::DescriptorStat> {
        types::HostDescriptor::stat(&mut self.view, fd).await
    }

    async fn stat_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        let path = self.named(&fd, path)?;
        types::HostDescriptor::stat_at(&mut self.view, fd, flags, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let path = self.named(&fd, path)?;
        types::HostDescriptor::set_times_at(&mut self.view, fd, flags, path, accessed, modified).await
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        self.whole(&fd)?;
        self.whole(&new_fd)?;
        self.pay_entry(&new_fd)?;
        types::HostDescriptor::link_at(&mut self.view, fd, flags, path, new_fd, new_path).await
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
        open: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Fd> {
        let path = self.named(&fd, path)?;
        let mut rule = self.rule(&fd).cloned().unwrap_or_default();
        let mut open = open;
        if rule.only.take().is_some() {
            // The file is there; nobody makes it, and it is no folder.
            if open.contains(types::OpenFlags::DIRECTORY) {
                return Err(types::ErrorCode::NotDirectory.into());
            }
            if open.contains(types::OpenFlags::EXCLUSIVE) {
                return Err(types::ErrorCode::Exist.into());
            }
            open &= !types::OpenFlags::CREATE;
        }
        if open.contains(types::OpenFlags::CREATE) && rule.quota.is_some() {
            let same = Resource::new_borrow(fd.rep());
            if types::HostDescriptor::stat_at(&mut self.view, same, path_flags, path.clone()).await.is_err() {
                self.pay_entry(&fd)?;
            }
        }
        let opened =
            types::HostDescriptor::open_at(&mut self.view, fd, path_flags, path, open, flags).await?;
        if rule.quota.is_some() {
            self.policy.open.insert(opened.rep(), rule);
        }
        Ok(opened)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.policy.open.remove(&fd.rep());
        types::HostDescriptor::drop(&mut self.view, fd)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.whole(&fd)?;
        types::HostDescriptor::readlink_at(&mut self.view, fd, path).await
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.whole(&fd)?;
        types::HostDescriptor::remove_directory_at(&mut self.view, fd, path).await
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        self.whole(&fd)?;
        self.whole(&new_fd)?;
        self.pay_entry(&new_fd)?;
        types::HostDescriptor::rename_at(&mut self.view, fd, path, new_fd, new_path).await
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        self.whole(&fd)?;
        self.pay_entry(&fd)?;
        types::HostDescriptor::symlink_at(&mut self.view, fd, target, path).await
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.whole(&fd)?;
        types::HostDescriptor::unlink_file_at(&mut self.view, fd, path).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<streams::InputStream>> {
        types::HostDescriptor::read_via_stream(&mut self.view, fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<streams::OutputStream>> {
        let same = Resource::new_borrow(fd.rep());
        if let Some(quota) = self.quota(&fd) {
            // What lies between the end and the offset is not known here without waiting; it is paid as if it were all new.
            quota.take(offset)?;
        }
        let stream = types::HostDescriptor::write_via_stream(&mut self.view, fd, offset)?;
        self.counted(&same, stream)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<streams::OutputStream>> {
        let same = Resource::new_borrow(fd.rep());
        let stream = types::HostDescriptor::append_via_stream(&mut self.view, fd)?;
        self.counted(&same, stream)
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        types::HostDescriptor::is_same_object(&mut self.view, a, b).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<types::MetadataHashValue> {
        types::HostDescriptor::metadata_hash(&mut self.view, fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        let path = self.named(&fd, path)?;
        types::HostDescriptor::metadata_hash_at(&mut self.view, fd, flags, path).await
    }
}

impl types::HostDirectoryEntryStream for GuardedFiles<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        types::HostDirectoryEntryStream::read_directory_entry(&mut self.view, stream).await
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        types::HostDirectoryEntryStream::drop(&mut self.view, stream)
    }
}

/// A file's stream that counts what is written.
struct Counted {
    inner: DynOutputStream,
    quota: Quota,
}

impl OutputStream for Counted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let wanted = bytes.len() as u64;
        if self.quota.take(wanted).is_err() {
            // The guest's library tells this apart from a full disk by the code, where it asks for one.
            let full = std::io::Error::from(std::io::ErrorKind::QuotaExceeded);
            return Err(StreamError::LastOperationFailed(full.into()));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let offered = self.inner.check_write()?;
        // One byte more than is left may be offered, so that the write that overruns is seen, and not a wait for ever.
        let left = usize::try_from(self.quota.left().saturating_add(1)).unwrap_or(usize::MAX);
        Ok(offered.min(left))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}
