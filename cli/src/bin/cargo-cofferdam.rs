//! `cargo cofferdam`: Cargo calls this program with its own subcommand's name in front of the arguments.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "cofferdam") {
        arguments.remove(1);
    }
    cofferdam_cli::run(arguments, ambient_authority::ambient_authority())
}
