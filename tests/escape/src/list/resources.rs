//! F. Taking too much.

use super::errno::{EACCES, EMFILE, ENOMEM, EPERM};
use crate::attempt::{Answer, Attempt, Control, Layer, Mutation, Stop};

use Answer::{Done, Is, Reached};
use Layer::{Filter, Limits};

const READ: &str = "filesystem = { read = [\"data\"] }";
const CONNECT: &str = "network = { connect = [\"127.0.0.1:{granted-port}\"] }";

pub(crate) const ALL: &[Attempt] = &[
    Attempt::new("78a", "take all the memory there is", "balloon")
        .within("memory = \"32MiB\", call-deadline = \"20s\"")
        .error(ENOMEM)
        .free(Is(256))
        .mutation(Mutation::Limits("memory = \"512MiB\", call-deadline = \"20s\"", Is(256))),
    Attempt::new("78b", "the same, by the kernel's limit alone", "balloon")
        .within("memory = \"32MiB\", call-deadline = \"20s\"")
        .error(ENOMEM)
        .free(Is(256))
        .without_gives(&[Limits], Is(256)),
    Attempt::new("78c", "lock memory", "lock-memory")
        .killed("mlock")
        .without(&[Filter(&[149]), Limits]),
    Attempt::new("79a", "take all descriptors there are", "exhaust-descriptors")
        .with(READ)
        .error(EMFILE)
        .free_for(Is(2000), Is(2000))
        .control(Control::Nothing("the user's own limit may be lower; the mutation opens 2,000"))
        .without(&[Limits]),
    Attempt::new("79b", "raise its own limits", "raise-limits")
        .error(EPERM)
        .control(Control::Nothing("root may and others may not, and both are seen in 79a"))
        .mutation(Mutation::Nothing("soft and hard limits are one, so there is nothing to raise to: the kernel refuses")),
    Attempt::new("79c", "put itself before others", "nice")
        .killed("setpriority")
        .free_for(Done, Reached(EACCES))
        .without_gives(&[Filter(&[141])], Reached(EACCES)),
    Attempt::new("81", "look at, or change, how its speculation is held down", "prctl-speculation")
        .killed("prctl")
        .control(Control::Nothing("the answer depends on the processor; that it is held down is read from /proc/PID/status in tests/escape.rs"))
        .mutation(Mutation::Nothing("the answer depends on the processor")),
    Attempt::new("82", "keep the host busy with refusals", "denials")
        .with(CONNECT)
        .told(&["rounds=100000000"])
        .within("call-deadline = \"1s\"")
        .stop(Stop::Deadline)
        .control(Control::Nothing("it never ends"))
        .mutation(Mutation::InTheHost("the call's deadline does not depend on the supervisor: `call_within` in runtime/host/src/process/compartment.rs")),
    Attempt::new("83", "have the host run out of descriptors", "many-sockets")
        .with(CONNECT)
        .told(&["rounds=2000"])
        .within("call-deadline = \"20s\"")
        .stop(Stop::Gives(0))
        .free(Is(0))
        .mutation(Mutation::InTheHost("`Broker::answer` owns each socket until it is given: the count of the host's descriptors is compared after it")),
    Attempt::new("84", "outlive a host that is killed", "sleep")
        .told(&["milliseconds=0"])
        .within("call-deadline = \"500ms\"")
        .stop(Stop::Deadline)
        .control(Control::Nothing("tests/process_lifetime.rs, a_guest_ends_with_its_host, kills the host"))
        .mutation(Mutation::Nothing("here only that nothing of it is left at its deadline")),
    Attempt::new("85", "leave something behind after an end of each kind", "crash")
        .stop(Stop::Fault("signal"))
        .control(Control::Nothing("a crash without a compartment is a crash"))
        .mutation(Mutation::Nothing("tests/process_lifetime.rs, a_thousand_starts_leave_nothing, counts after 1,000 starts")),
];
