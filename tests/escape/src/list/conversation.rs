//! E. The host as a deputy: lies on the wire, and manifests that ask for more.

use super::errno::{EINVAL, EPERM};
use crate::attempt::{Act, Attempt, Control, Mutation, Stop, Wanted};

use Stop::{Deadline, Denied, Fault, FaultSaying, Gives, NoStart, Unanswered};
use Wanted::{Bytes, Character, Kernel, Lists, Maybe, Number, Outcome, Text, Truth};

const fn lie(
    id: &'static str,
    tries: &'static str,
    way: &'static str,
    number: u64,
    wanted: Wanted,
    stop: Stop,
) -> Attempt {
    Attempt::new(id, tries, "")
        .act(Act::Lie(way, number, wanted))
        .within(match stop {
            Deadline => "call-deadline = \"400ms\"",
            _ => "call-deadline = \"5s\"",
        })
        .stop(stop)
        .control(Control::Honest)
        .mutation(Mutation::InTheHost(
            "runtime/wire/src: its own tests, its model and the fuzz targets hold it",
        ))
}

/// What the log says of a counter that is compared.
const COUNTER: Stop = FaultSaying("protocol", "counter cannot be right");

const fn greeting(id: &'static str, tries: &'static str, how: u8, says: &'static str) -> Attempt {
    Attempt::new(id, tries, "").act(Act::Greeting(how)).stop(NoStart(says)).control(Control::Honest).mutation(
        Mutation::InTheHost("`greet`: tests/process.rs, a_guest_that_does_not_greet_does_not_start"),
    )
}

const fn manifest(
    id: &'static str,
    tries: &'static str,
    wrong: &'static str,
    mended: &'static str,
    code: &'static str,
) -> Attempt {
    Attempt::new(id, tries, "")
        .act(Act::Manifest(wrong))
        .stop(Denied(code))
        .control(Control::Mended(mended))
        .mutation(Mutation::Nothing(
            "the resolver decides before anything runs; tests/invalid and tests/properties.rs hold it",
        ))
}

pub(crate) const ALL: &[Attempt] = &[
    lie("59a", "change a reply while the host reads it", "flips", 1, Bytes, Unanswered).with("thread = true").within("call-deadline = \"5s\""),
    lie("59b", "send random bytes for a reply", "fuzzed", 7, Number, Unanswered).within("call-deadline = \"300ms\""),
    lie("60a", "shrink the shared memory, so that the host faults", "shrinks", 0, Kernel, Stop::Killed("ftruncate")),
    lie("60b", "the same where files may be shortened", "shrinks", 0, Kernel, Gives(-(EPERM as i64))).with("filesystem = { write = [\"out\"] }"),
    lie("60c", "grow the shared memory", "grows", 0, Kernel, Gives(-(EPERM as i64))).with("filesystem = { write = [\"out\"] }"),
    lie("60d", "punch a hole into the shared memory", "punches-holes", 0, Kernel, Stop::Killed("fallocate")),
    lie("60e", "seal the shared memory against the host", "seals", 0, Kernel, Stop::Killed("fcntl")),
    lie("60f", "the same where files may be locked", "seals", 0, Kernel, Gives(-(EINVAL as i64))).with("filesystem = { write = [\"out\"] }"),
    lie("61a", "claim that it wrote more than fits", "counter", 0x8000_0000, Number, COUNTER),
    lie("61b", "claim that it wrote one word more than fits", "counter", 32_769, Number, COUNTER),
    lie("61c", "claim all ones", "counter", 0xFFFF_FFFF, Number, COUNTER),
    lie("61d", "take a word back that it wrote", "counter-back", 0, Number, COUNTER),
    lie("61e", "claim that it read what nobody wrote", "read-counter", 0x7FFF_FFFF, Number, Gives(1)),
    lie("61f", "claim that everybody sleeps", "sleep-flags", 0, Number, Gives(1)),
    lie("62a", "never wake the host", "never-answers", 0, Number, Deadline),
    lie("62b", "wake the host without end", "wakes-without-end", 0, Number, Deadline),
    lie("63a", "announce a reply of 4 GiB", "longest", 0, Number, FaultSaying("protocol", "a frame claims 4294967295 bytes")),
    lie("63b", "announce one byte more than a reply may have", "too-long", 0, Number, FaultSaying("protocol", "a frame claims 67108865 bytes")),
    lie("63c", "answer with a list of 4 Gi elements in four bytes", "endless-list", 0, Bytes, Fault("protocol")),
    lie("63d", "answer with lists that take six times the room in memory", "amplified-list", 0, Lists, Fault("protocol")).within("call-deadline = \"20s\", memory = \"256MiB\""),
    lie("64a", "answer with a truth of 2", "bytes", 2, Truth, Fault("protocol")),
    lie("64b", "answer with half a surrogate for a character", "bytes", 0xD800, Character, Fault("protocol")),
    lie("64c", "answer with text that is none", "not-text", 0, Text, Fault("protocol")),
    lie("64d", "answer with a tag that no option has", "bytes", 0x0107, Maybe, Fault("protocol")),
    lie("64e", "answer with a tag that no result has", "bytes", 0x0109, Outcome, Fault("protocol")),
    lie("64f", "answer with more than was asked for", "surplus", 0, Number, Fault("protocol")),
    lie("64g", "answer with less than was asked for", "too-few", 0, Number, Fault("protocol")),
    lie("65", "answer for a handle of its own making", "no-kind", 0, Number, Fault("protocol"))
        .mutation(Mutation::InTheHost("forged, stale and foreign handles: tests/backends.rs and tests/clients.rs; here, a frame of no kind")),
    lie("66a", "answer another call", "other-call", 0, Number, Fault("protocol")),
    lie("66b", "answer an earlier call again", "earlier-call", 0, Number, Fault("protocol")),
    lie("66c", "answer twice", "two-answers", 0, Number, Gives(1)),
    lie("67", "call its host, which offers nothing", "calls-its-host", 0, Number, Fault("protocol")),
    greeting("68", "flood the host with descriptors", b'd', "descriptors"),
    lie("69a", "stop in the middle of a reply", "half-a-frame", 0, Number, Deadline),
    lie("69b", "write without end", "floods", 0, Number, Fault("protocol")),
    lie("70", "put terminal escapes and a line of the log into its last words", "panics", 0, Number, Fault("panic")),
    lie("71a", "die before a reply", "dies-before", 0, Number, Fault("exit")),
    lie("71b", "die in the header of a reply", "dies-in-a-header", 0, Number, Fault("exit")),
    lie("71c", "die in a reply", "dies-in-a-reply", 0, Number, Fault("exit")),
    lie("71d", "crash", "crashes", 0, Number, Fault("signal")),
    greeting("71e", "die before it greets", b'x', "ended itself with code 9"),
    greeting("71f", "stop in the middle of its greeting", b'k', "make no sense"),
    greeting("71g", "never greet", b's', "said nothing"),
    greeting("72a", "speak another version", b'v', "it speaks version"),
    greeting("72b", "greet with nonsense", b'g', "make no sense"),
    greeting("72c", "offer more functions than a host keeps", b'f', "functions"),
    manifest(
        "73",
        "have its consumer's authority used for a path that only the consumer holds",
        "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { read = [\"data/../secret\"] }\n[crates.guest]\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { read = [\"data/sub\"] }\n[crates.guest]\n",
        "bad-path",
    ),
    manifest(
        "74a",
        "get a wider folder than its consumer has",
        "[holds]\nfilesystem = { read = [\"data/sub\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { read = [\"data\"] }\n[crates.guest]\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { read = [\"data/sub\"] }\n[crates.guest]\n",
        "grant-exceeds-holdings",
    ),
    manifest(
        "74b",
        "write where its consumer may read",
        "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { write = [\"data\"] }\n[crates.guest]\n",
        "[holds]\nfilesystem = { write = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { write = [\"data\"] }\n[crates.guest]\n",
        "grant-exceeds-holdings",
    ),
    manifest(
        "74c",
        "get a folder whose name begins like the granted one",
        "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { read = [\"database\"] }\n[crates.guest]\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [\"guest\"]\n\
         [crates.app.grants.guest]\nfilesystem = { read = [\"data/base\"] }\n[crates.guest]\n",
        "grant-exceeds-holdings",
    ),
    Attempt::new("75", "find a secret of its host in what it was started with", "secrets")
        .told(&["half=cofferdam-host-", "other-half=secret-0000"])
        .stop(Gives(0))
        .free(crate::attempt::Answer::Above(0))
        .mutation(Mutation::InTheHost("the launcher is run with an empty environment, and runs the guest with what is granted: `start` in runtime/host/src/process/launch.rs")),
    manifest(
        "76a",
        "consume what nobody granted it",
        "[holds]\nentropy = true\n[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\nconsumes = { entropy = \"keys\" }\n",
        "[holds]\nentropy = true\n[crates.app]\ndependencies = [\"guest\"]\n[crates.app.grants.guest]\nentropy = true\n\
         [crates.guest]\nconsumes = { entropy = \"keys\" }\n",
        "not-granted",
    ),
    Attempt::new("76b", "use at run time what its manifest did not ask for", "entropy")
        .killed("getrandom")
        .control(Control::Granted("entropy = true", "", crate::attempt::Answer::Is(16)))
        .without_gives(&[crate::attempt::Layer::Filter(&[318])], crate::attempt::Answer::Is(16)),
    manifest(
        "77a",
        "have an empty list mean everything",
        "[holds]\nfilesystem = { read = [] }\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n",
        "empty-list",
    ),
    manifest(
        "77b",
        "have a misspelt key pass",
        "[holds]\nfilesystem = { raed = [\"data\"] }\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n",
        "unknown-capability",
    ),
    manifest(
        "77c",
        "have a wildcard mean everything",
        "[holds]\nfilesystem = { read = [\"*\"] }\n",
        "[holds]\nfilesystem = { read = [\"data\"] }\n",
        "bad-path",
    ),
];
