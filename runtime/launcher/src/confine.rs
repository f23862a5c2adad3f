//! The layers, in the order in which they go on.
//!
//! Three processes come of one launcher. The first makes the namespaces and waits; where a server stands for it ([`crate::serve`]), it is
//! the server, for all guests. The second is process 1 in them: it makes the root, waits for the guest and tells the host how it
//! ended. The third puts on the rest and becomes the guest. Each dies when the one before it does, and the whole namespace dies
//! with its process 1.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use cofferdam_wire::handshake::descriptor;
use cofferdam_wire::limits::ORDER_BYTES_MAX;
use cofferdam_wire::order::{Layer, ORDER_DESCRIPTORS, Order, Status};
use cofferdam_wire::packet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, WaitOptions, WaitStatus, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};

use crate::filesystem;
use crate::report::{Done, Failure, Named, Reports, Stop};
use crate::sys;

/// What came with an order.
struct Received {
    order: Order,
    memory: OwnedFd,
    program: OwnedFd,
    streams: [OwnedFd; 3],
    status: OwnedFd,
}

/// Reads the order from the socket at standard input and carries it out.
pub(crate) fn run() -> ExitCode {
    let stdin = std::io::stdin();
    let socket = stdin.as_fd();
    let mut reports = Reports::default();
    let received = match receive(socket) {
        Ok(received) => received,
        Err(failure) => {
            let _ = reports.keep(Layer::Order, Err(failure));
            reports.send(socket);
            return ExitCode::FAILURE;
        }
    };
    reports.probe = received.order.probe;
    match outermost(received, socket, &mut reports) {
        Ok(code) => code,
        Err(Stop) => {
            reports.send(socket);
            ExitCode::FAILURE
        }
    }
}

/// Process 1 of namespaces that a server made before anybody asked for them: does what needs no order, waits for one, and carries it
/// out. The server is the parent, and `server` is a descriptor of it.
pub(crate) fn stand(socket: &OwnedFd, server: &OwnedFd, host: u32, (user, group): (u32, u32)) -> ExitCode {
    let mut reports = Reports::default();
    let root = match prepare(server, user, group, &mut reports) {
        Ok(root) => root,
        Err(Stop) => {
            reports.send(socket.as_fd());
            return ExitCode::FAILURE;
        }
    };
    let received = match receive(socket.as_fd()).and_then(|received| of_host(received, host)) {
        Ok(received) => received,
        Err(failure) => {
            let _ = reports.keep(Layer::Order, Err(failure));
            reports.send(socket.as_fd());
            return ExitCode::FAILURE;
        }
    };
    reports.begin(Layer::Order, format!("version {}", received.order.version));
    match enter_root(&received.order, Some(root), &mut reports) {
        Ok(()) => first_inside(received, socket.as_fd(), &mut reports),
        Err(Stop) => {
            reports.send(socket.as_fd());
            ExitCode::FAILURE
        }
    }
}

/// An order that can be carried out in namespaces that are there, given by the host whose server this is.
fn of_host(received: Received, host: u32) -> Result<Received, Failure> {
    let wrong = |what: &str| Failure { what: what.to_owned(), errno: Errno::INVAL };
    if received.order.probe || !received.order.namespaces {
        return Err(wrong("a server's guests have namespaces, and are no probes"));
    }
    if received.order.host != host {
        return Err(wrong("the order is of another host than the server"));
    }
    Ok(received)
}

/// What needs no order: session, identity, and an empty root that is not entered yet.
fn prepare(server: &OwnedFd, user: u32, group: u32, reports: &mut Reports) -> Result<OwnedFd, Stop> {
    reports.keep(Layer::Session, rustix::process::setsid().named("setsid").map(|_| Done::plain()))?;
    let parent_lives = || {
        let mut ended = [PollFd::new(server, PollFlags::IN)];
        poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    };
    reports.keep(Layer::ParentDeath, die_with(parent_lives))?;
    reports.keep(Layer::Namespaces, Ok(Done::plain()))?;
    reports.keep(Layer::Identity, identify(user, group))?;
    hide(reports)?;
    filesystem::make_root()
        .map_err(|failure| drop(reports.keep(Layer::Root, Err(failure))))
        .map_err(|()| Stop)
}

fn receive(socket: BorrowedFd<'_>) -> Result<Received, Failure> {
    let wrong = |what: &str| Failure { what: what.to_owned(), errno: Errno::INVAL };
    let (_, descriptors) = packet::receive_now(socket, ORDER_DESCRIPTORS)
        .map_err(|error| wrong(&format!("standard input brings no order: {error}")))?;
    let [order, memory, program, stdin, stdout, stderr, status] =
        descriptors.try_into().map_err(|_| wrong("the order has too few descriptors"))?;
    let mut bytes = Vec::new();
    let read = File::from(order).take(ORDER_BYTES_MAX + 1).read_to_end(&mut bytes);
    if read.is_err() || bytes.len() as u64 > ORDER_BYTES_MAX {
        return Err(wrong("the order cannot be read, or is too long"));
    }
    // The version stands first, so that a host of another version is told so, and not that its order makes no sense.
    let version = bytes.first_chunk().map(|version| u32::from_le_bytes(*version));
    if version != Some(cofferdam_wire::VERSION) {
        let text = format!(
            "the order has version {}, and this launcher knows version {}",
            version.unwrap_or_default(),
            cofferdam_wire::VERSION
        );
        return Err(wrong(&text));
    }
    let order =
        cofferdam_wire::decode(&bytes).map_err(|error| wrong(&format!("the order is wrong: {error}")))?;
    Ok(Received { order, memory, program, streams: [stdin, stdout, stderr], status })
}

/// The first process: session, namespaces, identity.
fn outermost(received: Received, socket: BorrowedFd<'_>, reports: &mut Reports) -> Result<ExitCode, Stop> {
    let order = &received.order;
    reports.keep(Layer::Order, Ok(Done::Enforced(format!("version {}", order.version))))?;
    reports.keep(Layer::Session, rustix::process::setsid().named("setsid").map(|_| Done::plain()))?;
    let parent = die_with(|| {
        rustix::process::getppid()
            .is_some_and(|parent| parent.as_raw_nonzero().get().cast_unsigned() == order.host)
    });
    reports.keep(Layer::ParentDeath, parent)?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if order.namespaces {
        make_namespaces(user, group, reports)?;
    } else {
        reports.keep(Layer::Namespaces, Ok(Done::NotAsked))?;
        reports.keep(Layer::Identity, Ok(Done::NotAsked))?;
    }
    continue_inside(received, socket, reports)
}

/// What a failure to make them is called.
pub(crate) const MAKING_NAMESPACES: &str =
    "making user, process, mount, IPC, host-name, network and cgroup namespaces";

/// The namespaces that every guest has of its own.
pub(crate) fn namespaces() -> UnshareFlags {
    UnshareFlags::NEWUSER
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWCGROUP
}

/// User, process, mount, IPC, host-name, network and cgroup namespaces, and who one is in them.
fn make_namespaces(user: u32, group: u32, reports: &mut Reports) -> Result<(), Stop> {
    let made = sys::unshare(namespaces()).named(MAKING_NAMESPACES);
    reports.keep(Layer::Namespaces, made.map(|()| Done::plain()))?;
    if reports.has(Layer::Namespaces) {
        reports.keep(Layer::Identity, identify(user, group))?;
        // Leaving the old user namespace cleared it.
        die_with(|| true).map_err(|failure| drop(reports.keep(Layer::ParentDeath, Err(failure)))).ok();
    } else {
        let needs = Failure { what: "needs namespaces".to_owned(), errno: Errno::PERM };
        reports.keep(Layer::Identity, Err(needs))?;
    }
    Ok(())
}

/// The second process; this one waits for it.
fn continue_inside(
    received: Received,
    socket: BorrowedFd<'_>,
    reports: &mut Reports,
) -> Result<ExitCode, Stop> {
    let (alive, lives) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .named("making a pipe")
        .map_err(|failure| drop(reports.keep(Layer::Identity, Err(failure))))
        .map_err(|()| Stop)?;
    match sys::fork() {
        Ok(None) => {
            drop(lives);
            match prepare_root(&received.order, &alive, reports) {
                Ok(()) => Ok(first_inside(received, socket, reports)),
                Err(Stop) => Err(Stop),
            }
        }
        Ok(Some(child)) => {
            drop((alive, received));
            sys::keep_only([&lives]);
            only_wait(reports);
            let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
            Ok(ExitCode::SUCCESS)
        }
        Err(errno) => {
            let what = "starting process 1 of the namespaces".to_owned();
            let _ = reports.keep(Layer::Namespaces, Err(Failure { what, errno }));
            Err(Stop)
        }
    }
}

/// Ends this process when its parent ends, and now if it already has.
pub(crate) fn die_with(parent_lives: impl Fn() -> bool) -> Result<Done, Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).named("setting the parent-death signal")?;
    if parent_lives() {
        return Ok(Done::plain());
    }
    Err(Failure { what: "the host that gave the order is not the parent".to_owned(), errno: Errno::SRCH })
}

/// One user and one group, and no way to more.
fn identify(user: u32, group: u32) -> Result<Done, Failure> {
    let write = |name: &str, text: String| {
        let path = format!("/proc/self/{name}");
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .named(format!("writing {path}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{INSIDE} {user} 1"))?;
    write("gid_map", format!("{INSIDE} {group} 1"))?;
    Ok(Done::Enforced(format!("user {user} outside")))
}

/// The number of the one user and the one group inside. Not root's, so that a program gets nothing by being run.
const INSIDE: u32 = 1000;

/// Process 1 inside, in the guest's root: waiting for the guest.
fn first_inside(received: Received, socket: BorrowedFd<'_>, reports: &mut Reports) -> ExitCode {
    match sys::fork() {
        Ok(None) => {
            let Err(Stop) = guest(received, socket, reports);
            reports.send(socket);
            ExitCode::FAILURE
        }
        Ok(Some(child)) => {
            let mut status = File::from(received.status);
            sys::keep_only([&status]);
            only_wait(reports);
            let ended = loop {
                // Process 1 is handed every orphan, and waits for all of them.
                match rustix::process::wait(WaitOptions::empty()) {
                    Ok(Some((pid, ended))) if pid == child => break Some(ended),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => break None,
                }
            };
            if let Some(bytes) = ended.and_then(describe) {
                let _ = status.write_all(&bytes);
            }
            ExitCode::SUCCESS
        }
        Err(errno) => {
            let failure = Failure { what: "starting the guest's process".to_owned(), errno };
            let _ = reports.keep(Layer::Execute, Err(failure));
            reports.send(socket);
            ExitCode::FAILURE
        }
    }
}

/// Gives up what a process that only waits has no use for. It ends, and the guest with it, if it cannot.
fn only_wait(reports: &Reports) {
    let given_up = drop_privileges(reports.has(Layer::Identity));
    if given_up.is_err() || set_no_new_privs(true).is_err() {
        sys::exit_now();
    }
}

fn describe(status: WaitStatus) -> Option<Vec<u8>> {
    let by_signal = status.terminating_signal();
    let number = by_signal.or_else(|| status.exit_status())?;
    cofferdam_wire::encode(&Status { by_signal: by_signal.is_some(), number }).ok()
}

fn prepare_root(order: &Order, alive: &OwnedFd, reports: &mut Reports) -> Result<(), Stop> {
    let parent_lives = || {
        let mut hung_up = [PollFd::new(alive, PollFlags::empty())];
        let polled = poll(&mut hung_up, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled == Ok(0)
    };
    if let Err(failure) = die_with(parent_lives) {
        reports.keep(Layer::ParentDeath, Err(failure))?;
    }
    hide(reports)?;
    enter_root(order, None, reports)
}

/// Nobody looks into this process from here on, and it leaves no core.
fn hide(reports: &mut Reports) -> Result<(), Stop> {
    match set_dumpable_behavior(DumpableBehavior::NotDumpable).named("becoming not dumpable") {
        Ok(()) => Ok(()),
        Err(failure) => reports.keep(Layer::Session, Err(failure)),
    }
}

/// Goes into the guest's root: the one that was prepared, or a new one.
fn enter_root(order: &Order, prepared: Option<OwnedFd>, reports: &mut Reports) -> Result<(), Stop> {
    if !order.namespaces {
        return reports.keep(Layer::Root, Ok(Done::NotAsked));
    }
    if !reports.has(Layer::Identity) {
        let needs = Failure { what: "needs namespaces".to_owned(), errno: Errno::PERM };
        return reports.keep(Layer::Root, Err(needs));
    }
    let root = prepared.map_or_else(filesystem::make_root, Ok);
    let entered = root.and_then(|root| filesystem::enter_root(&root, &order.mounts));
    reports.keep(Layer::Root, entered.map(|()| Done::Enforced(format!("{} paths", order.mounts.len()))))
}

/// The third process: everything else, and then the guest.
fn guest(
    received: Received,
    socket: BorrowedFd<'_>,
    reports: &mut Reports,
) -> Result<std::convert::Infallible, Stop> {
    let Received { order, memory, program, streams, status } = received;
    drop(status);
    if let Err(failure) = die_with(|| true) {
        reports.keep(Layer::ParentDeath, Err(failure))?;
    }
    reports.keep(Layer::Limits, limit(&order))?;
    let socket = rustix::io::fcntl_dupfd_cloexec(socket, 0)
        .named("copying the socket")
        .map_err(|failure| drop(reports.keep(Layer::Descriptors, Err(failure))))
        .map_err(|()| Stop)?;
    let [stdin, stdout, stderr] = streams;
    // In the order of their numbers.
    let placed = sys::place([stdin, stdout, stderr, socket, memory, program]);
    reports.keep(Layer::Descriptors, placed.named("placing descriptors").map(|()| Done::plain()))?;
    let socket = sys::borrowed(descriptor::SOCKET);
    let result = guest_inside(&order, socket, reports);
    // The caller's socket has another number by now.
    if result.is_err() {
        reports.send(socket);
        sys::exit_now();
    }
    result
}

fn guest_inside(
    order: &Order,
    socket: BorrowedFd<'_>,
    reports: &mut Reports,
) -> Result<std::convert::Infallible, Stop> {
    reports.keep(Layer::Privileges, drop_privileges(reports.has(Layer::Identity)))?;
    reports.keep(
        Layer::NoNewPrivileges,
        set_no_new_privs(true).named("setting no_new_privs").map(|()| Done::plain()),
    )?;
    let speculation = if order.control_speculation { sys::control_speculation() } else { Ok(Done::NotAsked) };
    reports.keep(Layer::Speculation, speculation)?;
    let write_execute = if order.deny_write_execute {
        sys::deny_write_execute()
            .named("denying memory that is writable and executable")
            .map(|()| Done::plain())
    } else {
        Ok(Done::NotAsked)
    };
    reports.keep(Layer::WriteExecute, write_execute)?;
    reports.keep(Layer::Landlock, filesystem::landlock(&order.mounts))?;

    let text = |text: &str| {
        CString::new(text)
            .map_err(|_| Failure { what: "a variable has a NUL".to_owned(), errno: Errno::INVAL })
    };
    let environment: Result<Vec<CString>, Failure> =
        order.environment.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect();
    let environment = match environment {
        Ok(environment) => environment,
        Err(failure) => {
            reports.keep(Layer::Execute, Err(failure))?;
            return Err(Stop);
        }
    };
    if !order.probe {
        // What comes after the filter can no longer be told: the filter is the guest's.
        reports.send(socket);
    }
    let listener = match sys::install_filter(&order.filter) {
        Ok(listener) => listener,
        Err(errno) => {
            let failure = Failure { what: "installing the seccomp filter".to_owned(), errno };
            reports.keep(Layer::Filter, Err(failure))?;
            reports.send(socket);
            return Err(Stop);
        }
    };
    if order.probe {
        reports.keep(Layer::Filter, Ok(Done::plain()))?;
        reports.send(socket);
        sys::exit_now();
    }
    // From here on a call that the filter hands on waits for ever where nobody listens: nothing is dropped, which may ask first whether it is open.
    let sent = packet::send(socket, b"listener", &[listener.as_fd()]);
    if sent.is_err() || limit_descriptors(order).is_err() {
        sys::exit_now();
    }
    let errno = sys::execute(PROGRAM, &environment);
    reports.keep(Layer::Execute, Err(Failure { what: "running the guest's program".to_owned(), errno }))?;
    Err(Stop)
}

/// Where the guest's program is until it runs.
const PROGRAM: i32 = descriptor::MEMORY + 1;

/// How many descriptors a process may have, and may have under way: `RLIMIT_NOFILE` of `asm/resource.h`.
const DESCRIPTORS: u32 = 7;

/// The last limit. The kernel compares it with the descriptors that all processes of the user have under way, unix(7), and many starts at once
/// have more than one guest may have.
fn limit_descriptors(order: &Order) -> Result<(), Errno> {
    let mut limits = order.limits.iter().filter(|(resource, _)| *resource == DESCRIPTORS);
    limits.try_for_each(|(resource, value)| sys::limit(*resource, *value))
}

fn limit(order: &Order) -> Result<Done, Failure> {
    for (resource, value) in order.limits.iter().filter(|(resource, _)| *resource != DESCRIPTORS) {
        sys::limit(*resource, *value).named(format!("setting resource limit {resource} to {value}"))?;
    }
    Ok(Done::Enforced(format!("{} limits", order.limits.len())))
}

/// Gives up every Linux capability, and every way in which running a program could give one back.
fn drop_privileges(in_own_namespace: bool) -> Result<Done, Failure> {
    if in_own_namespace {
        let bits = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        set_capabilities_secure_bits(bits).named("locking securebits")?;
        sys::empty_bounding_set().named("emptying the bounding set")?;
    }
    rustix::thread::clear_ambient_capability_set().named("emptying the ambient set")?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).named("dropping Linux capabilities")?;
    Ok(Done::plain())
}
