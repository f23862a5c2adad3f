//! The launcher as a program of its own, for hosts that do not carry it in themselves.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_launcher::run()
}
