//! Several guests of one compartment: calls side by side, their number, their reuse, and their end.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod lines;
mod native;

use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::process::limits::INSTANCES_MAX;
use cofferdam::process::{CallError, ProcessPool, Restart, StartError, StartOptions};
use native::{as_an_ordinary_user, guest, host, planned};

fn try_pool(limits: &str, options: StartOptions, instances: usize) -> Result<ProcessPool, StartError> {
    let plan = planned("stdio = { streams = [\"stdout\"] }", limits);
    let (program, folder) = (guest("fixture"), tempfile::tempdir().expect("a folder"));
    let log = AuditLog::discard();
    ProcessPool::start_ambient(
        host(),
        &plan,
        &program,
        folder.path(),
        &log,
        options,
        instances,
        ambient_authority(),
    )
}

fn pool(limits: &str, options: StartOptions, instances: usize) -> ProcessPool {
    try_pool(limits, options, instances).unwrap_or_else(|error| panic!("{error}"))
}

fn meet(pool: &ProcessPool) -> Result<u64, CallError> {
    pool.call_typed("nap", &(300_u64,))
}

/// Calls on so many threads at once; gives the guests that served them, by the number that each has of its calls.
fn together(pool: &ProcessPool, calls: usize) -> Vec<u64> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..calls).map(|_| scope.spawn(|| meet(pool).expect("a result"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn calls_run_side_by_side_in_as_many_guests_as_there_may_be() {
    let pool = pool("", StartOptions::default(), 3);
    assert_eq!((pool.edge(), pool.instances()), ("app -> guest", (1, 0)));
    // Each guest counts its own: three first calls are three guests.
    assert_eq!(together(&pool, 3), [1, 1, 1]);
    assert_eq!(pool.instances(), (3, 0));
    // More calls than guests: the others wait, and no more guests are made.
    let mut counts = together(&pool, 6);
    counts.sort_unstable();
    assert_eq!((counts.iter().filter(|count| **count == 2).count(), pool.instances()), (3, (3, 0)));
    assert_eq!(pool.call_typed::<_, u32>("add", &(2_u32, 3_u32)).expect("a result"), 5);
}

#[test]
fn one_guest_serves_one_call_at_a_time() {
    let pool = pool("", StartOptions::default(), 1);
    let begun = Instant::now();
    let mut counts = together(&pool, 3);
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3]);
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[test]
fn a_guest_is_reused_as_often_as_it_may_be() {
    let options = StartOptions { calls_max: Some(2), ..StartOptions::default() };
    let pool = pool("", options, 1);
    let counts: Vec<u64> = (0..5).map(|_| pool.call_typed("count", &()).expect("a result")).collect();
    assert_eq!(counts, [1, 2, 1, 2, 1]);
}

#[test]
fn waiting_is_part_of_a_call() {
    let pool = pool("call-deadline = \"400ms\"", StartOptions::default(), 1);
    std::thread::scope(|scope| {
        let long = scope.spawn(|| pool.call_typed::<_, ()>("sleep", &()));
        while pool.instances() != (0, 1) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        let waited =
            pool.call_typed::<_, u64>("nap", &(350_u64,)).expect_err("300 ms of waiting are left over");
        assert!(matches!(waited, CallError::Deadline { .. }), "{waited}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(matches!(long.join().expect("no panic"), Err(CallError::Deadline { .. })));
    });
    assert_eq!(pool.call_typed::<_, u32>("add", &(2_u32, 3_u32)).expect("a result"), 5);
}

#[test]
fn callers_beyond_the_limit_are_turned_away() {
    let pool = pool("calls-in-flight = 2", StartOptions::default(), 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| meet(&pool))).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let refused = results
            .iter()
            .filter(|result| matches!(result, Err(CallError::Limit { what: "calls in flight", .. })));
        assert_eq!((refused.count(), results.iter().filter(|result| result.is_ok()).count()), (1, 2));
    });
    assert!(meet(&pool).is_ok());
}

#[test]
fn one_guest_s_end_is_nobody_else_s_and_the_policy_is_the_pool_s() {
    let crash = |pool: &ProcessPool| pool.call_typed::<_, ()>("crash", &()).expect_err("it crashes");
    let lives = |pool: &ProcessPool| pool.call_typed::<_, u32>("add", &(2_u32, 3_u32)).is_ok();
    let options = |restart| StartOptions { restart, ..StartOptions::default() };
    let counted = pool("", options(Restart::PerMinute(1)), 2);
    assert_eq!(together(&counted, 2), [1, 1]);
    crash(&counted);
    assert!(lives(&counted));
    crash(&counted);
    // The one of the two that is left, or the one that may not come back: one restart was all for both.
    let results = [lives(&counted), lives(&counted), lives(&counted)];
    assert!(results.iter().any(|lives| !lives), "{results:?}");
    let never = pool("", options(Restart::Never), 2);
    assert_eq!(together(&never, 2), [1, 1]);
    crash(&never);
    assert!(lives(&never));
    crash(&never);
    let error = never.call_typed::<_, u32>("add", &(2_u32, 3_u32)).expect_err("both are gone");
    assert!(matches!(error, CallError::NotRestarted { .. }), "{error}");
}

#[test]
fn output_of_all_guests_is_kept() {
    let pool = pool("", StartOptions::default(), 2);
    together(&pool, 2);
    let print = || pool.call_typed::<_, Result<(), String>>("print", &(b"a".to_vec(), Vec::<u8>::new()));
    for _ in 0..3 {
        print().expect("an answer").expect("granted");
    }
    assert_eq!(pool.take_stdio().stdout, b"aaa");
    assert!(pool.take_stdio().stdout.is_empty());
}

#[test]
fn what_a_pool_cannot_hold_is_refused() {
    let refused = |limits, instances| {
        let error = try_pool(limits, StartOptions::default(), instances).expect_err("refused");
        assert!(matches!(error, StartError::CannotEnforce { .. }), "{error}");
    };
    refused("", 0);
    refused("", INSTANCES_MAX + 1);
    refused("cpu-time = \"1s\"", 2);
    assert!(try_pool("cpu-time = \"1s\"", StartOptions::default(), 1).is_ok());
    assert!(try_pool("", StartOptions::default(), INSTANCES_MAX).is_ok());
}

/// All of the above as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    as_an_ordinary_user();
}
