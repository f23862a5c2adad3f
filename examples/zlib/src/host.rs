//! Compresses and decompresses files with zlib in a process compartment, and compares each byte with zlib outside of it.
//!
//! `zlib GUEST FILE...`: the path of the built guest, and files. Exits with an error if a byte differs.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::manifest::resolve;
use cofferdam::process::{ProcessCompartment, ProcessHost};
use cofferdam::{AuditLog, load_file_ambient, plan};
use cofferdam_example_zlib::compress;

fn main() -> ExitCode {
    // This program is its own launcher: nothing else has to be built or found.
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that is left to say it with.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let ambient = ambient_authority();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let guest = arguments.next().ok_or("usage: zlib GUEST FILE...")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load_file_ambient(&folder.join("capabilities.toml"), ambient)?;
    let resolution = resolve(&loaded.project);
    let graph = resolution.granted(&loaded.project).ok_or("the manifest does not resolve")?;
    let plan = plan(&loaded.project, &graph)?;
    let host = ProcessHost::find_ambient(ambient)?;
    let log = AuditLog::discard();
    let mut zlib =
        ProcessCompartment::start_ambient(&host, &plan.compartments[0], &guest, folder, &log, ambient)?;

    let mut out = std::io::stdout().lock();
    for path in arguments {
        let bytes = std::fs::read(&path)?;
        for level in [1, 6, 9] {
            let inside: Result<Vec<u8>, String> = zlib.call_typed("compress", &(&bytes, level))?;
            let inside = inside?;
            if inside != compress(&bytes, level)? {
                return Err(format!("{}: level {level} differs", path.display()).into());
            }
            let back: Result<Vec<u8>, String> =
                zlib.call_typed("decompress", &(&inside, bytes.len() as u64))?;
            if back? != bytes {
                return Err(format!("{}: it does not come back from level {level}", path.display()).into());
            }
            writeln!(
                out,
                "{} at level {level}: {} bytes -> {}, identical",
                path.display(),
                bytes.len(),
                inside.len()
            )?;
        }
    }
    Ok(())
}
