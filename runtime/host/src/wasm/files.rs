//! Holds a guest to what WASI's own folders cannot say: single files, and how many bytes may be written. Says what it was refused.
//!
//! Every method of `wasi:filesystem/types` goes through here and on to wasmtime's implementation, which opens and resolves.
//!
//! A guest's library looks for the folder that a path begins with among those it has, and gives up by itself where there is none:
//! nobody would hear of it. So there is one more, for every path that begins in none of the others; see [`super::outside`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use capability_manifest::scope::Extent;
use capability_manifest::{Capability, HostCapability, print};

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{FsError, FsResult, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::streams;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::streams::DynOutputStream;

use super::limits::REPORTED_PATH_BYTES_MAX;
use super::outside;
use super::standing::Standing;

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

/// The rule for one preopened folder, or for what was opened below it.
#[derive(Debug, Clone, Default)]
pub(super) struct FolderRule {
    /// As the manifest would name it, unless it takes every path that is not granted.
    pub(super) host: Option<String>,
    /// Its name inside, where that is another one.
    pub(super) at: Option<String>,
    /// Whether anything may be written there.
    pub(super) writes: bool,
    /// It stands for every path that is not granted, and leads nowhere.
    pub(super) outside: bool,
    /// Only this file: its name inside, and its name on the host.
    pub(super) only: Option<(String, String)>,
    /// What may still be written below.
    pub(super) quota: Option<Quota>,
}

/// What a member of a unit has.
#[derive(Debug)]
pub(super) struct MemberFiles {
    /// Of its folders, in the order in which they are opened.
    pub(super) rules: Vec<FolderRule>,
    /// One of them is the guest's root, so that no path is outside.
    pub(super) has_root: bool,
    pub(super) standing: Arc<Standing>,
}

/// The rules of an instance: for the folders of each member of its unit, and for every open descriptor.
#[derive(Debug, Default)]
pub(super) struct FilePolicy {
    members: Vec<MemberFiles>,
    open: HashMap<u32, FolderRule>,
}

impl FilePolicy {
    pub(super) fn new(members: Vec<MemberFiles>) -> Self {
        Self { members, open: HashMap::new() }
    }
}

/// What a guest wants with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// To read what is there.
    Read,
    /// To read the folder that is there.
    List,
    /// To write what is there.
    Write,
    /// To make, remove or rename it: the folder around it is written.
    Around,
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

    /// The folders, and behind them the one for every path that is in none.
    fn directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let mut folders = preopens::Host::get_directories(&mut self.view)?;
        let Some(member) = self.policy.members.get(self.member) else { return Ok(folders) };
        for ((fd, _), rule) in folders.iter().zip(&member.rules) {
            self.policy.open.insert(fd.rep(), rule.clone());
        }
        if !member.has_root
            && let Some(descriptor) = outside::descriptor()
        {
            let fd = self.view.table.push(descriptor)?;
            self.policy.open.insert(fd.rep(), outside::rule());
            folders.push((fd, "/".to_owned()));
        }
        Ok(folders)
    }

    /// Whether a descriptor is of the folder that leads nowhere.
    pub(super) fn is_outside(&self, fd: &Fd) -> bool {
        self.rule(fd).is_some_and(|rule| rule.outside)
    }

    /// Refused on the folder that leads nowhere, as on any folder: it is no file.
    fn file(&self, fd: &Fd) -> FsResult<()> {
        if self.is_outside(fd) { Err(types::ErrorCode::BadDescriptor.into()) } else { Ok(()) }
    }

    /// Records that a guest was refused at a path below an open folder.
    pub(super) fn refused(&self, folder: u32, path: &str, deed: Deed) {
        let Some(member) = self.policy.members.get(self.member) else { return };
        let Some(rule) = self.policy.open.get(&folder) else { return };
        let capability = match deed {
            Deed::Read | Deed::List => HostCapability::FilesystemRead,
            Deed::Write | Deed::Around => HostCapability::FilesystemWrite,
        };
        let verb = match deed {
            Deed::Read => "read",
            Deed::List => "list",
            Deed::Write => "write",
            Deed::Around => "make, rename or remove",
        };
        // A path that leaves the folder is nobody's name for what lies elsewhere.
        let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..");
        let below = rule.host.as_ref().filter(|_| !leaves);
        let may = matches!(deed, Deed::Read | Deed::List) || rule.writes;
        let granted = below.is_some() && rule.only.is_none() && may;
        let named = match &rule.host {
            None => outside::named(path),
            Some(host) => joined(host, path),
        };
        let shown = shortened(&named);
        let (attempt, hint) = if granted {
            // It is below the folder by its name. A link there is why.
            (format!("{verb} `{shown}`, which leads out of what is granted"), None)
        } else {
            let folder = named.rsplit_once('/').map_or(".", |(folder, _)| folder);
            let hint = match deed {
                _ if named == "/" => ("", Extent::Tree),
                // A folder that is granted already has room for no other grant of the same name inside.
                _ if below.is_some() => (folder, Extent::Tree),
                Deed::Around => (folder, Extent::Tree),
                Deed::List => (named.as_str(), Extent::Tree),
                Deed::Read | Deed::Write => (named.as_str(), Extent::File),
            };
            (format!("{verb} `{shown}`"), (!hint.0.is_empty()).then_some(hint))
        };
        // Where the folder itself is meant, it keeps its name.
        let same = hint.is_some_and(|(path, _)| rule.host.as_deref() == Some(path));
        let at = rule.at.as_deref().filter(|_| same);
        let line = print::suggestion_at(&Capability::host(capability), hint, at);
        member.standing.refused_at_path(capability, attempt, &line);
    }

    /// Passes an outcome on, and records it where it says that the guest may not.
    fn judged<T>(&self, folder: u32, path: &str, deed: Deed, outcome: FsResult<T>) -> FsResult<T> {
        if let Err(error) = &outcome
            && matches!(error.downcast_ref(), Some(types::ErrorCode::NotPermitted))
        {
            self.refused(folder, path, deed);
        }
        outcome
    }

    fn rule(&self, fd: &Fd) -> Option<&FolderRule> {
        self.policy.open.get(&fd.rep())
    }

    fn quota(&self, fd: &Fd) -> Option<Quota> {
        self.rule(fd).and_then(|rule| rule.quota.clone())
    }

    /// The name on the host; refused when the folder leads nowhere, or stands for one file, and this is not its name.
    fn named(&self, fd: &Fd, path: String, deed: Deed) -> FsResult<String> {
        match self.rule(fd) {
            Some(FolderRule { outside: false, only: None, .. }) | None => Ok(path),
            Some(FolderRule { outside: false, only: Some((inside, host)), .. })
                if path.strip_prefix("./").unwrap_or(&path) == inside =>
            {
                Ok(host.clone())
            }
            Some(_) => Err(self.denied(fd, &path, deed)),
        }
    }

    fn denied(&self, fd: &Fd, path: &str, deed: Deed) -> FsError {
        self.refused(fd.rep(), path, deed);
        outside::denied(path)
    }

    /// Refused when the folder leads nowhere, or stands for one file.
    fn whole(&self, fd: &Fd, path: &str, deed: Deed) -> FsResult<()> {
        match self.rule(fd) {
            Some(FolderRule { outside: false, only: None, .. }) | None => Ok(()),
            Some(_) => Err(self.denied(fd, path, deed)),
        }
    }

    /// The same for a call about two paths: of those, the one whose folder is not written, and else the first.
    fn judged_pair<T>(&self, from: &(u32, String), to: &(u32, String), outcome: FsResult<T>) -> FsResult<T> {
        let writes = |folder: u32| self.policy.open.get(&folder).is_some_and(|rule| rule.writes);
        let (folder, path) = if writes(from.0) && !writes(to.0) { to } else { from };
        self.judged(*folder, path, Deed::Around, outcome)
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

/// A path below a folder, by its name alone.
fn joined(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if folder.starts_with('/') { "/" } else { "" };
    let all = format!("{root}{}", parts.join("/"));
    if all.is_empty() { ".".to_owned() } else { all }
}

/// As much of a guest's text as a report takes.
fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(REPORTED_PATH_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

impl preopens::Host for GuardedFiles<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        self.directories()
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
        self.file(&fd)?;
        types::HostDescriptor::advise(&mut self.view, fd, offset, length, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.file(&fd)?;
        types::HostDescriptor::sync_data(&mut self.view, fd).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<types::DescriptorFlags> {
        if self.is_outside(&fd) {
            return Ok(types::DescriptorFlags::READ);
        }
        types::HostDescriptor::get_flags(&mut self.view, fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<types::DescriptorType> {
        if self.is_outside(&fd) {
            return Ok(types::DescriptorType::Directory);
        }
        types::HostDescriptor::get_type(&mut self.view, fd).await
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        self.file(&fd)?;
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
        self.whole(&fd, ".", Deed::Write)?;
        types::HostDescriptor::set_times(&mut self.view, fd, accessed, modified).await
    }

    async fn read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        self.file(&fd)?;
        types::HostDescriptor::read(&mut self.view, fd, length, offset).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        self.file(&fd)?;
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
        self.whole(&fd, ".", Deed::List)?;
        types::HostDescriptor::read_directory(&mut self.view, fd).await
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.file(&fd)?;
        types::HostDescriptor::sync(&mut self.view, fd).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.whole(&fd, &path, Deed::Around)?;
        self.pay_entry(&fd)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::create_directory_at(&mut self.view, fd, path.clone()).await;
        self.judged(folder, &path, Deed::Around, done)
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<types::DescriptorStat> {
        if self.is_outside(&fd) {
            return Ok(outside::stat());
        }
        types::HostDescriptor::stat(&mut self.view, fd).await
    }

    async fn stat_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        if self.is_outside(&fd) && outside::is_root(&path) {
            return Ok(outside::stat());
        }
        let path = self.named(&fd, path, Deed::Read)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::stat_at(&mut self.view, fd, flags, path.clone()).await;
        self.judged(folder, &path, Deed::Read, done)
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let path = self.named(&fd, path, Deed::Write)?;
        let (folder, view) = (fd.rep(), &mut self.view);
        let done =
            types::HostDescriptor::set_times_at(view, fd, flags, path.clone(), accessed, modified).await;
        self.judged(folder, &path, Deed::Write, done)
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        self.whole(&fd, &path, Deed::Around)?;
        self.whole(&new_fd, &new_path, Deed::Around)?;
        self.pay_entry(&new_fd)?;
        let (from, to) = ((fd.rep(), path.clone()), (new_fd.rep(), new_path.clone()));
        let done = types::HostDescriptor::link_at(&mut self.view, fd, flags, path, new_fd, new_path).await;
        self.judged_pair(&from, &to, done)
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
        open: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Fd> {
        let mut deed = outside::deed(open, flags);
        let path = self.named(&fd, path, deed)?;
        let mut rule = self.rule(&fd).cloned().unwrap_or_default();
        rule.host = rule.host.map(|host| joined(&host, &path));
        rule.at = rule.at.map(|at| joined(&at, &path));
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
            deed = outside::deed(open, flags);
        }
        if open.contains(types::OpenFlags::CREATE) && rule.quota.is_some() {
            let same = Resource::new_borrow(fd.rep());
            if types::HostDescriptor::stat_at(&mut self.view, same, path_flags, path.clone()).await.is_err() {
                self.pay_entry(&fd)?;
            }
        }
        let folder = fd.rep();
        let opened =
            types::HostDescriptor::open_at(&mut self.view, fd, path_flags, path.clone(), open, flags).await;
        if opened.is_err() && deed == Deed::Around {
            // Most who write ask for the file to be made as well. Where it is there, it alone need be granted.
            let same = Resource::new_borrow(folder);
            if types::HostDescriptor::stat_at(&mut self.view, same, path_flags, path.clone()).await.is_ok() {
                deed = Deed::Write;
            }
        }
        let opened = self.judged(folder, &path, deed, opened)?;
        self.policy.open.insert(opened.rep(), rule);
        Ok(opened)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.policy.open.remove(&fd.rep());
        types::HostDescriptor::drop(&mut self.view, fd)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.whole(&fd, &path, Deed::Read)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::readlink_at(&mut self.view, fd, path.clone()).await;
        self.judged(folder, &path, Deed::Read, done)
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.whole(&fd, &path, Deed::Around)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::remove_directory_at(&mut self.view, fd, path.clone()).await;
        self.judged(folder, &path, Deed::Around, done)
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        self.whole(&fd, &path, Deed::Around)?;
        self.whole(&new_fd, &new_path, Deed::Around)?;
        self.pay_entry(&new_fd)?;
        let (from, to) = ((fd.rep(), path.clone()), (new_fd.rep(), new_path.clone()));
        let done = types::HostDescriptor::rename_at(&mut self.view, fd, path, new_fd, new_path).await;
        self.judged_pair(&from, &to, done)
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        self.whole(&fd, &path, Deed::Around)?;
        self.pay_entry(&fd)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::symlink_at(&mut self.view, fd, target, path.clone()).await;
        self.judged(folder, &path, Deed::Around, done)
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.whole(&fd, &path, Deed::Around)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::unlink_file_at(&mut self.view, fd, path.clone()).await;
        self.judged(folder, &path, Deed::Around, done)
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<streams::InputStream>> {
        self.file(&fd)?;
        types::HostDescriptor::read_via_stream(&mut self.view, fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<streams::OutputStream>> {
        self.file(&fd)?;
        let same = Resource::new_borrow(fd.rep());
        if let Some(quota) = self.quota(&fd) {
            // What lies between the end and the offset is not known here without waiting; it is paid as if it were all new.
            quota.take(offset)?;
        }
        let stream = types::HostDescriptor::write_via_stream(&mut self.view, fd, offset)?;
        self.counted(&same, stream)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<streams::OutputStream>> {
        self.file(&fd)?;
        let same = Resource::new_borrow(fd.rep());
        let stream = types::HostDescriptor::append_via_stream(&mut self.view, fd)?;
        self.counted(&same, stream)
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        types::HostDescriptor::is_same_object(&mut self.view, a, b).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<types::MetadataHashValue> {
        if self.is_outside(&fd) {
            return Ok(types::MetadataHashValue { lower: 0, upper: 0 });
        }
        types::HostDescriptor::metadata_hash(&mut self.view, fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        let path = self.named(&fd, path, Deed::Read)?;
        let folder = fd.rep();
        let done = types::HostDescriptor::metadata_hash_at(&mut self.view, fd, flags, path.clone()).await;
        self.judged(folder, &path, Deed::Read, done)
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
