//! Starts a hostile guest in a process compartment, lets it try everything, and shows what stopped it.
//!
//! `hostile GUEST`: the path of the built guest. Exits with 1 if any attempt succeeds.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::manifest::resolve;
use cofferdam::process::{CallError, ProcessCompartment, ProcessHost};
use cofferdam::{AuditLog, load_file_ambient, plan};

fn main() -> ExitCode {
    // This program is its own launcher: nothing else has to be built or found.
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    run().unwrap_or_else(|error| {
        // A standard error that is gone leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let ambient = ambient_authority();
    let guest = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: hostile GUEST")?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load_file_ambient(&folder.join("capabilities.toml"), ambient)?;
    let resolution = resolve(&loaded.project);
    let graph = resolution.granted(&loaded.project).ok_or("the manifest does not resolve")?;
    let plan = plan(&loaded.project, &graph)?;
    let host = ProcessHost::find_ambient(ambient)?;
    let log = AuditLog::discard();
    let mut guest =
        ProcessCompartment::start_ambient(&host, &plan.compartments[0], &guest, folder, &log, ambient)?;

    let mut out = std::io::stdout().lock();
    let attempts: Vec<String> = guest.call_typed("attempts", &())?;
    let (mut stopped, mut reported) = (0, 0);
    for name in &attempts {
        let outcome = match guest.call_typed::<(), i64>(name, &()) {
            Err(error @ CallError::Violation { .. }) => {
                reported += 1;
                stopped += 1;
                error.to_string()
            }
            Ok(result) if result < 0 => {
                stopped += 1;
                let number = i32::try_from(-result).unwrap_or(0);
                format!("answered with an error: {}", std::io::Error::from_raw_os_error(number))
            }
            Ok(result) => format!("SUCCEEDED with {result}"),
            Err(error) => {
                stopped += 1;
                error.to_string()
            }
        };
        writeln!(out, "{name}\n    {outcome}")?;
        // The guest was killed for it; the next call has a fresh one, which still holds its grant.
        let note: Result<String, String> = guest.call_typed("read-note", &())?;
        note.map_err(|error| format!("after `{name}` the granted file cannot be read: {error}"))?;
    }
    writeln!(
        out,
        "\n{stopped} of {} attempts stopped, {reported} of them reported as violations",
        attempts.len()
    )?;
    Ok(if stopped == attempts.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
