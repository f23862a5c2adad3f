//! What a process compartment costs: a warm call, a call with bytes, a call after a pause, and a start.
//!
//! Beside them, the floors that a machine sets: a ping-pong of one shared word between two threads, and starting a program.
#![allow(missing_docs, reason = "a bench names itself")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ambient_authority::ambient_authority;
use cofferdam::manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};
use cofferdam::process::{ProcessCompartment, ProcessHost, StartOptions};
use cofferdam::{AuditLog, CompartmentPlan, plan};

const MANIFEST: &str = "[holds]\n[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\n\
                        compartment = { backend = \"process\", limits = { memory = \"256MiB\" } }\n";

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Guest and launcher, optimised and static, and the plan.
fn built() -> &'static (PathBuf, ProcessHost, CompartmentPlan) {
    static BUILT: OnceLock<(PathBuf, ProcessHost, CompartmentPlan)> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = root().join("target/guests");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--release", "--target", "x86_64-unknown-linux-gnu"])
            .args(["-p", "cofferdam-test-guests", "-p", "cofferdam-launcher", "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .current_dir(root())
            .status();
        assert!(status.expect("cargo runs the bench").success());
        let folder = target.join("x86_64-unknown-linux-gnu/release");
        let host = ProcessHost::from_path_ambient(&folder.join("cofferdam-launcher"), ambient_authority());
        (folder.join("fixture"), host.unwrap_or_else(|error| panic!("{error}")), planned())
    })
}

fn planned() -> CompartmentPlan {
    let mut files = Files::default();
    let file = files.add(ManifestText::from_bytes("capabilities.toml", MANIFEST.into()).expect("small"));
    let manifest =
        parse(file, files.get(file), Form::Standalone).unwrap_or_else(|errors| panic!("{}", errors[0].kind));
    let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
    let graph = resolve(&project).granted(&project).expect("no denials");
    plan(&project, &graph).expect("the pages are right").compartments.remove(0)
}

fn start() -> ProcessCompartment {
    let (guest, host, plan) = built();
    let log = AuditLog::discard();
    ProcessCompartment::start_ambient(host, plan, guest, &root(), &log, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// How long one call of `add` takes while calls follow each other.
#[divan::bench(sample_count = 200, sample_size = 1000)]
fn warm_call(bencher: divan::Bencher<'_, '_>) {
    let mut compartment = start();
    let arguments = [1, 0, 0, 0, 2, 0, 0, 0];
    let mut result = Vec::new();
    bencher.bench_local(|| compartment.call_into("add", &arguments, &mut result).expect("a result"));
}

/// The same when the guest has gone to sleep in between.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn call_after_a_pause(bencher: divan::Bencher<'_, '_>) {
    let mut compartment = start();
    let arguments = [1, 0, 0, 0, 2, 0, 0, 0];
    let mut result = Vec::new();
    bencher
        .with_inputs(|| std::thread::sleep(Duration::from_millis(3)))
        .bench_local_refs(|()| compartment.call_into("add", &arguments, &mut result).expect("a result"));
}

/// Bytes there and back.
#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20], sample_count = 100, sample_size = 20)]
fn echo(bencher: divan::Bencher<'_, '_>, bytes: usize) {
    let mut compartment = start();
    let arguments = cofferdam_wire::encode(&(vec![7_u8; bytes],)).expect("small");
    let mut result = Vec::new();
    bencher.bench_local(|| compartment.call_into("echo", &arguments, &mut result).expect("a result"));
}

/// A start up to the answer of the first call.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn start_and_first_call(bencher: divan::Bencher<'_, '_>) {
    bencher.with_inputs(built).bench_local_values(|_| {
        let mut compartment = start();
        compartment.call_typed::<_, u32>("add", &(1_u32, 2_u32)).expect("a result");
        compartment
    });
}

/// A call that gets a fresh guest, where a spare stands ready.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn call_of_a_spare(bencher: divan::Bencher<'_, '_>) {
    let (guest, host, plan) = built();
    let options = StartOptions { calls_max: Some(1), spare: true, ..StartOptions::default() };
    let log = AuditLog::discard();
    let ambient = ambient_authority();
    let mut compartment =
        ProcessCompartment::start_with_ambient(host, plan, guest, &root(), &log, options, ambient)
            .unwrap_or_else(|error| panic!("{error}"));
    let arguments = [1, 0, 0, 0, 2, 0, 0, 0];
    let mut result = Vec::new();
    bencher
        .with_inputs(|| std::thread::sleep(Duration::from_millis(50)))
        .bench_local_refs(|()| compartment.call_into("add", &arguments, &mut result).expect("a result"));
}

/// Floor: a static program that ends at once.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn floor_run_a_program(bencher: divan::Bencher<'_, '_>) {
    let (guest, ..) = built();
    bencher.bench_local(|| {
        let run = || {
            Command::new(guest)
                .stdin(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status()
        };
        run().expect("it ends at once, without a host")
    });
}

/// Floor: one word there and back between two threads that spin.
#[divan::bench(sample_count = 200, sample_size = 1000)]
fn floor_spinning_word(bencher: divan::Bencher<'_, '_>) {
    static WORD: AtomicU64 = AtomicU64::new(0);
    const END: u64 = u64::MAX;
    WORD.store(0, Ordering::SeqCst);
    let other = std::thread::spawn(|| {
        loop {
            let word = WORD.load(Ordering::Acquire);
            if word == END {
                return;
            }
            if word % 2 == 1 {
                WORD.store(word + 1, Ordering::Release);
            }
            std::hint::spin_loop();
        }
    });
    bencher.bench_local(|| {
        let asked = WORD.load(Ordering::Acquire) + 1;
        WORD.store(asked, Ordering::Release);
        while WORD.load(Ordering::Acquire) == asked {
            std::hint::spin_loop();
        }
    });
    WORD.store(END, Ordering::SeqCst);
    other.join().expect("it only counts");
}

fn main() {
    divan::main();
}
