//! How soon does a caller hear that a guest crashed, did what it may not, or missed its deadline?
#![allow(missing_docs, reason = "a bench names itself")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cofferdam::client::CallError;
use cofferdam_benches::Promise::MicrosAtMost;
use cofferdam_benches::guests::{App, api};
use cofferdam_benches::{Group, micros, side_itself};
use measured::api::Api;

const SOON: f64 = 5_000.0;
const DEADLINE: Duration = Duration::from_millis(40);

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    if let Some(group) = Group::begin("failures", "How soon does a caller hear that a call has failed?") {
        measure(group);
    }
    ExitCode::SUCCESS
}

fn measure(mut group: Group) {
    let limits = "call-deadline = \"40ms\", memory = \"256MiB\"";
    for backend in ["process", "wasm"] {
        let app = App::new("measured", backend, limits);
        let guest = api(app.edge());
        let after = |less: Duration, fails: fn(&Api) -> CallError| {
            let guest = &guest;
            move |_| {
                // Whatever the last call left is made good here, and not counted.
                assert_eq!(guest.add(1, 2).expect("answers"), 3);
                let began = Instant::now();
                drop(fails(guest));
                micros(began.elapsed().saturating_sub(less))
            }
        };
        let crash = side_itself(
            "a crash",
            after(Duration::ZERO, |guest| {
                let error = guest.crash().expect_err("it aborts");
                assert!(matches!(error, CallError::Fault { .. }), "{error}");
                error
            }),
        );
        let late = side_itself(
            "a missed deadline, from the deadline on",
            after(DEADLINE, |guest| {
                let error = guest.hang().expect_err("it hangs");
                assert!(matches!(error, CallError::Deadline { .. }), "{error}");
                error
            }),
        );
        let soon = [Some(MicrosAtMost(SOON))];
        group.turns(&format!("a {backend} guest crashes"), 40, 1, vec![crash], &soon);
        group.turns(&format!("a {backend} guest misses its deadline"), 30, 1, vec![late], &soon);
        if backend == "process" {
            let forbidden = side_itself(
                "a forbidden system call",
                after(Duration::ZERO, |guest| {
                    let error = guest.open().expect_err("nobody granted it");
                    assert!(matches!(error, CallError::Violation { .. }), "{error}");
                    error
                }),
            );
            group.turns("a process guest opens a file that nobody granted", 40, 1, vec![forbidden], &soon);
        }
    }
    group.end();
}
