//! C. Files and descriptors. `/data` is granted for reading, `/out` for writing; beside them lies `/secret`, which is not.

use crate::attempts::Attempt;
use crate::facts::Facts;
use crate::sys::{at, at_mut, call};

/// The working folder.
const HERE: u64 = (-100_i64).cast_unsigned();
const READ: u64 = 0;
const WRITE: u64 = 1;
const READ_WRITE: u64 = 2;
const CREATE: u64 = 0o100;
const TRUNCATE: u64 = 0o1000;
const DIRECTORY: u64 = 0o200_000;

fn open(path: &[u8], flags: u64) -> i64 {
    call(257, &[HERE, at(path), flags, 0o644])
}

/// Opens a path of the compartment, and reads some bytes: whether they came is part of the answer.
fn read_path(facts: &Facts, path: &str) -> i64 {
    read_there(&facts.path(path))
}

fn read_there(path: &[u8]) -> i64 {
    let opened = open(path, READ);
    if opened < 0 {
        return opened;
    }
    let mut bytes = [0_u8; 8];
    call(0, &[opened.cast_unsigned(), at_mut(&mut bytes), 8])
}

/// The same with `openat2`, whose flags no filter sees.
fn open2(facts: &Facts, path: &str, flags: u64) -> i64 {
    let how = [flags, 0o600 * u64::from(flags & CREATE != 0), 0];
    let path = facts.path(path);
    call(437, &[HERE, at(path.as_slice()), at(&how), 24])
}

/// With a descriptor of a granted file for reading.
fn with_read_only(facts: &Facts, then: impl FnOnce(u64) -> i64) -> i64 {
    match open(&facts.path("/data/file"), READ) {
        file if file < 0 => file,
        file => then(file.cast_unsigned()),
    }
}

fn two_paths(number: i64, facts: &Facts, from: &str, to: &str) -> i64 {
    let (from, to) = (facts.path(from), facts.path(to));
    call(number, &[at(from.as_slice()), at(to.as_slice())])
}

/// The descriptors that are open, as bits, and how many variables and arguments there are above them.
fn inventory() -> i64 {
    let mut asked: Vec<u64> = (0..24).collect();
    call(7, &[at_mut(asked.as_mut_slice()), 24, 0]);
    let open = |one: &&u64| (**one >> 48) & 0x20 == 0;
    let bits: i64 = asked.iter().filter(open).map(|one| 1 << (one & 0xFFFF_FFFF)).sum();
    let count = std::env::vars_os().count() + std::env::args_os().count() - 1;
    bits | (i64::try_from(count).unwrap_or(0xFFFF) << 32)
}

/// Goes through every number that could have been left open, and asks each for what lies beside it.
fn leaked_folder() -> i64 {
    let opened = (5..24).map(|folder| call(257, &[folder, at(b"secret\0"), READ, 0]));
    // Not a descriptor at all is the answer that counts; another says that there was one.
    opened.filter(|answer| *answer != -9).max().unwrap_or(-9)
}

/// Writes until the file system is full: a mebibyte is enough to show that it can.
fn fill(path: &[u8]) -> i64 {
    let file = open(path, WRITE | CREATE);
    if file < 0 {
        return file;
    }
    let block = vec![b'x'; 64 << 10];
    (0..16)
        .map(|_| call(1, &[file.cast_unsigned(), at(block.as_slice()), 64 << 10]))
        .find(|one| *one < 0)
        .unwrap_or(1 << 20)
}

fn lease(facts: &Facts) -> i64 {
    with_read_only(facts, |file| call(72, &[file, 1024, 0]))
}

fn reopen(facts: &Facts) -> i64 {
    with_read_only(facts, |file| open(format!("/proc/self/fd/{file}\0").as_bytes(), READ_WRITE))
}

/// A loop of opening and closing, to run out of numbers.
fn exhaust(facts: &Facts) -> i64 {
    let path = facts.path("/data/file");
    (0..2000).map(|_| open(&path, READ)).find(|opened| *opened < 0).unwrap_or(2000)
}

/// Each attempt.
pub(crate) const ALL: &[(&str, Attempt)] = &[
    ("read-granted", |facts| read_path(facts, "/data/file")),
    ("write-granted", |facts| open(&facts.path("/out/new"), WRITE | CREATE)),
    ("read-secret", |facts| read_path(facts, "/secret")),
    ("read-above", |facts| read_path(facts, "/data/../secret")),
    ("read-far-above", |facts| {
        let up = "/..".repeat(64);
        read_there(format!("{}/data{up}{}\0", facts.text("prefix"), facts.text("secret")).as_bytes())
    }),
    ("read-absolute", |facts| read_there(format!("{}\0", facts.text("secret")).as_bytes())),
    ("read-link-up", |facts| read_path(facts, "/data/link-up")),
    ("read-link-absolute", |facts| read_path(facts, "/data/link-absolute")),
    ("read-link-chain", |facts| read_path(facts, "/data/link-chain")),
    ("read-link-folder", |facts| read_path(facts, "/data/link-folder/secret")),
    ("read-link-slash", |facts| read_path(facts, "/data/link-folder/./secret")),
    ("open2-above", |facts| open2(facts, "/data/../secret", READ)),
    ("open2-write", |facts| open2(facts, "/data/file", WRITE)),
    ("open2-truncate", |facts| open2(facts, "/data/file", READ | TRUNCATE)),
    ("open2-create", |facts| open2(facts, "/data/new", WRITE | CREATE)),
    ("open-write-read-only", |facts| open(&facts.path("/data/file"), WRITE)),
    ("truncate-read-only", |facts| call(76, &[at(facts.path("/data/file").as_slice()), 0])),
    ("unlink-read-only", |facts| call(87, &[at(facts.path("/data/file").as_slice())])),
    ("link-into-writable", |facts| two_paths(86, facts, "/data/file", "/out/linked")),
    ("link-secret", |facts| two_paths(86, facts, "/secret", "/out/linked-secret")),
    ("rename-into-writable", |facts| two_paths(82, facts, "/data/movable", "/out/moved")),
    ("rename-exchange", |facts| {
        let (from, to) = (facts.path("/data/file"), facts.path("/out/seed"));
        call(316, &[HERE, at(from.as_slice()), HERE, at(to.as_slice()), 2])
    }),
    ("symlink-then-open", |facts| {
        let path = facts.path("/out/made-link");
        let target = format!("{}\0", facts.text("secret"));
        match call(88, &[at(target.as_str()), at(path.as_slice())]) {
            0 => read_there(&path),
            refused => refused,
        }
    }),
    ("magic-root", |facts| read_there(format!("/proc/self/root{}\0", facts.text("secret")).as_bytes())),
    ("magic-descriptor", reopen),
    ("magic-cwd", |facts| {
        read_there(format!("/proc/thread-self/cwd/../../../..{}\0", facts.text("secret")).as_bytes())
    }),
    ("leaked-folder", |_| leaked_folder()),
    ("inventory", |_| inventory()),
    ("fchmod-read-only", |facts| with_read_only(facts, |file| call(91, &[file, 0o777]))),
    ("fchmod-streams", |_| call(91, &[4, 0o777])),
    ("fchown", |facts| with_read_only(facts, |file| call(93, &[file, 0xFFFF_FFFF, 0xFFFF_FFFF]))),
    ("futimens-read-only", |facts| with_read_only(facts, |file| call(280, &[file, 0, 0, 0]))),
    ("fsetxattr", |facts| with_read_only(facts, |file| call(190, &[file, at(b"user.x\0"), at(b"x"), 1, 0]))),
    ("ftruncate-read-only", |facts| with_read_only(facts, |file| call(77, &[file, 0]))),
    ("flock-read-only", |facts| with_read_only(facts, |file| call(73, &[file, 6]))),
    ("lease", lease),
    ("stat-outside", |facts| {
        call(4, &[at(format!("{}\0", facts.text("secret")).as_str()), at_mut(&mut [0_u64; 18])])
    }),
    ("access-outside", |facts| call(21, &[at(format!("{}\0", facts.text("secret")).as_str()), 0])),
    ("chmod-outside", |facts| call(90, &[at(format!("{}\0", facts.text("secret")).as_str()), 0o644])),
    ("utimens-outside", |facts| call(280, &[HERE, at(format!("{}\0", facts.text("secret")).as_str()), 0, 0])),
    ("setxattr-outside", |facts| {
        let path = format!("{}\0", facts.text("secret"));
        call(188, &[at(path.as_str()), at(b"user.x\0"), at(b"x"), 1, 0])
    }),
    ("chdir-outside", |_| call(80, &[at(b"/etc\0")])),
    ("chroot", |_| call(161, &[at(b"/nowhere\0")])),
    ("watch-outside", |_| match call(294, &[0]) {
        watcher if watcher < 0 => watcher,
        watcher => call(254, &[watcher.cast_unsigned(), at(b"/etc\0"), 2]),
    }),
    ("fanotify", |_| call(300, &[0x200, 0])),
    ("name-to-handle", |_| {
        let mut handle = [128_u32; 40];
        handle[0] = 128;
        call(303, &[HERE, at(b"/etc\0"), at_mut(&mut handle), at_mut(&mut [0_u32; 1]), 0])
    }),
    ("open-by-handle", |_| call(304, &[0xFFFF_FFFF, at(&[8_u32, 1, 0, 0]), 0])),
    ("mount", |_| call(165, &[1, 1, 1, 0, 0])),
    ("unmount", |_| call(166, &[at(b"/nowhere\0"), 0])),
    ("fsopen", |_| call(430, &[1, 0])),
    ("open-tree", |_| call(428, &[HERE, at(b"/nowhere\0"), 0])),
    ("move-mount", |_| call(429, &[0xFFFF_FFFF, at(b"\0"), 0xFFFF_FFFF, at(b"\0"), 0x44])),
    ("mount-setattr", |_| call(442, &[0xFFFF_FFFF, at(b"\0"), 0x1000, at(&[0_u64; 4]), 32])),
    ("pivot-root", |_| call(155, &[1, 1])),
    ("mknod", |facts| call(133, &[at(facts.path("/out/device").as_slice()), 0o20_600, 0x0103])),
    ("mkfifo", |facts| call(133, &[at(facts.path("/out/fifo").as_slice()), 0o10_600, 0])),
    ("terminal", |_| open(b"/dev/tty\0", READ_WRITE)),
    ("terminal-master", |_| open(b"/dev/ptmx\0", READ_WRITE)),
    ("device-null", |_| open(b"/dev/null\0", READ)),
    ("fill-root", |facts| fill(&facts.path("/filler"))),
    ("root-folder", |facts| open(&facts.path("/"), READ | DIRECTORY)),
    ("clone-file", |facts| {
        with_read_only(facts, |file| {
            let to = open(&facts.path("/out/clone"), WRITE | CREATE);
            call(16, &[to.cast_unsigned(), 0x4004_9409, file])
        })
    }),
    ("exhaust-descriptors", exhaust),
    ("long-name", |facts| {
        let path = facts.path(&format!("/data/{}", "x".repeat(5000)));
        open(&path, READ)
    }),
];
