//! What do many compartments, and many callers, cost each other? And what does everything cost while nothing happens?
#![allow(missing_docs, reason = "a bench names itself")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::wasm::{CodeCache, WasmCompartment, WasmHost};
use cofferdam::{AuditLog, CompartmentPlan, Runtime};
use cofferdam_benches::Promise::{MicrosAtMost, TimesAtMost};
use cofferdam_benches::floors::{PingPong, Waiting};
use cofferdam_benches::guests::{App, LIMITS, api, built};
use cofferdam_benches::{Group, Measured, Spread, micros, side, side_itself, value};
use measured::api::Api;
use rustix::thread::CpuSet;

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    if let Some(group) = Group::begin("crowds", "What do many compartments and callers cost each other?") {
        measure(group);
    }
    ExitCode::SUCCESS
}

fn measure(mut group: Group) {
    quiet(&mut group);
    throughput(&mut group);
    more_callers_than_processors(&mut group);
    one_processor(&mut group);
    filter(&mut group);
    idle_compartments(&mut group);
    group.end();
}

/// Microseconds of one call, when each of so many threads calls its own guest.
fn together(guests: &[Api], rounds: u32) -> f64 {
    at_once(guests.iter().map(|guest| || _ = guest.add(1, 2).expect("answers")).collect(), rounds)
}

/// The same of anything: from when all threads are there until the last is done.
fn at_once(calls: Vec<impl FnMut() + Send>, rounds: u32) -> f64 {
    let all_are_there = Barrier::new(calls.len() + 1);
    let began = std::thread::scope(|scope| {
        for mut call in calls {
            let all_are_there = &all_are_there;
            scope.spawn(move || {
                all_are_there.wait();
                for _ in 0..rounds {
                    call();
                }
            });
        }
        all_are_there.wait();
        Instant::now()
    });
    micros(began.elapsed()) / f64::from(rounds)
}

/// The same of raw exchanges.
fn together_raw(pairs: &mut [PingPong], rounds: u32) -> f64 {
    at_once(pairs.iter_mut().map(|pair| || pair.call(&[], &mut [])).collect(), rounds)
}

fn apps(backend: &str, count: usize) -> (Vec<App>, Vec<Api>) {
    let apps: Vec<App> = (0..count).map(|_| App::new("measured", backend, LIMITS)).collect();
    let guests = apps.iter().map(|app| api(app.edge())).collect();
    (apps, guests)
}

fn throughput(group: &mut Group) {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for backend in ["wasm", "process"] {
        let (_apps, guests) = apps(backend, processors);
        group.turns(
            &format!(
                "one {backend} call, with a caller on each of {processors} processors and with one caller"
            ),
            30,
            20_000,
            vec![
                side_itself("a caller on each", |rounds| together(&guests, rounds)),
                side_itself("one caller", |rounds| together(&guests[..1], rounds)),
            ],
            &[None],
        );
    }
}

fn more_callers_than_processors(group: &mut Group) {
    let callers = 4 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (_apps, guests) = apps("process", callers);
    let pairs = |waiting| (0..callers).map(|_| PingPong::new(0, waiting)).collect::<Vec<_>>();
    let (mut asleep, mut fixed) = (pairs(Waiting::Sleep), pairs(Waiting::SpinThenSleep));
    group.turns(
        &format!("one process call, with {callers} callers at once"),
        20,
        200,
        vec![
            side_itself("ours", |rounds| together(&guests, rounds)),
            side_itself("raw: as many pairs that sleep", |rounds| together_raw(&mut asleep, rounds)),
            side_itself("raw: as many pairs that spin first, always", |rounds| {
                together_raw(&mut fixed, rounds)
            }),
        ],
        &[None, None],
    );
}

/// A host that sees one processor only: who spins there keeps the other from answering.
fn one_processor(group: &mut Group) {
    let before = rustix::thread::sched_getaffinity(None).expect("it can be asked");
    let mut first = CpuSet::new();
    let own = (0..CpuSet::MAX_CPU).find(|processor| before.is_set(*processor)).expect("one");
    first.set(own);
    rustix::thread::sched_setaffinity(None, &first).expect("it is one of those that there are");
    let app = App::new("measured", "process", LIMITS);
    let guest = api(app.edge());
    let (mut asleep, mut fixed) =
        (PingPong::new(0, Waiting::Sleep), PingPong::new(0, Waiting::SpinThenSleep));
    group.turns(
        "a process call of a host that has one processor",
        40,
        300,
        vec![
            side("a typed call", || {
                guest.add(1, 2).expect("answers");
            }),
            side("raw: a futex wakes, and one comes back", || asleep.call(&[], &mut [])),
            side("raw: spin first, always", || fixed.call(&[], &mut [])),
        ],
        &[None, None],
    );
    drop((app, asleep, fixed));
    rustix::thread::sched_setaffinity(None, &before).expect("as it was");
}

/// What an allowed system call costs more in a guest than outside.
fn filter(group: &mut Group) {
    const CALLS: u32 = 20_000;
    let (process, inline) = (App::new("measured", "process", LIMITS), App::new("measured", "inline", LIMITS));
    let (inside, outside) = (api(process.edge()), api(inline.edge()));
    let each = |guest: &Api| {
        let began = Instant::now();
        guest.yields(CALLS).expect("answers");
        began.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    };
    group.turns(
        "what an allowed system call costs more inside, which is mostly the filter",
        40,
        1,
        vec![side_itself("the difference", |_| each(&inside) - each(&outside))],
        &[Some(MicrosAtMost(0.030))],
    );
}

/// Processor time of this program while nobody calls anything.
fn quiet(group: &mut Group) {
    let (apps_of_wasm, wasm) = apps("wasm", 4);
    let (apps_of_processes, processes) = apps("process", 4);
    for guest in wasm.iter().chain(&processes) {
        guest.add(1, 2).expect("answers");
    }
    let seconds = if group.is_quick() { 1 } else { 3 };
    // What ends by itself after the last call has ended by then.
    std::thread::sleep(Duration::from_millis(500));
    let before = spent();
    std::thread::sleep(Duration::from_secs(seconds));
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let share = (spent() - before) as f64 / (seconds as f64 * 1e6) * 100.0;
    let spread = Spread { low: share, middle: share, high: share };
    let note = "processor time of this program while 8 compartments wait, looked at once";
    group.values(
        "nothing happens",
        "% of one processor",
        vec![Measured { at_most: Some(0.1), ..value("the host", spread) }],
        Some(note),
    );
    drop((apps_of_wasm, apps_of_processes));
}

/// Processor time of all threads of this program, microseconds.
fn spent() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// Resident memory of this program, bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0
}

fn planned() -> CompartmentPlan {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("capabilities.toml");
    let text = "[crates.bench]\ndependencies = [\"measured\"]\n[crates.measured]\ncompartment = { backend = \"wasm\" }\n";
    std::fs::write(&path, text).expect("writable");
    Runtime::from_file_ambient(&path, ambient_authority()).expect("right").plan().compartments[0].clone()
}

/// Ten thousand compartments of a guest with the standard library, each called once, and then waiting.
fn idle_compartments(group: &mut Group) {
    let count: u32 = if group.is_quick() { 1_000 } else { 10_000 };
    let (bytes, plan) = (built("measured", "wasm"), planned());
    let folder = tempfile::tempdir().expect("a folder");
    let host = || {
        let cache = CodeCache::open_ambient(folder.path(), ambient_authority()).expect("a cache");
        WasmHost::with_cache(cache).expect("an engine")
    };
    let (crowded, quiet) = (host(), host());
    let log = AuditLog::discard();
    let start = |host| {
        WasmCompartment::start_ambient(host, &plan, &bytes, Path::new("."), &log, ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let call = |one: &WasmCompartment| one.call("acme:measured/api@0.1.0#empty", &[]).expect("answers");
    let alone = start(&quiet);
    call(&alone);
    let (before, began) = (resident(), Instant::now());
    let mut all = Vec::new();
    for _ in 0..count {
        let one = start(&crowded);
        call(&one);
        all.push(one);
    }
    let took = began.elapsed().as_secs_f64() * 1e6 / f64::from(count);
    let memory = (resident() - before) / f64::from(count) / 1024.0;
    let once = |number| Spread { low: number, middle: number, high: number };
    let what = format!("{count} wasm compartments that wait");
    group.values(&what, "KiB", vec![value("resident memory of one", once(memory))], None);
    group.values(&what, "µs", vec![value("start of one, with its first call", once(took))], None);
    let mut next = 0;
    group.turns(
        &format!("a dynamic call, with {count} that wait"),
        40,
        2000,
        vec![
            side("each of them in turn", || {
                next = (next + 1) % all.len();
                drop(call(&all[next]));
            }),
            side("the only one of an engine of its own", || drop(call(&alone))),
            side("one of them again and again", || drop(call(&all[0]))),
        ],
        &[Some(TimesAtMost(1.0)), None],
    );
}
