//! Runs a program to its end, or to its time limit, and keeps what it says.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::ToolchainError;
use crate::limits::OUTPUT_BYTES_MAX;

/// What is left of a program.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A program to run.
pub(crate) struct Run<'r> {
    /// What it is for, in an error.
    pub(crate) what: &'r str,
    /// When it is stopped.
    pub(crate) limit: Option<Duration>,
    /// Standard error goes where ours goes, and is not kept.
    pub(crate) inherit_stderr: bool,
}

/// A line of standard error, or the passing of time: `None`.
type Watch<'w> = &'w mut dyn FnMut(Option<&str>);

enum News {
    Out(Vec<u8>),
    Error(String),
}

impl Run<'_> {
    /// Runs it. That it fails is the caller's to judge.
    pub(crate) fn run(&self, command: &mut Command, watch: Watch<'_>) -> Result<Ran, ToolchainError> {
        let stderr = if self.inherit_stderr { Stdio::inherit() } else { Stdio::piped() };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(|source| started(command, source))?;
        let (send, receive) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            let send = send.clone();
            thread::spawn(move || {
                let _ = send.send(News::Out(all(out)));
            });
        }
        if let Some(out) = child.stderr.take() {
            thread::spawn(move || lines(out, &send));
        } else {
            drop(send);
        }
        let began = Instant::now();
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        let mut ended = None;
        loop {
            match receive.recv_timeout(Duration::from_millis(100)) {
                Ok(News::Out(bytes)) => stdout = bytes,
                Ok(News::Error(line)) => {
                    watch(Some(&line));
                    keep(&mut stderr, &line);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    watch(None);
                    // A grandchild may keep the pipes open after the program itself has ended; it is not waited for.
                    if ended.is_some() {
                        break;
                    }
                    ended = child.try_wait().map_err(|source| started(command, source))?;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if let Some(limit) = self.limit.filter(|limit| began.elapsed() > *limit) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(ToolchainError::TooSlow { what: self.what.to_owned(), limit, said: stderr });
            }
        }
        let status = match ended {
            Some(status) => status,
            None => child.wait().map_err(|source| started(command, source))?,
        };
        Ok(Ran { status, stdout, stderr })
    }

    /// Runs it, and takes a failure for an error.
    pub(crate) fn succeed(&self, command: &mut Command, watch: Watch<'_>) -> Result<Ran, ToolchainError> {
        let ran = self.run(command, watch)?;
        if ran.status.success() {
            return Ok(ran);
        }
        Err(ToolchainError::Failed {
            what: self.what.to_owned(),
            program: name(command),
            status: ran.status.to_string(),
            said: ran.stderr,
        })
    }
}

/// Runs a short program whose failure is an error, and gives its standard output as text.
pub(crate) fn text_of(what: &str, command: &mut Command) -> Result<String, ToolchainError> {
    let ran = Run { what, limit: None, inherit_stderr: false }.succeed(command, &mut |_| {})?;
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn started(command: &Command, source: std::io::Error) -> ToolchainError {
    ToolchainError::Start { program: name(command), source }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn all(mut out: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = out.by_ref().take(OUTPUT_BYTES_MAX as u64).read_to_end(&mut bytes);
    // A program that says more goes on, unheard.
    let _ = std::io::copy(&mut out, &mut std::io::sink());
    bytes
}

fn lines(out: impl Read, send: &mpsc::Sender<News>) {
    let mut reader = BufReader::new(out);
    loop {
        let mut bytes = Vec::new();
        match reader.by_ref().take(1 << 16).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if send.send(News::Error(String::from_utf8_lossy(&bytes).into_owned())).is_err() {
            return;
        }
    }
}

fn keep(kept: &mut String, line: &str) {
    kept.push_str(line);
    if kept.len() > OUTPUT_BYTES_MAX {
        let cut = kept.ceil_char_boundary(kept.len() - OUTPUT_BYTES_MAX / 2);
        kept.drain(..cut);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sleep(seconds: &str, limit: Duration) -> Result<Ran, ToolchainError> {
        let run = Run { what: "sleeping", limit: Some(limit), inherit_stderr: false };
        run.succeed(Command::new("sleep").arg(seconds), &mut |_| {})
    }

    #[test]
    fn what_does_not_end_in_time_is_stopped() {
        let began = Instant::now();
        let error = sleep("100", Duration::from_millis(300)).err().expect("it is stopped");
        assert!(matches!(error, ToolchainError::TooSlow { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(50), "it was waited for");
        assert!(sleep("0", Duration::from_mins(1)).is_ok());
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipes_is_not_waited_for() {
        let began = Instant::now();
        let run = Run { what: "leaving", limit: None, inherit_stderr: false };
        let ran = run.succeed(Command::new("sh").args(["-c", "sleep 60 & echo done >&2"]), &mut |_| {});
        assert_eq!(ran.map(|ran| ran.stderr).ok().as_deref(), Some("done\n"));
        assert!(began.elapsed() < Duration::from_secs(50), "it was waited for");
    }

    #[test]
    fn of_too_much_the_end_is_kept() {
        let mut kept = "a".repeat(OUTPUT_BYTES_MAX - 1);
        keep(&mut kept, "b");
        assert_eq!(kept.len(), OUTPUT_BYTES_MAX);
        keep(&mut kept, "c");
        assert!(kept.len() <= OUTPUT_BYTES_MAX / 2 && kept.ends_with("bc"));
    }
}
