//! `cofferdam`: the command by its own name.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_cli::run(std::env::args_os().collect(), ambient_authority::ambient_authority())
}
