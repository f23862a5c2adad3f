//! The paths that a compartment sees, as an order for the launcher: found once, and what may be run among them looked at.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use capability_manifest::HostCapability;
use capability_manifest::scope::Scope;
use cofferdam_wire::order::MountOrder;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

use super::error::StartError;
use super::limits::PROGRAM_HEADERS_BYTES_MAX;
use super::program::interpreter;
use crate::links;
use crate::plan::{CompartmentPlan, MountPlan};

/// The paths of a compartment.
pub(super) struct Paths {
    /// Outer paths before inner ones.
    pub(super) mounts: Vec<MountOrder>,
    /// Keeps them from becoming others under the same number.
    pub(super) held: Vec<File>,
    /// Bytes of the largest program among them, or 0.
    pub(super) largest_program: u64,
}

/// Lowers every path of a plan.
pub(super) fn lower_mounts(plan: &CompartmentPlan, folder: &Path) -> Result<Paths, StartError> {
    let mut all = Paths { mounts: Vec::new(), held: Vec::new(), largest_program: 0 };
    let mut found = Vec::new();
    for mount in &plan.mounts {
        let wrong = |message| StartError::Path { edge: plan.edge(), path: mount.host.clone(), message };
        let (order, file, path) = lower_mount(plan, mount, folder).map_err(wrong)?;
        if is_program(mount) {
            let length = check_program(plan, &path).map_err(wrong)?;
            all.largest_program = all.largest_program.max(length);
        }
        all.mounts.push(order);
        all.held.push(file);
        found.push(path);
    }
    // Who may write what it may run, runs what it likes.
    let order = |index: usize| &all.mounts[index];
    for (index, mount) in plan.mounts.iter().enumerate().filter(|(_, mount)| is_program(mount)) {
        let writable =
            (0..found.len()).any(|other| order(other).writable && found[index].starts_with(&found[other]));
        if writable {
            let message = "it may be run, and written as well".to_owned();
            return Err(StartError::Path { edge: plan.edge(), path: mount.host.clone(), message });
        }
    }
    for index in 0..all.mounts.len() {
        check_place(&all, index).map_err(|message| StartError::Path {
            edge: plan.edge(),
            path: plan.mounts[index].host.clone(),
            message,
        })?;
    }
    if let Some(Scope::Bytes(bytes)) = plan.scope(HostCapability::FilesystemScratch) {
        all.mounts.push(scratch(plan, *bytes)?);
    }
    // What is mounted inside others comes on top of them.
    all.mounts.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(all)
}

/// Whether a place inside another granted folder is there: it is the host's folder, and nothing is made in it for a guest.
fn check_place(all: &Paths, index: usize) -> Result<(), String> {
    let inner = &all.mounts[index];
    let inside = |outer: &MountOrder| {
        let rest = inner.at.strip_prefix(&outer.at)?.strip_prefix('/')?;
        (!outer.file && !rest.is_empty()).then(|| rest.to_owned())
    };
    let around =
        all.mounts.iter().zip(&all.held).filter_map(|(outer, held)| Some((outer, held, inside(outer)?)));
    let Some((outer, held, rest)) = around.max_by_key(|(outer, ..)| outer.at.len()) else { return Ok(()) };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let kind = rustix::fs::openat2(held, rest.as_str(), flags, Mode::empty(), resolve)
        .and_then(|place| rustix::fs::fstat(&place))
        .map(|stat| FileType::from_raw_mode(stat.st_mode));
    let wanted = if inner.file { (FileType::RegularFile, "file") } else { (FileType::Directory, "folder") };
    if kind == Ok(wanted.0) {
        return Ok(());
    }
    Err(format!(
        "its place `/{}` is inside of `/{}`, which is granted too, and no {} `{rest}` is there: make one, or place it elsewhere with `at`",
        inner.at, outer.at, wanted.1
    ))
}

/// An empty folder in memory, at `/tmp`.
fn scratch(plan: &CompartmentPlan, bytes: u64) -> Result<MountOrder, StartError> {
    let wrong = |message: String| StartError::Path { edge: plan.edge(), path: SCRATCH.to_owned(), message };
    if plan.mounts.iter().any(|mount| mount.at.trim_start_matches('/') == SCRATCH) {
        return Err(wrong("a folder of the host's is granted there, beside `filesystem.scratch`".to_owned()));
    }
    let mut rights = 0;
    let names = [HostCapability::FilesystemRead, HostCapability::FilesystemWrite].map(HostCapability::name);
    for rule in plan.landlock.iter().filter(|rule| names.contains(&rule.because_of.as_str())) {
        rights |= landlock_bit(&rule.right)
            .ok_or_else(|| wrong(format!("no Landlock right is named `{}`", rule.right)))?;
    }
    Ok(MountOrder {
        at: SCRATCH.to_owned(),
        path: Vec::new(),
        device: 0,
        inode: 0,
        file: false,
        writable: true,
        executable: false,
        rights,
        scratch: bytes,
    })
}

/// Where it is, without a slash in front: where C libraries look for such a folder.
const SCRATCH: &str = "tmp";

fn names(mount: &MountPlan, capability: HostCapability) -> bool {
    mount.capabilities.iter().any(|name| name == capability.name())
}

fn is_program(mount: &MountPlan) -> bool {
    names(mount, HostCapability::ProcessSpawn)
}

/// Whether a granted program can run with what is granted beside it; gives its size.
fn check_program(plan: &CompartmentPlan, path: &Path) -> Result<u64, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut start = Vec::new();
    file.take(PROGRAM_HEADERS_BYTES_MAX).read_to_end(&mut start).map_err(|error| error.to_string())?;
    let Some(loader) = interpreter(&start)? else { return Ok(length) };
    let loader_granted = plan.mounts.iter().any(|mount| is_program(mount) && mount.at == loader);
    if loader_granted && plan.scope(HostCapability::MmapExecutable).is_some() {
        return Ok(length);
    }
    Err(format!(
        "it is linked dynamically, so it also needs `mmap = {{ executable = true }}`, its loader `{loader}` in `process.spawn`, and \
         its libraries in `filesystem.read`; or build it statically"
    ))
}

fn lower_mount(
    plan: &CompartmentPlan,
    mount: &MountPlan,
    folder: &Path,
) -> Result<(MountOrder, File, PathBuf), String> {
    let path = links::follow(plan, mount, folder)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Nobody puts a link on the way meanwhile.
    let opened = rustix::fs::openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .map_err(|error| error.to_string())?;
    let found = File::from(opened);
    let kind = found.metadata().map_err(|error| error.to_string())?;
    // Programs are named one by one, and a path without more says folder.
    let file = mount.file || is_program(mount);
    if file != kind.is_file() || (!file && !kind.is_dir()) {
        let wanted = if file { "a file" } else { "a folder" };
        return Err(format!("it is not {wanted}"));
    }
    // A path of the host's that is granted under its own name is relative to the workspace, and so is its name inside.
    let at = mount.at.trim_start_matches('/').to_owned();
    if at.is_empty() || at == "." {
        let how = "a process has a root of its own, in which a place is below `/`: `at = \"/data\"`, or grant what is in it";
        return Err(format!("it would be the whole root; {how}"));
    }
    let writable = names(mount, HostCapability::FilesystemWrite);
    // A loader maps libraries to run them. Which programs may be started is still Landlock's to say.
    let granted = |capability| plan.scope(capability).is_some();
    let libraries =
        granted(HostCapability::ProcessSpawn) && granted(HostCapability::MmapExecutable) && !writable;
    let mut rights = 0;
    for rule in &plan.landlock {
        if mount.capabilities.contains(&rule.because_of)
            || (writable && rule.because_of == HostCapability::FilesystemRead.name())
        {
            rights |= landlock_bit(&rule.right)
                .ok_or_else(|| format!("no Landlock right is named `{}`", rule.right))?;
        }
    }
    let order = MountOrder {
        at,
        path: path.as_os_str().as_bytes().to_vec(),
        device: kind.dev(),
        inode: kind.ino(),
        file,
        writable,
        executable: libraries || is_program(mount),
        rights,
        scratch: 0,
    };
    Ok((order, found, path))
}

/// The bit of a right on files, by its place in `linux/landlock.h`.
fn landlock_bit(right: &str) -> Option<u64> {
    const RIGHTS: [&str; 16] = [
        "fs.execute",
        "fs.write-file",
        "fs.read-file",
        "fs.read-dir",
        "fs.remove-dir",
        "fs.remove-file",
        "fs.make-char",
        "fs.make-dir",
        "fs.make-reg",
        "fs.make-sock",
        "fs.make-fifo",
        "fs.make-block",
        "fs.make-sym",
        "fs.refer",
        "fs.truncate",
        "fs.ioctl-dev",
    ];
    RIGHTS.iter().position(|name| *name == right).map(|place| 1 << place)
}
