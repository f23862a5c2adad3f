//! The implementation: plain `std::fs`, as a library would use it.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::attempts::Guest;

/// The implementation.
pub(crate) struct Paths;

impl Guest for Paths {
    fn attempt(name: String, root: String, outside: String) -> Result<String, String> {
        attempt(&name, &root, &outside).map_err(|error| format!("{:?}", error.kind()))
    }

    fn race(root: String, rounds: u32) -> (u32, u32, u32) {
        let path = Path::new(&root).join("swap/key");
        let mut counts = (0, 0, 0);
        for _ in 0..rounds {
            match fs::read(&path) {
                Ok(bytes) if bytes == b"inside" => counts.0 += 1,
                Ok(_) => counts.1 += 1,
                Err(_) => counts.2 += 1,
            }
        }
        counts
    }
}

fn done() -> String {
    "done".to_owned()
}

/// Makes a link in the granted folder.
#[cfg(unix)]
fn link(to: &str, root: &str, name: &str) -> Result<(), Error> {
    std::os::unix::fs::symlink(to, Path::new(root).join(name))
}

/// The same. Rust has no stable function for it there.
#[cfg(target_os = "wasi")]
fn link(to: &str, root: &str, name: &str) -> Result<(), Error> {
    use wasip2::filesystem::preopens::get_directories;
    let granted = get_directories().into_iter().find(|(_, path)| path == root).ok_or(ErrorKind::NotFound)?;
    granted.0.symlink_at(to, name).map_err(|code| Error::other(code.name()))
}

fn attempt(name: &str, root: &str, outside: &str) -> Result<String, Error> {
    let inside = |path: &str| format!("{root}/{path}");
    let text = |path: String| fs::read_to_string(path);
    match name {
        // These are allowed, and show that the forms of the others are right.
        "read" => text(inside("file")),
        "dots-inside" => text(inside("sub/../file")),
        "link-inside" => text(inside("good-link")),
        "write" => fs::write(inside("new"), "new").map(|()| done()),
        "rename-inside" => fs::rename(inside("new"), inside("sub/newer")).map(|()| done()),
        "remove-inside" => fs::remove_file(inside("sub/newer")).map(|()| done()),

        "dots" => text(inside("../outside/key")),
        "dots-after-a-folder" => text(inside("sub/../../outside/key")),
        "many-slashes" => text(inside(".//.././/outside///key")),
        "dots-a-thousand-times" => text(inside(&format!("{}outside/key", "../".repeat(1000)))),
        "absolute" => text(format!("{outside}/key")),
        "absolute-behind-the-root" => text(inside(&format!("{outside}/key"))),
        "link-to-a-file" => text(inside("link")),
        "link-by-an-absolute-path" => text(inside("absolute-link")),
        "link-to-a-folder" => text(inside("folder-link/key")),
        "dots-behind-a-link" => text(inside("sub/up/../outside/key")),
        "chain-of-links" => text(inside("chain")),
        "link-without-end" => text(inside("loop")),
        "own-link" => link("../outside/key", root, "own").and_then(|()| text(inside("own"))),
        "own-absolute-link" => {
            link(&format!("{outside}/key"), root, "own-absolute").and_then(|()| text(inside("own-absolute")))
        }
        "write-through-a-link" => fs::write(inside("link"), "planted").map(|()| done()),
        "write-by-dots" => fs::write(inside("../outside/planted"), "planted").map(|()| done()),
        "make-a-folder-by-dots" => fs::create_dir(inside("../outside/planted")).map(|()| done()),
        "remove-by-dots" => fs::remove_file(inside("../outside/key")).map(|()| done()),
        "remove-through-a-link" => fs::remove_file(inside("folder-link/key")).map(|()| done()),
        "hard-link-in" => {
            fs::hard_link(inside("../outside/key"), inside("stolen")).and_then(|()| text(inside("stolen")))
        }
        "hard-link-of-a-link" => {
            fs::hard_link(inside("link"), inside("linked")).and_then(|()| text(inside("linked")))
        }
        "rename-in" => {
            fs::rename(inside("../outside/key"), inside("taken")).and_then(|()| text(inside("taken")))
        }
        "rename-out" => fs::rename(inside("file"), inside("../outside/planted")).map(|()| done()),
        "rename-through-a-link" => fs::rename(inside("file"), inside("folder-link/planted")).map(|()| done()),
        "list-above" => {
            let names = fs::read_dir(inside(".."))?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            Ok(names.collect::<Result<Vec<_>, Error>>()?.join(" "))
        }
        "list-through-a-link" => {
            let names = fs::read_dir(inside("folder-link"))?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            Ok(names.collect::<Result<Vec<_>, Error>>()?.join(" "))
        }
        "size-through-a-link" => fs::metadata(inside("link")).map(|of| of.len().to_string()),
        "slash-behind-a-file" => text(inside("file/")),
        "slash-behind-a-link" => text(inside("link/")),
        "long-name" => text(inside(&"n".repeat(300))),
        "long-path" => text(inside(&"sub/../".repeat(1_000_000))),
        "zero-byte" => text(inside("file\0/../../outside/key")),
        _ => Err(ErrorKind::Unsupported.into()),
    }
}
