//! What the host does on a guest's behalf: it makes sockets and connects them, to the granted addresses and no others, and it sets
//! modes and times of files that the guest has open for writing. What it refuses is recorded.
//!
//! A guest has no network of its own. Its call of `socket` gets a socket of the host's, made here and put into the guest's table;
//! it is good for nothing until `connect`, which the guest cannot make either: the host copies the address out of the guest's
//! memory, compares the copy with the grant, and connects to the copy. The guest's own call never runs.

use std::collections::HashSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use capability_manifest::scope::{Extent, HostPattern, HostPort, PatternSet, Scope};
use capability_manifest::{Capability, HostCapability, print};
use cofferdam_wire::notification::{Listener, Notification};
use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_domain};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::attempt::{on_host, path_of};
use super::control::{Cause, Control};
use super::error::FaultKind;
use super::filter::call_name;
use super::launch::Launch;
use super::limits::{CONNECT_TIMEOUT, CONNECTS_MAX, REFUSALS_MAX};
use crate::audit::{AuditEvent, AuditLog};
use crate::home::leads_home;
use crate::refusal::plain;

/// `struct sockaddr_in6` is the longest that is understood.
const ADDRESS_BYTES_MAX: usize = 28;

/// Numbers on x86-64.
const SOCKET: i32 = 41;
const CONNECT: i32 = 42;
const BIND: i32 = 49;
const SENDTO: i32 = 44;
const SENDMSG: i32 = 46;
const SENDMMSG: i32 = 307;
const FCHMOD: i32 = 91;
const UTIMENSAT: i32 = 280;

/// Answers what a guest asks of its host.
#[derive(Debug)]
pub(super) struct Broker {
    shared: Arc<Shared>,
}

/// What the threads that connect have, too.
#[derive(Debug)]
struct Shared {
    edge: String,
    log: AuditLog,
    granted: PatternSet<HostPort>,
    /// The granted paths: each one's name inside, and on the host.
    names: Vec<(String, String)>,
    /// What was refused, since a guest may try it again and again.
    known: Mutex<HashSet<String>>,
    /// Connections that are being made.
    running: AtomicUsize,
    /// Refusals that may still be recorded.
    refusals: AtomicU64,
    control: Arc<Control>,
}

impl Shared {
    fn refused_address(&self, address: SocketAddr) -> bool {
        let line = format!("network = {{ connect = [\"{address}\"] }}");
        self.refused(HostCapability::NetworkConnect, &format!("connect to {address}"), &line)
    }

    /// Whether a grant names the address itself, or a block of addresses that it is in.
    fn names_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let mut granted = self.granted.iter().filter(|one| one.includes_port(address.port()));
        granted.any(|one| matches!(&one.host, HostPattern::Block(block) if block.contains(ip)))
    }

    /// Of a call that names an address and that the host makes for nobody, each once. What is no address is not named.
    fn refused_call(
        &self,
        capability: HostCapability,
        deed: &str,
        address: Result<SocketAddr, Errno>,
        remark: &str,
    ) -> bool {
        let scope = address.ok().and_then(|address| pattern(capability, address));
        let named = Capability::host(capability);
        let line = match scope {
            Some(pattern) => {
                format!("{} # {remark}", print::clause(&named, &Scope::Hosts(PatternSet::new([pattern]))))
            }
            None => print::suggestion(&named, None),
        };
        let to = address.map_or_else(|_| "an address".to_owned(), |address| address.to_string());
        let attempt = format!("{deed} {to}");
        self.is_known(&attempt) || self.refused(capability, &attempt, &line)
    }

    /// Whether it was refused before; from now on it was. Each costs a refusal, so there are no more of them than of those.
    fn is_known(&self, attempt: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        !known.insert(attempt.to_owned())
    }

    /// Of a file that the guest may only read, or of one that is not there. Each path once.
    fn refused_to_write(&self, path: Option<&str>, makes: bool) -> bool {
        let named = path.map(|path| on_host(path, &self.names));
        let attempt =
            named.as_ref().map_or("write to a file".to_owned(), |path| format!("write to `{path}`"));
        if self.is_known(&attempt) {
            return true;
        }
        let capability = HostCapability::FilesystemWrite;
        // Who asks for a file to be made needs the folder around it, which a file that is not there cannot be granted without.
        let path = named.as_deref().map(|path| match path.rsplit_once('/') {
            Some((folder, _)) if makes && !folder.is_empty() => (folder, Extent::Tree),
            _ => (path, Extent::File),
        });
        self.refused(capability, &attempt, &print::suggestion(&Capability::host(capability), path))
    }

    /// Records that something was refused, before the guest hears of it. A guest of whom that cannot be recorded, or that does it without
    /// end, is ended and hears nothing: then it is false.
    fn refused(&self, capability: HostCapability, attempt: &str, line: &str) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_err() {
            self.control.end(Cause::Limit("refusals that are recorded"));
            return false;
        }
        let event = AuditEvent::Refusal {
            edge: self.edge.clone(),
            capability: capability.name().to_owned(),
            // A guest chose what is in these, and programs print them.
            attempt: plain(attempt),
            line: plain(line),
        };
        let recorded = self.log.record(&event).is_ok();
        if !recorded {
            // The end is recorded again, and that tells the caller.
            self.control.end(Cause::Fault(FaultKind::Protocol("a refusal could not be recorded".to_owned())));
        }
        recorded
    }
}

impl Broker {
    pub(super) fn new(launch: &Launch) -> Self {
        let (edge, granted) = (launch.lowered.edge.clone(), launch.lowered.hosts.clone());
        let (names, known) = (launch.lowered.names.clone(), Mutex::default());
        let (log, control) = (launch.log.clone(), Arc::clone(&launch.control));
        let (running, refusals) = (AtomicUsize::new(0), AtomicU64::new(REFUSALS_MAX));
        let shared = Shared { edge, log, granted, names, known, running, refusals, control };
        Self { shared: Arc::new(shared) }
    }

    /// Records that writing was tried where nothing may be written, and answers with the error. There is no other call yet that pages have
    /// reported.
    pub(super) fn report(&self, listener: &Listener, notification: &Notification, error: Errno) {
        /// `O_CREAT` on x86-64.
        const CREATE: u64 = 0o100;
        let call = call_name(notification.arch, notification.number);
        let path = path_of(listener, notification, &call);
        let flags = notification.arguments[if call == "open" { 1 } else { 2 }];
        if self.shared.refused_to_write(path.as_deref(), flags & CREATE != 0) {
            // The caller may be gone, and then nobody waits for the answer.
            let _ = listener.refuse(notification, error);
        }
    }

    /// Sees to one call. Never waits: what takes time is done on a thread of its own, at most [`CONNECTS_MAX`] at a time.
    pub(super) fn answer(&self, listener: &Arc<Listener>, notification: Notification) {
        let refuse = |error| {
            // The caller may be gone, and then nobody waits for the answer.
            let _ = listener.refuse(&notification, error);
        };
        match notification.number {
            SOCKET if !self.shared.granted.is_empty() => match socket(notification.arguments) {
                Ok((socket, close_on_exec)) => {
                    let _ = listener.give(&notification, socket.as_fd(), close_on_exec);
                }
                Err(error) => refuse(error),
            },
            CONNECT if !self.shared.granted.is_empty() => {
                if self.shared.running.fetch_add(1, Ordering::SeqCst) >= CONNECTS_MAX {
                    self.shared.running.fetch_sub(1, Ordering::SeqCst);
                    return refuse(Errno::AGAIN);
                }
                let (listener, shared) = (Arc::clone(listener), Arc::clone(&self.shared));
                let thread =
                    std::thread::Builder::new().name("cofferdam-connect".to_owned()).spawn(move || {
                        let _ = match connect(&listener, &notification, &shared.granted) {
                            Ok(None) => listener.succeed(&notification),
                            Ok(Some(address)) if shared.refused_address(address) => {
                                listener.refuse(&notification, Errno::ACCESS)
                            }
                            Ok(Some(_)) => Ok(()),
                            Err(error) => listener.refuse(&notification, error),
                        };
                        shared.running.fetch_sub(1, Ordering::SeqCst);
                    });
                if thread.is_err() {
                    self.shared.running.fetch_sub(1, Ordering::SeqCst);
                    refuse(Errno::AGAIN);
                }
            }
            BIND => {
                let address = bound_to(&notification);
                self.refuse_call(listener, &notification, Some(address), Errno::ACCESS);
            }
            // Only to its peer, which needs no address, and from any port.
            SENDTO | SENDMSG | SENDMMSG => {
                let address = sent_to(&notification);
                self.refuse_call(listener, &notification, address, Errno::OPNOTSUPP);
            }
            FCHMOD | UTIMENSAT => {
                let _ = match change(listener, &notification) {
                    Ok(()) => listener.succeed(&notification),
                    Err(error) => listener.refuse(&notification, error),
                };
            }
            // What pages let the host do and this release does not.
            _ => refuse(Errno::PERM),
        }
    }

    /// Refuses what names an address, and records that.
    fn refuse_call(
        &self,
        listener: &Listener,
        notification: &Notification,
        address: Option<Result<SocketAddr, Errno>>,
        error: Errno,
    ) {
        let (capability, deed, remark) = match notification.number {
            BIND => (
                HostCapability::NetworkListen,
                "bind to",
                "in a wasm compartment; a process is handed what its host has accepted",
            ),
            _ => (HostCapability::NetworkConnect, "send without `connect` to", "and `connect` first"),
        };
        // What was read belongs to the caller only if the caller still waits.
        let recorded = match address {
            Some(_) if !listener.is_waiting(notification) => true,
            // It may go there, another way: that is no matter of a grant. Names are not looked up for it.
            Some(Ok(address))
                if capability == HostCapability::NetworkConnect && self.shared.names_address(address) =>
            {
                true
            }
            Some(address) => self.shared.refused_call(capability, deed, address, remark),
            None => true,
        };
        if recorded {
            // The caller may be gone, and then nobody waits for the answer.
            let _ = listener.refuse(notification, error);
        }
    }
}

/// A socket as the guest asks for it; the filter has seen to family, type and protocol.
fn socket([family, kind, protocol, ..]: [u64; 6]) -> Result<(OwnedFd, bool), Errno> {
    const TYPE: u64 = 0xF;
    const NONBLOCK: u64 = 0o4000;
    const CLOEXEC: u64 = 0o2_000_000;
    let family = match family & 0xFFFF_FFFF {
        2 => AddressFamily::INET,
        10 => AddressFamily::INET6,
        _ => return Err(Errno::AFNOSUPPORT),
    };
    let (socket_type, own) = match kind & TYPE {
        1 => (SocketType::STREAM, rustix::net::ipproto::TCP),
        2 => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        _ => return Err(Errno::PROTONOSUPPORT),
    };
    let protocol = match protocol & 0xFFFF_FFFF {
        0 => None,
        number if number == u64::from(Protocol::as_raw(own).get()) => Some(own),
        _ => return Err(Errno::PROTONOSUPPORT),
    };
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, kind & NONBLOCK != 0);
    let socket = rustix::net::socket_with(family, socket_type, flags, protocol)?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_TIMEOUT))?;
    Ok((socket, kind & CLOEXEC != 0))
}

/// Connects; or gives the address that is not granted.
fn connect(
    listener: &Listener,
    notification: &Notification,
    granted: &PatternSet<HostPort>,
) -> Result<Option<SocketAddr>, Errno> {
    let [descriptor, address, length, ..] = notification.arguments;
    let descriptor = i32::try_from(descriptor & 0xFFFF_FFFF).map_err(|_| Errno::BADF)?;
    let bytes = read(notification.pid, address, length, ADDRESS_BYTES_MAX)?;
    let socket = descriptor_of(notification.pid, descriptor)?;
    // What was read belongs to the caller only if the caller still waits.
    if !listener.is_waiting(notification) {
        return Err(Errno::SRCH);
    }
    if !matches!(socket_domain(&socket)?, AddressFamily::INET | AddressFamily::INET6) {
        return Err(Errno::AFNOSUPPORT);
    }
    let address = parse(&bytes)?;
    if !is_granted(granted, address) {
        return Ok(Some(address));
    }
    rustix::net::connect(&socket, &address)?;
    Ok(None)
}

/// Sets the mode or the times of a file that the guest has open for writing.
///
/// The filter cannot tell which file a descriptor is, and a descriptor for reading would do for both calls.
fn change(listener: &Listener, notification: &Notification) -> Result<(), Errno> {
    let [descriptor, second, third, fourth, ..] = notification.arguments;
    let descriptor = i32::try_from(descriptor & 0xFFFF_FFFF).map_err(|_| Errno::BADF)?;
    let times = match notification.number {
        // A path beside the descriptor is for a call that the guest can make itself.
        UTIMENSAT if second != 0 || fourth & 0xFFFF_FFFF != 0 => return Err(Errno::PERM),
        UTIMENSAT if third == 0 => Some(Timestamps { last_access: NOW, last_modification: NOW }),
        UTIMENSAT => Some(timestamps(&read(notification.pid, third, 32, 32)?)?),
        _ => None,
    };
    let file = descriptor_of(notification.pid, descriptor)?;
    if !listener.is_waiting(notification) {
        return Err(Errno::SRCH);
    }
    let stat = rustix::fs::fstat(&file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let mode = rustix::fs::fcntl_getfl(&file)? & OFlags::RWMODE;
    let writable = mode == OFlags::WRONLY || mode == OFlags::RDWR;
    let read_only = rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    // Memory such as the ring's has no name.
    if !regular || !writable || read_only || stat.st_nlink == 0 {
        return Err(Errno::PERM);
    }
    match times {
        Some(times) => rustix::fs::futimens(&file, &times),
        // No set-user-ID: that would be a way to the host's user.
        None => rustix::fs::fchmod(&file, Mode::from_raw_mode(u32::try_from(second & 0o777).unwrap_or(0))),
    }
}

/// `UTIME_NOW` of `linux/stat.h`.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: (1 << 30) - 1 };

/// Two of `struct timespec`.
fn timestamps(bytes: &[u8]) -> Result<Timestamps, Errno> {
    let (words, _) = bytes.as_chunks::<8>();
    let [a, b, c, d] = words.first_chunk::<4>().ok_or(Errno::INVAL)?.map(i64::from_ne_bytes);
    Ok(Timestamps {
        last_access: Timespec { tv_sec: a, tv_nsec: b },
        last_modification: Timespec { tv_sec: c, tv_nsec: d },
    })
}

/// `struct sockaddr_in` or `sockaddr_in6`. Every other family has no business here.
fn parse(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    let family = bytes.first_chunk().map(|family| u16::from_ne_bytes(*family)).ok_or(Errno::INVAL)?;
    let port = bytes.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]])).ok_or(Errno::INVAL)?;
    let ip = match family {
        2 => {
            let octets: [u8; 4] = *bytes.get(4..).and_then(<[u8]>::first_chunk).ok_or(Errno::INVAL)?;
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        10 => {
            let octets: [u8; 16] = *bytes.get(8..).and_then(<[u8]>::first_chunk).ok_or(Errno::INVAL)?;
            // Scopes name interfaces of the host's, which a guest does not know.
            if bytes.get(24..28).is_some_and(|scope| scope != [0; 4]) {
                return Err(Errno::INVAL);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return Err(Errno::AFNOSUPPORT),
    };
    Ok(SocketAddr::new(ip, port))
}

/// The address of a `bind`.
fn bound_to(notification: &Notification) -> Result<SocketAddr, Errno> {
    let [_, address, length, ..] = notification.arguments;
    parse(&read(notification.pid, address, length, ADDRESS_BYTES_MAX)?)
}

/// The address that something is sent to, if the call names one: of many messages, the first one's.
fn sent_to(notification: &Notification) -> Option<Result<SocketAddr, Errno>> {
    let [_, message, _, _, to, length] = notification.arguments;
    let (to, length) = if notification.number == SENDTO {
        (to, length)
    } else {
        // `struct msghdr` begins with where the address is and how long, and `struct mmsghdr` with a `struct msghdr`.
        let bytes = match read(notification.pid, message, 16, 16) {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        let (words, _) = bytes.as_chunks::<8>();
        let [to, length] = words.first_chunk::<2>()?.map(u64::from_ne_bytes);
        (to, length)
    };
    let length = length & 0xFFFF_FFFF;
    if to == 0 || length == 0 {
        return None;
    }
    Some(read(notification.pid, to, length, ADDRESS_BYTES_MAX).and_then(|bytes| parse(&bytes)))
}

/// A pattern for one address. Who binds to port 0 takes any.
fn pattern(capability: HostCapability, address: SocketAddr) -> Option<HostPort> {
    let (first, last) = match address.port() {
        0 if capability == HostCapability::NetworkListen => (1, u16::MAX),
        port => (port.max(1), port.max(1)),
    };
    let ip = address.ip().to_canonical();
    let text = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    HostPattern::parse(&text).ok().map(|host| HostPort { host, first, last })
}

/// Whether a grant names the address, or a name that has it now and may lead there. A suffix names no address.
pub(super) fn is_granted(granted: &PatternSet<HostPort>, address: SocketAddr) -> bool {
    // An address of version 4 in the clothes of version 6 is what it is.
    let ip = address.ip().to_canonical();
    granted.iter().filter(|one| one.includes_port(address.port())).any(|one| match &one.host {
        HostPattern::Block(block) => block.contains(ip),
        HostPattern::Name(name) if leads_home(name.as_str(), ip) => false,
        HostPattern::Name(name) => (name.as_str(), address.port())
            .to_socket_addrs()
            .is_ok_and(|mut all| all.any(|found| found.ip().to_canonical() == ip)),
        HostPattern::Suffix(_) => false,
    })
}

/// Copies an argument out of the guest's memory, once.
fn read(pid: u32, address: u64, length: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let length = usize::try_from(length & 0xFFFF_FFFF).map_err(|_| Errno::INVAL)?.min(most);
    let mut bytes = vec![0; length];
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(|_| Errno::FAULT)?;
    memory.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
    Ok(bytes)
}

/// The process that a thread belongs to.
pub(super) fn process_of(thread: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// The guest's descriptor, as the host's own.
fn descriptor_of(pid: u32, descriptor: i32) -> Result<OwnedFd, Errno> {
    // Threads share their process's table, and only a process has a descriptor of itself on older kernels.
    let process = process_of(pid).and_then(|process| i32::try_from(process).ok()).and_then(Pid::from_raw);
    let process = process.ok_or(Errno::SRCH)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    pidfd_getfd(&process, descriptor, PidfdGetfdFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> PatternSet<HostPort> {
        PatternSet::new([HostPort::parse(text).expect("a host and a port")])
    }

    #[test]
    fn an_address_is_granted_in_all_its_clothes_or_not_at_all() {
        let granted = |grant_text: &str, address: &str| {
            is_granted(&grant(grant_text), address.parse().expect("an address"))
        };
        assert!(granted("127.0.0.1:80", "127.0.0.1:80"));
        assert!(granted("127.0.0.1:80", "[::ffff:127.0.0.1]:80"));
        assert!(!granted("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!granted("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!granted("127.0.0.1:80", "0.0.0.0:80"));
        assert!(!granted("127.0.0.1:80", "[::1]:80"));
        assert!(granted("10.0.0.0/8:1-100", "10.255.0.1:100"));
        assert!(!granted("10.0.0.0/8:1-100", "10.255.0.1:101"));
        assert!(granted("localhost:80", "127.0.0.1:80"));
        assert!(!granted("*.example.org:80", "127.0.0.1:80"));
    }

    #[test]
    fn a_line_for_an_address_is_one_that_a_manifest_may_have() {
        for (capability, address, wanted) in [
            (HostCapability::NetworkListen, "127.0.0.1:80", "127.0.0.1:80"),
            (HostCapability::NetworkListen, "0.0.0.0:0", "0.0.0.0:1-65535"),
            (HostCapability::NetworkConnect, "[::1]:80", "[::1]:80"),
            (HostCapability::NetworkConnect, "[::ffff:127.0.0.1]:0", "127.0.0.1:1"),
        ] {
            let pattern = pattern(capability, address.parse().expect("an address")).expect("a pattern");
            assert_eq!(pattern, HostPort::parse(wanted).expect("a host and a port"), "{address}");
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let v4 = [2, 0, 0x1F, 0x90, 127, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9];
        assert_eq!(parse(&v4), Ok("127.0.0.1:8080".parse().expect("an address")));
        let mut v6 = [0; 28];
        v6[..4].copy_from_slice(&[10, 0, 0, 80]);
        v6[23] = 1;
        assert_eq!(parse(&v6), Ok("[::1]:80".parse().expect("an address")));
        v6[24] = 1;
        assert_eq!(parse(&v6), Err(Errno::INVAL));
        for length in 0..8 {
            assert_eq!(parse(&v4[..length]), Err(Errno::INVAL), "{length}");
        }
        assert_eq!(parse(&[1, 0, 0, 0, 0, 0, 0, 0]), Err(Errno::AFNOSUPPORT));
    }
}
