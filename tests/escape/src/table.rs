//! The list as a page: docs/escape-suite.md is this text.

use std::fmt::Write as _;

use crate::attempt::{Act, Attempt, Control, Mutation, Stop};
use crate::{ABSENT, EDITS, process_attempts};

/// The parts of the list, by the first number of each.
const PARTS: &[(u32, &str)] = &[
    (1, "A. The kernel's surface, and the filter itself"),
    (21, "B. Other processes"),
    (35, "C. Files and descriptors"),
    (49, "D. Sockets, and other ways to talk"),
    (59, "E. The host as a deputy: lies on the wire, manifests that ask for more"),
    (78, "F. Taking too much, and what is left behind"),
];

/// The number of an attempt without its letter.
fn number(id: &str) -> u32 {
    id.trim_end_matches(char::is_alphabetic).parse().unwrap_or(0)
}

/// What stops an attempt, in words.
pub fn stop_words(stop: Stop) -> String {
    match stop {
        Stop::Killed(call) => format!("killed, and the report names `{call}`"),
        Stop::Error(error) => format!("`{}`", error_name(error)),
        Stop::Refused(error, _) => format!("`{}`, and recorded", error_name(error)),
        Stop::Gives(value) if value < 0 => format!("`{}`", error_name(i32::try_from(-value).unwrap_or(0))),
        Stop::Gives(value) => format!("the answer is {value}, and nothing else"),
        Stop::Fault(kind) => format!("fault: {kind}"),
        Stop::FaultSaying(kind, words) => format!("fault: {kind}, \"{words}\""),
        Stop::Unanswered => "a typed error".to_owned(),
        Stop::Deadline => "deadline".to_owned(),
        Stop::Limit(what) => format!("limit: {what}"),
        Stop::NoStart(_) => "does not start".to_owned(),
        Stop::Denied(code) => format!("denied: {code}"),
    }
}

fn error_name(error: i32) -> &'static str {
    match error {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        9 => "EBADF",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        18 => "EXDEV",
        22 => "EINVAL",
        24 => "EMFILE",
        30 => "EROFS",
        32 => "EPIPE",
        36 => "ENAMETOOLONG",
        37 => "ENOLCK",
        38 => "ENOSYS",
        95 => "EOPNOTSUPP",
        97 => "EAFNOSUPPORT",
        _ => "another error",
    }
}

fn control_words(attempt: &Attempt) -> &'static str {
    match (attempt.control, attempt.act) {
        (Control::Unconfined(_), _) => "works unconfined",
        (Control::Granted(..), _) => "works when granted",
        (Control::Mended(_), Act::Manifest(_)) => "the mended manifest is granted",
        (Control::Mended(_), _) => "the same with a file starts",
        (Control::Honest, _) => "the honest form works",
        (Control::Nothing(_), _) => "none",
    }
}

fn mutation_words(attempt: &Attempt) -> String {
    match attempt.mutation {
        Mutation::Without(layers, _) if layers.len() > 1 => {
            "works without all of them; each alone stops it".to_owned()
        }
        Mutation::Without(..) => "works without it".to_owned(),
        Mutation::Limits(..) => "works with a wider limit".to_owned(),
        Mutation::InTheHost(where_) => format!("held by {where_}"),
        Mutation::Nothing(why) => format!("none: {why}"),
    }
}

/// The page.
pub fn page() -> String {
    let attempts = process_attempts();
    let mut page = String::from(
        "# The escape suite\n\n\
         What hostile guests try, and what stops each of them. You need not believe it: `cofferdam selftest` tries all of it on your machine, as\n\
         any user. This page is made from the suite (`tests/escape`); a test keeps it fresh.\n\n\
         Every row has its exact stop, written by hand from manual pages and not computed by the code that is tried; the events that must be in the\n\
         audit log, and no others; a next call that works; and a victim outside of the compartment that must not notice anything. *Seen to be real* is the\n\
         same function without a compartment, or with the grant. *Seen to bite* is `cargo test -p cofferdam-launcher --test escape`: the launcher's own\n\
         source is edited so that it leaves layers out, and with all that the row names left out the attempt works; with any one of them put back it does\n\
         not. Nothing of that launcher is in what is shipped. Each trial has a process of its own, and all run as root and as an ordinary user.\n",
    );
    let trials = |root: bool| {
        let possible = attempts.iter().filter(|attempt| attempt.who.includes(root));
        possible.map(|attempt| crate::trial::parts(attempt, true).len()).sum::<usize>()
    };
    let numbers: std::collections::BTreeSet<u32> =
        attempts.iter().map(|attempt| number(attempt.id)).collect();
    let _ = write!(
        page,
        "\n{} attempts under {} of 85 numbers on process compartments: {} trials as root, {} as an ordinary user.\n",
        attempts.len(),
        numbers.len(),
        trials(true),
        trials(false)
    );
    for (index, (first, title)) in PARTS.iter().enumerate() {
        let end = PARTS.get(index + 1).map_or(u32::MAX, |(next, _)| *next);
        let _ = write!(
            page,
            "\n## {title}\n\n| | a guest tries to | known from | stop | layers | seen to be real | seen to bite |\n| --- | --- | --- | --- | --- | --- | --- |\n"
        );
        for attempt in attempts.iter().filter(|attempt| (*first..end).contains(&number(attempt.id))) {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {} |",
                attempt.id,
                attempt.tries,
                attempt.source,
                stop_words(attempt.stop),
                attempt.layers().join(", "),
                control_words(attempt),
                mutation_words(attempt)
            );
        }
    }
    page.push_str(
        "\n## Numbers without an attempt\n\n| | a guest would | why it is not tried |\n| --- | --- | --- |\n",
    );
    for absent in ABSENT {
        let _ = writeln!(page, "| {} | {} | {} |", absent.number, absent.tries, absent.reason);
    }
    #[cfg(feature = "wasm")]
    wasm(&mut page);
    page.push_str(
        "\n## Edits by hand\n\nEach was made alone in the sources, and what is named failed for it; then it was taken back.\n\n\
         | edit | what failed |\n| --- | --- |\n",
    );
    for (edit, caught) in EDITS {
        let _ = writeln!(page, "| {edit} | {caught} |");
    }
    page
}

#[cfg(feature = "wasm")]
fn wasm(page: &mut String) {
    use crate::wasm::{Held, WASM_ATTEMPTS};
    page.push_str(
        "\n## Wasm compartments\n\nEach guest is written by hand as component text. Every row that is tried here has its event in the log, a control that works, a\n\
         next call that begins afresh, and a plugin beside it that goes on. The others need a compiler for guests, so a test of the repository's holds them.\n\n\
         | | a guest tries to | stop | tried |\n| --- | --- | --- | --- |\n",
    );
    for attempt in WASM_ATTEMPTS {
        let held = match attempt.held {
            Held::Here(_) => "here".to_owned(),
            Held::Test(file, name) => format!("`{file}`: `{name}`"),
            Held::Nothing(why) => format!("not tried: {why}"),
        };
        let _ = writeln!(page, "| {} | {} | {} | {held} |", attempt.id, attempt.tries, attempt.stop);
    }
}
