//! The list: one row for each attempt, by hand.

pub(crate) mod conversation;
pub(crate) mod edits;
pub(crate) mod files;
pub(crate) mod network;
pub(crate) mod others;
pub(crate) mod resources;
pub(crate) mod surface;

use crate::attempt::{Attempt, Who};

/// Every attempt on process compartments, in the order of their numbers.
pub fn process_attempts() -> Vec<Attempt> {
    [surface::ALL, others::ALL, files::ALL, network::ALL, conversation::ALL, resources::ALL].concat()
}

/// A number of the list that is no attempt of a guest's here, and why.
#[derive(Debug, Clone, Copy)]
pub struct Absent {
    /// Its number.
    pub number: u32,
    /// What it would be.
    pub tries: &'static str,
    /// Why it is not tried, and what stands for it.
    pub reason: &'static str,
    /// Whom the reason is true for.
    pub who: Who,
}

/// Numbers of the list without an attempt.
pub const ABSENT: &[Absent] = &[
    Absent {
        number: 31,
        tries: "outlive the host's end of a session (under root)",
        reason: "as root `process.spawn` is refused at the start, so there is no child to outlive anything; tried as an ordinary user",
        who: Who::Root,
    },
    Absent {
        number: 33,
        tries: "be confused with another process after the number was used again",
        reason: "no guest can bring it about: the host signals only its own child, before it has waited for it; \
                 what it reads of a guest's process counts only if the call still waits (`is_waiting`)",
        who: Who::Everybody,
    },
    Absent {
        number: 48,
        tries: "write a file that the host or a tool runs later",
        reason: "nothing stops it: who grants a folder for writing must not run what is in it; the threat model says so",
        who: Who::Everybody,
    },
    Absent {
        number: 80,
        tries: "starve the host of processor time while it waits",
        reason: "bounded by the call's deadline alone; there is no weight of processor time without a delegated cgroup",
        who: Who::Everybody,
    },
];

/// Errors of the kernel, by their names in errno(3).
pub(crate) mod errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const ESRCH: i32 = 3;
    pub(crate) const EBADF: i32 = 9;
    pub(crate) const EAGAIN: i32 = 11;
    pub(crate) const ENOMEM: i32 = 12;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const EXDEV: i32 = 18;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EMFILE: i32 = 24;
    pub(crate) const ENOTTY: i32 = 25;
    pub(crate) const ENOSPC: i32 = 28;
    pub(crate) const EROFS: i32 = 30;
    pub(crate) const EPIPE: i32 = 32;
    pub(crate) const ENAMETOOLONG: i32 = 36;
    pub(crate) const ENOLCK: i32 = 37;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const EOPNOTSUPP: i32 = 95;
    pub(crate) const EAFNOSUPPORT: i32 = 97;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn number(id: &str) -> u32 {
        id.trim_end_matches(char::is_alphabetic).parse().expect("a number")
    }

    #[test]
    fn every_number_is_tried_or_has_its_reason() {
        let tried: BTreeSet<u32> = process_attempts().iter().map(|one| number(one.id)).collect();
        let absent: BTreeSet<u32> = ABSENT.iter().map(|one| one.number).collect();
        let all: BTreeSet<u32> = tried.union(&absent).copied().collect();
        assert_eq!(all, (1..=85).collect());
        assert!(tried.len() >= 75, "{}", tried.len());
    }

    #[test]
    fn an_ordinary_user_is_not_told_what_is_roots() {
        let told = |root: bool| ABSENT.iter().filter(move |absent| absent.who.includes(root));
        assert!(told(false).all(|absent| !absent.reason.starts_with("as root")));
        assert_eq!(told(true).count(), ABSENT.len());
    }

    #[test]
    fn every_attempt_has_its_own_number() {
        let all = process_attempts();
        let ids: BTreeSet<&str> = all.iter().map(|one| one.id).collect();
        assert_eq!(ids.len(), all.len());
        for pair in all.windows(2) {
            assert!(number(pair[0].id) <= number(pair[1].id), "{} before {}", pair[0].id, pair[1].id);
        }
    }
}
