//! Builds one guest: a crate in, a component out. What has not changed is not built again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use ambient_authority::AmbientAuthority;
use cargo_metadata::{CrateType, Message, Metadata, MetadataCommand, Package, PackageId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::command::Run;
use crate::error::AtPath as _;
use crate::fingerprint::{Inputs, hexadecimal};
use crate::progress::Progress;
use crate::{GuestTarget, GuestWorld, Settings, Toolchain, ToolchainError, encode, lock, sources};

/// What is built of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestKind {
    /// Its library: a component that exports its world.
    Library,
    /// Its program: a component that exports `wasi:cli/run`.
    Command,
}

/// Which guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestCrate {
    /// A `Cargo.toml` of the workspace whose graph the crate is in.
    pub manifest_path: PathBuf,
    /// The package: a member of the workspace, or a dependency of one. `name`, or `name@version`.
    pub package: String,
    /// Features beside the default ones. Only a member's can be chosen.
    pub features: Vec<String>,
    /// Without the default features.
    pub no_default_features: bool,
    /// What is built of it.
    pub kind: GuestKind,
    /// The world that it has, where that is known. It must be readable.
    pub world: Option<GuestWorld>,
    /// Further arguments for Cargo, such as `--locked`.
    pub cargo_arguments: Vec<String>,
    /// Custom sections that the component gets at its end: names and texts.
    pub sections: Vec<(String, String)>,
}

impl GuestCrate {
    /// The library of a package.
    pub fn library(manifest_path: impl Into<PathBuf>, package: impl Into<String>) -> Self {
        Self {
            manifest_path: manifest_path.into(),
            package: package.into(),
            features: Vec::new(),
            no_default_features: false,
            kind: GuestKind::Library,
            world: None,
            cargo_arguments: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// The program of a package.
    pub fn command(manifest_path: impl Into<PathBuf>, package: impl Into<String>) -> Self {
        Self { kind: GuestKind::Command, ..Self::library(manifest_path, package) }
    }
}

/// Where what Cargo says goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CargoOutput {
    /// To standard error, as it comes.
    Inherit,
    /// Into the error, when there is one.
    Keep,
}

/// A component that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestArtifact {
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The component's file.
    pub component: PathBuf,
    /// SHA-256 of it, lowercase hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The interfaces that it imports, with their versions.
    pub imports: Vec<String>,
    /// The interfaces that its world says it imports, with their versions: for a component only.
    pub declared: Vec<String>,
    /// Whether it had to be built. False when nothing had changed.
    pub rebuilt: bool,
}

/// What is remembered of a build.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    toolchain: String,
    guest: GuestCrate,
    package: String,
    version: String,
    inputs: Inputs,
    digest: String,
    component: String,
    imports: Vec<String>,
    sources: PathBuf,
}

/// Builds a guest below `folder`, which is this program's own: `components/` has the components, `build-*/` is what Cargo
/// keeps. Two at once are safe: the second waits.
///
/// The crate is compiled with `--cfg cofferdam_guest`, so that one crate can be a client in an ordinary build and a guest here.
/// It need not say `crate-type = ["cdylib"]`. `RUSTFLAGS` and the like are for the host's own program and do not count.
///
/// # Errors
/// When the crate is not there, or does not compile, or does not become a component.
///
/// # Authority
/// Runs Cargo and compilers, and with them the crate's build scripts and procedural macros; writes below `folder`.
pub fn build_guest_ambient(
    toolchain: &Toolchain,
    guest: &GuestCrate,
    folder: &Path,
    output: CargoOutput,
    tell: &mut dyn FnMut(Progress<'_>),
    _: AmbientAuthority,
) -> Result<GuestArtifact, ToolchainError> {
    let guest = &GuestCrate {
        manifest_path: std::path::absolute(&guest.manifest_path).at("find", &guest.manifest_path)?,
        ..guest.clone()
    };
    let folder = &std::path::absolute(folder).at("find", folder)?;
    let components = folder.join("components");
    let stamps = folder.join("stamps");
    for one in [folder, &components, &stamps] {
        std::fs::create_dir_all(one).at("make", one)?;
    }
    let _held = lock::hold(&folder.join("lock"), "another build of guests is running here; waiting", tell)?;
    let stamp = stamps.join(format!("{}.json", stamp_name(guest, toolchain.target)));
    if let Some(artifact) = unchanged(toolchain, guest, &components, &stamp)? {
        return Ok(artifact);
    }
    Build { toolchain, guest, folder, output }.run(&components, &stamp, tell)
}

/// One file for each guest of a folder.
fn stamp_name(guest: &GuestCrate, target: GuestTarget) -> String {
    let text = serde_json::to_vec(&(guest, target.ending())).unwrap_or_default();
    hexadecimal(&Sha256::digest(text)[..8])
}

fn artifact_name(package: &str, version: &str, target: GuestTarget) -> String {
    format!("{package}-{version}{}", target.ending())
}

/// The component, when it is the one that was made and nothing has changed since.
fn unchanged(
    toolchain: &Toolchain,
    guest: &GuestCrate,
    components: &Path,
    stamp: &Path,
) -> Result<Option<GuestArtifact>, ToolchainError> {
    let read = || -> Option<(Stamp, PathBuf, Vec<u8>)> {
        let stamp: Stamp = serde_json::from_slice(&std::fs::read(stamp).ok()?).ok()?;
        let component = components.join(artifact_name(&stamp.package, &stamp.version, toolchain.target));
        let bytes = std::fs::read(&component).ok()?;
        Some((stamp, component, bytes))
    };
    let Some((stamp, component, bytes)) = read() else { return Ok(None) };
    let sha256 = hexadecimal(&Sha256::digest(&bytes));
    let same = stamp.toolchain == toolchain.id && stamp.guest == *guest && sha256 == stamp.component;
    if !same || stamp.inputs.digest().as_ref() != Some(&stamp.digest) {
        return Ok(None);
    }
    confirm(&component);
    Ok(Some(GuestArtifact {
        package: stamp.package,
        version: stamp.version,
        component,
        sha256,
        bytes: bytes.len() as u64,
        imports: stamp.imports,
        declared: declared(guest, toolchain.target, &stamp.sources)?,
        rebuilt: false,
    }))
}

/// What the world of a component says that it imports. It is read each time: what it says is no part of what is built.
fn declared(guest: &GuestCrate, target: GuestTarget, sources: &Path) -> Result<Vec<String>, ToolchainError> {
    match &guest.world {
        Some(world) if target != GuestTarget::Native => world.imports(sources),
        _ => Ok(Vec::new()),
    }
}

/// The folder that Cargo builds a workspace in, `target` unless it is told otherwise.
///
/// # Errors
/// When Cargo cannot read the workspace.
///
/// # Authority
/// Runs `cargo metadata`.
pub fn target_folder_ambient(
    settings: &Settings,
    manifest_path: &Path,
    _: AmbientAuthority,
) -> Result<PathBuf, ToolchainError> {
    let mut command = MetadataCommand::new();
    command.cargo_path(&settings.programs.cargo).manifest_path(manifest_path).no_deps();
    let metadata = command.exec().map_err(|error| ToolchainError::Workspace {
        manifest: manifest_path.to_owned(),
        message: error.to_string(),
    })?;
    Ok(metadata.target_directory.into_std_path_buf())
}

struct Build<'b> {
    toolchain: &'b Toolchain,
    guest: &'b GuestCrate,
    folder: &'b Path,
    output: CargoOutput,
}

/// What came of Cargo.
struct Compiled {
    module: PathBuf,
    fresh: bool,
}

impl Build<'_> {
    fn run(
        &self,
        components: &Path,
        stamp: &Path,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<GuestArtifact, ToolchainError> {
        tell(Progress::Step(&format!("building the guest {}", self.guest.package)));
        let metadata = self.metadata()?;
        let package = self.package(&metadata)?;
        let (name, version) = (package.name.to_string(), package.version.to_string());
        let sources = package.manifest_path.parent().map_or(Path::new(""), |folder| folder.as_std_path());
        let declared = declared(self.guest, self.toolchain.target, sources)?;
        let mut inputs = self.inputs(&metadata, package);
        // The state before: what changes while Cargo runs is seen as a change the next time.
        let before = inputs.digest();
        let began = SystemTime::now();
        let target_folder = self.folder.join(format!("build-{}", self.toolchain.rust));
        let compiled = self.compile(package, &target_folder, tell)?;

        let (bytes, imports) = match self.toolchain.target {
            GuestTarget::Native => {
                (std::fs::read(&compiled.module).at("read", &compiled.module)?, Vec::new())
            }
            GuestTarget::Wasip2 | GuestTarget::Wasip1 => {
                let mut bytes = encode::component(&compiled.module, self.guest.kind)?;
                encode::append_sections(&mut bytes, &self.guest.sections);
                let imports = encode::imports(&compiled.module, &bytes)?;
                (bytes, imports)
            }
        };
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        let component = components.join(artifact_name(&name, &version, self.toolchain.target));
        let same = std::fs::read(&component).is_ok_and(|old| old == bytes);
        if same {
            confirm(&component);
        } else {
            write_whole(&component, &bytes)?;
        }
        // For the runtime, which says when what it is to run is older than this.
        let note = sources::note(package, &inputs, &compiled.module, &target_folder);
        write_whole(&component.with_added_extension("sources"), &note)?;
        let known = inputs.clone();
        let complete = self.learn(&mut inputs, &compiled.module, &target_folder);
        let added: Vec<&PathBuf> = inputs.files.difference(&known.files).collect();
        let settled = added.iter().all(|path| older(path, began));
        // The digest is of the inputs that are known now. Those that were known before must not have changed meanwhile.
        if complete && settled && before.is_some() && known.digest() == before {
            if let Some(digest) = inputs.digest() {
                let stamped = Stamp {
                    toolchain: self.toolchain.id.clone(),
                    guest: self.guest.clone(),
                    package: name.clone(),
                    version: version.clone(),
                    inputs,
                    digest,
                    component: sha256.clone(),
                    imports: imports.clone(),
                    sources: sources.to_owned(),
                };
                let text = serde_json::to_vec(&stamped).expect("paths of a workspace are text");
                write_whole(stamp, &text)?;
            }
        } else {
            let _ = std::fs::remove_file(stamp);
        }
        let bytes = bytes.len() as u64;
        let rebuilt = !(compiled.fresh && same);
        Ok(GuestArtifact { package: name, version, component, sha256, bytes, imports, declared, rebuilt })
    }

    fn metadata(&self) -> Result<Metadata, ToolchainError> {
        let guest = self.guest;
        let mut command = MetadataCommand::new();
        command
            .cargo_path(&self.toolchain.settings.programs.cargo)
            .manifest_path(&guest.manifest_path)
            .current_dir(guest.manifest_path.parent().unwrap_or(Path::new(".")))
            .other_options(guest.cargo_arguments.clone())
            .verbose(self.output == CargoOutput::Inherit);
        command.exec().map_err(|error| ToolchainError::Workspace {
            manifest: guest.manifest_path.clone(),
            message: error.to_string(),
        })
    }

    fn package<'m>(&self, metadata: &'m Metadata) -> Result<&'m Package, ToolchainError> {
        let (name, version) = match self.guest.package.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (self.guest.package.as_str(), None),
        };
        let mut found: Vec<&Package> = metadata
            .packages
            .iter()
            .filter(|package| package.name.as_str() == name)
            .filter(|package| version.is_none_or(|version| package.version.to_string() == version))
            .collect();
        // A member before a dependency of the same name.
        found.sort_by_key(|package| !metadata.workspace_members.contains(&package.id));
        found.first().copied().ok_or_else(|| ToolchainError::NoCrate {
            manifest: self.guest.manifest_path.clone(),
            package: self.guest.package.clone(),
        })
    }

    /// What the guest is made of, as far as it is known before it is built.
    fn inputs(&self, metadata: &Metadata, package: &Package) -> Inputs {
        let mut inputs =
            Inputs { folders: BTreeSet::new(), files: BTreeSet::new(), variables: BTreeSet::new() };
        for package in below(metadata, package) {
            // What comes from a registry or from git does not change; Cargo.lock says which it is.
            if package.source.is_none()
                && let Some(folder) = package.manifest_path.parent()
            {
                inputs.folders.insert(folder.as_std_path().to_owned());
            }
        }
        let root = metadata.workspace_root.as_std_path();
        inputs.files.extend([
            root.join("Cargo.toml"),
            root.join("Cargo.lock"),
            self.guest.manifest_path.clone(),
        ]);
        for folder in root.ancestors().chain(self.guest.manifest_path.ancestors().skip(1)) {
            for name in [".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"] {
                inputs.files.insert(folder.join(name));
            }
        }
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        if let Some(home) = cargo_home {
            inputs.files.extend([home.join("config.toml"), home.join("config")]);
        }
        inputs
    }

    /// Has Cargo compile it.
    fn compile(
        &self,
        package: &Package,
        target_folder: &Path,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Compiled, ToolchainError> {
        let guest = self.guest;
        let target = self.toolchain.target.triple();
        let mut command = Command::new(&self.toolchain.settings.programs.cargo);
        forget_host_flags(&mut command);
        self.toolchain.apply(&mut command);
        command
            .current_dir(guest.manifest_path.parent().unwrap_or(Path::new(".")))
            .env("CARGO_ENCODED_RUSTFLAGS", flags(self.toolchain.target).join("\u{1f}"))
            .arg(match guest.kind {
                GuestKind::Library => "rustc",
                GuestKind::Command => "build",
            })
            .args(["--release", "--target", target, "--message-format=json-render-diagnostics"])
            .arg("--manifest-path")
            .arg(&guest.manifest_path)
            .arg("--target-dir")
            .arg(target_folder)
            .arg("--package")
            .arg(package.id.to_string());
        match guest.kind {
            GuestKind::Library => command.args(["--lib", "--crate-type", self.crate_type()]),
            GuestKind::Command => command.arg("--bin").arg(self.program(package)?),
        };
        if guest.no_default_features {
            command.arg("--no-default-features");
        }
        if !guest.features.is_empty() {
            command.arg("--features").arg(guest.features.join(","));
        }
        command.args(&guest.cargo_arguments);
        let inherit_stderr = self.output == CargoOutput::Inherit;
        let run = Run { what: "building the guest", limit: None, inherit_stderr };
        let ran = run.run(&mut command, &mut |line| {
            if let Some(line) = line {
                tell(Progress::Detail(line.trim()));
            }
        })?;
        if !ran.status.success() {
            let hint = match &self.toolchain.c {
                None if self.toolchain.target != GuestTarget::Native => {
                    "there is no compiler for C in guests; if this guest has C in it, run `cofferdam setup --c`"
                }
                _ => "",
            };
            return Err(ToolchainError::Build {
                package: guest.package.clone(),
                target,
                said: ran.stderr,
                hint: hint.to_owned(),
            });
        }
        self.module(package, &ran.stdout)
    }

    /// The program of a package: its only one, the one that it runs by default, or the one of its own name.
    fn program<'p>(&self, package: &'p Package) -> Result<&'p str, ToolchainError> {
        let programs = || package.targets.iter().filter(|target| target.is_bin()).map(|target| &target.name);
        let wanted = match &package.default_run {
            Some(name) => Some(name),
            None if programs().count() == 1 => programs().next(),
            None => programs().find(|name| *name == package.name.as_str()),
        };
        let missing = || ToolchainError::NoModule { package: self.guest.package.clone(), wanted: "program" };
        wanted.map(String::as_str).ok_or_else(missing)
    }

    /// The one module among what Cargo says that it has made.
    fn module(&self, package: &Package, messages: &[u8]) -> Result<Compiled, ToolchainError> {
        let native = self.toolchain.target == GuestTarget::Native;
        let (kind, wanted) = match self.guest.kind {
            GuestKind::Library if native => (CrateType::Bin, "library"),
            GuestKind::Library => (CrateType::CDyLib, "library"),
            GuestKind::Command => (CrateType::Bin, "program"),
        };
        let mut module = None;
        let mut fresh = true;
        for message in Message::parse_stream(messages) {
            let Ok(Message::CompilerArtifact(artifact)) = message else { continue };
            fresh &= artifact.fresh;
            let ours = artifact.package_id == package.id && artifact.target.crate_types.contains(&kind);
            if ours
                && let Some(file) =
                    artifact.filenames.iter().find(|file| native || file.extension() == Some("wasm"))
            {
                module = Some(file.as_std_path().to_owned());
            }
        }
        match module {
            Some(module) => Ok(Compiled { module, fresh }),
            None => Err(ToolchainError::NoModule { package: self.guest.package.clone(), wanted }),
        }
    }

    /// Adds what the build has shown: files that the compiler read, and variables that were asked for. False when it cannot be
    /// told.
    fn learn(&self, inputs: &mut Inputs, module: &Path, target_folder: &Path) -> bool {
        let Some(paths) = dependencies(module) else { return false };
        for path in paths {
            if !inputs.covers(&path) && !path.starts_with(target_folder) {
                inputs.files.insert(path);
            }
        }
        let release = target_folder.join(self.toolchain.target.triple()).join("release");
        let host = target_folder.join("release");
        // For the host only build scripts and macros are compiled, and there may be none.
        asked_variables(&release, &mut inputs.variables)
            && (!host.exists() || asked_variables(&host, &mut inputs.variables))
    }
}

impl Build<'_> {
    /// What a library is compiled as. A native guest's is a program: `cofferdam_guest` writes its `main`.
    fn crate_type(&self) -> &'static str {
        match self.toolchain.target {
            GuestTarget::Native => "bin",
            GuestTarget::Wasip2 | GuestTarget::Wasip1 => "cdylib",
        }
    }
}

fn flags(target: GuestTarget) -> Vec<&'static str> {
    let mut flags = GUEST_FLAGS.to_vec();
    if target == GuestTarget::Native {
        // A compartment has no loader and no shared libraries.
        flags.push("-Ctarget-feature=+crt-static");
    }
    flags
}

/// What every guest is compiled with.
const GUEST_FLAGS: [&str; 3] =
    ["--cfg=cofferdam_guest", "--check-cfg=cfg(cofferdam_guest)", "-Cstrip=debuginfo"];

/// Settings of Cargo that are meant for the host's own program.
pub(crate) fn forget_host_flags(command: &mut Command) {
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_TARGET_DIR",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
    ] {
        command.env_remove(name);
    }
}

/// A package and everything that it depends on.
fn below<'m>(metadata: &'m Metadata, package: &'m Package) -> Vec<&'m Package> {
    let packages: BTreeMap<&PackageId, &Package> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let nodes: BTreeMap<&PackageId, &Vec<PackageId>> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&node.id, &node.dependencies))
        .collect();
    let mut seen = BTreeSet::from([&package.id]);
    let mut open = vec![&package.id];
    while let Some(id) = open.pop() {
        for next in nodes.get(id).into_iter().flat_map(|next| next.iter()) {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen.into_iter().filter_map(|id| packages.get(id).copied()).collect()
}

/// The files that Cargo knows a module to be made of; `None` when it cannot be told which.
pub(crate) fn dependencies(module: &Path) -> Option<Vec<PathBuf>> {
    let paths = listed(&std::fs::read_to_string(module.with_extension("d")).ok()?)?;
    // Cargo can be told to write paths relative to some folder; which one, the file does not say.
    paths.iter().all(|path| path.is_absolute()).then_some(paths)
}

/// The paths to the right of the colon in Cargo's dependency file. A space in a path is written `\ `.
fn listed(text: &str) -> Option<Vec<PathBuf>> {
    let (_, right) = text
        .lines()
        .next()?
        .split_once(": ")
        .or_else(|| text.lines().next()?.strip_suffix(':').map(|left| (left, "")))?;
    let mut paths = Vec::new();
    let mut path = String::new();
    let mut characters = right.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&' ') => path.extend(characters.next()),
            ' ' if path.is_empty() => {}
            ' ' => paths.push(PathBuf::from(std::mem::take(&mut path))),
            other => path.push(other),
        }
    }
    if !path.is_empty() {
        paths.push(PathBuf::from(path));
    }
    Some(paths)
}

/// The environment variables that build scripts and sources asked for. False when it cannot be told, since files cannot be read, or
/// are not where this version of Cargo should put them.
fn asked_variables(profile: &Path, names: &mut BTreeSet<String>) -> bool {
    for entry in std::fs::read_dir(profile.join("build")).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read(entry.path().join("output")) else { continue };
        for line in String::from_utf8_lossy(&text).lines() {
            if let Some((_, name)) = line.split_once("rerun-if-env-changed=") {
                names.insert(name.to_owned());
            }
        }
    }
    let mut read = false;
    for entry in std::fs::read_dir(profile.join("deps")).into_iter().flatten().flatten() {
        if entry.path().extension().is_none_or(|extension| extension != "d") {
            continue;
        }
        let Ok(text) = std::fs::read(entry.path()) else { return false };
        read = true;
        for line in String::from_utf8_lossy(&text).lines() {
            if let Some(asked) = line.strip_prefix("# env-dep:") {
                names.insert(asked.split('=').next().unwrap_or(asked).to_owned());
            }
        }
    }
    read
}

/// Whether a file was last changed before that time.
fn older(path: &Path, time: SystemTime) -> bool {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified < time)
}

/// Gives an artifact that was found to be what its sources make the time of now: a runtime takes one that is older than its sources
/// for stale.
fn confirm(path: &Path) {
    // Where that fails, the artifact looks stale, and building it again helps.
    let _ = std::fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()));
}

/// Writes a file so that it is there with all of its bytes or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ToolchainError> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).at("write", &partial)?;
    std::fs::rename(&partial, path).at("move", &partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_file_is_read_with_its_spaces() {
        let paths = listed("/t/a.wasm: /w/a\\ b/src/lib.rs /w/c.h\n").expect("a rule");
        assert_eq!(paths, [PathBuf::from("/w/a b/src/lib.rs"), PathBuf::from("/w/c.h")]);
        assert_eq!(listed("/t/a.wasm:\n").expect("a rule"), Vec::<PathBuf>::new());
        assert_eq!(listed("no rule\n"), None);
    }
}
