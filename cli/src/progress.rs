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
