//! Gets a toolchain for guests: rustup's, else Debian's packages.

use std::path::PathBuf;
use std::process::Command;

use ambient_authority::AmbientAuthority;

use crate::command::Run;
use crate::debian::{self, Parts};
use crate::limits::RUSTUP_TIME_MAX;
use crate::progress::{Progress, Tell};
use crate::{Settings, Toolchain, ToolchainError, find, lock};

/// What to get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetupRequest {
    /// Also what compiles C in guests, where it does not come with Rust.
    pub c: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct SetupReport {
    /// What is there now.
    pub toolchain: Toolchain,
    /// Whether anything had to be done.
    pub changed: bool,
    /// What rustup answered, when it was asked and did not do it.
    pub rustup: Option<String>,
}

/// Gets what is missing, and nothing that is there. Two at once are safe: the second waits for the first, and then finds its
/// work done. What was interrupted goes on where it stopped.
///
/// # Errors
/// When no way to get a toolchain works here; the error says what each way answered.
///
/// # Authority
/// Runs `rustup`, `apt-get`, `dpkg-deb`, Cargo and compilers; uses the network through them; writes below the cache folder, and
/// through `rustup` a target into the installed toolchain.
pub fn setup_ambient(
    settings: &Settings,
    request: SetupRequest,
    tell: &mut dyn FnMut(Progress<'_>),
    _: AmbientAuthority,
) -> Result<SetupReport, ToolchainError> {
    if let Some(toolchain) = enough(settings, request)? {
        return Ok(SetupReport { toolchain, changed: false, rustup: None });
    }
    settings.make_cache()?;
    let waiting = "another setup is running; waiting for it to end";
    let _held = lock::hold(&settings.cache.join("setup.lock"), waiting, tell)?;
    if let Some(toolchain) = enough(settings, request)? {
        return Ok(SetupReport { toolchain, changed: false, rustup: None });
    }
    let mut answer = None;
    if settings.installed_rust && find_rust(settings)?.is_none() {
        answer = add_target(settings, tell).err();
        if let Some(answer) = &answer {
            tell(Progress::Note(answer));
        }
    }
    let parts = match find_rust(settings)? {
        None => Some(Parts::RustAndC),
        Some(found) if request.c && found.c_compiler().is_none() => Some(Parts::C),
        Some(_) => None,
    };
    if let Some(parts) = parts {
        debian::install(settings, parts, tell).map_err(|error| no_route(error, answer.as_deref()))?;
    }
    let toolchain = find::find(settings)?;
    Ok(SetupReport { toolchain, changed: true, rustup: answer })
}

fn find_rust(settings: &Settings) -> Result<Option<Toolchain>, ToolchainError> {
    match find::find(settings) {
        Ok(toolchain) => Ok(Some(toolchain)),
        Err(ToolchainError::Missing { .. } | ToolchainError::Start { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The toolchain, when nothing that is asked for is missing.
fn enough(settings: &Settings, request: SetupRequest) -> Result<Option<Toolchain>, ToolchainError> {
    Ok(find_rust(settings)?.filter(|found| !request.c || found.c_compiler().is_some()))
}

/// Has rustup add the target; its answer when it does not.
fn add_target(settings: &Settings, tell: Tell<'_>) -> Result<(), String> {
    tell(Progress::Step("rustup target add wasm32-wasip2"));
    let mut command = Command::new(&settings.programs.rustup);
    command.args(["target", "add", "wasm32-wasip2"]).current_dir(&settings.folder);
    let run = Run { what: "rustup", limit: Some(RUSTUP_TIME_MAX), inherit_stderr: false };
    match run.succeed(&mut command, &mut |_| {}) {
        Ok(_) => Ok(()),
        Err(ToolchainError::Start { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err("there is no rustup".to_owned())
        }
        Err(ToolchainError::Failed { said, .. }) => Err(format!("rustup answers: {}", last_line(&said))),
        Err(error) => Err(error.to_string()),
    }
}

fn last_line(said: &str) -> &str {
    said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing")
}

/// Where the system is no Debian, that is the answer, and not that some program is missing.
fn no_route(error: ToolchainError, rustup: Option<&str>) -> ToolchainError {
    let debian = match &error {
        ToolchainError::Start { program, source } if source.kind() == std::io::ErrorKind::NotFound => {
            let program = PathBuf::from(program);
            format!("there is no `{}`: this is no Debian system", program.display())
        }
        ToolchainError::NoPackage { .. } => error.to_string(),
        _ => return error,
    };
    ToolchainError::NoRoute { rustup: rustup.unwrap_or("rustup was not asked").to_owned(), debian }
}
