//! The process that is attacked: it has what attackers want, listens on every kind of socket, and says in the end what it saw.

#![expect(unsafe_code, reason = "sockets by number and limits of a process")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::facts::Facts;
use crate::sys::{at, call, on_signal};

static CANARY: [u8; 24] = *b"cofferdam-canary-1234567";
static SCRATCH: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
static SIGNALS: AtomicU64 = AtomicU64::new(0);

/// `KEY_SPEC_USER_KEYRING`.
const USER_KEYRING: u64 = (-4_i64).cast_unsigned();

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// What changed in this process, by its name.
fn state() -> BTreeMap<&'static str, u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one `rlimit`, which lives through the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let mut processors = [0_u64; 16];
    call(204, &[0, 128, crate::sys::at_mut(&mut processors)]);
    BTreeMap::from([
        ("descriptors", limit.rlim_max),
        ("priority", call(140, &[0, 0]).cast_unsigned()),
        ("processors", processors[0]),
        ("scheduler", call(145, &[0]).cast_unsigned()),
        ("io-priority", call(252, &[1, 0]).cast_unsigned()),
        ("signals", SIGNALS.load(Ordering::SeqCst)),
        ("scratch", SCRATCH[0].load(Ordering::SeqCst)),
    ])
}

/// Stays until its standard input ends.
pub(crate) fn run(facts: &Facts) -> ExitCode {
    for signal in [6, 23] {
        on_signal(signal, count);
    }
    // It ends with whoever started it.
    call(157, &[1, 9, 0, 0, 0]);
    let folder = facts.text("folder");
    let name = facts.text("name");
    let tcp = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
    let [Ok(tcp), Ok(granted)] = tcp else { return ExitCode::FAILURE };
    let Ok(udp) = UdpSocket::bind("127.0.0.1:0") else { return ExitCode::FAILURE };
    let hidden = SocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address));
    let Ok(hidden) = hidden else { return ExitCode::FAILURE };
    let Ok(local) = UnixListener::bind(format!("{folder}/socket")) else { return ExitCode::FAILURE };
    let Ok(datagram) = UnixDatagram::bind(format!("{folder}/datagram")) else { return ExitCode::FAILURE };
    let _ = tcp.set_nonblocking(true);
    let _ = (hidden.set_nonblocking(true), local.set_nonblocking(true));
    let _ = (udp.set_nonblocking(true), datagram.set_nonblocking(true));
    let ports = [tcp.local_addr(), granted.local_addr(), udp.local_addr()];
    let [Ok(port), Ok(granted_port), Ok(udp_port)] = ports else { return ExitCode::FAILURE };
    // Who may come is let in, so that nobody has to wait for it.
    std::thread::spawn(move || granted.incoming().for_each(drop));
    let key = facts.number("key");
    let memory = call(29, &[key, 4096, 0o1600]);
    let semaphores = call(64, &[key, 1, 0o1600]);
    let queue = call(68, &[key, 0o1600]);
    let queue_name = format!("{name}\0");
    let named = call(240, &[at(queue_name.as_str()), 0o102, 0o600, 0]);
    // The user's other victims have keys of their own: one of a common name went away with the first of them.
    let secret_name = format!("{name}\0");
    let secret = match facts.text("holds") {
        "key" => call(248, &[at(b"user\0"), at(secret_name.as_str()), at(b"canary"), 6, USER_KEYRING]),
        _ => -1,
    };
    let before = state();
    let mut out = std::io::stdout().lock();
    let said = [
        ("victim", u64::from(std::process::id())),
        ("canary", at(&CANARY)),
        ("scratch", at(&SCRATCH)),
        ("port", port.port().into()),
        ("granted-port", granted_port.port().into()),
        ("udp", udp_port.port().into()),
    ]
    .iter()
    .try_for_each(|(name, value)| writeln!(out, "{name}={value}"))
    .and_then(|()| writeln!(out, "ready").and_then(|()| out.flush()));
    if said.is_err() {
        return ExitCode::FAILURE;
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let callers = |listener: &TcpListener| std::iter::from_fn(|| listener.accept().ok()).count() as u64;
    let mut seen = state();
    for (name, value) in &before {
        seen.entry(name).and_modify(|now| *now = u64::from(now != value));
    }
    seen.insert("callers", callers(&tcp));
    seen.insert("datagrams", std::iter::from_fn(|| udp.recv(&mut [0; 8]).ok()).count() as u64);
    seen.insert("abstract-callers", std::iter::from_fn(|| hidden.accept().ok()).count() as u64);
    seen.insert("path-callers", std::iter::from_fn(|| local.accept().ok()).count() as u64);
    seen.insert("path-datagrams", std::iter::from_fn(|| datagram.recv(&mut [0; 8]).ok()).count() as u64);
    // What outlives a process is taken away again.
    call(31, &[memory.cast_unsigned(), 0, 0]);
    call(66, &[semaphores.cast_unsigned(), 0, 0]);
    call(71, &[queue.cast_unsigned(), 0, 0]);
    if named >= 0 {
        call(241, &[at(queue_name.as_str())]);
    }
    if secret >= 0 {
        // KEYCTL_UNLINK. A key that only ends stays in the account of the user's keyring, 4 bytes of at most 20,000 that come back when the
        // machine starts again: the kernel's collector takes keys from a keyring and not their bytes (keyring_gc of security/keys/keyring.c).
        call(250, &[9, secret.cast_unsigned(), USER_KEYRING]);
    }
    for (name, value) in seen {
        if value != 0 && writeln!(out, "{name}={value}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
