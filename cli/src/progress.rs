//! Draws what a long step tells: a bar or a spinner on a terminal, a line for each step elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use cofferdam_toolchain::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::render;

/// Most characters of a detail that are drawn: a line that wraps cannot be drawn over.
const DETAIL_CHARS_MAX: usize = 50;

/// How often a spinner turns while nothing is told.
const TURN: Duration = Duration::from_millis(120);

/// What takes longer than this is said, on a terminal.
const QUIET: Duration = Duration::from_secs(2);

/// Runs something that tells nothing of itself. When it takes long, a terminal shows since when.
pub(crate) fn while_running<T>(what: &str, run: impl FnOnce() -> T) -> T {
    if std::io::stderr().is_terminal() {
        shown_while(what, QUIET, &mut std::io::stderr(), run)
    } else {
        run()
    }
}

fn shown_while<T>(
    what: &str,
    quiet: Duration,
    out: &mut (impl std::io::Write + Send),
    run: impl FnOnce() -> T,
) -> T {
    let (running, ended) = std::sync::mpsc::channel::<()>();
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut wait = quiet;
            let mut shown = false;
            // An answer comes never: the other end is dropped when there is nothing more to wait for.
            while ended.recv_timeout(wait) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = write!(out, "\r{what}: {} s", began.elapsed().as_secs());
                let _ = out.flush();
                shown = true;
                wait = Duration::from_secs(1);
            }
            if shown {
                let _ = write!(out, "\r{:width$}\r", "", width = what.len() + 16);
            }
        });
        let result = run();
        drop(running);
        result
    })
}

/// What draws.
pub(crate) struct Drawn {
    bar: Option<ProgressBar>,
    step: String,
}

impl Drawn {
    /// A bar on a terminal.
    pub(crate) fn bar() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { bar: terminal.then(ProgressBar::new_spinner), step: String::new() }
    }

    /// Only lines: another program draws on the terminal meanwhile.
    pub(crate) fn lines() -> Self {
        Self { bar: None, step: String::new() }
    }

    /// Draws one piece of news.
    pub(crate) fn tell(&mut self, news: Progress<'_>) {
        match (news, &self.bar) {
            (Progress::Step(text), bar) => {
                text.clone_into(&mut self.step);
                match bar {
                    None => line(text),
                    Some(bar) => {
                        bar.set_style(style("{spinner} {msg} {elapsed}"));
                        bar.enable_steady_tick(TURN);
                        bar.set_message(self.step.clone());
                    }
                }
            }
            (Progress::Bytes { done, total }, Some(bar)) => {
                if bar.length() != Some(total) {
                    bar.set_style(style("{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {eta}"));
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            (Progress::Detail(text), Some(bar)) => {
                let short: String = render::printable(text).chars().take(DETAIL_CHARS_MAX).collect();
                bar.set_message(format!("{}: {short}", self.step));
            }
            (Progress::Note(text), Some(bar)) => bar.suspend(|| line(text)),
            (Progress::Note(text), None) => line(text),
            _ => {}
        }
    }

    /// Nothing of it stays on the terminal.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn line(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", render::printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says when something is written.
    struct Tells(std::sync::mpsc::Sender<()>, Vec<u8>);
    impl std::io::Write for Tells {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(());
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_takes_long_is_said_and_taken_away_again() {
        let (seen, waits) = std::sync::mpsc::channel::<()>();
        let mut told = Tells(seen, Vec::new());
        // It ends once it was seen to be said.
        let result = shown_while("judging", Duration::ZERO, &mut told, || waits.recv().is_ok());
        assert!(result);
        let text = String::from_utf8(told.1).expect("UTF-8");
        assert!(text.starts_with("\rjudging: "), "{text:?}");
        assert!(text.ends_with('\r'), "{text:?}");
    }

    #[test]
    fn what_ends_soon_is_not_said() {
        let mut out = Vec::new();
        assert_eq!(shown_while("judging", Duration::from_hours(1), &mut out, || 7), 7);
        assert_eq!(out, Vec::<u8>::new());
    }
}
