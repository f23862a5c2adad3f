//! The commands `cofferdam` and `cargo cofferdam`.
//!
//! Each verb is a stage of the pipeline: `check` resolves, `explain` and `graph` read the resolution, `plan` lowers it.
//! Nothing is decided here. The library exists so that both binaries, and the tests, share one implementation; its API is
//! not meant for others.

#![forbid(unsafe_code)]
#![expect(
    clippy::cast_precision_loss,
    reason = "a drawing has few enough parts to be placed in floating point"
)]

mod arguments;
mod audit;
mod build;
mod cache;
mod call;
mod check;
mod code;
mod compiled;
mod diff;
mod doctor;
mod document;
mod exit;
mod explain;
mod fix;
mod graph;
mod init;
mod inspect;
mod new;
mod plan;
mod profile;
mod progress;
mod reach;
mod record;
mod render;
mod report;
mod run;
mod sarif;
mod selftest;
mod setup;
mod source;
mod subject;
mod why;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use ambient_authority::AmbientAuthority;
use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, Color, Command};
pub use exit::Exit;

/// Why a command stops early.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// Everything is said already.
    #[error("")]
    Said(Exit),
    /// The command line names something that is not there.
    #[error("{0}")]
    Usage(String),
    /// A file of ours is invalid.
    #[error("{0}")]
    Invalid(String),
    /// A file cannot be read.
    #[error("cannot read `{0}`: {1}")]
    Read(String, #[source] io::Error),
    /// A component cannot start.
    #[error(transparent)]
    Start(#[from] cofferdam::wasm::StartError),
    /// A call has no result.
    #[error(transparent)]
    Call(#[from] cofferdam::wasm::CallError),
    /// There is no compiler for guests, or a guest does not compile.
    #[error(transparent)]
    Toolchain(#[from] cofferdam_toolchain::ToolchainError),
    /// A file cannot be written.
    #[error("cannot write `{0}`: {1}")]
    Write(String, #[source] io::Error),
    /// Standard output is gone or full.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Sources cannot be read at all.
    #[error(transparent)]
    Audit(#[from] cofferdam_audit::AuditError),
    /// The code cannot be built, or what was built cannot be read.
    #[error(transparent)]
    Build(#[from] cofferdam_audit::BuildError),
    /// A table of ours is wrong.
    #[error(transparent)]
    Table(#[from] cofferdam_audit::TableError),
    /// A page of ours is wrong.
    #[error(transparent)]
    Page(#[from] cofferdam::manifest::PageError),
    /// A document of ours cannot be written.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs one command. The first argument is the program's name.
///
/// # Authority
/// The caller's, for reading manifests, running `cargo metadata`, and writing what the user asked to be written.
pub fn run(arguments: Vec<OsString>, ambient: AmbientAuthority) -> ExitCode {
    // Cargo starts this program in place of the compiler while it builds what is to be looked at.
    if let Some(code) = cofferdam_audit::judge::run_ambient(&arguments, ambient) {
        return code;
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    match arguments.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    match dispatch(arguments.command, ambient) {
        Ok(exit) => exit.into(),
        Err(stop) => end(&stop).into(),
    }
}

/// Says why a command stopped.
fn end(stop: &Stop) -> Exit {
    let exit = match stop {
        Stop::Said(exit) => return *exit,
        // Whoever reads our output may stop reading: `cofferdam graph | head`. Nothing is said, but it is no success: `check` had not judged.
        Stop::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Unread,
        Stop::Output(_) | Stop::Write(..) => Exit::Unread,
        Stop::Usage(_) => Exit::Usage,
        Stop::Invalid(_) | Stop::Build(_) | Stop::Read(..) => Exit::Invalid,
        Stop::Toolchain(error) => build::exit_of(error),
        Stop::Start(error) => call::exit_of_start(error),
        Stop::Call(error) => call::exit_of_call(error),
        Stop::Audit(_) | Stop::Table(_) | Stop::Page(_) | Stop::Json(_) => Exit::Bug,
    };
    let _ = writeln!(anstream::stderr(), "{}", render::plain_error(&stop.to_string()));
    exit
}

fn dispatch(command: Command, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    match command {
        Command::Build(arguments) => build::run(&arguments, ambient),
        Command::Setup(arguments) => setup::run(&arguments, ambient),
        Command::Check(arguments) => check::run(&arguments, ambient),
        Command::Explain(arguments) => explain::run(&arguments, ambient),
        Command::Audit(arguments) => audit::run(&arguments, ambient),
        Command::Why(arguments) => why::run(&arguments, ambient),
        Command::Report(arguments) => report::run(&arguments, ambient),
        Command::Diff(arguments) => diff::run(&arguments, ambient),
        Command::Init(arguments) => init::run(&arguments, ambient),
        Command::New(arguments) => new::run(&arguments, ambient),
        Command::Graph(arguments) => graph::run(&arguments, ambient),
        Command::Plan(arguments) => plan::run(&arguments, ambient),
        Command::Call(arguments) => call::run(&arguments, ambient),
        Command::Inspect(arguments) => inspect::run(&arguments, ambient),
        Command::Run(arguments) => run::run(&arguments, ambient),
        Command::Cache(arguments) => cache::run(&arguments, ambient),
        Command::Doctor => doctor::run(ambient),
        Command::Selftest(arguments) => selftest::run(&arguments, ambient),
        Command::Schema { of } => document::print_schema(of),
        Command::Completions { shell } => {
            let mut completions = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "cofferdam", &mut completions);
            io::stdout().write_all(&completions)?;
            Ok(Exit::Ok)
        }
        Command::Man { folder } => {
            clap_mangen::generate_to(Arguments::command(), &folder)
                .map_err(|error| Stop::Write(folder.display().to_string(), error))?;
            Ok(Exit::Ok)
        }
    }
}
