//! B. Other processes.

use super::errno::{EACCES, EAGAIN, ENOENT, EPERM, ESRCH};
use crate::attempt::{Answer, Attempt, Control, Layer, Mutation, Stop, Who};

use Answer::{Is, Reached};
use Layer::{Capabilities, Filter, Landlock, Limits, Namespaces, Processes, Session};

/// What reads are granted where the answer of a path is to be seen, and not that the call is forbidden.
const FILES: &str = "filesystem = { read = [\"data\"], write = [\"out\"] }";

pub(crate) const ALL: &[Attempt] = &[
    Attempt::new("21a", "signal a process outside", "kill")
        .killed("kill")
        .without(&[Filter(&[62]), Processes, Landlock])
        .noticed(&["signals"]),
    Attempt::new("21b", "signal a thread outside", "tkill")
        .killed("tkill")
        .without(&[Filter(&[200]), Processes, Landlock])
        .noticed(&["signals"]),
    Attempt::new("21c", "abort a process outside, with the one signal that abort() needs", "tgkill-abort")
        .error(ESRCH)
        .without(&[Processes, Landlock])
        .noticed(&["signals"]),
    Attempt::new("21d", "queue a signal with a value", "queue-signal")
        .killed("rt_sigqueueinfo")
        .without(&[Filter(&[129]), Processes, Landlock])
        .noticed(&["signals"]),
    Attempt::new("22a", "signal its own process group, which the host is in", "kill-group")
        .from("measured: a process namespace does not stop it")
        .killed("kill")
        .without(&[Filter(&[62]), Session, Landlock])
        .noticed(&["signals"]),
    Attempt::new("22b", "signal everything that it may", "kill-all").killed("kill").without(&[Filter(&[62])]).also(&[Processes, Landlock]),
    Attempt::new("23a", "have signals sent to others for its descriptors", "own-signals")
        .from("measured: older kernels let it pass Landlock")
        .killed("fcntl")
        .without(&[Filter(&[72])]),
    Attempt::new("23b", "the same by ioctl", "own-signals-ioctl")
        .killed("ioctl")
        .free(Reached(super::errno::ENOTTY))
        .without_gives(&[Filter(&[16])], Reached(super::errno::ENOTTY)),
    Attempt::new("24", "signal through a handle on a process outside", "pidfd-signal")
        .killed("pidfd_open")
        .without(&[Filter(&[434, 424]), Processes, Landlock])
        .noticed(&["signals"]),
    Attempt::new("25", "lower a limit of a process outside", "limit")
        .from("measured: Landlock does not stop it")
        .killed("prlimit64")
        .without(&[Filter(&[302]), Processes])
        .noticed(&["descriptors"]),
    Attempt::new("26a", "slow a process outside down", "priority")
        .killed("setpriority")
        .without(&[Filter(&[141]), Namespaces])
        .also(&[Capabilities])
        .noticed(&["priority"]),
    Attempt::new("26b", "pin a process outside to one processor", "affinity")
        .killed("sched_setaffinity")
        .without(&[Filter(&[203]), Namespaces])
        .also(&[Capabilities])
        .noticed(&["processors"]),
    Attempt::new("26c", "change the scheduling of a process outside", "scheduler")
        .killed("sched_setscheduler")
        .without(&[Filter(&[144]), Namespaces])
        .also(&[Capabilities])
        .noticed(&["scheduler"]),
    Attempt::new("26d", "change the reading and writing priority of a process outside", "io-priority")
        .killed("ioprio_set")
        .without(&[Filter(&[251]), Namespaces])
        .also(&[Capabilities])
        .noticed(&["io-priority"]),
    Attempt::new("27a", "trace a process outside", "trace")
        .killed("ptrace")
        .without(&[Filter(&[101]), Namespaces, Landlock])
        .also(&[Capabilities]),
    Attempt::new("27b", "be traced by its parent", "trace-me").killed("ptrace").without(&[Filter(&[101])]),
    Attempt::new("28a", "read the memory of a process outside", "read-memory")
        .killed("process_vm_readv")
        .free(Is(16))
        .without_gives(&[Filter(&[310]), Namespaces, Landlock], Is(16))
        .also(&[Capabilities]),
    Attempt::new("28b", "write to the memory of a process outside", "write-memory")
        .killed("process_vm_writev")
        .free(Is(11))
        .without_gives(&[Filter(&[311]), Namespaces, Landlock], Is(11))
        .also(&[Capabilities])
        .noticed(&["scratch"]),
    Attempt::new("28c", "take a descriptor of a process outside", "pidfd-getfd")
        .killed("pidfd_open")
        .without(&[Filter(&[434, 438]), Namespaces, Landlock])
        .also(&[Capabilities]),
    Attempt::new("28d", "compare resources of a process outside", "compare")
        .killed("kcmp")
        .free(Is(0))
        .without_gives(&[Filter(&[312]), Namespaces, Landlock], Is(0))
        .also(&[Capabilities]),
    Attempt::new("28e", "ask where a process outside keeps its locks", "robust-list")
        .killed("get_robust_list")
        .without(&[Filter(&[274]), Namespaces, Landlock])
        .also(&[Capabilities]),
    Attempt::new("28f", "open the memory of a process outside", "proc-memory")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock])
        .also(&[Capabilities]),
    Attempt::new("29a", "read the environment of a process outside", "proc-environ")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock])
        .also(&[Capabilities]),
    Attempt::new("29b", "read the arguments of a process outside", "proc-cmdline")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock]),
    Attempt::new("29c", "read where the memory of a process outside is", "proc-maps")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock])
        .also(&[Capabilities]),
    Attempt::new("29d", "look at the root of a process outside", "proc-root")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces])
        .also(&[Landlock, Capabilities]),
    Attempt::new("29e", "look at the namespaces of a process outside", "proc-namespace")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces])
        .also(&[Landlock, Capabilities]),
    Attempt::new("29f", "list the sockets of the machine", "proc-net")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock]),
    Attempt::new("29g", "read a setting of the kernel", "proc-setting")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock]),
    Attempt::new("30", "write into the program that started it", "overwrite-program")
        .from("CVE-2019-5736")
        .with(FILES)
        .error(ENOENT)
        .without(&[Namespaces, Landlock]),
    Attempt::new("31", "leave a process behind that outlives it", "daemon")
        .with(FILES)
        .killed("fork")
        .control(Control::Nothing("a daemon of nobody is not left behind on purpose; that none is left is looked at after each attempt"))
        .without(&[Filter(&[57])])
        .also(&[Limits]),
    Attempt::new("32a", "have more and more processes", "fork-bomb")
        .killed("fork")
        .free(Is(64))
        .without_gives(&[Filter(&[57]), Limits], Is(64))
        .only(Who::Ordinary),
    Attempt::new("32b", "the same as root, whose processes the kernel does not count", "fork-bomb")
        .killed("fork")
        .free(Is(64))
        .without_gives(&[Filter(&[57])], Is(64))
        .only(Who::Root),
    Attempt::new("32c", "have more threads than it may", "thread-bomb")
        .with("thread = { max = 8 }")
        .error(EAGAIN)
        .free(Is(128))
        .without_gives(&[Limits], Is(128))
        .only(Who::Ordinary),
    Attempt::new("34a", "compute for ever", "spin")
        .within("call-deadline = \"300ms\"")
        .stop(Stop::Deadline)
        .control(Control::Nothing("it never ends; the mutation lets it end by itself"))
        .mutation(Mutation::Nothing("see 34b and 34c, which end by themselves when they may")),
    Attempt::new("34b", "sleep past its deadline", "sleep")
        .told(&["milliseconds=1000"])
        .within("call-deadline = \"300ms\"")
        .stop(Stop::Deadline)
        .mutation(Mutation::Limits("call-deadline = \"30s\"", Is(0))),
    Attempt::new("34c", "wait for somebody who never comes", "wait-for-nobody")
        .told(&["milliseconds=1000"])
        .within("call-deadline = \"300ms\"")
        .stop(Stop::Deadline)
        .mutation(Mutation::Limits("call-deadline = \"30s\"", Is(0))),
    Attempt::new("34d", "stop itself, so that it cannot be ended", "stop-self")
        .killed("tgkill")
        .control(Control::Nothing("nobody would make it go on"))
        .mutation(Mutation::Nothing("it would be ended at its deadline, like 34a")),
];

const _: [i32; 2] = [EACCES, EPERM];
