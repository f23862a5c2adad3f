//! The example with pictures, as a new user runs it: real files through C libraries, on every backend.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One run at a time: the example's service has few ports, and the parts are built into one folder.
static TURN: Mutex<()> = Mutex::new(());

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    out: tempfile::TempDir,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The cards that a run makes, and the sheet with all of them.
const PICTURES: [&str; 6] =
    ["camera.png", "chelsea.png", "coffee.webp", "contact-sheet", "flower.jpg", "rocket.jpg"];

fn thumbnailer(arguments: &[&str]) -> Run {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let out = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_thumbnailer"))
        .arg("--out")
        .arg(out.path())
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("the program was built");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), out }
}

impl Run {
    fn pictures(&self) -> Vec<Vec<u8>> {
        let path = |name: &&str| self.out.path().join(format!("{name}.png"));
        let read = |path: PathBuf| {
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}\n{self:?}", path.display()))
        };
        PICTURES.iter().map(|name| read(path(name))).collect()
    }

    /// A line of the table at the end, by its part.
    fn row(&self, part: &str) -> Vec<String> {
        let line = self.stdout.lines().find(|line| line.split_whitespace().next() == Some(part));
        let line = line.unwrap_or_else(|| panic!("no line for {part}\n{self:?}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    }
}

/// Width and height of a PNG file, from its header (PNG specification, 11.2.2).
fn size(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

#[test]
fn every_picture_is_on_the_contact_sheet_and_the_table_says_what_it_cost() {
    let run = thumbnailer(&[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("5 of 5 pictures are on "), "{run:?}");
    let pictures = run.pictures();
    for (name, picture) in PICTURES.iter().zip(&pictures) {
        let wanted = if *name == "contact-sheet" { (688, 410) } else { (216, 190) };
        assert_eq!(size(picture), wanted, "{name}");
    }
    for (part, backend, grants, calls) in [
        ("jpeg-decode", "process", "none", "2"),
        ("png-decode", "process", "none", "2"),
        ("webp-decode", "process", "none", "1"),
        ("resize", "wasm", "none", "5"),
        ("caption", "wasm", "none", "5"),
        ("exif-read", "wasm", "entropy", "5"),
        ("image-fetch", "wasm", "network.connect 127.0.0.1:18580-18589", "1"),
    ] {
        let row = run.row(part);
        assert_eq!(row[..4], [part, backend, grants, calls], "{run:?}");
        assert!(row[4].ends_with('s') && row[5].ends_with('B') && row[6].ends_with('B'), "{row:?}");
        assert_eq!(row[7], "0", "{row:?}");
    }
    // Nothing draws on what is no terminal.
    assert!(!run.stderr.contains('\u{1b}') && !run.stdout.contains('\u{1b}'), "{run:?}");
}

#[test]
fn every_backend_gives_the_same_bytes_and_the_change_is_said_aloud() {
    let as_written = thumbnailer(&[]);
    let all = ["jpeg-decode", "png-decode", "webp-decode", "resize", "caption", "exif-read", "image-fetch"];
    for backend in ["wasm", "process"] {
        let options: Vec<String> = all.iter().map(|part| format!("--backend={part}={backend}")).collect();
        let run = thumbnailer(&options.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(run.code, Some(0), "{run:?}");
        for part in all {
            assert_eq!(run.row(part)[1], backend, "{run:?}");
            assert!(run.stderr.contains(&format!("development: {part} runs as `{backend}`")), "{run:?}");
            // Where it would run in any case, nothing is said to differ.
            let same = format!("{part} runs as `{backend}`, as its manifest says");
            assert_eq!(run.stderr.contains(&same), as_written.row(part)[1] == backend, "{run:?}");
        }
        assert!(run.pictures() == as_written.pictures(), "{backend}: other bytes\n{run:?}");
    }
}

#[test]
fn the_pictures_are_not_written_over_and_what_cannot_be_read_is_one_that_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (photos, out) = (folder.path().join("photos"), folder.path().join("out"));
    std::fs::create_dir_all(photos.join("folder.png")).expect("writable");
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/photos/rocket.jpg");
    // One name, but for the ending.
    for copy in ["one.jpg", "one.jpeg"] {
        std::fs::copy(original, photos.join(copy)).expect("copied");
    }
    let program = |out: &PathBuf| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnailer"));
        command.arg(&photos).arg("--out").arg(out).output().expect("it was built")
    };
    let refused = program(&photos);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("that is the folder with the pictures"));
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let done = program(&out);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("folder.png: no thumbnail: "), "{said}");
    assert!(said.contains("3 of 4 pictures are on "), "{said}");
    for name in ["one.jpg.png", "one.jpeg.png"] {
        assert_eq!(size(&std::fs::read(out.join(name)).expect("a thumbnail of its own")), (216, 190));
    }
    assert_eq!(std::fs::read(photos.join("one.jpg")).ok(), std::fs::read(original).ok());
}

#[test]
fn a_part_that_is_not_linked_is_not_called_inline() {
    let run = thumbnailer(&["--backend", "png-decode=inline"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    for says in [
        "`backend = \"inline\"` for `png-decode`",
        "features = [\"inline\"]",
        "all of this program's authority",
    ] {
        assert!(run.stderr.contains(says), "{run:?}");
    }
    let run = thumbnailer(&["--backend", "gif-decode=wasm"]);
    assert!(
        run.code == Some(1) && run.stderr.contains("there is no part `gif-decode`; there are jpeg-decode"),
        "{run:?}"
    );
    let run = thumbnailer(&["--backend", "png-decode=jail"]);
    assert!(run.code == Some(1) && run.stderr.contains("`jail` is none of wasm, process, inline"), "{run:?}");
    for (no_part, says) in [
        (
            "thumbnailer",
            "`thumbnailer` is this program itself, which no compartment has; there are jpeg-decode",
        ),
        ("spng-sys", "`spng-sys` is linked into the part that uses it"),
    ] {
        let run = thumbnailer(&["--backend", &format!("{no_part}=wasm")]);
        assert!(run.code == Some(1) && run.stderr.contains(says), "{run:?}");
    }
}

#[test]
fn where_nothing_can_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "taken").expect("writable");
    for out in [file.as_path(), &file.join("below"), Path::new("/proc/cofferdam-no-such-folder")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnailer"));
        let output = command.arg("--out").arg(out).output().expect("it was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with(&format!("error: --out {}: ", out.display())), "{said}");
    }
}

/// A pipe that nobody writes to, names that are no UTF-8, links, and a reader who goes away.
#[test]
#[cfg(target_os = "linux")]
fn odd_files_and_a_reader_that_leaves_keep_nothing_from_its_end() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let (photos, out) = (folder.path().join("photos"), folder.path().join("out"));
    std::fs::create_dir(&photos).expect("writable");
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/photos/rocket.jpg");
    std::os::unix::fs::symlink(original, photos.join("link.jpg")).expect("writable");
    // Both are shown alike, and each has its thumbnail.
    for name in [b"caf\xe9.jpg".as_slice(), b"caf\xe8.jpg"] {
        std::fs::copy(original, photos.join(OsStr::from_bytes(name))).expect("copied");
    }
    std::fs::write(photos.join(OsStr::from_bytes(b"broken\xe9.png")), "no picture").expect("writable");
    let made = Command::new("mkfifo").arg(photos.join("a.png")).status().expect("every system has it");
    assert!(made.success());
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnailer"));
        command.arg(&photos).arg("--out").arg(&out);
        command
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let done = program().output().expect("it was built");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    for says in [
        "a.png: no thumbnail: skipped, because it is no regular file\n",
        "broken\u{fffd}.png: no thumbnail: no format that is known\n",
        "4 of 6 pictures are on ",
    ] {
        assert!(said.contains(says), "{says} in {said}");
    }
    for name in [b"caf\xe9.jpg.png".as_slice(), b"caf\xe8.jpg.png", b"link.jpg.png"] {
        let card = std::fs::read(out.join(OsStr::from_bytes(name))).expect("a thumbnail of its own");
        assert_eq!(size(&card), (216, 190));
    }

    std::fs::remove_dir_all(&out).expect("ours");
    let mut child = program()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it was built");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && !said.contains("panicked"), "{said}");
    assert!(out.join("contact-sheet.png").is_file(), "{said}");
}

#[test]
fn a_decoder_that_is_taken_over_gets_nothing_and_every_good_picture_is_done() {
    let good = thumbnailer(&[]);
    let run = thumbnailer(&["--evil"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("5 of 10 pictures are on "), "{run:?}");
    assert!(run.pictures() == good.pictures(), "the good ones differ\n{run:?}");
    for (picture, why) in [
        ("read-a-key.png", "does not grant `filesystem.read`"),
        ("send-it-away.png", "does not grant `network.connect`"),
        ("spawn-a-shell.png", "evil-decode"),
        ("fill-memory.png", "memory"),
        ("hang.png", "no answer within"),
    ] {
        let line = run.stdout.lines().find(|line| line.starts_with(&format!("{picture}: no thumbnail: ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{picture}: {line:?}\n{run:?}");
    }
    assert!(run.stdout.contains("the key is as it was"), "{run:?}");
    assert!(run.stdout.contains("0 connections came to the place"), "{run:?}");
    assert!(!run.stdout.contains("a key that only its owner reads"), "{run:?}");
    assert_eq!(run.row("evil-decode").last().map(String::as_str), Some("5"), "{run:?}");
}

/// The consumer's source has no word of where its parts run.
#[test]
fn the_pipeline_names_no_backend() {
    let source = include_str!("../examples/thumbnailer/src/pipeline.rs");
    for word in ["wasm", "process", "inline", "backend", "sandbox"] {
        assert!(!source.to_lowercase().contains(word), "{word}");
    }
}
