//! One thread for each running guest: it starts the launcher, answers what the kernel notifies, takes the guest's output, and
//! sees the end of it. The launcher is its child, and dies with it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capability_manifest::{Capability, example_scope, print};
use cofferdam_wire::handshake::{Hello, Welcome};
use cofferdam_wire::limits::{FUNCTIONS_MAX, ORDER_BYTES_MAX};
use cofferdam_wire::memory::Memory;
use cofferdam_wire::notification::{Listener, Notification};
use cofferdam_wire::order::{Layer, LayerReport, Outcome, Report, Status};
use cofferdam_wire::packet::{self, PacketError};
use cofferdam_wire::ring;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::broker::Broker;
use super::error::{CallError, FaultKind, StartError, Violation};
use super::filter::{ARCH, Decision, allowed_by, call_name};
use super::limits::{LAST_WORDS_BYTES_MAX, REPORTED_TEXT_BYTES_MAX, START_DEADLINE};
use super::lower::{CPU, Lowered};
use super::program::seal;
use crate::audit::{AuditEvent, AuditLog};

/// What a start needs.
pub(super) struct Launch {
    pub(super) launcher: OwnedFd,
    pub(super) program: OwnedFd,
    pub(super) shared: OwnedFd,
    pub(super) lowered: Arc<Lowered>,
    pub(super) control: Arc<Control>,
    pub(super) log: AuditLog,
    pub(super) interface: Option<u64>,
    pub(super) spin_pauses: u32,
}

/// A guest that said its first words.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) hello: Hello,
    pub(super) layers: Vec<LayerReport>,
}

/// Why a guest is ended by its host.
#[derive(Debug)]
pub(super) enum Cause {
    /// Nobody needs it any more.
    Dropped,
    /// A call took too long.
    Deadline(Duration),
    /// It failed, or did what a guest may not.
    Fault(FaultKind),
    /// It tried what nothing allows. Recorded already.
    Violation(Box<Violation>),
    /// It took too much.
    Limit(&'static str),
    /// It did not start.
    NotStarted,
}

/// How a guest ended, after that was recorded.
#[derive(Debug)]
pub(super) struct End {
    pub(super) cause: Cause,
    pub(super) recorded: std::io::Result<()>,
}

impl End {
    /// What the caller of a function is told.
    pub(super) fn error(self, edge: &str) -> CallError {
        if let Err(error) = self.recorded {
            return CallError::Audit(error);
        }
        let edge = edge.to_owned();
        match self.cause {
            Cause::Deadline(deadline) => CallError::Deadline { edge, deadline },
            Cause::Fault(kind) => CallError::Fault { edge, kind },
            Cause::Violation(violation) => CallError::Violation { edge, violation },
            Cause::Limit(what) => CallError::Limit { edge, what },
            Cause::Dropped | Cause::NotStarted => CallError::Fault { edge, kind: FaultKind::Vanished },
        }
    }
}

/// What callers and the supervisor share about one guest.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) memory: Arc<Memory>,
    pub(super) ended: AtomicBool,
    cause: Mutex<Option<Cause>>,
    child: Mutex<Option<Child>>,
    output: Mutex<Output>,
}

/// What a guest writes.
#[derive(Debug, Default)]
struct Output {
    stdout: Option<Stream>,
    stderr: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    pipe: File,
    /// Kept for the host, up to the cap; without one only the last words are kept.
    cap: Option<u64>,
    kept: Vec<u8>,
    total: u64,
    last: VecDeque<u8>,
    open: bool,
}

impl Stream {
    /// Takes what is there, at most so much at a time. False when it is more than the cap.
    fn drain(&mut self) -> bool {
        const AT_A_TIME: usize = 1 << 20;
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while self.open && taken < AT_A_TIME {
            let count = match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    self.open = false;
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.open = false;
                    break;
                }
            };
            taken += count;
            self.total = self.total.saturating_add(count as u64);
            self.last.extend(&buffer[..count]);
            let surplus = self.last.len().saturating_sub(LAST_WORDS_BYTES_MAX);
            self.last.drain(..surplus);
            if let Some(cap) = self.cap {
                let room = usize::try_from(cap).unwrap_or(usize::MAX).saturating_sub(self.kept.len());
                self.kept.extend(&buffer[..count.min(room)]);
                if self.total > cap {
                    return false;
                }
            }
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            ended: AtomicBool::new(false),
            cause: Mutex::new(None),
            child: Mutex::new(None),
            output: Mutex::default(),
        }
    }

    /// Ends the guest. The first cause counts.
    pub(super) fn end(&self, cause: Cause) {
        lock(&self.cause).get_or_insert(cause);
        if let Some(child) = lock(&self.child).as_mut() {
            // It may be gone already; its number is not reused before it is waited for, under the same lock.
            let _ = child.kill();
        }
    }

    /// Takes what was written to the granted streams.
    pub(super) fn take_output(&self) -> (Vec<u8>, Vec<u8>) {
        self.drain();
        let mut output = lock(&self.output);
        let mut take = |stream: fn(&mut Output) -> &mut Option<Stream>| {
            stream(&mut output).as_mut().map(|stream| std::mem::take(&mut stream.kept)).unwrap_or_default()
        };
        (take(|output| &mut output.stdout), take(|output| &mut output.stderr))
    }

    /// Reads what is in the pipes, and ends a guest that wrote too much.
    fn drain(&self) {
        let within = {
            let mut output = lock(&self.output);
            let Output { stdout, stderr } = &mut *output;
            // Both, whatever the first says.
            let within = [stdout, stderr].map(|stream| stream.as_mut().is_none_or(Stream::drain));
            within == [true, true]
        };
        if !within {
            self.end(Cause::Limit("output"));
        }
    }

    fn last_words(&self) -> String {
        let output = lock(&self.output);
        let bytes: Vec<u8> = output.stderr.iter().flat_map(|stream| stream.last.iter().copied()).collect();
        readable(&bytes)
    }
}

/// A guest's text for people: one line, and nothing in it that a terminal would act upon.
pub(super) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |c: char| if c == '\n' { " | ".to_owned() } else { c.escape_debug().to_string() };
    text.trim().chars().map(|c| if c.is_control() || c == '\n' { plain(c) } else { c.to_string() }).collect()
}

/// What is open while a guest runs.
struct Guest {
    socket: OwnedFd,
    status: File,
    listener: Arc<Listener>,
    broker: Broker,
    /// The launcher has become the guest's program.
    executed: bool,
    /// The guest has said its first words.
    greeted: bool,
}

/// Starts a guest, tells how that went, and stays until it ends.
pub(super) fn supervise(launch: &Launch, tell: &Sender<Result<Started, StartError>>) -> End {
    let deadline = Instant::now() + START_DEADLINE;
    let control = &launch.control;
    let mut guest = match start(launch, deadline) {
        Ok((mut guest, layers)) => match greet(launch, &mut guest, deadline) {
            Ok(hello) => {
                let started = Started { hello, layers };
                // A caller that does not listen any more drops the compartment, and that ends the guest.
                let _ = tell.send(Ok(started));
                guest
            }
            Err(error) => {
                // A guest that hung up is dying, and how is known in a moment. One that only closed its end is killed.
                let dying = Timespec { tv_sec: 0, tv_nsec: DYING_NANOSECONDS };
                if error.is_none() {
                    let _ = poll(&mut [PollFd::new(&guest.status, PollFlags::IN)], Some(&dying));
                }
                control.end(Cause::NotStarted);
                let end = finish(launch, guest);
                let error = error.unwrap_or_else(|| {
                    StartError::Ended(CallError::Fault {
                        edge: launch.lowered.edge.clone(),
                        kind: FaultKind::Vanished,
                    })
                });
                // The guest's own end explains more than what the host saw of it.
                let (error, end) = match end.cause {
                    Cause::NotStarted => (error, end),
                    _ => {
                        let edge = launch.lowered.edge.clone();
                        (
                            StartError::Ended(end.error(&edge)),
                            End { cause: Cause::NotStarted, recorded: Ok(()) },
                        )
                    }
                };
                let _ = tell.send(Err(error));
                return end;
            }
        },
        Err(error) => {
            control.end(Cause::NotStarted);
            reap(control);
            let _ = tell.send(Err(error));
            return End { cause: Cause::NotStarted, recorded: Ok(()) };
        }
    };
    while let Ok(true) = turn(launch, &mut guest, None) {}
    finish(launch, guest)
}

/// Runs the launcher until the filter is in force.
fn start(launch: &Launch, deadline: Instant) -> Result<(Guest, Vec<LayerReport>), StartError> {
    let edge = || launch.lowered.edge.clone();
    let host = |error: &dyn std::fmt::Display| StartError::Host { edge: edge(), message: error.to_string() };
    let (socket, theirs) = packet::pair().map_err(|error| host(&error))?;
    let mut order = launch.lowered.order.clone();
    order.host = std::process::id();
    let order = cofferdam_wire::encode(&order).map_err(|error| host(&error))?;
    if order.len() as u64 > ORDER_BYTES_MAX {
        return Err(host(&"the paths that it is granted are too long together"));
    }
    let order = seal(&order).map_err(|error| host(&error))?;
    let nothing = |flags| rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty());
    let stdin = nothing(OFlags::RDONLY).map_err(|error| host(&error))?;
    let pipe = |cap: Option<u64>| -> Result<(Stream, OwnedFd), Errno> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
        let stream = Stream {
            pipe: File::from(read),
            cap,
            kept: Vec::new(),
            total: 0,
            last: VecDeque::new(),
            open: true,
        };
        Ok((stream, write))
    };
    let (out, stdout) = match launch.lowered.stdout {
        Some(cap) => pipe(Some(cap)).map(|(stream, end)| (Some(stream), end)),
        None => nothing(OFlags::WRONLY).map(|end| (None, end)),
    }
    .map_err(|error| host(&error))?;
    let (err, stderr) = pipe(launch.lowered.stderr).map_err(|error| host(&error))?;
    *lock(&launch.control.output) = Output { stdout: out, stderr: Some(err) };
    let (status, status_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| host(&error))?;

    // The child's table of descriptors is a copy of this one until the launcher runs, so the number means the same there.
    let child = Command::new(format!("/proc/self/fd/{}", launch.launcher.as_raw_fd()))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| host(&format!("the launcher: {error}")))?;
    *lock(&launch.control.child) = Some(child);
    let descriptors = [&order, &launch.shared, &launch.program, &stdin, &stdout, &stderr, &status_end];
    packet::send(&socket, b"order", &descriptors.map(AsFd::as_fd)).map_err(|error| host(&error))?;
    // The other ends are the guest's alone, so that their end is its end.
    drop((order, stdin, stdout, stderr, status_end));

    let (bytes, _) = packet::receive(&socket, 0, Some(deadline))
        .map_err(|error| host(&format!("the launcher did not report: {error}")))?;
    let report: Report =
        cofferdam_wire::decode(&bytes).map_err(|error| host(&format!("the launcher's report: {error}")))?;
    let failed = |report: &LayerReport| StartError::Layer {
        edge: edge(),
        layer: report.layer,
        detail: report.detail.clone(),
        source: (report.errno != 0).then(|| std::io::Error::from_raw_os_error(report.errno)),
    };
    if let Some(report) = report.layers.iter().find(|report| report.outcome == Outcome::Failed) {
        return Err(failed(report));
    }
    for layer in &Layer::ALL[..Layer::Filter as usize] {
        let found = report.layers.iter().find(|report| report.layer == *layer).map(|report| report.outcome);
        let may_lack = match layer {
            Layer::WriteExecute => !launch.lowered.order.deny_write_execute,
            Layer::Speculation => found == Some(Outcome::NotApplicable),
            _ => false,
        };
        if found != Some(Outcome::Enforced) && !may_lack {
            let detail = "the launcher did not put it on".to_owned();
            return Err(StartError::Layer { edge: edge(), layer: *layer, detail, source: None });
        }
    }
    let (_, mut listeners) =
        packet::receive(&socket, 1, Some(deadline)).map_err(|error| StartError::Layer {
            edge: edge(),
            layer: Layer::Filter,
            detail: format!("the launcher sent no listener: {error}"),
            source: None,
        })?;
    let listener = Listener::new(listeners.pop().expect("as many descriptors as were asked for"));
    let broker = Broker::new(edge(), launch.log.clone(), launch.lowered.hosts.clone());
    let listener = Arc::new(listener);
    let guest =
        Guest { socket, status: File::from(status), listener, broker, executed: false, greeted: false };
    Ok((guest, report.layers))
}

/// Waits for the guest's first words, and answers them. An error without a reason is a guest that ended.
fn greet(launch: &Launch, guest: &mut Guest, deadline: Instant) -> Result<Hello, Option<StartError>> {
    let edge = launch.lowered.edge.clone();
    while !readable_now(&guest.socket) {
        match turn(launch, guest, Some(deadline)) {
            Ok(true) => {}
            Ok(false) => return Err(None),
            Err(Errno::TIMEDOUT) => {
                let message = format!("it said nothing within {START_DEADLINE:?}");
                return Err(Some(StartError::Handshake { edge, message }));
            }
            Err(error) => {
                return Err(Some(StartError::Host { edge, message: error.to_string() }));
            }
        }
    }
    let no = |message: String| Some(StartError::Handshake { edge: launch.lowered.edge.clone(), message });
    let hello: Hello = match packet::receive_now(&guest.socket, 0) {
        Ok((bytes, _)) => match cofferdam_wire::decode(&bytes) {
            Ok(hello) => hello,
            Err(_) if Hello::version_of(&bytes).is_some_and(|theirs| theirs != cofferdam_wire::VERSION) => {
                return Err(no(other_version(Hello::version_of(&bytes).unwrap_or_default())));
            }
            Err(error) => return Err(no(format!("its first words make no sense: {error}"))),
        },
        Err(PacketError::HungUp) => return Err(None),
        Err(error) => return Err(no(error.to_string())),
    };
    if hello.version != cofferdam_wire::VERSION {
        return Err(no(other_version(hello.version)));
    }
    if let Some(wanted) = launch.interface.filter(|wanted| *wanted != hello.interface) {
        let text = format!("its interface is {:#018x}, and the caller's {wanted:#018x}", hello.interface);
        return Err(no(text));
    }
    if !hello.is_reasonable() {
        return Err(no(format!("it has more than {FUNCTIONS_MAX} functions")));
    }
    let welcome = Welcome { version: cofferdam_wire::VERSION, spin_pauses: launch.spin_pauses };
    let welcome = cofferdam_wire::encode(&welcome).expect("eight bytes");
    if let Err(error) = packet::send(&guest.socket, &welcome, &[]) {
        return Err(no(format!("it cannot be answered: {error}")));
    }
    // The socket has served. What the guest still sends on it, descriptors included, is refused in the kernel.
    let _ = rustix::net::shutdown(&guest.socket, rustix::net::Shutdown::Read);
    guest.greeted = true;
    Ok(hello)
}

fn other_version(theirs: u32) -> String {
    format!("it speaks version {theirs}, and this host version {}", cofferdam_wire::VERSION)
}

fn readable_now(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Waits for something and sees to it. False when the guest is gone.
fn turn(launch: &Launch, guest: &mut Guest, deadline: Option<Instant>) -> Result<bool, Errno> {
    let timeout = match deadline {
        None => None,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::TIMEDOUT);
            }
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            Some(Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() })
        }
    };
    let pipes: Vec<OwnedFd> = {
        let output = lock(&launch.control.output);
        let open = [&output.stdout, &output.stderr].into_iter().flatten().filter(|stream| stream.open);
        open.map(|stream| rustix::io::fcntl_dupfd_cloexec(&stream.pipe, 0)).collect::<Result<_, _>>()?
    };
    let mut fds =
        vec![PollFd::new(&guest.status, PollFlags::IN), PollFd::new(&*guest.listener, PollFlags::IN)];
    if !guest.greeted {
        fds.push(PollFd::new(&guest.socket, PollFlags::IN));
    }
    let streams = fds.len();
    fds.extend(pipes.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => return Err(Errno::TIMEDOUT),
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(true),
        Err(error) => return Err(error),
    }
    let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
    drop(fds);
    if ready[streams..].iter().any(|ready| !ready.is_empty()) {
        launch.control.drain();
    }
    if ready[1].contains(PollFlags::IN) {
        notified(launch, guest);
    }
    // The status is the last thing that comes, or its pipe closes without one.
    Ok(ready[0].is_empty())
}

/// Answers one notified call, or ends the guest for it.
fn notified(launch: &Launch, guest: &mut Guest) {
    // An error means that the caller died meanwhile.
    let Ok(notification) = guest.listener.receive() else { return };
    let Notification { arch, number, arguments, .. } = notification;
    if !guest.executed && arch == ARCH && number == EXECVEAT {
        // The one call that continues: the launcher's own last one. None of the guest's code has run, so nobody else could
        // have changed what it points to.
        guest.executed = true;
        let _ = guest.listener.let_run(&notification);
        return;
    }
    let rules = &launch.lowered.rules;
    match rules.decide(arch, number, &arguments) {
        Decision::Violation => {
            if let Some(error) = rules.at_startup(number).filter(|_| !guest.greeted && arch == ARCH) {
                let _ = guest.listener.refuse(&notification, Errno::from_raw_os_error(error.into()));
                return;
            }
            let violation = describe(guest, &notification);
            let attempt = violation.to_string();
            let capability = violation.capability.clone().unwrap_or_else(|| "none".to_owned());
            let edge = launch.lowered.edge.clone();
            let recorded = launch.log.record(&AuditEvent::Violation { edge, capability, attempt });
            if recorded.is_err() {
                // The end is recorded again, and that tells the caller.
                launch.control.end(Cause::Fault(FaultKind::Protocol("a violation".to_owned())));
            }
            launch.control.end(Cause::Violation(Box::new(violation)));
        }
        Decision::Notify => guest.broker.answer(&guest.listener, notification),
        // The kernel answers these itself; one that comes here anyway is answered the same way, or fails.
        Decision::Errno(error) => {
            let _ = guest.listener.refuse(&notification, Errno::from_raw_os_error(error.into()));
        }
        Decision::Allow => {
            let _ = guest.listener.refuse(&notification, Errno::NOSYS);
        }
    }
}

/// `execveat` on x86-64.
const EXECVEAT: i32 = 322;

fn describe(guest: &Guest, notification: &Notification) -> Violation {
    let Notification { arch, number, arguments, .. } = *notification;
    let call = call_name(arch, number);
    let capability = allowed_by(arch, number, &arguments).map(Capability::host);
    let line = capability.as_ref().map(|capability| print::clause(capability, &example_scope(capability)));
    let path = path_argument(&call).and_then(|index| {
        let text = read_text(notification.pid, arguments[index])?;
        // Read before it was known that the process is still the one that called; checked after.
        guest.listener.is_waiting(notification).then_some(text)
    });
    Violation {
        call,
        arguments,
        path,
        capability: capability.map(|capability| capability.to_string()),
        line,
        instruction: notification.instruction,
    }
}

/// Which argument names a path.
fn path_argument(call: &str) -> Option<usize> {
    match call {
        "open" | "stat" | "lstat" | "access" | "execve" | "creat" | "mkdir" | "rmdir" | "unlink"
        | "rename" | "link" | "symlink" | "chmod" | "chown" | "lchown" | "truncate" | "chdir" | "chroot"
        | "statfs" | "readlink" | "mknod" | "setxattr" | "getxattr" | "mount" | "umount2" | "pivot_root"
        | "swapon" | "acct" => Some(0),
        "openat" | "openat2" | "newfstatat" | "statx" | "faccessat" | "faccessat2" | "execveat"
        | "mkdirat" | "unlinkat" | "renameat" | "renameat2" | "linkat" | "fchmodat" | "fchownat"
        | "utimensat" | "mknodat" | "inotify_add_watch" | "name_to_handle_at" | "open_tree" => Some(1),
        _ => None,
    }
}

fn read_text(pid: u32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = Vec::new();
    // A page at a time: the text may end just before memory that is not there.
    while bytes.len() < REPORTED_TEXT_BYTES_MAX {
        let at = address.checked_add(bytes.len() as u64)?;
        let mut page = [0; 256];
        let to_boundary = usize::try_from(256 - at % 256).ok()?;
        let count = memory.read_at(&mut page[..to_boundary], at).ok()?;
        let (end, done) = match page[..count].iter().position(|byte| *byte == 0) {
            Some(end) => (end, true),
            None => (count, count == 0),
        };
        bytes.extend_from_slice(&page[..end]);
        if done {
            break;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the rest of a guest that is ending, and says how it ended.
fn finish(launch: &Launch, mut guest: Guest) -> End {
    let control = &launch.control;
    // The pipe closes when process 1 of the namespace is gone, and everything in the namespace with it.
    let mut bytes = Vec::new();
    let _ = (&mut guest.status).take(Status::BYTES as u64 + 1).read_to_end(&mut bytes);
    reap(control);
    // Process 1 closes its files before the kernel ends the rest of its namespace. Until the last of them is gone, the listener
    // stays open: a call that waits for an answer would fail and go on if it were closed.
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        let mut gone = [PollFd::new(&*guest.listener, PollFlags::empty())];
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if poll(&mut gone, Some(&tick)).is_ok_and(|_| gone[0].revents().contains(PollFlags::HUP)) {
            break;
        }
    }
    control.drain();
    let status: Option<Status> = cofferdam_wire::decode(&bytes).ok();
    let cause = lock(&control.cause).take();
    let cause = match cause {
        // It ended by itself before it said anything.
        Some(Cause::NotStarted) if status.is_some() && !killed(status) => how(launch, status),
        Some(cause) => cause,
        None => how(launch, status),
    };
    let fault = |kind: &str, detail: String| {
        let edge = launch.lowered.edge.clone();
        launch.log.record(&AuditEvent::Fault { edge, kind: kind.to_owned(), detail })
    };
    let recorded = match &cause {
        Cause::Dropped | Cause::Violation(_) | Cause::NotStarted => Ok(()),
        Cause::Deadline(deadline) => fault("deadline", format!("{deadline:?}")),
        Cause::Limit(what) => fault("limit", (*what).to_owned()),
        Cause::Fault(kind) => fault(kind.name(), kind.to_string()),
    };
    control.ended.store(true, Ordering::SeqCst);
    ring::wake_all(&control.memory);
    End { cause, recorded }
}

fn killed(status: Option<Status>) -> bool {
    status.is_some_and(|status| status.by_signal && status.number == SIGKILL)
}

fn how(launch: &Launch, status: Option<Status>) -> Cause {
    let control = &launch.control;
    let timed = launch.lowered.order.limits.iter().any(|(resource, _)| *resource == CPU);
    let distress = control.memory.distress().load(Ordering::Relaxed);
    let kind = match status {
        None => FaultKind::Vanished,
        Some(Status { by_signal: false, number }) => FaultKind::Exit(number),
        Some(Status { number: SIGXCPU, .. }) => return Cause::Limit("processor time"),
        // The host did not kill it, and nothing inside can: the kernel does at the hard limit.
        Some(Status { number: SIGKILL, .. }) if timed => return Cause::Limit("processor time"),
        Some(_) if distress == cofferdam_wire::handshake::OUT_OF_MEMORY => FaultKind::OutOfMemory,
        Some(_) if distress == cofferdam_wire::handshake::STACK_OVERFLOW => FaultKind::StackOverflow,
        Some(Status { number, .. }) => FaultKind::Signal(number, control.last_words()),
    };
    Cause::Fault(kind)
}

/// How long a guest that hung up before its first words may take to die.
const DYING_NANOSECONDS: i64 = 500_000_000;

const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// Waits for the launcher, so that nothing of it is left.
fn reap(control: &Control) {
    if let Some(mut child) = lock(&control.child).take() {
        let _ = child.wait();
    }
}
