//! What does a sandbox cost a program that does real work in it?
#![allow(missing_docs, reason = "a bench names itself")]

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use ambient_authority::ambient_authority;
use cofferdam::process::{ProcessCompartment, ProcessHost};
use cofferdam::{AuditLog, Runtime};
use cofferdam_benches::Promise::TimesAtMost;
use cofferdam_benches::guests::{App, LIMITS, launcher, root, static_program};
use cofferdam_benches::{Group, micros, side, side_itself};
use jpeg_decode::Decode;

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    if let Some(group) = Group::begin("work", "What does a sandbox cost a program that does real work in it?")
    {
        measure(group);
    }
    ExitCode::SUCCESS
}

fn photos() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("examples/thumbnailer/photos")).expect("it is there");
    let all = folder.map(|entry| entry.expect("readable").path());
    all.filter(|path| path.extension().is_some_and(|kind| kind == "jpg" || kind == "jpeg")).collect()
}

fn measure(mut group: Group) {
    let open = |backend| {
        let app = App::new("jpeg-decode", backend, LIMITS);
        let decode = Decode::open(app.edge()).unwrap_or_else(|error| panic!("{error}"));
        (app, decode)
    };
    let mut apps = Vec::from(["process", "wasm", "inline"].map(open));
    let speculating = App::speculating("jpeg-decode", LIMITS);
    let decode = Decode::open(speculating.edge()).unwrap_or_else(|error| panic!("{error}"));
    apps.push((speculating, decode));
    for path in photos() {
        let file = std::fs::read(&path).expect("readable");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let decode = |at: usize| {
            let (file, decoder) = (&file, apps[at].1.decoder());
            move || {
                let picture = decoder.decode(file, 40_000_000).expect("answers").expect("a picture");
                assert!(!picture.pixels.is_empty());
            }
        };
        group.turns(
            &format!("{name} ({} KiB) as pixels, by mozjpeg", file.len() >> 10),
            20,
            2,
            vec![
                side("in a process compartment", decode(0)),
                side("unsandboxed", decode(2)),
                side("in a wasm compartment", decode(1)),
                side("in a process without speculation controls", decode(3)),
            ],
            &[Some(TimesAtMost(1.05)), None, None],
        );
    }
    drop(apps);
    if group.wants("by zlib") {
        zlib(&mut group);
    }
    if group.wants("the whole thumbnailer") {
        thumbnailer(&mut group);
    }
    group.end();
}

/// A text of one MiB, there and back: the example's guest, which answers calls without a client.
fn zlib(group: &mut Group) {
    let words = ["process", "wasm", "inline", "grant", "edge", "refused", "memory", "capability", "\n"];
    let mut seed = 1_u32;
    let mut text = String::new();
    while text.len() < 1 << 20 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(words[(seed >> 24) as usize % words.len()]);
        text.push(if seed & 0x1_0000 == 0 { ' ' } else { '-' });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("capabilities.toml");
    let lines = format!(
        "[crates.bench]\ndependencies = [\"zlib\"]\n[crates.zlib.compartment]\nbackend = \"process\"\nlimits = {{ {LIMITS} }}\n"
    );
    std::fs::write(&manifest, lines).expect("writable");
    let ambient = ambient_authority();
    let builder = Runtime::from_file_ambient(&manifest, ambient).unwrap_or_else(|error| panic!("{error}"));
    let host = ProcessHost::from_path_ambient(&launcher(), ambient).expect("it was just made");
    let program = static_program("cofferdam-example-zlib", "zlib-guest", &["--no-default-features"]);
    let (plan, log) = (&builder.plan().compartments[0], AuditLog::discard());
    let mut guest = ProcessCompartment::start_ambient(&host, plan, &program, folder.path(), &log, ambient)
        .unwrap_or_else(|error| panic!("{error}"));
    let bytes = text.as_bytes();
    let alone = || {
        let small = cofferdam_example_zlib::compress(bytes, 6).expect("it has memory");
        let back = cofferdam_example_zlib::decompress(&small, bytes.len() as u64).expect("it is whole");
        assert_eq!(back.len(), bytes.len());
    };
    let inside = || {
        let small: Result<Vec<u8>, String> = guest.call_typed("compress", &(bytes, 6)).expect("answers");
        let small = small.expect("it has memory");
        let back: Result<Vec<u8>, String> =
            guest.call_typed("decompress", &(&small, bytes.len() as u64)).expect("answers");
        assert_eq!(back.expect("it is whole").len(), bytes.len());
    };
    group.turns(
        "a text of 1 MiB packed and unpacked, by zlib",
        20,
        2,
        vec![side("in a process compartment", inside), side("unsandboxed", alone)],
        &[None],
    );
}

/// The example as a program, with its parts where its manifest has them, and with all of them linked in.
fn thumbnailer(group: &mut Group) {
    const PARTS: [&str; 7] =
        ["jpeg-decode", "png-decode", "webp-decode", "resize", "caption", "exif-read", "image-fetch"];
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "-p", "thumbnailer", "--features", "inline"])
        .current_dir(root())
        .status();
    assert!(status.expect("cargo runs the benches").success());
    let out = tempfile::tempdir().expect("a folder");
    let run = |inline: bool| {
        let mut command = Command::new(root().join("target/release/thumbnailer"));
        command.arg("--out").arg(out.path()).stdout(Stdio::null()).stderr(Stdio::null());
        if inline {
            for part in PARTS {
                command.arg("--backend").arg(format!("{part}=inline"));
            }
        }
        let began = Instant::now();
        assert!(command.status().expect("it was just made").success());
        micros(began.elapsed())
    };
    group.turns(
        "the whole thumbnailer, from its start to its end",
        15,
        1,
        vec![
            side_itself("with each part in its compartment", |_| run(false)),
            side_itself("with all parts linked in", |_| run(true)),
        ],
        &[None],
    );
}
