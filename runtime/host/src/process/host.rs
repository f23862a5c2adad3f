//! The launcher, and where it is found.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ambient_authority::AmbientAuthority;
use cofferdam_wire::order::LAUNCHER;

use super::error::StartError;
use super::groups::{CONTROL_GROUP_VARIABLE, Groups};
use super::program::{Programs, seal};
use super::server::Server;

/// The environment variable that names a launcher, before any other place is looked at.
pub const LAUNCHER_VARIABLE: &str = "COFFERDAM_LAUNCHER";

/// Whether this program can be its own launcher.
static IS_LAUNCHER: AtomicBool = AtomicBool::new(false);

/// Makes a program its own launcher: it starts itself again for process compartments, and does in that process what a launcher does.
/// Then no other file is needed, on this machine or where the program is shipped to.
///
/// To be called first in `main`, before there is any other thread; in a process that was started as a launcher it returns when that has
/// done its work, and in every other at once:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(code) = cofferdam::process::run_as_launcher() {
///         return code;
///     }
///     // The program itself: `ProcessHost::find_ambient` finds it.
///     ExitCode::SUCCESS
/// }
/// ```
pub fn run_as_launcher() -> Option<ExitCode> {
    let done = cofferdam_launcher::run_if_asked();
    IS_LAUNCHER.store(done.is_none(), Ordering::Relaxed);
    done
}

/// Starts process compartments. One per program is enough.
#[derive(Debug)]
pub struct ProcessHost {
    pub(super) launcher: OwnedFd,
    pub(super) spin_pauses: u32,
    pub(super) programs: Programs,
    pub(super) server: Option<Arc<Server>>,
    pub(super) groups: Option<Arc<Groups>>,
}

impl ProcessHost {
    /// Finds the launcher: where [`LAUNCHER_VARIABLE`] says; this program itself, if it called [`run_as_launcher`]; beside this program, also when this program is a test, an example or a
    /// bench in a build folder; in `libexec` beside this program's folder; among the programs that Cargo installed.
    ///
    /// # Errors
    /// When it is in none of these places, or cannot be opened. As [`ProcessHost::with_control_groups_ambient`] when
    /// [`CONTROL_GROUP_VARIABLE`] names a folder.
    ///
    /// # Authority
    /// Reads `COFFERDAM_LAUNCHER`, `COFFERDAM_CGROUP`, `CARGO_HOME` and `HOME`, the path of this program, and opens the launcher.
    pub fn find_ambient(ambient: AmbientAuthority) -> Result<Self, StartError> {
        let host = Self::find_launcher_ambient(ambient)?;
        match std::env::var_os(CONTROL_GROUP_VARIABLE) {
            Some(folder) => host.with_control_groups_ambient(Path::new(&folder), ambient),
            None => Ok(host),
        }
    }

    fn find_launcher_ambient(ambient: AmbientAuthority) -> Result<Self, StartError> {
        let variable = std::env::var_os(LAUNCHER_VARIABLE);
        if variable.is_none() && IS_LAUNCHER.load(Ordering::Relaxed) {
            // By this name it is the file that runs, also when it was replaced meanwhile.
            return Self::from_path_ambient(Path::new("/proc/self/exe"), ambient);
        }
        let places = places(
            variable.as_deref(),
            std::env::current_exe().ok().as_deref(),
            std::env::var_os("CARGO_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(std::env::home_dir()?.join(".cargo"))),
        );
        match places.iter().find(|place| place.is_file()) {
            Some(place) => Self::from_path_ambient(place, ambient),
            None => Err(StartError::NoLauncher { looked_for: places }),
        }
    }

    /// Uses the launcher at a path.
    ///
    /// # Errors
    /// When it cannot be opened.
    ///
    /// # Authority
    /// Opens the file.
    pub fn from_path_ambient(path: &Path, _: AmbientAuthority) -> Result<Self, StartError> {
        match File::open(path) {
            Ok(file) => Ok(Self::new(file.into())),
            Err(source) => Err(StartError::Launcher { path: path.display().to_string(), source }),
        }
    }

    /// Uses a launcher that the program carries in itself: `include_bytes!` of a built launcher.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StartError> {
        match seal(bytes) {
            Ok(launcher) => Ok(Self::new(launcher)),
            Err(source) => Err(StartError::Launcher { path: "embedded bytes".to_owned(), source }),
        }
    }

    /// Gives each guest a control group in a folder of cgroup v2 that is delegated to this user, and bounds there its memory and processes
    /// together, as far as the folder has the controllers.
    ///
    /// # Errors
    /// When it is no such folder, or no groups can be made in it.
    ///
    /// # Authority
    /// Makes and removes folders there, switches its controllers on for them, and moves processes that it starts into them.
    pub fn with_control_groups_ambient(
        mut self,
        folder: &Path,
        _: AmbientAuthority,
    ) -> Result<Self, StartError> {
        let groups =
            Groups::open(folder).map_err(|message| StartError::Host { edge: "host".to_owned(), message })?;
        self.groups = Some(Arc::new(groups));
        Ok(self)
    }

    /// The controllers that bound guests beside resource limits; `None` where no control groups were asked for.
    pub fn control_groups(&self) -> Option<&[&'static str]> {
        self.groups.as_deref().map(Groups::controllers)
    }

    /// Starts a launcher for each guest, instead of one that stays and has processes ready. A start takes longer; between starts there is
    /// no process of the host's beside its guests.
    #[must_use]
    pub fn without_server(mut self) -> Self {
        self.server = None;
        self
    }

    /// Has the launcher begin, which takes milliseconds, while something else is done first.
    #[cfg(feature = "wasm")]
    pub(crate) fn prepare(self: &Arc<Self>) {
        let Some(server) = self.server.as_ref().filter(|server| server.is_idle()) else { return };
        let (host, server) = (Arc::clone(self), Arc::clone(server));
        let begin = move || server.begin(&host.launcher);
        // Where no thread can be made, it begins when it is asked.
        let _ = std::thread::Builder::new().name("cofferdam-begin".to_owned()).spawn(begin);
    }

    fn new(launcher: OwnedFd) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // On one processor the other side cannot answer while this one spins.
        let spin_pauses = if processors > 1 { cofferdam_wire::limits::SPIN_PAUSES_MAX } else { 0 };
        Self {
            launcher,
            spin_pauses,
            programs: Programs::default(),
            server: Some(Arc::default()),
            groups: None,
        }
    }
}

/// Where a launcher may be, in this order. A variable that is set excludes every other place: who names one wants that one.
fn places(variable: Option<&OsStr>, program: Option<&Path>, cargo_home: Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(named) = variable {
        return vec![PathBuf::from(named)];
    }
    let mut places = Vec::new();
    if let Some(folder) = program.and_then(Path::parent) {
        places.push(folder.join(LAUNCHER));
        let build = folder.file_name().is_some_and(|name| name == "deps" || name == "examples");
        if let (true, Some(above)) = (build, folder.parent()) {
            places.push(above.join(LAUNCHER));
        }
        if let Some(above) = folder.parent() {
            places.push(above.join("libexec").join(LAUNCHER));
        }
    }
    places.extend(cargo_home.map(|home| home.join("bin").join(LAUNCHER)));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_is_looked_for_beside_programs_tests_and_examples() {
        let found = |program: &str| {
            let home = Some(PathBuf::from("/home/a/.cargo"));
            let places = places(None, Some(Path::new(program)), home);
            places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let cargo = "/home/a/.cargo/bin/cofferdam-launcher";
        assert_eq!(
            found("/w/target/debug/deps/test-1"),
            format!(
                "/w/target/debug/deps/cofferdam-launcher /w/target/debug/cofferdam-launcher \
                 /w/target/debug/libexec/cofferdam-launcher {cargo}"
            )
        );
        assert_eq!(
            found("/usr/bin/app"),
            format!("/usr/bin/cofferdam-launcher /usr/libexec/cofferdam-launcher {cargo}")
        );
        let named = places(Some(OsStr::new("/opt/l")), Some(Path::new("/usr/bin/app")), None);
        assert_eq!(named, [PathBuf::from("/opt/l")]);
    }

    #[test]
    fn a_missing_launcher_says_where_it_was_looked_for_and_what_to_do() {
        let error = StartError::NoLauncher { looked_for: vec![PathBuf::from("/a/b")] };
        let text = error.to_string();
        assert!(text.contains("`/a/b`") && text.contains("cargo install --path runtime/launcher"), "{text}");
    }
}
