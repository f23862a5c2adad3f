//! What does a sandbox cost a program that does real work in it?
#![allow(missing_docs, reason = "a bench names itself")]

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use cofferdam_benches::Promise::TimesAtMost;
use cofferdam_benches::guests::{App, LIMITS, root};
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
    let apps = ["process", "wasm", "inline"].map(open);
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
            ],
            &[Some(TimesAtMost(1.05)), None],
        );
    }
    drop(apps);
    if group.wants("the whole thumbnailer") {
        thumbnailer(&mut group);
    }
    group.end();
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
