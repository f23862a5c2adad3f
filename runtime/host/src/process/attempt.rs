//! What a guest tried: a notified call as a report for people, read out of a process that waits and is not trusted.

use std::fs::File;
use std::os::unix::fs::FileExt;

use capability_manifest::scope::Extent;
use capability_manifest::{Capability, print};
use cofferdam_wire::notification::{Listener, Notification};

use super::backtrace::backtrace;
use super::error::Violation;
use super::filter::{allowed_by, call_name};
use super::launch::{Guest, Launch};
use super::limits::REPORTED_TEXT_BYTES_MAX;

/// Describes a call that nothing allows.
pub(super) fn describe(launch: &Launch, guest: &Guest, notification: &Notification) -> Violation {
    let Notification { arch, number, arguments, .. } = *notification;
    let call = call_name(arch, number);
    let capability = allowed_by(arch, number, &arguments).map(Capability::host);
    let path = path_of(&guest.listener, notification, &call);
    let host = path.as_deref().map(|path| on_host(path, &launch.lowered.names));
    let named = host.as_deref().map(|path| (path, extent(&call, &arguments)));
    let line = capability.as_ref().map(|capability| print::suggestion(capability, named));
    Violation {
        call,
        arguments,
        path,
        capability: capability.map(|capability| capability.to_string()),
        line,
        instruction: notification.instruction,
        // Read of a process that may be another by now, if the caller died meanwhile.
        backtrace: backtrace(&launch.program, notification)
            .filter(|_| guest.listener.is_waiting(notification))
            .unwrap_or_default(),
    }
}

/// The path that a call names, as the guest has it in its memory at that moment.
pub(super) fn path_of(listener: &Listener, notification: &Notification, call: &str) -> Option<String> {
    let text = read_text(notification.pid, notification.arguments[path_argument(call)?])?;
    // Read before it was known that the process is still the one that called; checked after.
    listener.is_waiting(notification).then_some(text)
}

/// What a guest named, as its manifest would name it: a path below one that was granted under another name is below the granted one.
pub(super) fn on_host(path: &str, names: &[(String, String)]) -> String {
    let plain = |path: &str| path.trim_start_matches('/').trim_end_matches('/').to_owned();
    let inside = plain(path);
    if inside.split('/').any(|part| part == "..") {
        return path.to_owned();
    }
    let below = names.iter().filter_map(|(at, host)| {
        let rest = inside.strip_prefix(plain(at).as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((at.len(), format!("{host}{rest}")))
    });
    below.max_by_key(|(length, _)| *length).map_or_else(|| path.to_owned(), |(_, found)| found)
}

/// What a path was named as: a folder, where the call says so, and else a file. Which it is, only whoever looks there can say.
fn extent(call: &str, arguments: &[u64; 6]) -> Extent {
    /// `O_DIRECTORY` on x86-64.
    const DIRECTORY: u64 = 0o200_000;
    let flags = match call {
        "open" => arguments[1],
        "openat" => arguments[2],
        _ => 0,
    };
    if flags & DIRECTORY == 0 { Extent::File } else { Extent::Tree }
}

/// Which argument names a path.
fn path_argument(call: &str) -> Option<usize> {
    match call {
        "open" | "stat" | "lstat" | "access" | "execve" | "creat" | "mkdir" | "rmdir" | "unlink"
        | "rename" | "link" | "chmod" | "chown" | "lchown" | "truncate" | "chdir" | "chroot" | "statfs"
        | "readlink" | "mknod" | "setxattr" | "getxattr" | "mount" | "umount2" | "pivot_root" | "swapon"
        | "acct" => Some(0),
        "openat" | "openat2" | "newfstatat" | "statx" | "faccessat" | "faccessat2" | "execveat"
        | "mkdirat" | "unlinkat" | "renameat" | "renameat2" | "linkat" | "fchmodat" | "fchownat"
        | "utimensat" | "mknodat" | "inotify_add_watch" | "name_to_handle_at" | "open_tree"
        // What a link leads to is a text; it is written where its name is.
        | "symlink" => Some(1),
        "symlinkat" => Some(2),
        _ => None,
    }
}

fn read_text(pid: u32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = Vec::new();
    // A page at a time: the text may end just before memory that is not there.
    while bytes.len() < REPORTED_TEXT_BYTES_MAX {
        let at = address.checked_add(bytes.len() as u64)?;
        let mut page = [0; 256];
        let to_boundary = usize::try_from(256 - at % 256).ok()?;
        let count = memory.read_at(&mut page[..to_boundary], at).ok()?;
        let (end, done) = match page[..count].iter().position(|byte| *byte == 0) {
            Some(end) => (end, true),
            None => (count, count == 0),
        };
        bytes.extend_from_slice(&page[..end]);
        if done {
            break;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_call_is_where_it_looks_or_writes() {
        for (call, argument) in [
            ("open", Some(0)),
            ("openat", Some(1)),
            ("symlink", Some(1)),
            ("symlinkat", Some(2)),
            ("getpid", None),
        ] {
            assert_eq!(path_argument(call), argument, "{call}");
        }
    }

    #[test]
    fn a_path_is_named_as_the_manifest_names_it() {
        let names = [("/shared", "examples/shared"), ("/shared/in", "other"), ("data", "data")]
            .map(|(at, host)| (at.to_owned(), host.to_owned()));
        for (path, named) in [
            ("/shared/note.txt", "examples/shared/note.txt"),
            ("/shared", "examples/shared"),
            ("shared/note.txt", "examples/shared/note.txt"),
            ("/shared/in/x", "other/x"),
            ("/sharedx", "/sharedx"),
            ("/data/x", "data/x"),
            ("/etc/passwd", "/etc/passwd"),
            ("/shared/../etc/passwd", "/shared/../etc/passwd"),
        ] {
            assert_eq!(on_host(path, &names), named);
        }
    }
}
