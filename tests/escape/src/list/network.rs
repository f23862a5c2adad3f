//! D. Sockets, and other ways to talk.

use super::errno::{EACCES, EAFNOSUPPORT, EINVAL, EOPNOTSUPP, EPIPE};
use crate::attempt::{Answer, Attempt, Control, Layer, Mutation, Stop};

use Answer::{Done, Is, Reached};
use Layer::{Filter, Ipc, Landlock, Namespaces, Network};

/// One port of this machine.
const CONNECT: &str = "network = { connect = [\"127.0.0.1:{granted-port}\"] }";
const THREADS: &str = "network = { connect = [\"127.0.0.1:{granted-port}\"] }\nthread = true";

const fn refused(id: &'static str, tries: &'static str, name: &'static str, what: &'static str) -> Attempt {
    Attempt::new(id, tries, name).with(CONNECT).stop(Stop::Refused(EACCES, what))
}

pub(crate) const ALL: &[Attempt] = &[
    Attempt::new("49", "connect to a socket without a path", "abstract-socket")
        .killed("socket")
        .without(&[Filter(&[41, 42]), Network, Landlock])
        .noticed(&["abstract-callers"]),
    Attempt::new("50", "connect to a socket with a path (D-Bus, Docker, X11, ssh-agent)", "path-socket")
        .from("GHSA-27vp-2mmc-vmh3")
        .killed("socket")
        .without(&[Filter(&[41, 42]), Namespaces])
        .noticed(&["path-callers"]),
    Attempt::new("51a", "send to a socket with a path", "path-datagram")
        .from("datagrams were left out of a policy elsewhere")
        .killed("socket")
        .without(&[Filter(&[41, 44]), Namespaces])
        .noticed(&["path-datagrams"]),
    Attempt::new("51b", "make a pair of sockets", "socketpair").killed("socketpair").without(&[Filter(&[53])]),
    Attempt::new("52a", "use families of sockets that nobody needs, where TCP is granted", "families")
        .from("CVE-2017-7308 (packet), CVE-2019-15666 (netlink), CVE-2021-26708 (vsock)")
        .with(CONNECT)
        .error(EAFNOSUPPORT)
        .free_for(Done, Done)
        .without(&[Filter(&[41])]),
    Attempt::new("52b", "talk to the kernel's network tables", "netlink").killed("socket").without(&[Filter(&[41])]),
    Attempt::new("52c", "talk to the hypervisor", "vsock").killed("socket").without(&[Filter(&[41])]),
    Attempt::new("52d", "send packets of its own making", "raw-socket")
        .killed("socket")
        .free_for(Done, Reached(super::errno::EPERM))
        .without_gives(&[Filter(&[41])], Reached(super::errno::EPERM)),
    refused("53a", "connect to another port than the granted one", "connect", "connect to 127.0.0.1:{port}")
        .without(&[Filter(&[41, 42]), Network, Landlock])
        .noticed(&["callers"]),
    refused("53b", "connect to it by 0.0.0.0", "connect-any", "connect to 0.0.0.0:{port}")
        .without(&[Filter(&[41, 42]), Network, Landlock])
        .noticed(&["callers"]),
    refused("53c", "connect to it by an IPv6 address that means it", "connect-mapped", "connect to [::ffff:127.0.0.1]:{port}")
        .without(&[Filter(&[41, 42]), Network, Landlock])
        .noticed(&["callers"]),
    refused("53d", "ask a cloud's metadata service", "connect-metadata", "connect to 169.254.169.254:80")
        .control(Control::Nothing("no address that is not this machine's is ever tried"))
        .mutation(Mutation::InTheHost("`is_granted`: runtime/host/src/process/broker.rs, an_address_is_granted_in_all_its_clothes_or_not_at_all")),
    Attempt::new("53e", "connect with an address that is cut off", "connect-short")
        .with(CONNECT)
        .error(EINVAL)
        .free(Reached(EINVAL))
        .mutation(Mutation::InTheHost("`parse`: runtime/host/src/process/broker.rs, addresses_are_read_as_the_kernel_reads_them")),
    Attempt::new("53f", "connect by sending, which no check of connect sees", "fast-open")
        .from("MSG_FASTOPEN passes hooks on connect")
        .with(CONNECT)
        .error(EOPNOTSUPP)
        .without(&[Filter(&[41, 44]), Network])
        .also(&[Landlock])
        .noticed(&["callers"]),
    Attempt::new("53g", "send a datagram", "send-datagram")
        .with(CONNECT)
        .error(EOPNOTSUPP)
        .without(&[Filter(&[41, 44]), Network])
        .also(&[Landlock])
        .noticed(&["datagrams"]),
    Attempt::new("53h", "open a port", "bind")
        .with(CONNECT)
        .error(EACCES)
        .without(&[Filter(&[41, 49]), Landlock]),
    Attempt::new("53i", "wait for callers", "listen").with(CONNECT).killed("listen").without(&[Filter(&[41, 50])]).also(&[Landlock]),
    Attempt::new("54", "change the address while the host compares it", "address-race")
        .from("supervisors that let a call go on after looking at its pointer")
        .with(THREADS)
        .told(&["rounds=100"])
        .within("call-deadline = \"30s\"")
        .stop(Stop::Gives(0))
        .control(Control::Nothing("that nobody came to the other port is looked at; 53a shows that somebody could"))
        .mutation(Mutation::InTheHost("the host connects to its own copy: `connect` in runtime/host/src/process/broker.rs")),
    Attempt::new("55a", "attach shared memory of the user's", "shared-memory")
        .killed("shmget")
        .without(&[Filter(&[29, 30]), Ipc]),
    Attempt::new("55b", "find semaphores of the user's", "semaphores").killed("semget").without(&[Filter(&[64]), Ipc]),
    Attempt::new("55c", "find message queues of the user's", "message-queue").killed("msgget").without(&[Filter(&[68]), Ipc]),
    Attempt::new("55d", "open a POSIX queue of the user's", "posix-queue").killed("mq_open").without(&[Filter(&[240]), Ipc, Landlock]),
    Attempt::new("56a", "make a pipe of notifications", "notification-pipe")
        .from("CVE-2022-0995")
        .killed("pipe2")
        .control(Control::Nothing("whether the kernel has such pipes differs"))
        .mutation(Mutation::Nothing("whether the kernel has such pipes differs")),
    Attempt::new("56b", "fill the kernel's memory with messages of its choice", "message-send")
        .from("CVE-2021-22555")
        .killed("msgsnd")
        .free(Reached(EINVAL))
        .without_gives(&[Filter(&[69])], Reached(EINVAL)),
    Attempt::new("56c", "send out of band on a local socket", "out-of-band")
        .from("CVE-2025-38236")
        .killed("socketpair")
        .without(&[Filter(&[53, 44])]),
    Attempt::new("57", "hand a descriptor to its host", "pass-descriptor")
        .error(EPIPE)
        .control(Control::Nothing("without a compartment there is no such socket"))
        .mutation(Mutation::InTheHost("`greet` shuts the socket down: tests/process.rs, a_guest_has_five_descriptors_and_nobody_listens_on_the_third")),
    Attempt::new("58", "claim to be another process", "forge-credentials")
        .error(EINVAL)
        .control(Control::Nothing("without a compartment there is no such socket"))
        .mutation(Mutation::InTheHost("the kernel knows no such user in the namespace; and who a guest is, is which socket it has, not what it says")),
];

const _: Answer = Is(0);
