//! Opens files to read them, and nothing that could keep a reader waiting for ever: opening a pipe waits for somebody who writes.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// A file that a manifest names. What is neither file nor folder is refused; reading a folder fails by itself.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    refuse_special(&std::fs::metadata(path)?)?;
    File::open(path)
}

/// A file that the user names. It may be a descriptor that whoever started this program has opened, as `/dev/stdin` or as a shell's
/// `<(...)`: then there is somebody who writes.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    if is_descriptor(path) { File::open(path) } else { open(path) }
}

/// Refuses pipes, sockets and devices.
pub(crate) fn refuse_special(found: &Metadata) -> io::Result<()> {
    if found.is_file() || found.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, a socket or a device, and not a file"))
}

fn is_descriptor(path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    let number = path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"));
    path == "/dev/stdin"
        || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_named_by_its_number_alone() {
        for path in ["/dev/stdin", "/dev/fd/63", "/proc/self/fd/0"] {
            assert!(is_descriptor(Path::new(path)), "{path}");
        }
        for path in ["/dev/fd/", "/dev/fd/../../tmp/x", "/dev/fd/3/x", "dev/fd/3", "/dev/zero"] {
            assert!(!is_descriptor(Path::new(path)), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_file_is_one_and_a_device_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("x"), folder.path().join("link"));
        std::fs::write(&file, "").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("writable");
        open(&link).expect("a file");
        for open in [open, open_named] {
            let refused = open(Path::new("/dev/null")).expect_err("a device");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
        }
    }
}
