//! Many trials, each in a process of its own, several at a time, none for longer than it may.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::attempt::{Act, Attempt, Part};
use crate::trial::{Trial, parts};
use crate::world::NICENESS_MOST;

/// Longest that one trial may take. The longest waits ten seconds for a greeting; the rest is for busy machines.
const TRIAL_MAX: Duration = Duration::from_mins(2);

/// What begins the line with which a trial's process says what came of it.
pub const LINE: &str = "cofferdam-selftest-trial: ";

/// The secret that is in the environment of every trial's process, for attempt 75.
pub const SECRET: (&str, &str) = ("COFFERDAM_SELFTEST_SECRET", "cofferdam-host-secret-0000");

/// How many trials run, and how they are started.
pub struct Suite<'a> {
    /// What is tried: attempts by their numbers, with the parts of each.
    pub todo: &'a [(&'static str, Part)],
    /// Trials at a time.
    pub at_a_time: usize,
    /// A program that does one part of one attempt, and prints [`line`](fn@line).
    pub command: &'a (dyn Fn(&str, Part) -> Command + Sync),
    /// Told after each trial: how many are done, and how many there are.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// What a trial's process prints.
pub fn line(trial: &Trial) -> String {
    format!("{LINE}{}", serde_json::to_string(trial).unwrap_or_default())
}

/// Why an attempt cannot be tried from where this program began, if it cannot.
pub fn untried(attempt: &Attempt) -> Option<&'static str> {
    let niceness = || rustix::process::getpriority_process(None).unwrap_or_default();
    match attempt.act {
        Act::Attempt("priority") if niceness() >= NICENESS_MOST => Some(
            "this runs at niceness 19, and so does all that it starts: nothing can be slowed down further",
        ),
        Act::Attempt("search-keys" | "add-key") if !has_room_for_keys() => Some(
            "the kernel's account of this user's keys is full, or cannot be read: nothing could be put there to be found",
        ),
        Act::Attempt("affinity") if processors().len() < 2 => Some(
            "this runs on one processor only, and so does all that it starts: nothing can be pinned to fewer",
        ),
        _ => None,
    }
}

/// Whether this user may have more keys, by `/proc/key-users`: what programs left in a keyring's account stays there until the machine
/// starts again. A user whom it does not list has none.
fn has_room_for_keys() -> bool {
    /// A key of a trial with its name, and two keyrings that the kernel makes, bytes.
    const KEYS_BYTES: u64 = 256;
    let user = rustix::process::geteuid().as_raw();
    std::path::Path::new("/proc/key-users").exists()
        && key_bytes(user).is_none_or(|(used, most)| used + KEYS_BYTES <= most)
}

/// Bytes of a user's keys, and how many there may be, by `/proc/key-users`; nothing for a user that the kernel knows no keys of.
pub fn key_bytes(user: u32) -> Option<(u64, u64)> {
    let all = std::fs::read_to_string("/proc/key-users").ok()?;
    let own = all.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{user}:")))?;
    let (bytes, most) = own.split_whitespace().nth(3)?.split_once('/')?;
    Some((bytes.parse().ok()?, most.parse().ok()?))
}

/// The processors that this program, and all that it starts, may run on.
pub(crate) fn processors() -> Vec<usize> {
    let own = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|number| own.is_set(*number)).collect()
}

/// All parts of those attempts that this user can try from here.
pub fn everything(attempts: &[Attempt], mutated: bool) -> Vec<(&'static str, Part)> {
    let root = rustix::process::geteuid().is_root();
    let possible = attempts.iter().filter(|attempt| attempt.who.includes(root) && untried(attempt).is_none());
    possible.flat_map(|attempt| parts(attempt, mutated).into_iter().map(|part| (attempt.id, part))).collect()
}

impl Suite<'_> {
    /// Runs all of it; gives what came of it in the same order.
    pub fn run(&self) -> Vec<Trial> {
        let todo = self.todo;
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.at_a_time.max(1) {
                scope.spawn(|| {
                    while let Some((id, part)) = todo.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let trial = self.one(id, *part);
                        let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        done.push(trial);
                        (self.progress)(done.len(), todo.len());
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = |trial: &Trial| todo.iter().position(|(id, part)| *id == trial.id && *part == trial.part);
        done.sort_by_key(place);
        done
    }

    fn one(&self, id: &str, part: Part) -> Trial {
        let failed = |said: String| Trial { id: id.to_owned(), part, passed: false, said };
        let mut command = (self.command)(id, part);
        // A group of its own: some attempts signal the whole group that the host is in.
        command.process_group(0);
        command.env(SECRET.0, SECRET.1).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return failed(format!("its process does not run: {error}")),
        };
        // Read while it runs, so that it never waits for us.
        let out = child.stdout.take().map(|mut out| {
            std::thread::spawn(move || {
                let mut text = String::new();
                out.read_to_string(&mut text).map(|_| text).unwrap_or_default()
            })
        });
        let err = child.stderr.take().map(|mut out| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                out.read_to_end(&mut bytes)
                    .map(|_| String::from_utf8_lossy(&bytes).into_owned())
                    .unwrap_or_default()
            })
        });
        if !wait(&mut child) {
            return failed(format!("it did not end within {TRIAL_MAX:?}"));
        }
        let said = out.and_then(|out| out.join().ok()).unwrap_or_default();
        let trial = said
            .lines()
            .find_map(|line| line.split_once(LINE))
            .and_then(|(_, json)| serde_json::from_str::<Trial>(json).ok());
        trial.unwrap_or_else(|| {
            let errors = err.and_then(|err| err.join().ok()).unwrap_or_default();
            let ended = child.wait().map_or_else(|error| error.to_string(), |ended| ended.to_string());
            failed(format!("its process said nothing ({ended}): {said}{errors}"))
        })
    }
}

/// Whether it ended in time; it has ended in any case.
fn wait(child: &mut Child) -> bool {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if begun.elapsed() < TRIAL_MAX => std::thread::sleep(Duration::from_millis(3)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
