//! Calls `@NAME@` over its edge. Where that runs, `capabilities.toml` says.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::{Runtime, edge};

/// The folder that Cargo builds in, where `cofferdam build` puts components too.
const TARGET: &str = match option_env!("CARGO_TARGET_DIR") {
    Some(folder) => folder,
    None => "target",
};

fn main() -> ExitCode {
    // This program is its own launcher of process compartments: it starts itself again for them.
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // The one place where this program's own authority is handed on: to the runtime, for what the manifest says.
    let ambient = ambient_authority();
    let runtime = Runtime::from_file_ambient("capabilities.toml", ambient)?
        .components_in(Path::new(TARGET).join("cofferdam/components"))
        .start_ambient(ambient)?;
    let @IDENT@ = @IDENT@::@TYPE@::open(runtime.edge(edge!("@NAME@"))?)?;
    @CALL@
    Ok(())
}
