//! What does `check` add to `cargo metadata`, on a workspace whose dependencies declare nothing?
//!
//! Both are run in turns, so that whatever else the machine does falls on both. The workspace is this one.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the repository");
    let time = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().expect("the program starts");
        assert!(status.success(), "{program} {arguments:?}");
        start.elapsed()
    };
    let cargo = || time(env!("CARGO"), &["metadata", "--format-version=1"]);
    let check = || time(env!("CARGO_BIN_EXE_cofferdam"), &["check"]);
    cargo();
    check();
    let (mut alone, mut checked): (Vec<Duration>, Vec<Duration>) =
        (0..ROUNDS).map(|_| (cargo(), check())).unzip();
    alone.sort();
    checked.sort();
    let show = |name: &str, times: &[Duration]| {
        let at = |part: usize| times[(times.len() - 1) * part / 10].as_secs_f64() * 1e3;
        println!("{name:16} median {:6.1} ms, 10 % {:6.1} ms, 90 % {:6.1} ms", at(5), at(1), at(9));
    };
    show("cargo metadata", &alone);
    show("cofferdam check", &checked);
    let median = |times: &[Duration]| times[times.len() / 2].as_secs_f64() * 1e3;
    println!("check adds       median {:6.1} ms over {ROUNDS} rounds", median(&checked) - median(&alone));
}
