//! `cofferdam`: the command by its own name.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    cofferdam_cli::run(std::env::args_os().collect(), ambient_authority::ambient_authority())
}
