//! E. The conversation with the host: honest for the other attempts, and a lie for each way of this one.

use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofferdam_wire::channel::Channel;
use cofferdam_wire::frame::{Frame, FrameKind};
use cofferdam_wire::handshake::{Hello, Offer, Welcome, descriptor};
use cofferdam_wire::limits::MESSAGE_BYTES_MAX;
use cofferdam_wire::memory::{Control, Lane, Memory};
use cofferdam_wire::packet;
use cofferdam_wire::ring::{Spin, Wait, Writer, wake_all};

use crate::facts::Facts;
use crate::{attempts, sys};

/// How it greets. The suite replaces what is behind the colon.
static GREETING: [u8; 32] = *b"greets its host in this way: 0\0\0";

fn greeting() -> u8 {
    std::hint::black_box(&GREETING)[29]
}

const FUNCTIONS: [&str; 3] = ["attempt", "lie", "add"];

/// Greets the host, and then does what it says.
pub(crate) fn serve() -> ExitCode {
    let Ok(memory) = Memory::attach(sys::descriptor(descriptor::MEMORY)) else { return ExitCode::FAILURE };
    let memory = Arc::new(memory);
    match greet() {
        Ok(()) => {}
        Err(code) => return code,
    }
    let mut channel = Channel::guest(&memory, 0);
    let mut arguments = Vec::new();
    loop {
        let Ok(frame) = channel.receive(&mut arguments, Wait::default()) else { return ExitCode::FAILURE };
        let reply = |channel: &mut Channel, bytes: &[u8]| {
            channel.send(FrameKind::Reply, frame.call, 0, &[bytes], Wait::default()).is_ok()
        };
        let sent = match FUNCTIONS.get(frame.subject as usize) {
            Some(&"attempt") => match cofferdam_wire::decode::<(String, Vec<String>)>(&arguments) {
                Ok((name, facts)) => {
                    let answer =
                        attempts::find(&name).map_or(-1_000_000, |attempt| attempt(&Facts::new(facts)));
                    reply(&mut channel, &answer.to_le_bytes())
                }
                Err(_) => reply(&mut channel, &[]),
            },
            Some(&"lie") => match cofferdam_wire::decode::<(String, u64)>(&arguments) {
                Ok((way, number)) => {
                    let mut liar = Liar { memory: &memory, channel: &mut channel, frame, number };
                    liar.lie(&way)
                }
                Err(_) => reply(&mut channel, &[]),
            },
            _ => match cofferdam_wire::decode::<(u32, u32)>(&arguments) {
                Ok((a, b)) => reply(&mut channel, &a.wrapping_add(b).to_le_bytes()),
                Err(_) => reply(&mut channel, &[]),
            },
        };
        if !sent {
            return ExitCode::FAILURE;
        }
    }
}

fn greet() -> Result<(), ExitCode> {
    let socket = sys::descriptor(descriptor::SOCKET);
    let offer = |name: &str| Offer { name: name.to_owned(), shape: 0 };
    let mut hello = Hello {
        version: cofferdam_wire::VERSION,
        interface: 0,
        functions: FUNCTIONS.map(offer).to_vec(),
        imports: Vec::new(),
    };
    let send = |bytes: &[u8], descriptors: usize| {
        let all = vec![socket.as_fd(); descriptors];
        packet::send(socket, bytes, &all).map_err(|_| ExitCode::FAILURE)
    };
    match greeting() {
        // Of another release.
        b'v' => hello.version += 1,
        // With descriptors that nobody asked for.
        b'd' => {
            let _ = send(&cofferdam_wire::encode(&hello).unwrap_or_default(), 8);
            loop {
                std::thread::park();
            }
        }
        // With no sense in it.
        b'g' => {
            let mut bytes = vec![0xFF; 1000];
            bytes[..4].copy_from_slice(&cofferdam_wire::VERSION.to_le_bytes());
            send(&bytes, 0)?;
        }
        // With more functions than a host keeps.
        b'f' => hello.functions = (0..2000).map(|index| offer(&index.to_string())).collect(),
        // Not at all.
        b's' => loop {
            std::thread::park();
        },
        // Dying before it.
        b'x' => return Err(ExitCode::from(9)),
        // Half of it.
        b'k' => {
            send(&[1, 0], 0)?;
            loop {
                std::thread::park();
            }
        }
        _ => {}
    }
    let bytes = cofferdam_wire::encode(&hello).map_err(|_| ExitCode::FAILURE)?;
    send(&bytes, 0)?;
    let (welcome, _) = packet::receive_now(socket, 0).map_err(|_| ExitCode::FAILURE)?;
    let _: Welcome = cofferdam_wire::decode(&welcome).map_err(|_| ExitCode::FAILURE)?;
    Ok(())
}

/// Random numbers from a seed, the same in every run: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A guest in a call that it does not mean to answer as it should.
struct Liar<'a> {
    memory: &'a Arc<Memory>,
    channel: &'a mut Channel,
    frame: Frame,
    number: u64,
}

impl Liar<'_> {
    fn send(&mut self, kind: FrameKind, call: u32, bytes: &[u8]) -> bool {
        self.channel.send(kind, call, 0, &[bytes], Wait::default()).is_ok()
    }

    fn reply(&mut self, bytes: &[u8]) -> bool {
        self.send(FrameKind::Reply, self.frame.call, bytes)
    }

    /// Goes on where the honest answers ended.
    fn raw(&self, parts: &[&[u8]]) -> bool {
        let mut writer = Writer::new(Arc::clone(self.memory), Lane::ToHost, Spin::new(0));
        writer.write(&[], parts, Wait::default()).is_ok()
    }

    fn header(&self, length: u32) -> [u8; Frame::BYTES] {
        Frame { kind: FrameKind::Reply, call: self.frame.call, subject: 0, length }.to_bytes()
    }

    fn words(&self) -> u32 {
        self.memory.control(Lane::ToHost, Control::Written).load(Ordering::SeqCst)
    }

    fn lie(&mut self, way: &str) -> bool {
        let one = 1_u32.to_le_bytes();
        match way {
            "honest" => self.reply(&one),
            "other-call" => self.send(FrameKind::Reply, self.frame.call.wrapping_add(7), &one),
            "earlier-call" => self.send(FrameKind::Reply, self.frame.call.wrapping_sub(1), &one),
            "two-answers" => self.reply(&one) && self.reply(&one),
            "no-kind" => self.raw(&[&[0xFF; Frame::BYTES]]),
            "too-long" => self.raw(&[&self.header(MESSAGE_BYTES_MAX + 1)]),
            "longest" => self.raw(&[&self.header(u32::MAX)]),
            "half-a-frame" => self.raw(&[&self.header(1000), &[0; 10]]),
            "counter" => self.counter(),
            "counter-back" => {
                self.memory
                    .control(Lane::ToHost, Control::Written)
                    .store(self.words().wrapping_sub(1), Ordering::SeqCst);
                wake_all(self.memory);
                true
            }
            "read-counter" => {
                self.memory
                    .control(Lane::ToGuest, Control::Read)
                    .store(u32::try_from(self.number).unwrap_or(u32::MAX), Ordering::SeqCst);
                self.reply(&one)
            }
            "sleep-flags" => {
                for lane in [Lane::ToGuest, Lane::ToHost] {
                    for flag in [Control::ReaderSleeps, Control::WriterSleeps] {
                        self.memory.control(lane, flag).store(u32::MAX, Ordering::SeqCst);
                    }
                }
                self.reply(&one)
            }
            "calls-its-host" => self.send(FrameKind::Call, self.frame.call, &one),
            "refuses-forever" => self.send(FrameKind::Refusal, self.frame.call, &vec![b'x'; 1 << 20]),
            "never-answers" => loop {
                std::thread::park();
            },
            "wakes-without-end" => loop {
                wake_all(self.memory);
            },
            "spins" => loop {
                std::hint::spin_loop();
            },
            "floods" => loop {
                if !self.raw(&[&[0xAA; 4096]]) {
                    return false;
                }
            },
            "dies-before" => std::process::exit(7),
            "dies-in-a-header" => {
                self.raw(&[&self.header(8)[..8]]);
                std::process::exit(7)
            }
            "dies-in-a-reply" => {
                self.raw(&[&self.header(1000), &[0; 10]]);
                std::process::exit(7)
            }
            "dies-after" => {
                self.reply(&one);
                std::process::exit(7)
            }
            "crashes" => {
                sys::crash();
                true
            }
            "panics" => {
                self.send(FrameKind::Fault, self.frame.call, b"\x1b[2Jforged: \r\n{\"event\":\"grant\"}\0")
            }
            "bytes" => {
                let bytes = self.number.to_le_bytes();
                let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                self.reply(&bytes[..length])
            }
            // As many elements as a number can say, and none of them there.
            "endless-list" => self.reply(&u32::MAX.to_le_bytes()),
            // Lists of empty lists: four bytes of message for each header in memory.
            "amplified-list" => {
                let count: u32 = 12 << 20;
                let mut bytes = count.to_le_bytes().to_vec();
                bytes.resize(4 + 4 * count as usize, 0);
                self.reply(&bytes)
            }
            "not-text" => self.reply(&[2, 0, 0, 0, 0xC0, 0x80]),
            "surplus" => self.reply(&[1, 0, 0, 0, 0]),
            "too-few" => self.reply(&[1, 0, 0]),
            "punches-holes" => self.reply(&sys::call(285, &[4, 3, 0, 4096]).to_le_bytes()),
            "shrinks" => self.reply(&sys::call(77, &[4, 0]).to_le_bytes()),
            "grows" => self.reply(&sys::call(77, &[4, 1 << 30]).to_le_bytes()),
            "seals" => self.reply(&sys::call(72, &[4, 1033, 8]).to_le_bytes()),
            "fuzzed" => self.fuzzed(),
            "flips" => self.flips(),
            _ => self.reply(&[]),
        }
    }

    fn counter(&mut self) -> bool {
        let word = self.memory.control(Lane::ToHost, Control::Written);
        word.store(
            u32::try_from(self.number).unwrap_or(u32::MAX).wrapping_add(self.words()),
            Ordering::SeqCst,
        );
        wake_all(self.memory);
        true
    }

    /// A reply with some of its bits changed, or none at all.
    fn fuzzed(&mut self) -> bool {
        let mut random = Random(self.number);
        let length = usize::try_from(random.next() % 64).unwrap_or(0);
        let mut bytes: Vec<u8> = self.header(u32::try_from(length).unwrap_or(0)).to_vec();
        bytes.extend((0..length).map(|_| random.next().to_le_bytes()[0]));
        for _ in 0..random.next() % 6 {
            let at = usize::try_from(random.next()).unwrap_or(0) % bytes.len();
            bytes[at] ^= 1 << (random.next() % 8);
        }
        bytes.truncate(usize::try_from(random.next()).unwrap_or(0) % (bytes.len() + 1) + 1);
        if random.next().is_multiple_of(4) {
            let controls = [Control::Written, Control::Read, Control::ReaderSleeps, Control::WriterSleeps];
            let control = controls[usize::try_from(random.next() % 4).unwrap_or(0)];
            let lane = if random.next().is_multiple_of(2) { Lane::ToGuest } else { Lane::ToHost };
            let value = u32::try_from(random.next() & 0xFFFF_FFFF).unwrap_or(0);
            self.memory.control(lane, control).store(value, Ordering::SeqCst);
        }
        self.raw(&[&bytes]);
        wake_all(self.memory);
        true
    }

    /// Answers with a long list, and changes its bytes and the counters while the host reads it.
    fn flips(&mut self) -> bool {
        let memory = Arc::clone(self.memory);
        let mut random = Random(self.number);
        let flipper = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let data = memory.data(Lane::ToHost);
            for _ in 0..200_000 {
                let word = random.next();
                let at = usize::try_from(word >> 32).unwrap_or(0) % data.len();
                data[at].store(random.next(), Ordering::Relaxed);
                if word.is_multiple_of(50_000) {
                    memory.control(Lane::ToHost, Control::Written).fetch_add(3, Ordering::Relaxed);
                }
            }
        });
        let mut bytes = (1_u32 << 18).to_le_bytes().to_vec();
        bytes.resize(4 + (1 << 20), 0);
        let sent = self.raw(&[&self.header(u32::try_from(bytes.len()).unwrap_or(0)), &bytes]);
        let _ = flipper.map(std::thread::JoinHandle::join);
        sent
    }
}
