//! D. Sockets, and other ways to talk. The victim listens on every kind.

use crate::attempts::Attempt;
use crate::facts::Facts;
use crate::sys::{at, at_mut, call};

const LOCAL: u64 = 1;
const INTERNET: u64 = 2;
const STREAM: u64 = 1;
const DATAGRAM: u64 = 2;

fn with_socket(family: u64, kind: u64, then: impl FnOnce(u64) -> i64) -> i64 {
    match call(41, &[family, kind, 0]) {
        socket if socket < 0 => socket,
        socket => then(socket.cast_unsigned()),
    }
}

/// `struct sockaddr_un`; a name that begins with NUL is an abstract one.
fn local(name: &str) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend(name.as_bytes());
    if !name.starts_with('\0') {
        bytes.push(0);
    }
    bytes
}

/// `struct sockaddr_in`.
fn internet(address: [u8; 4], port: u64) -> [u8; 16] {
    let [high, low] = u16::try_from(port).unwrap_or(0).to_be_bytes();
    let [a, b, c, d] = address;
    [2, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// `struct sockaddr_in6`.
fn internet6(address: [u8; 16], port: u64) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[0] = 10;
    bytes[2..4].copy_from_slice(&u16::try_from(port).unwrap_or(0).to_be_bytes());
    bytes[8..24].copy_from_slice(&address);
    bytes
}

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

fn connect(family: u64, kind: u64, address: &[u8]) -> i64 {
    with_socket(family, kind, |socket| call(42, &[socket, at(address), address.len() as u64]))
}

fn send_to(family: u64, kind: u64, address: &[u8], flags: u64) -> i64 {
    with_socket(family, kind, |socket| {
        call(44, &[socket, at(b"x"), 1, flags, at(address), address.len() as u64])
    })
}

fn mapped(facts: &Facts) -> i64 {
    let mut address = [0; 16];
    address[10..12].copy_from_slice(&[0xFF, 0xFF]);
    address[12..].copy_from_slice(&LOOPBACK);
    connect(10, STREAM, &internet6(address, facts.number("port")))
}

/// Families that a program without need of them should not have: netlink, packet, vsock, XDP, alg, Bluetooth, and the rest.
fn families(_: &Facts) -> i64 {
    let families = [
        3, 4, 5, 9, 11, 12, 15, 16, 17, 18, 19, 21, 22, 29, 30, 31, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
        45,
    ];
    let answers = families.map(|family| call(41, &[family, 3, 0]));
    // The first that is not the answer of a kernel without the family.
    answers.into_iter().find(|answer| *answer != -97).unwrap_or(-97)
}

/// Flips the address between one that is granted and one that is not, while the host looks at it.
fn race(facts: &Facts) -> i64 {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let (granted, other) = (facts.number("granted-port"), facts.number("port"));
    let word = |port| u64::from_le_bytes(*internet(LOOPBACK, port).first_chunk().expect("eight bytes"));
    let address = Arc::new([AtomicU64::new(word(granted)), AtomicU64::new(0)]);
    let going = Arc::new(AtomicBool::new(true));
    let flipper = {
        let (address, going) = (Arc::clone(&address), Arc::clone(&going));
        let builder = std::thread::Builder::new().stack_size(64 << 10);
        builder.spawn(move || {
            let mut which = false;
            while going.load(Ordering::Relaxed) {
                address[0].store(word(if which { granted } else { other }), Ordering::Relaxed);
                which = !which;
            }
        })
    };
    for _ in 0..facts.number("rounds").max(1) {
        let socket = call(41, &[INTERNET, STREAM, 0]);
        if socket >= 0 {
            call(42, &[socket.cast_unsigned(), at(&*address), 16]);
            call(3, &[socket.cast_unsigned()]);
        }
    }
    going.store(false, Ordering::Relaxed);
    let _ = flipper.map(std::thread::JoinHandle::join);
    // Who came where is for the victim to say.
    0
}

/// Asks for sockets and lets them go, so that the host would run out of numbers if it kept one of them.
fn many_sockets(facts: &Facts) -> i64 {
    for _ in 0..facts.number("rounds").max(1) {
        let socket = call(41, &[INTERNET, STREAM, 0]);
        if socket < 0 {
            return socket;
        }
        call(3, &[socket.cast_unsigned()]);
    }
    0
}

/// A message with a descriptor, or with forged credentials, to the host.
fn tell_host(level_type: [u32; 2], data: &[u8]) -> i64 {
    let byte = [b'x'];
    let vector = [at(&byte), 1];
    let mut control = vec![0_u64; 2 + data.len().div_ceil(8)];
    control[0] = 16 + data.len() as u64;
    control[1] = u64::from(level_type[0]) | (u64::from(level_type[1]) << 32);
    for (index, chunk) in data.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        control[2 + index] = u64::from_le_bytes(word);
    }
    let message = [0, 0, at(&vector), 1, at(control.as_slice()), 16 + data.len() as u64, 0];
    call(46, &[3, at(&message), 0x4000])
}

fn shared_memory(facts: &Facts) -> i64 {
    match call(29, &[facts.number("key"), 4096, 0]) {
        found if found < 0 => found,
        found => call(30, &[found.cast_unsigned(), 0, 0o10_000]),
    }
}

fn search_keys(facts: &Facts) -> i64 {
    let name = format!("{}\0", facts.text("name"));
    let found = call(250, &[10, (-4_i64).cast_unsigned(), at(b"user\0"), at(name.as_str()), 0]);
    if found < 0 {
        return found;
    }
    call(250, &[11, found.cast_unsigned(), at_mut(&mut [0_u8; 16]), 16])
}

/// Each attempt.
pub(crate) const ALL: &[(&str, Attempt)] = &[
    ("abstract-socket", |facts| connect(LOCAL, STREAM, &local(&format!("\0{}", facts.text("abstract"))))),
    ("path-socket", |facts| connect(LOCAL, STREAM, &local(facts.text("socket")))),
    ("path-datagram", |facts| send_to(LOCAL, DATAGRAM, &local(facts.text("datagram")), 0)),
    ("socketpair", |_| call(53, &[LOCAL, STREAM, 0, at_mut(&mut [0_u32; 2])])),
    ("families", families),
    ("netlink", |_| call(41, &[16, 3, 0])),
    ("vsock", |_| call(41, &[40, 1, 0])),
    ("raw-socket", |_| call(41, &[INTERNET, 3, 255])),
    ("connect", |facts| connect(INTERNET, STREAM, &internet(LOOPBACK, facts.number("port")))),
    ("connect-granted", |facts| connect(INTERNET, STREAM, &internet(LOOPBACK, facts.number("granted-port")))),
    ("connect-any", |facts| connect(INTERNET, STREAM, &internet([0; 4], facts.number("port")))),
    ("connect-mapped", mapped),
    ("connect-loopback6", |facts| {
        let mut address = [0; 16];
        address[15] = 1;
        connect(10, STREAM, &internet6(address, facts.number("port")))
    }),
    ("connect-metadata", |_| connect(INTERNET, STREAM | 0o4000, &internet([169, 254, 169, 254], 80))),
    ("connect-short", |facts| {
        let address = internet(LOOPBACK, facts.number("port"));
        with_socket(INTERNET, STREAM, |socket| call(42, &[socket, at(&address), 3]))
    }),
    ("fast-open", |facts| send_to(INTERNET, STREAM, &internet(LOOPBACK, facts.number("port")), 0x2000_0000)),
    ("send-datagram", |facts| send_to(INTERNET, DATAGRAM, &internet(LOOPBACK, facts.number("udp")), 0)),
    ("bind", |_| {
        let address = internet(LOOPBACK, 0);
        with_socket(INTERNET, STREAM, |socket| call(49, &[socket, at(&address), 16]))
    }),
    ("listen", |_| with_socket(INTERNET, STREAM, |socket| call(50, &[socket, 1]))),
    ("address-race", race),
    ("many-sockets", many_sockets),
    ("shared-memory", shared_memory),
    ("semaphores", |facts| call(64, &[facts.number("key"), 1, 0])),
    ("message-queue", |facts| call(68, &[facts.number("key"), 0])),
    ("posix-queue", |facts| call(240, &[at(format!("{}\0", facts.text("queue")).as_str()), 0, 0, 0])),
    ("search-keys", search_keys),
    ("notification-pipe", |_| call(293, &[at_mut(&mut [0_u32; 2]), 0x80])),
    ("message-send", |_| call(69, &[0x7FFF_FFFF, at(&[1_u64, 0]), 1, 0])),
    ("out-of-band", |_| {
        let mut ends = [0_u32; 2];
        match call(53, &[LOCAL, STREAM, 0, at_mut(&mut ends)]) {
            0 => call(44, &[u64::from(ends[0]), at(b"x"), 1, 1, 0, 0]),
            refused => refused,
        }
    }),
    ("pass-descriptor", |_| tell_host([1, 1], &0_u32.to_le_bytes())),
    ("forge-credentials", |_| {
        let forged = [1_u32, 0, 0].map(u32::to_le_bytes).concat();
        tell_host([1, 2], &forged)
    }),
];
