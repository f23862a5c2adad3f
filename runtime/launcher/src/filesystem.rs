//! The guest's root: an empty folder in memory with the granted paths bound into it, and Landlock on the same paths.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use cofferdam_wire::order::MountOrder;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use crate::report::{Done, Failure, Named};
use crate::sys;

/// Makes an empty root in memory, attached nowhere yet, and has nothing that is mounted here from now on reach other namespaces.
pub(crate) fn make_root() -> Result<OwnedFd, Failure> {
    let propagation = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", propagation).named("making mounts private")?;
    memory_folder(&[("size", "64k"), ("nr_inodes", "8k"), ("mode", "0755")])
}

/// An empty folder in memory of so many bytes. Each file takes memory of the kernel's too, so their number is bounded with them.
fn scratch(bytes: u64) -> Result<OwnedFd, Failure> {
    let files = (bytes / 4096).clamp(16, 1 << 20).to_string();
    memory_folder(&[("size", &bytes.to_string()), ("nr_inodes", &files), ("mode", "0700")])
}

/// A tmpfs, attached nowhere yet.
fn memory_folder(options: &[(&str, &str)]) -> Result<OwnedFd, Failure> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).named("opening tmpfs")?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)
            .named(format!("setting tmpfs {key}"))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).named("making a tmpfs")?;
    let nothing = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, nothing).named("mounting a tmpfs")
}

/// Puts the granted paths into the root and goes there. The old one is out of reach afterwards.
pub(crate) fn enter_root(root: &OwnedFd, mounts: &[MountOrder]) -> Result<(), Failure> {
    // Trees are cloned before the root is attached: the place it is attached to may hide a granted path.
    let trees: Vec<OwnedFd> = mounts.iter().map(clone_tree).collect::<Result<_, _>>()?;
    // Any folder that is there on every system will do; what is under it is left with the old root.
    rustix::mount::move_mount(root.as_fd(), "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .named("attaching the root")?;
    let device =
        |folder: &OwnedFd| rustix::fs::fstat(folder).named("looking at a mount").map(|stat| stat.st_dev);
    let mut own = vec![device(root)?];
    for (mount, tree) in mounts.iter().zip(&trees) {
        attach(root, mount, tree, &own)?;
        if mount.scratch > 0 {
            own.push(device(tree)?);
        }
    }
    // Not what was attached below it: that keeps its own attributes.
    sys::restrict_mount(root, false, false, false).named("making the root read-only")?;
    rustix::process::fchdir(root).named("entering the root")?;
    rustix::process::pivot_root(".", ".").named("exchanging the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).named("leaving the old root")?;
    rustix::process::chdir("/").named("entering the root")
}

/// A private copy of a granted path's mounts, if it is still what the host found; or an empty folder in memory.
fn clone_tree(mount: &MountOrder) -> Result<OwnedFd, Failure> {
    if mount.scratch > 0 {
        return scratch(mount.scratch);
    }
    let path = Path::new(OsStr::from_bytes(&mount.path));
    let shown = path.display();
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // The host named a path without links, so one that has a link now was changed since.
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)
        .named(format!("opening `{shown}` again"))?;
    let stat = rustix::fs::fstat(&found).named(format!("looking at `{shown}`"))?;
    if (stat.st_dev, stat.st_ino) != (mount.device, mount.inode) {
        let what = format!("`{shown}` is another file than the host found");
        return Err(Failure { what, errno: Errno::STALE });
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(found.as_fd(), "", flags).named(format!("binding `{shown}`"))?;
    sys::restrict_mount(&tree, mount.writable, mount.executable, true)
        .named(format!("restricting the mount of `{shown}`"))?;
    Ok(tree)
}

/// Makes the place for a mount, on `own` devices only, and puts it there.
fn attach(root: &OwnedFd, mount: &MountOrder, tree: &OwnedFd, own: &[u64]) -> Result<(), Failure> {
    let at = Path::new(&mount.at);
    let inside = at.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || mount.at.is_empty() {
        let what = format!("`{}` is no place below the root", mount.at);
        return Err(Failure { what, errno: Errno::INVAL });
    }
    let mut folder = rustix::io::fcntl_dupfd_cloexec(root, 0).named("opening the root")?;
    let mut parts = at.components().peekable();
    while let Some(part) = parts.next() {
        let name = part.as_os_str();
        let last = parts.peek().is_none();
        let shown = at.display();
        // A place inside another granted path must be there already: the host's files are not changed for it.
        let device = rustix::fs::fstat(&folder).named(format!("looking at the place `/{shown}`"))?.st_dev;
        let made = if !own.contains(&device) {
            Ok(())
        } else if last && mount.file {
            let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, name, create, Mode::RUSR).map(drop)
        } else {
            rustix::fs::mkdirat(&folder, name, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Failure { what: format!("making the place `/{shown}`"), errno }),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        folder = rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve).named(format!(
            "opening the place `/{shown}`, which must exist if it is inside another granted path"
        ))?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree.as_fd(), "", folder.as_fd(), "", flags)
        .named(format!("attaching `/{}`", at.display()))
}

/// What every kernel must have: rights on files, renaming across folders and truncation. Newer rights come on top where the
/// kernel has them; namespaces and the filter stop what they stop.
const ABI_MIN: ABI = ABI::V3;
/// The newest that this release knows.
const ABI_BEST: ABI = ABI::V10;

/// Denies every right on every file, port and outside process but those that the mounts give.
pub(crate) fn landlock(mounts: &[MountOrder]) -> Result<Done, Failure> {
    let refused = |what: &str| Failure { what: what.to_owned(), errno: Errno::NOSYS };
    let error = |error: &dyn std::fmt::Display| refused(&format!("Landlock: {error}"));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI_MIN))
        .map_err(|found| error(&found))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_BEST))
        .map_err(|found| error(&found))?
        .handle_access(AccessNet::from_all(ABI_BEST))
        .map_err(|found| error(&found))?
        .scope(Scope::from_all(ABI_BEST))
        .map_err(|found| error(&found))?;
    let mut created = ruleset.create().map_err(|found| error(&found))?;
    for mount in mounts {
        let all = BitFlags::<AccessFs>::from_bits_truncate(mount.rights);
        let rights = if mount.file { all & AccessFs::from_file(ABI_BEST) } else { all };
        if rights.is_empty() {
            continue;
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::open(Path::new("/").join(&mount.at), flags, Mode::empty())
            .named(format!("opening `/{}` for Landlock", mount.at))?;
        created = created.add_rule(PathBeneath::new(opened, rights)).map_err(|found| error(&found))?;
    }
    let status = created.restrict_self().map_err(|found| error(&found))?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err(refused("Landlock is not enforced"));
    }
    let abi = match status.landlock {
        landlock::LandlockStatus::Available { effective_abi, kernel_abi } => {
            kernel_abi.unwrap_or(effective_abi as i32)
        }
        _ => return Err(refused("Landlock is not available")),
    };
    Ok(Done::Enforced(format!("ABI {abi}")))
}
