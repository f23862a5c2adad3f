//! Judges what runs in a build before it runs: Cargo starts this in place of the compiler, the compiler compiles, and a build script or
//! procedural macro that reaches what it may not is refused before anybody can start it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use ambient_authority::AmbientAuthority;
use capability_manifest::{Capability, HostCapability};
use serde::{Deserialize, Serialize};

use super::build::{Artifact, Made};
use super::code_graph::CodeGraph;
use super::examine::roots;
use super::facts::{Layer, Uses};
use super::linked::read_program;
use super::literal::Literals;
use super::names::{Crates, Meanings, Spoofed, shown};
use super::record;
use super::sysroot::Sysroot;
use super::walk::{Sight, Walk};
use crate::package::{Graph, Package};
use crate::table::Table;

/// The variable that names the file with a [`Policy`]; a program in whose environment it is stands in for the compiler.
pub const POLICY_VARIABLE: &str = "COFFERDAM_JUDGE";

/// The variable that names the user's own wrapper of the compiler, which is called in turn.
pub(crate) const INNER_VARIABLE: &str = "COFFERDAM_JUDGE_INNER";

/// What may be reached while each package is compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// By `name@version`, the names of capabilities at the build stage. Who is not here may reach nothing.
    pub allowed: BTreeMap<String, BTreeSet<String>>,
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The package, as `name@version`.
    pub package: String,
    /// What of it: its build script, or its procedural macro.
    pub what: String,
    /// The capability; none when it could not be judged at all.
    pub capability: Option<String>,
    /// The functions on the way, and what is used at the end; or why it could not be judged.
    pub way: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusals {
    refused: Vec<Refusal>,
}

impl Policy {
    /// Writes it where the judge will read it, and removes what was refused before.
    ///
    /// # Errors
    /// When the file cannot be written.
    ///
    /// # Authority
    /// Writes `path` and its folder, and removes the refusals beside it.
    pub fn write_ambient(&self, path: &Path, _: AmbientAuthority) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::remove_dir_all(refusals_folder(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::write(path, serde_json::to_string(self).map_err(std::io::Error::other)?)
    }
}

/// What was refused under the policy of a file, in the last build.
///
/// # Authority
/// Reads the folder of refusals beside `policy`.
pub fn refusals_ambient(policy: &Path, _: AmbientAuthority) -> Vec<Refusal> {
    let Ok(folder) = std::fs::read_dir(refusals_folder(policy)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let read = |path: PathBuf| serde_json::from_str::<Refusals>(&std::fs::read_to_string(path).ok()?).ok();
    paths.into_iter().filter_map(read).flat_map(|all| all.refused).collect()
}

fn refusals_folder(policy: &Path) -> PathBuf {
    policy.with_extension("refused")
}

/// The arguments, with those that stand in files (`@file`, one on each line) in their places.
fn expanded(arguments: &[OsString]) -> std::io::Result<Vec<OsString>> {
    let mut all = Vec::new();
    for argument in arguments {
        match argument.to_str().and_then(|text| text.strip_prefix('@')) {
            Some(path) => all.extend(std::fs::read_to_string(path)?.lines().map(OsString::from)),
            None => all.push(argument.clone()),
        }
    }
    Ok(all)
}

/// Whether the compiler was asked for something that runs: without `--emit` it is.
fn links(arguments: &[OsString]) -> bool {
    let mut emitted = arguments.iter().filter_map(|argument| argument.to_str()?.strip_prefix("--emit="));
    emitted.next().is_none_or(|kinds| kinds.split(',').any(|kind| kind.split('=').next() == Some("link")))
}

/// Stands in for the compiler, when the environment says so: `None` when it does not.
///
/// # Authority
/// Runs the compiler that the arguments name. Reads what it made, and removes it when it is refused.
pub fn run_ambient(arguments: &[OsString], ambient: AmbientAuthority) -> Option<ExitCode> {
    let policy = PathBuf::from(std::env::var_os(POLICY_VARIABLE)?);
    let (compiler, rest) = arguments.get(1..)?.split_first()?;
    // A build script that starts this program wants the program. A wrapper for members comes before the compiler.
    let is_compiler = |name: &OsString| {
        let name = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        name.contains("rustc") || name.contains("clippy-driver")
    };
    if !is_compiler(compiler) && !rest.first().is_some_and(is_compiler) {
        return None;
    }
    let mut command = match std::env::var_os(INNER_VARIABLE).filter(|inner| !inner.is_empty()) {
        Some(inner) => {
            let mut command = Command::new(inner);
            command.arg(compiler);
            command
        }
        None => Command::new(compiler),
    };
    let status = match command.args(rest).status() {
        Ok(status) => status,
        Err(error) => return Some(fail(&format!("cannot start `{}`: {error}", compiler.display()))),
    };
    if !status.success() {
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Some(ExitCode::from(code.max(1)));
    }
    // Arguments that are too long for the system come in a file.
    let rest = match expanded(rest) {
        Ok(rest) => rest,
        Err(error) => return Some(fail(&format!("cannot read the compiler's arguments: {error}"))),
    };
    let Some(made) = Compilation::of(&rest) else { return Some(ExitCode::SUCCESS) };
    if !made.path.is_file() {
        if !links(&rest) {
            return Some(ExitCode::SUCCESS);
        }
        let what = format!("{} of `{}`", made.what(), made.package);
        return Some(fail(&format!("{what} cannot be judged: `{}` is not there", made.path.display())));
    }
    let refused = made.judge(&policy, ambient);
    if refused.is_empty() {
        return Some(match record::note(&made, &policy) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot note that {} was judged: {error}", made.what())),
        });
    }
    if let Err(error) = std::fs::remove_file(&made.path) {
        return Some(fail(&format!("cannot remove `{}`: {error}", made.path.display())));
    }
    let text = refused.iter().map(told).collect::<Vec<_>>().join("\n");
    // A file of each compiler's own: several run at once.
    let path = refusals_folder(&policy).join(format!("{}.json", std::process::id()));
    let written = serde_json::to_string(&Refusals { refused })
        .map_err(std::io::Error::other)
        .and_then(|text| std::fs::create_dir_all(refusals_folder(&policy)).map(|()| text))
        .and_then(|text| std::fs::write(path, text));
    if let Err(error) = written {
        return Some(fail(&format!("{text}\nand that cannot be noted: {error}")));
    }
    Some(fail(&text))
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    ExitCode::FAILURE
}

/// One refusal, for people.
pub fn told(refusal: &Refusal) -> String {
    match &refusal.capability {
        Some(capability) => format!(
            "{} of `{}` reaches `{capability}`, which no grant allows; it did not run\n  {}",
            refusal.what,
            refusal.package,
            refusal.way.join("\n  -> ")
        ),
        None => format!(
            "{} of `{}` cannot be judged, so it did not run: {}",
            refusal.what,
            refusal.package,
            refusal.way.join(", ")
        ),
    }
}

/// What the compiler was asked to make, when it is something that runs in the build.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compilation {
    pub(super) made: Made,
    pub(super) krate: String,
    pub(super) path: PathBuf,
    pub(super) package: String,
}

impl Compilation {
    fn of(arguments: &[OsString]) -> Option<Self> {
        Self::from(arguments, &|name| std::env::var(name).ok())
    }

    fn from(arguments: &[OsString], variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| *word == flag)?;
            words.get(at + 1).copied()
        };
        let krate = after("--crate-name")?.to_owned();
        let folder = after("--out-dir")?;
        let extra = words
            .windows(2)
            .find_map(|pair| (pair[0] == "-C").then(|| pair[1].strip_prefix("extra-filename=")).flatten());
        let extra = extra.unwrap_or_default();
        let kind = after("--crate-type")?;
        // Cargo names the program that it compiles in a variable, unless it is a build script; those it puts below `build`.
        let is_below_build = Path::new(folder).parent().is_some_and(|parent| parent.ends_with("build"));
        let is_script = kind == "bin" && (is_below_build || variable("CARGO_BIN_NAME").is_none());
        let (made, file) = match kind {
            "proc-macro" => (
                Made::ProcMacro,
                format!("{}{krate}{extra}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX),
            ),
            "bin" if is_script => {
                (Made::BuildScript, format!("{krate}{extra}{}", std::env::consts::EXE_SUFFIX))
            }
            _ => return None,
        };
        let package = format!("{}@{}", variable("CARGO_PKG_NAME")?, variable("CARGO_PKG_VERSION")?);
        Some(Self { made, krate, path: Path::new(folder).join(file), package })
    }

    /// Removes what was compiled; of a build script also the names that Cargo gives it.
    pub(super) fn remove(&self) -> std::io::Result<()> {
        if self.made == Made::BuildScript
            && let Some(folder) = self.path.parent()
        {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
                if name.starts_with(&self.krate) && path.is_file() && path != self.path {
                    std::fs::remove_file(path)?;
                }
            }
        }
        std::fs::remove_file(&self.path)
    }

    fn what(&self) -> &'static str {
        if self.made == Made::BuildScript { "the build script" } else { "the procedural macro" }
    }

    pub(super) fn judge(&self, policy: &Path, _: AmbientAuthority) -> Vec<Refusal> {
        let refusal = |capability: Option<String>, way: Vec<String>| Refusal {
            package: self.package.clone(),
            what: self.what().to_owned(),
            capability,
            way,
        };
        let judged = read_policy(policy).and_then(|policy| Ok((policy, self.uses()?)));
        let (policy, uses) = match judged {
            Ok(judged) => judged,
            Err(why) => return vec![refusal(None, vec![why])],
        };
        let allowed = policy.allowed.get(&self.package);
        let mut all = Vec::new();
        for (capability, found) in uses {
            let name = Capability::host(capability).at_build();
            let is_allowed = name.granted_by_default()
                || allowed.is_some_and(|allowed| allowed.contains(&name.to_string()));
            if !is_allowed {
                let mut way: Vec<String> = found.way.iter().map(|place| shown(&place.name)).collect();
                way.push(shown(&found.what));
                all.push(refusal(Some(name.to_string()), way));
            }
        }
        all
    }

    /// What the program reaches. Which package each function is of does not matter here: all of it runs.
    fn uses(&self) -> Result<Uses, String> {
        let bytes = std::fs::read(&self.path).map_err(|error| error.to_string())?;
        let pieces = read_program(&bytes).map_err(|error| error.to_string())?;
        let sysroot = Sysroot::find(Path::new(".")).map_err(|error| error.to_string())?;
        let table = Table::load().map_err(|error| error.to_string())?;
        let crates = Crates::new(sysroot.crates, sysroot.symbols);
        let graph = Graph { packages: vec![Package::default()], ..Graph::default() };
        let (sight, spoofed) = (Sight::new(&graph), Spoofed::default());
        let own = Some((self.krate.clone(), 0));
        let code = CodeGraph::new(vec![pieces], &Meanings::new(&table, &crates, own, &sight, &spoofed));
        let artifact =
            Artifact { package: 0, made: self.made, name: self.krate.clone(), path: self.path.clone() };
        let roots = roots(&code, &artifact);
        if roots.is_empty() {
            return Err("where it begins is not to be found".to_owned());
        }
        let walk = Walk {
            code: &code,
            graph: &graph,
            sight: &sight,
            program: Some(0),
            script_of: None,
            in_build: Literals::new(&bytes),
            layer: Layer::Linked,
        };
        Ok(walk.whole(&roots))
    }
}

pub(super) fn read_policy(path: &Path) -> Result<Policy, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("no policy: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("no policy: {error}"))
}

/// What any build may be allowed, by name.
pub fn capabilities() -> impl Iterator<Item = Capability> {
    HostCapability::all().map(|capability| Capability::host(capability).at_build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compilation(arguments: &str, binary: Option<&str>) -> Option<Compilation> {
        let arguments: Vec<OsString> = arguments.split(' ').map(OsString::from).collect();
        Compilation::from(&arguments, &|name| match name {
            "CARGO_PKG_NAME" => Some("codec".to_owned()),
            "CARGO_PKG_VERSION" => Some("1.0.0".to_owned()),
            "CARGO_BIN_NAME" => binary.map(str::to_owned),
            _ => None,
        })
    }

    #[test]
    fn what_runs_in_the_build_is_told_from_what_does_not() {
        let script =
            "--crate-name build_script_build build.rs --crate-type bin -C extra-filename=-1a --out-dir /t/b";
        let found = compilation(script, None).expect("a build script");
        assert_eq!(
            (found.made, found.path.as_path()),
            (Made::BuildScript, Path::new("/t/b/build_script_build-1a"))
        );
        assert_eq!(found.package, "codec@1.0.0");
        let program = script.replace("/t/b", "/t/debug/deps");
        assert_eq!(compilation(&program, Some("codec")), None, "a program of that name");
        let below = script.replace("/t/b", "/t/debug/build/codec-1a");
        assert!(compilation(&below, Some("codec")).is_some(), "whatever the environment says");
        let library = "--crate-name codec src/lib.rs --crate-type lib -C extra-filename=-1a --out-dir /t/d";
        assert_eq!(compilation(library, None), None);
        let emits = |kinds: &str| links(&[OsString::from(kinds)]);
        assert!(emits("--emit=dep-info,link") && emits("--emit=link=/t/a") && links(&[]));
        assert!(!emits("--emit=dep-info,metadata"));
        let plugin =
            "--crate-name codec src/lib.rs --crate-type proc-macro -C extra-filename=-1a --out-dir /t/d";
        assert_eq!(compilation(plugin, None).expect("a macro").made, Made::ProcMacro);
    }

    #[test]
    fn arguments_in_a_file_are_read_and_a_file_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("arguments");
        std::fs::write(&file, "--crate-name\nbuild_script_build\n--crate-type\nbin\n--out-dir\n/t/build/a\n")
            .expect("writable");
        let arguments = [OsString::from("build.rs"), format!("@{}", file.display()).into()];
        let all = expanded(&arguments).expect("it is there");
        assert_eq!(all.len(), 7);
        let text = all.iter().map(|one| one.to_str().expect("text")).collect::<Vec<_>>().join(" ");
        assert_eq!(compilation(&text, None).expect("a build script").made, Made::BuildScript);
        assert!(expanded(&["@/nowhere/at/all".into()]).is_err());
    }
}
