//! What does a call into a process compartment cost, beside what the machine takes for an exchange, and what others take?
#![allow(missing_docs, reason = "a bench names itself")]

use std::process::ExitCode;
use std::time::Duration;

use cofferdam_benches::Promise::{TimesAtMost, TimesFaster};
use cofferdam_benches::floors::{Channels, Events, Packets, PingPong, Process, Waiting, fork_and_wait};
use cofferdam_benches::guests::{App, LIMITS, api};
use cofferdam_benches::{Group, after_pause, side};

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    if let Some(group) = Group::begin("calls", "What does a call into a process compartment cost?") {
        measure(group);
    }
    ExitCode::SUCCESS
}

fn measure(mut group: Group) {
    let app = App::new("measured", "process", LIMITS);
    let guest = api(app.edge());
    let add = || assert_eq!(guest.add(1, 2).expect("answers"), 3);

    let mut both = PingPong::new(0, Waiting::SpinThenSleep);
    group.turns(
        "a call while calls follow each other: 16 bytes in, 8 out",
        60,
        4000,
        vec![
            side("a typed call", add),
            side("raw: a word there and back, spin then futex", || both.call(&[], &mut [])),
        ],
        &[Some(TimesAtMost(1.2))],
    );
    drop(both);
    // By itself: its other side keeps a processor busy also while it is not called.
    let mut spin = PingPong::new(0, Waiting::Spin);
    let alone = side("a word there and back, spin only", || spin.call(&[], &mut []));
    group.turns("raw, for comparison", 30, 4000, vec![alone], &[None]);
    drop(spin);

    let (mut events, mut packets, mut channels) =
        (Events::default(), Packets::default(), Channels::default());
    group.turns(
        "the same call, and other ways to make it",
        30,
        400,
        vec![
            side("a typed call", add),
            side("SEQPACKET and postcard", || assert_eq!(packets.call(1, 2), 3)),
            side("ipc-channel", || assert_eq!(channels.call(1, 2), 3)),
            side("eventfd, no data", || events.call()),
            side("a fork per call, no data", fork_and_wait),
        ],
        &[Some(TimesFaster(5.0)), Some(TimesFaster(10.0)), None, None],
    );
    drop((events, packets, channels));

    let mut asleep = PingPong::new(0, Waiting::Sleep);
    let (mut speculating, mut controlled) = (Process::new(true), Process::new(false));
    let pause = Duration::from_millis(2);
    group.turns(
        "a call after a pause of 2 ms, in which the guest has gone to sleep",
        40,
        15,
        vec![
            after_pause("a typed call", pause, add),
            after_pause("raw: a futex wakes, and one comes back", pause, || asleep.call(&[], &mut [])),
            after_pause("raw: the same to another process", pause, || speculating.call()),
            after_pause("raw: to one with a guest's speculation controls", pause, || controlled.call()),
        ],
        &[Some(TimesAtMost(1.2))],
    );
    drop((asleep, speculating, controlled));

    for (bytes, rounds, most) in
        [(4 << 10, 500, None), (64 << 10, 100, None), (1 << 20, 20, Some(TimesAtMost(1.3)))]
    {
        let data = vec![7_u8; bytes];
        let mut back = vec![0_u8; bytes];
        let mut floor = PingPong::new(bytes, Waiting::SpinThenSleep);
        group.turns(
            &format!("{} KiB there and back", bytes >> 10),
            40,
            rounds,
            vec![
                side("a typed call", || assert_eq!(guest.echo(&data).expect("answers").len(), bytes)),
                side("raw: two copies on each side, spin then futex", || floor.call(&data, &mut back)),
            ],
            &[most],
        );
    }
    group.end();
}
