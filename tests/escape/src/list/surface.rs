//! A. The surface of the kernel, and the filter itself.

use super::errno::{EACCES, EBADF, EFAULT, EINVAL, ENOENT, ENOSYS, ENOTTY, EPERM};
use crate::attempt::{Act, Answer, Attempt, Control, Layer, Mutation, Stop, Who};

use Answer::{Asked, Done, Is, Reached};
use Layer::{Convention32, ConventionX32, Filter, Landlock, Limits, Namespaces, WriteExecute};

const JIT: Control = Control::Granted("mmap = { executable = true }", "", Is(42));

pub(crate) const ALL: &[Attempt] = &[
    Attempt::new("1a", "call the kernel through the 32-bit convention", "int80-getpid")
        .killed("system call 20 of another calling convention (0x40000003)")
        .without(&[Convention32]),
    Attempt::new("1b", "reach sockets through the 32-bit convention", "int80-socketcall")
        .killed("system call 102 of another calling convention (0x40000003)")
        .free(Reached(EINVAL))
        .without_gives(&[Convention32], Reached(EINVAL)),
    Attempt::new("2a", "make an allowed call under its x32 number", "x32-getpid")
        .killed("system call 0x40000027 of the x32 convention")
        .free(Asked)
        .without_gives(&[ConventionX32], Asked),
    Attempt::new("2b", "trace under the x32 number", "x32-ptrace")
        .killed("system call 0x40000209 of the x32 convention")
        .free(Asked)
        .without_gives(&[ConventionX32], Asked),
    Attempt::new("3a", "make a user namespace by clone3, whose flags no filter sees", "clone3-user")
        .from("CVE-2022-0185 and others begin with a user namespace")
        .error(ENOSYS)
        .without(&[Filter(&[435])])
        .also(&[Limits]),
    Attempt::new("3b", "make a user namespace by clone", "clone-user")
        .killed("clone")
        .without(&[Filter(&[56])])
        .also(&[Limits]),
    Attempt::new("3c", "make a user namespace by unshare", "unshare-user").killed("unshare").without(&[Filter(&[272])]),
    Attempt::new("3d", "join a namespace", "setns")
        .killed("setns")
        .free(Reached(EINVAL))
        .without_gives(&[Filter(&[308])], Reached(EINVAL)),
    Attempt::new("4", "mount a file system in a user namespace of its own", "userns-mount")
        .from("CVE-2023-0386, CVE-2022-0185")
        .killed("unshare")
        .without(&[Filter(&[272, 165]), Landlock]),
    Attempt::new("5", "use numbers that this release does not know (470 to 600)", "unknown-numbers")
        .error(ENOSYS)
        .free(Reached(ENOSYS))
        .mutation(Mutation::Nothing("this kernel has none of them; that they are answered, and not reported, is what matters to libraries")),
    Attempt::new("6a", "open a file through io_uring, past the filter", "uring-open")
        .from("io_uring has no seccomp")
        .error(ENOSYS)
        .without(&[Filter(&[425, 426, 9]), Namespaces, Landlock])
        .also(&[Limits]),
    Attempt::new("6b", "submit to an io_uring", "uring-enter")
        .error(ENOSYS)
        .free(Reached(EBADF))
        .without_gives(&[Filter(&[426])], Reached(EBADF)),
    Attempt::new("6c", "register with an io_uring", "uring-register")
        .error(ENOSYS)
        .free(Reached(EINVAL))
        .without_gives(&[Filter(&[427])], Reached(EINVAL)),
    Attempt::new("7a", "stack a filter of its own", "seccomp")
        .killed("seccomp")
        .free_for(Done, Reached(EACCES))
        .without(&[Filter(&[317])]),
    Attempt::new("7b", "the same by prctl", "prctl-seccomp")
        .killed("prctl")
        .free_for(Done, Reached(EACCES))
        .without(&[Filter(&[157])]),
    Attempt::new("8", "type into the terminal, with a bit above the 32 that the kernel looks at", "tiocsti-high")
        .from("CVE-2019-7303, CVE-2019-10063")
        .killed("ioctl")
        .free(Reached(ENOTTY))
        .without_gives(&[Filter(&[16])], Reached(ENOTTY)),
    Attempt::new("9", "reach many calls behind one number of 32 bits (socketcall)", "int80-socketcall")
        .killed("system call 102 of another calling convention (0x40000003)")
        .free(Reached(EINVAL))
        .without_gives(&[Convention32], Reached(EINVAL)),
    Attempt::new("10a", "run a program", "execve")
        .killed("execve")
        .free(Reached(ENOENT))
        .without_gives(&[Filter(&[59])], Reached(ENOENT)),
    Attempt::new("10b", "run a program from memory, which Landlock does not see", "execveat-memory")
        .killed("execveat")
        .free(Reached(EBADF))
        .without_gives(&[Filter(&[322])], Reached(EBADF)),
    Attempt::new("10c", "make memory that could hold a program", "memfd").killed("memfd_create").without(&[Filter(&[319])]),
    Attempt::new("11", "make all memory executable, and addresses predictable", "personality")
        .killed("personality")
        .without(&[Filter(&[135])]),
    Attempt::new("12a", "have memory that is writable and executable", "memory-writable-executable")
        .killed("mmap")
        .control(JIT)
        .without_gives(&[Filter(&[9]), WriteExecute], Is(42)),
    Attempt::new("12b", "make memory executable that was written", "memory-made-executable")
        .killed("mprotect")
        .control(JIT)
        .without_gives(&[Filter(&[10]), WriteExecute], Is(42)),
    Attempt::new("12c", "the same with a protection key", "memory-made-executable-with-key")
        .killed("pkey_mprotect")
        .free(Is(42))
        .without_gives(&[Filter(&[329]), WriteExecute], Is(42)),
    Attempt::new("12d", "map shared memory twice, once to write and once to run", "memory-mapped-twice")
        .killed("mmap")
        .free(Is(42))
        .without_gives(&[Filter(&[9])], Is(42)),
    Attempt::new("12e", "make its own code writable", "memory-over-code")
        .killed("mprotect")
        .without(&[Filter(&[10]), WriteExecute]),
    Attempt::new("12f", "attach shared memory as code", "shmat-executable")
        .killed("shmat")
        .free(Reached(EINVAL))
        .without_gives(&[Filter(&[30])], Reached(EINVAL)),
    Attempt::new("13a", "become open to debuggers again", "prctl-dumpable").killed("prctl").without(&[Filter(&[157])]),
    Attempt::new("13b", "outlive its parent", "prctl-outlive").killed("prctl").without(&[Filter(&[157])]),
    Attempt::new("13c", "name another process that may trace it", "prctl-tracer")
        .killed("prctl")
        .free(Asked)
        .without_gives(&[Filter(&[157])], Asked),
    Attempt::new("13d", "change where the kernel thinks its memory is", "prctl-memory-map")
        .killed("prctl")
        .free(Asked)
        .without_gives(&[Filter(&[157])], Asked),
    Attempt::new("13e", "change how it reads the time-stamp counter", "prctl-timestamp")
        .killed("prctl")
        .without(&[Filter(&[157])]),
    Attempt::new("13f", "change the slack of its timers", "prctl-timer-slack").killed("prctl").without(&[Filter(&[157])]),
    Attempt::new("14a", "change its segments", "modify-ldt").killed("modify_ldt").without(&[Filter(&[154])]),
    Attempt::new("14b", "get at ports", "iopl")
        .killed("iopl")
        .free(Asked)
        .without_gives(&[Filter(&[172])], Asked),
    Attempt::new("14c", "get at one port", "ioperm")
        .killed("ioperm")
        .free(Asked)
        .without_gives(&[Filter(&[173])], Asked),
    Attempt::new("14d", "switch off the processor's identification of itself", "arch-prctl")
        .error(EINVAL)
        .control(Control::Nothing("what this answers without a compartment depends on the processor"))
        .mutation(Mutation::Nothing("what this answers without the rule depends on the processor")),
    Attempt::new("15", "stall whoever copies its memory, at a byte of its choice", "userfaultfd")
        .from("many exploits win their races so")
        .killed("userfaultfd")
        .without(&[Filter(&[323])]),
    Attempt::new("16a", "load a program into the kernel", "bpf")
        .from("CVE-2017-16995, CVE-2020-8835, CVE-2021-3490")
        .killed("bpf")
        .free(Asked)
        .without_gives(&[Filter(&[321])], Asked),
    Attempt::new("16b", "count events of the processor", "perf-event")
        .from("CVE-2013-2094")
        .killed("perf_event_open")
        .free(Asked)
        .without_gives(&[Filter(&[298])], Asked),
    Attempt::new("16c", "start another kernel", "kexec")
        .killed("kexec_load")
        .free(Asked)
        .without_gives(&[Filter(&[246])], Asked),
    Attempt::new("16d", "load a module into the kernel", "module")
        .killed("init_module")
        .free(Asked)
        .without_gives(&[Filter(&[175])], Asked),
    Attempt::new("16e", "change quotas", "quota")
        .killed("quotactl")
        .free(Asked)
        .without_gives(&[Filter(&[179])], Asked),
    Attempt::new("16f", "have every program's end written down", "accounting")
        .killed("acct")
        .free_for(Reached(EFAULT), Reached(EPERM))
        .without_gives(&[Filter(&[163])], Reached(EPERM)),
    Attempt::new("16g", "swap to a file", "swap")
        .killed("swapon")
        .free_for(Reached(EFAULT), Reached(EPERM))
        .without_gives(&[Filter(&[167])], Reached(EPERM)),
    Attempt::new("16h", "restart the machine", "reboot")
        .killed("reboot")
        .free_for(Reached(EINVAL), Reached(EPERM))
        .without_gives(&[Filter(&[169])], Reached(EPERM)),
    Attempt::new("17a", "read a key of the user's", "search-keys")
        .from("keyrings pass through Landlock")
        .victim_holds("key")
        .killed("keyctl")
        .without_gives(&[Filter(&[250]), Namespaces], Is(6)),
    Attempt::new("17b", "make a key", "add-key")
        .from("CVE-2016-0728")
        .killed("add_key")
        .without(&[Filter(&[248])]),
    Attempt::new("17c", "ask a program of the system's for a key", "request-key")
        .killed("request_key")
        .control(Control::Nothing("the error says whether the user has such keys"))
        .mutation(Mutation::Nothing("the error says whether the user has such keys")),
    Attempt::new("18", "catch the signal of a violation, and go on", "filter-swallowed")
        .with("signal = true")
        .killed("ptrace")
        .without(&[Filter(&[101])]),
    Attempt::new("19", "act before `main`, as libraries do", "")
        .act(Act::Early)
        .stop(Stop::NoStart("ptrace"))
        .control(Control::Nothing("the program that does not do it starts: that is every other attempt"))
        .mutation(Mutation::Without(&[Filter(&[101])], crate::attempt::Expected::same(Done))),
    Attempt::new("20a", "move bytes between descriptors without copying", "splice")
        .from("CVE-2022-0847")
        .killed("splice")
        .free(Reached(EBADF))
        .without_gives(&[Filter(&[275])], Reached(EBADF)),
    Attempt::new("20b", "the same, and keep them", "tee")
        .killed("tee")
        .free(Reached(EBADF))
        .without_gives(&[Filter(&[276])], Reached(EBADF)),
    Attempt::new("20c", "put its memory into a pipe", "vmsplice").killed("vmsplice").free(Reached(EBADF)).without_gives(&[Filter(&[278])], Reached(EBADF)),
    Attempt::new("20d", "advise about another process's memory", "process-madvise")
        .killed("process_madvise")
        .free(Reached(EBADF))
        .without_gives(&[Filter(&[440])], Reached(EBADF)),
    Attempt::new("20e", "have pages of memory written out, to see who notices", "madvise-pageout")
        .error(EINVAL)
        .free(Is(0))
        .without_gives(&[Filter(&[28])], Is(0)),
    Attempt::new("20f", "ask which pages the machine has in memory", "mincore")
        .from("CVE-2019-5489")
        .killed("mincore")
        .without(&[Filter(&[27])]),
    Attempt::new("20g", "ask which pages of a file are in memory", "cachestat")
        .from("CVE-2019-5489")
        .killed("cachestat")
        .control(Control::Nothing("its answer depends on what the standard input is"))
        .mutation(Mutation::Nothing("its answer depends on what the standard input is")),
];

const _: Who = Who::Everybody;
