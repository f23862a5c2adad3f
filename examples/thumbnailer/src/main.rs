//! Thumbnails and a contact sheet of a folder of pictures. Every file is strange until it was decoded, so every step has its own
//! compartment, with what the manifest grants it.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "this is a program for people")]

mod arguments;
mod development;
mod guests;
mod meter;
mod orders;
mod pipeline;
mod service;
mod sheet;
mod table;

use std::error::Error;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::wasm::CodeCache;
use cofferdam::{AuditLog, Runtime};

use arguments::Arguments;
use development::Manifest;
use meter::Meter;
use orders::Orders;
use pipeline::{Outcome, Parts};
use service::Service;

fn main() -> ExitCode {
    // This program is its own launcher: nothing else has to be built or found.
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    match run(&Arguments::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether two paths lead to one folder.
fn same(one: &Path, other: &Path) -> Result<bool, Box<dyn Error>> {
    let real =
        |path: &Path| std::fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()));
    Ok(real(one)? == real(other)?)
}

/// Prints a line. Whoever reads it may stop reading, as `head` does: the pictures are made all the same.
fn say(line: &str) -> Result<(), Box<dyn Error>> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // The one place where this program's own authority is handed on.
    let ambient = ambient_authority();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Before anything is compiled: what cannot be read, or would be written over, is said at once.
    let mut files = pipeline::files(&arguments.photos)?;
    std::fs::create_dir_all(&arguments.out)
        .map_err(|error| format!("--out {}: {error}", arguments.out.display()))?;
    if same(&arguments.photos, &arguments.out)? {
        let out = arguments.out.display();
        return Err(
            format!("--out {out}: that is the folder with the pictures; thumbnails go into another").into()
        );
    }
    let manifest = Manifest::read(&folder.join("capabilities.toml"), arguments)?;
    let builder = Runtime::from_project(&manifest.project()?, folder)?;
    let guests = guests::prepare_ambient(builder.plan(), folder, ambient)?;
    let log = arguments.out.join("audit.jsonl");
    let log_file = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let runtime = builder
        .components_in(&guests.components)
        .cache(CodeCache::open_ambient(&guests.compiled, ambient)?)
        .audit(AuditLog::to_writer(log_file))
        .start_ambient(ambient)?;

    let service = Service::start(&folder.join("network"))?;
    let evil = arguments.out.join("evil");
    let orders = arguments.evil.then(|| Orders::write(&evil)).transpose();
    let orders = orders.map_err(|error| format!("{}: {error}", evil.display()))?;
    files.extend(orders.iter().flat_map(|orders| orders.pictures.clone()));
    let meter = Meter::default();
    let parts = Parts::open(&runtime, &meter, arguments.evil)?;
    let outcomes = parts.all(&files, &service.addresses);

    for outcome in &outcomes {
        match outcome {
            Outcome::Card { name, picture, .. } => {
                let mut file = name.clone();
                file.push(".png");
                sheet::write(&arguments.out.join(file), picture)?;
            }
            Outcome::Failed { name, why } => say(&format!("{name}: no thumbnail: {why}"))?,
        }
    }
    let sheet = arguments.out.join("contact-sheet.png");
    let cards: Vec<_> = outcomes.iter().filter_map(Outcome::card).collect();
    sheet::write(&sheet, &sheet::compose(&cards))?;
    if let Some(orders) = &orders {
        say(&format!("\n{}", orders.report()?))?;
    }
    say(&format!("\n{}", table::draw(&runtime, &meter)))?;
    say(&format!("{} of {} pictures are on {}", cards.len(), outcomes.len(), sheet.display()))?;
    say(&format!("what was granted, refused and stopped is in {}", log.display()))
}
