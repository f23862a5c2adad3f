//! What does a start cost: of a guest, of the spare one, and of a whole program up to its first answer?
#![allow(missing_docs, reason = "a bench names itself")]

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::process::{ProcessCompartment, ProcessHost, StartOptions};
use cofferdam::{AuditLog, CompartmentPlan, Runtime};
use cofferdam_benches::Promise::{MicrosAtMost, TimesAtMost};
use cofferdam_benches::floors::{ENDS_AT_ONCE, filter_of, in_memory, raw_start};
use cofferdam_benches::guests::{built, built_at, launcher, on_path, root};
use cofferdam_benches::{Group, Side, after_pause, micros, side, side_itself};

const MANIFEST: &str = "[crates.bench]\ndependencies = [\"measured\"]\n[crates.measured.compartment]\n\
                        backend = \"process\"\nlimits = { memory = \"256MiB\" }\n";
/// Instructions of the filter of a guest that is granted nothing, about.
const FILTER: usize = 250;

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    if let Some(group) = Group::begin("starts", "What does a start cost?") {
        measure(group);
    }
    ExitCode::SUCCESS
}

struct Guest {
    plan: CompartmentPlan,
    program: std::path::PathBuf,
    /// The same program, as one that a shell would run.
    runnable: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Guest {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = folder.path().join("capabilities.toml");
        std::fs::write(&manifest, MANIFEST).expect("writable");
        let builder = Runtime::from_file_ambient(&manifest, ambient_authority()).expect("right");
        let (program, runnable) = (built_at("measured", "process"), folder.path().join("guest"));
        std::fs::copy(&program, &runnable).expect("writable");
        std::fs::set_permissions(&runnable, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("ours");
        Self { plan: builder.plan().compartments[0].clone(), program, runnable, _folder: folder }
    }

    fn start(&self, host: &ProcessHost, options: StartOptions) -> ProcessCompartment {
        let (log, root, ambient) = (AuditLog::discard(), root(), ambient_authority());
        ProcessCompartment::start_with_ambient(host, &self.plan, &self.program, &root, &log, options, ambient)
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

fn ask(guest: &mut ProcessCompartment) {
    let sum: u64 = guest.call_typed("acme:measured/api@0.1.0#add", &(1_u64, 2_u64)).expect("answers");
    assert_eq!(sum, 3);
}

fn measure(mut group: Group) {
    let guest = Guest::new();
    let host = || ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it was just made");
    let program = in_memory(&std::fs::read(&guest.program).expect("it was just made"));
    let filter = filter_of(FILTER);
    let (served, alone) = (host(), host().without_server());
    let fresh = |host: &ProcessHost| ask(&mut guest.start(host, StartOptions::default()));
    let pause = Duration::from_millis(30);
    let mut sides = vec![
        side("a start, its first call and its end", || fresh(&served)),
        // The launcher makes the next namespaces ready after it has answered: not while this is measured.
        after_pause("raw: a clone with the same namespaces, a filter, exec, end", pause, || {
            raw_start(&program, &filter);
        }),
        side("raw: vfork, exec, end", || {
            let mut command = Command::new(&guest.runnable);
            let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it starts");
            assert_eq!(status.code(), Some(ENDS_AT_ONCE));
        }),
        side("without the launcher that stays", || fresh(&alone)),
    ];
    let bubblewrap = bubblewrap(&guest.runnable);
    let lacks = if bubblewrap.is_some() { "" } else { " (bubblewrap is not on this machine)" };
    sides.extend(bubblewrap);
    group.turns(
        &format!("starts that follow each other{lacks}"),
        20,
        8,
        sides,
        &[Some(TimesAtMost(1.3)), None, None, Some(TimesAtMost(1.0))],
    );
    group.turns(
        "a start and its first call, when the launcher had time to make the next namespaces ready",
        40,
        1,
        vec![after_pause("a start", pause, || {
            let mut guest = guest.start(&served, StartOptions::default());
            ask(&mut guest);
            // Its end is not counted, and happens on a thread of its own.
            std::thread::spawn(move || drop(guest));
        })],
        &[None],
    );
    let options = StartOptions { calls_max: Some(1), spare: true, ..StartOptions::default() };
    let mut spare = guest.start(&served, options);
    group.turns(
        "a call that gets a fresh guest from the spare",
        40,
        1,
        vec![after_pause("a call", pause, || ask(&mut spare))],
        &[Some(MicrosAtMost(200.0))],
    );
    drop(spare);
    for (backend, most) in [("wasm", 30_000.0), ("process", 10_000.0)] {
        first_answer(&mut group, backend, most);
    }
    group.end();
}

/// The same program in a sandbox that many use by hand.
fn bubblewrap(program: &Path) -> Option<Side<'_>> {
    let bwrap = on_path("bwrap")?;
    Some(side("bubblewrap: all namespaces, one program, end", move || {
        let mut command = Command::new(&bwrap);
        command
            .args(["--unshare-all", "--die-with-parent", "--ro-bind"])
            .arg(program)
            .args(["/guest", "/guest"]);
        let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it starts");
        assert_eq!(status.code(), Some(ENDS_AT_ONCE), "the program ran in it");
    }))
}

/// From the start of a program to its end, with everything compiled.
fn first_answer(group: &mut Group, backend: &str, most: f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = MANIFEST.replace("\"process\"", &format!("\"{backend}\""));
    std::fs::write(folder.path().join("capabilities.toml"), text).expect("writable");
    let components = folder.path().join("components");
    std::fs::create_dir(&components).expect("writable");
    let name = built_at("measured", backend).file_name().expect("a file").to_owned();
    std::fs::write(components.join(name), built("measured", backend)).expect("writable");
    let run = || {
        let began = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_first-answer")).arg(folder.path()).status();
        assert!(status.expect("it was built").success());
        micros(began.elapsed())
    };
    run();
    group.turns(
        &format!("a program from its start to the first answer of a {backend} compartment, and its end"),
        40,
        1,
        vec![side_itself("a program", |_| run())],
        &[Some(MicrosAtMost(most))],
    );
}
