//! Edits that were made by hand, each alone, and what failed for it.

/// `(edit, what failed)`.
pub const EDITS: &[(&str, &str)] = &[
    ("filter: the x32 convention is not looked at", "`tests/escape.rs`: 2a, 2b (answered, and not killed)"),
    ("baseline: `clone3` allowed", "`tests/escape.rs`: 3a (a user namespace was made)"),
    (
        "baseline: `mprotect` without its condition on PROT_EXEC",
        "`tests/escape.rs`: 12b, 12e (the kernel's own switch stopped them, and 12b worked with the filter alone)",
    ),
    (
        "baseline: `prlimit64` for any process",
        "`tests/escape.rs`: 25 (the process namespace stopped it, and it worked with the filter alone)",
    ),
    ("baseline: `tgkill` with any signal", "`tests/escape.rs`: 34d (it stopped itself until its deadline)"),
    (
        "Landlock: writing comes with reading",
        "`tests/escape.rs`: 35l, 35m with Landlock alone (a read-only file was opened for writing)",
    ),
    ("Landlock: no scope for signals and abstract sockets", "`tests/escape.rs`: 21c, 49 with Landlock alone"),
    (
        "launcher: no session of its own",
        "`tests/mutant.rs`: the edit that leaves the session out finds nothing to leave out, and fails",
    ),
    (
        "launcher: descriptors are not closed",
        "attempts 38 (EACCES from Landlock) and 39 (a descriptor of the host's was open)",
    ),
    ("launcher: granted mounts stay writable", "attempt 35l (EACCES from Landlock, and not EROFS)"),
    (
        "wire: the other side's counter is not compared with the lane",
        "`ring::tests::a_hostile_counter_is_an_error_or_bytes`, and since then also `tests/escape.rs`: 61a to 61d, which had taken another fault for it",
    ),
    (
        "wire: a list's length is not compared with what is left of its message",
        "nothing at first; now `a_list_longer_than_its_message_is_refused_before_memory_is_taken_for_it` in `runtime/wire/src/value.rs`",
    ),
    ("host: every address counts as granted", "`tests/escape.rs`: 53a, 53b, 53c (connected)"),
    (
        "host: the socket of the handshake stays open for reading",
        "`tests/escape.rs`: 57 (a descriptor reached the host)",
    ),
];
