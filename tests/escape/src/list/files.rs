//! C. Files and descriptors. `/data` is granted for reading and `/out` for writing; `/secret` lies beside them.

use super::errno::{
    EBADF, EFAULT, EINVAL, EMFILE, ENAMETOOLONG, ENOENT, ENOLCK, ENOSPC, EOPNOTSUPP, EPERM, EROFS, EXDEV,
};
use crate::attempt::{Act, Answer, Attempt, Control, Layer, Mutation, Stop, Who};

use Answer::{Above, Asked, Done, Is, Reached};
use Layer::{Capabilities, Descriptors, Filter, Landlock, Limits, Namespaces, ReadOnlyMounts, ReadOnlyRoot};

const FILES: &str = "filesystem = { read = [\"data\"], write = [\"out\"] }";
const READ: &str = "filesystem = { read = [\"data\"] }";

const fn hidden(id: &'static str, tries: &'static str, name: &'static str) -> Attempt {
    Attempt::new(id, tries, name).with(FILES).error(ENOENT).without(&[Namespaces, Landlock])
}

const fn reaches(
    id: &'static str,
    tries: &'static str,
    name: &'static str,
    call: &'static str,
    layers: &'static [Layer],
    error: i32,
) -> Attempt {
    Attempt::new(id, tries, name).killed(call).free(Reached(error)).without_gives(layers, Reached(error))
}

pub(crate) const ALL: &[Attempt] = &[
    hidden("35a", "read a file beside what is granted", "read-secret"),
    hidden("35b", "go up out of a granted folder", "read-above"),
    hidden("35c", "go up far above the root, and down again", "read-far-above"),
    hidden("35d", "name a file of the host's by its whole path", "read-absolute"),
    hidden("35e", "follow a link that leads up", "read-link-up"),
    hidden("35f", "follow a link to a whole path", "read-link-absolute"),
    hidden("35g", "follow a link to a link", "read-link-chain"),
    hidden("35h", "go through a folder that is a link", "read-link-folder"),
    hidden("35i", "the same with a dot and slashes", "read-link-slash").from("GHSA-hp8f-xmx4-4qrg"),
    hidden("35j", "go up with openat2, whose flags no filter sees", "open2-above"),
    hidden("35k", "make a link in a writable folder, and follow it", "symlink-then-open"),
    Attempt::new("35l", "write to a file that is granted for reading", "open-write-read-only")
        .with(FILES)
        .error(EROFS)
        .without(&[ReadOnlyMounts, Landlock]),
    Attempt::new("35m", "the same with openat2", "open2-write").with(FILES).error(EROFS).without(&[ReadOnlyMounts, Landlock]),
    Attempt::new("35n", "shorten a file that is granted for reading, while opening it", "open2-truncate")
        .from("GHSA-2r75: truncation passed a read-only check")
        .with(FILES)
        .error(EROFS)
        .without(&[ReadOnlyMounts, Landlock]),
    Attempt::new("35o", "make a file where only reading is granted", "open2-create")
        .with(FILES)
        .error(EROFS)
        .without(&[ReadOnlyMounts, Landlock]),
    Attempt::new("35p", "shorten a file by its path", "truncate-read-only").with(FILES).error(EROFS).without(&[ReadOnlyMounts, Landlock]),
    Attempt::new("35q", "remove a file where only reading is granted", "unlink-read-only")
        .with(FILES)
        .error(EROFS)
        .without(&[ReadOnlyMounts, Landlock]),
    Attempt::new("35r", "use a name that is longer than names are", "long-name")
        .with(FILES)
        .error(ENAMETOOLONG)
        .free(Reached(ENAMETOOLONG))
        .mutation(Mutation::Nothing("the kernel says so to everybody")),
    Attempt::new("36a", "give a readable file a second name where writing is granted", "link-into-writable")
        .from("GHSA-4ch3: a hard link passed a read-only check")
        .with(FILES)
        .error(EXDEV)
        .without(&[Namespaces, Landlock]),
    hidden("36b", "give a file that is not granted a name in a writable folder", "link-secret"),
    Attempt::new("36c", "move a readable file to where writing is granted", "rename-into-writable")
        .from("GHSA-4ch3")
        .with(FILES)
        .error(EXDEV)
        .without(&[Namespaces, Landlock]),
    Attempt::new("36d", "exchange a readable file with a writable one", "rename-exchange")
        .with(FILES)
        .error(EXDEV)
        .without(&[Namespaces, Landlock]),
    hidden("37a", "go through /proc/self/root", "magic-root"),
    hidden("37b", "go up from /proc/thread-self/cwd", "magic-cwd"),
    Attempt::new("38", "use a folder that the host left open", "leaked-folder")
        .from("CVE-2016-9962, CVE-2024-21626")
        .with(FILES)
        .error(EBADF)
        .control(Control::Nothing("a control without a compartment inherits nothing; the mutation finds the folder"))
        .without(&[Descriptors, Landlock]),
    Attempt::new("39", "find descriptors, variables or arguments of the host's", "inventory")
        .stop(Stop::Gives(0x1F))
        .free(Above(0x1F))
        .without_gives(&[Descriptors], Above(0x1F)),
    hidden("40", "open a file again for writing that it has for reading", "magic-descriptor").from("measured: namespaces alone do not stop it"),
    Attempt::new("41a", "change the mode of a file through a descriptor for reading", "fchmod-read-only")
        .from("measured: neither Landlock nor namespaces stop it")
        .with(FILES)
        .error(EPERM)
        .without(&[Filter(&[91]), ReadOnlyMounts]),
    Attempt::new("41b", "change the owner through it", "fchown").with(FILES).error(EPERM).without(&[Filter(&[93]), ReadOnlyMounts]),
    Attempt::new("41c", "change the times through it", "futimens-read-only")
        .with(FILES)
        .error(EPERM)
        .without(&[Filter(&[280]), ReadOnlyMounts]),
    Attempt::new("41d", "put an attribute on it", "fsetxattr").with(FILES).killed("fsetxattr").without(&[Filter(&[190]), ReadOnlyMounts]),
    Attempt::new("41e", "lock it against everybody", "flock-read-only").with(READ).error(ENOLCK).without(&[Filter(&[73])]),
    Attempt::new("41f", "take a lease on it", "lease").with(READ).error(EINVAL).without(&[Filter(&[72])]),
    Attempt::new("42a", "see what is known of a file outside", "stat-outside")
        .from("measured: Landlock does not stop it")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces]),
    Attempt::new("42b", "ask whether a file outside is there", "access-outside").with(FILES).error(ENOENT).without(&[Namespaces]),
    Attempt::new("42c", "change the mode of a file outside", "chmod-outside").with(FILES).error(ENOENT).without(&[Namespaces]),
    Attempt::new("42d", "change the times of a file outside", "utimens-outside").with(FILES).error(ENOENT).without(&[Namespaces]),
    Attempt::new("42e", "put an attribute on a file outside", "setxattr-outside")
        .killed("setxattr")
        .without(&[Filter(&[188]), Namespaces]),
    Attempt::new("42f", "go to a folder outside", "chdir-outside").killed("chdir").without(&[Filter(&[80]), Namespaces]),
    Attempt::new("42g", "watch a folder outside", "watch-outside")
        .killed("inotify_init1")
        .without(&[Filter(&[294, 254]), Namespaces]),
    Attempt::new("42h", "watch whole file systems", "fanotify")
        .killed("fanotify_init")
        .control(Control::Nothing("whether anybody may depends on the kernel's version"))
        .mutation(Mutation::Nothing("whether anybody may depends on the kernel's version")),
    Attempt::new("43a", "get a handle of a file, to open it elsewhere", "name-to-handle")
        .from("shocker")
        .killed("name_to_handle_at")
        .without(&[Filter(&[303]), Namespaces]),
    Attempt::new("43b", "open a file by its handle", "open-by-handle")
        .from("shocker")
        .killed("open_by_handle_at")
        .free(Reached(EBADF))
        .without_gives(&[Filter(&[304])], Reached(EBADF)),
    reaches("43c", "mount", "mount", "mount", &[Filter(&[165])], EFAULT),
    Attempt::new("43d", "unmount", "unmount")
        .killed("umount2")
        .free(Asked)
        .without_gives(&[Filter(&[166])], Asked),
    Attempt::new("43e", "make a file system", "fsopen")
        .killed("fsopen")
        .free_for(Reached(EFAULT), Reached(EPERM))
        .without_gives(&[Filter(&[430])], Reached(EPERM)),
    reaches("43f", "open a tree of mounts", "open-tree", "open_tree", &[Filter(&[428])], ENOENT),
    Attempt::new("43g", "move a mount", "move-mount")
        .killed("move_mount")
        .free_for(Reached(EBADF), Reached(EPERM))
        .without_gives(&[Filter(&[429])], Reached(EPERM)),
    Attempt::new("43h", "make a mount writable", "mount-setattr")
        .from("CVE-2026-46695 (remount to writable)")
        .killed("mount_setattr")
        .free(Asked)
        .without_gives(&[Filter(&[442])], Asked),
    Attempt::new("43i", "exchange the root", "pivot-root")
        .killed("pivot_root")
        .free_for(Reached(EFAULT), Reached(EPERM))
        .without_gives(&[Filter(&[155])], Reached(EPERM)),
    Attempt::new("43j", "change its root", "chroot")
        .killed("chroot")
        .free(Reached(ENOENT))
        .without_gives(&[Filter(&[161])], Reached(ENOENT)),
    Attempt::new("44a", "make a device", "mknod")
        .with(FILES)
        .error(EPERM)
        .without(&[Filter(&[133]), Namespaces, Landlock, Capabilities])
        .only(Who::Root),
    Attempt::new("44b", "make a pipe with a name", "mkfifo").with(FILES).error(EPERM).without(&[Filter(&[133]), Landlock]),
    Attempt::new("44c", "type into the host's terminal", "tiocsti")
        .from("CVE-2017-5226")
        .killed("ioctl")
        .free(Reached(super::errno::ENOTTY))
        .without_gives(&[Filter(&[16])], Reached(super::errno::ENOTTY)),
    Attempt::new("44d", "copy from the host's console", "tioclinux")
        .from("as CVE-2017-5226, by TIOCLINUX")
        .killed("ioctl")
        .free(Reached(super::errno::ENOTTY))
        .without_gives(&[Filter(&[16])], Reached(super::errno::ENOTTY)),
    hidden("44e", "make a pair of terminals", "terminal-master"),
    hidden("44f", "open a device", "device-null"),
    Attempt::new("45a", "be granted a named pipe", "")
        .act(Act::Path("fifo"))
        .with("filesystem = { read = [{ file = \"odd\" }] }")
        .stop(Stop::NoStart("it is not a file"))
        .control(Control::Mended(""))
        .mutation(Mutation::InTheHost("`lower_mount` compares the kind: tests/process.rs, paths_of_the_wrong_kind_do_not_start")),
    Attempt::new("45b", "be granted a socket", "")
        .act(Act::Path("socket"))
        .with("filesystem = { read = [{ file = \"odd\" }] }")
        .stop(Stop::NoStart("it is not a file"))
        .control(Control::Mended(""))
        .mutation(Mutation::InTheHost("`lower_mount` compares the kind")),
    Attempt::new("45c", "be granted a device", "")
        .act(Act::Path("device"))
        .with("filesystem = { read = [{ file = \"/dev/null\" }] }")
        .stop(Stop::NoStart("it is not a file"))
        .control(Control::Nothing("45a and 45b have it"))
        .mutation(Mutation::InTheHost("`lower_mount` compares the kind")),
    Attempt::new("46a", "fill the folder that its root is", "fill-root")
        .with(FILES)
        .error(EROFS)
        .without_gives(&[ReadOnlyRoot, Landlock], Reached(ENOSPC))
        .control(Control::Nothing("without a compartment this is the machine's own folder; the mutation is stopped by the root's size, 64 KiB")),
    Attempt::new("46b", "write more than a quota", "")
        .act(Act::Path("quota"))
        .with("filesystem = { write = [\"out\"], quota = \"1MiB\" }")
        .stop(Stop::NoStart("a quota on writing"))
        .control(Control::Nothing("a quota of a process is refused, not given: writing that is granted is without bound"))
        .mutation(Mutation::InTheHost("`enforceable`: tests/process.rs, what_cannot_be_enforced_does_not_start")),
    Attempt::new("47", "share the blocks of a readable file with a writable one", "clone-file")
        .with(FILES)
        .error(EOPNOTSUPP)
        .control(Control::Nothing("what the call says without a compartment depends on the file system"))
        .mutation(Mutation::Nothing("what the call says without the rule depends on the file system")),
];

const _: (Answer, Answer, i32, Layer) = (Done, Is(0), EMFILE, Limits);
