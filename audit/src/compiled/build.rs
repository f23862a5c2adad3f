//! Has Cargo build a workspace so that what comes out can be read, in a target folder of its own, and notes what was made of
//! which package.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ambient_authority::AmbientAuthority;
use cargo_metadata::{Message, TargetKind as CargoKind};

use super::flags::{Told, told};
use crate::package::{Graph, PackageIndex};

/// What is built, and how.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The workspace's folder: Cargo runs in it.
    pub folder: PathBuf,
    /// Where to build. Nothing else should: the flags are others than those of an ordinary build.
    pub target_folder: PathBuf,
    /// Arguments of Cargo's: features, lock file, network.
    pub arguments: Vec<String>,
    /// The roots, by their package's name and version.
    pub packages: Vec<(String, String)>,
    /// A program that is started in place of the compiler and judges what runs in the build, and what it is told by variables.
    pub judge: Option<(PathBuf, Vec<(String, String)>)>,
    /// Whether Cargo may show on standard error how far it is.
    pub shows_progress: bool,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Cargo could not be started.
    #[error("cannot start `cargo build`: {0}")]
    Start(#[source] std::io::Error),
    /// This machine makes compiled code of another form.
    #[error("compiled code is read in the form of ELF, and this machine makes another one")]
    Platform,
    /// The build failed.
    #[error("`cargo build` failed{}", tail(said))]
    Failed {
        /// The end of what it said, where it was not shown already.
        said: String,
    },
    /// What was built could not be read.
    #[error("cannot read `{path}`: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The compiler did not say where its libraries are.
    #[error("cannot find the compiler's own libraries: {0}")]
    Sysroot(String),
}

fn tail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(":\n{text}") }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Made {
    Library,
    Program,
    /// A library for programs of other languages: whatever is in it may be called.
    Shared,
    BuildScript,
    ProcMacro,
    /// C code that a build script compiled.
    Archive,
}

/// One file of a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Artifact {
    pub(crate) package: PackageIndex,
    pub(crate) made: Made,
    /// The crate's name.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What a build made.
#[derive(Debug, Default)]
pub struct Artifacts {
    pub(crate) files: Vec<Artifact>,
}

/// Builds the roots of a graph for this machine.
///
/// # Authority
/// Runs Cargo in the workspace, which runs the build scripts and procedural macros of everything that is linked. With a judge
/// each of them runs only when it reaches nothing that is refused.
pub fn build_ambient(
    graph: &Graph,
    options: &BuildOptions,
    _: AmbientAuthority,
) -> Result<Artifacts, BuildError> {
    if cfg!(not(unix)) || cfg!(target_vendor = "apple") {
        return Err(BuildError::Platform);
    }
    let mut command = command(options);
    let mut child = command.spawn().map_err(BuildError::Start)?;
    let errors = child.stderr.take().map(|mut stream| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stream, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let mut artifacts = Artifacts::default();
    let numbers: HashMap<&str, PackageIndex> =
        graph.packages.iter().enumerate().map(|(number, package)| (package.id.as_str(), number)).collect();
    let mut succeeded = false;
    let stream = BufReader::new(child.stdout.take().expect("piped above"));
    for message in Message::parse_stream(stream) {
        match message.map_err(BuildError::Start)? {
            Message::CompilerArtifact(artifact) => {
                if let Some(package) = numbers.get(artifact.package_id.repr.as_str()) {
                    artifacts.add(*package, &artifact);
                }
            }
            Message::BuildScriptExecuted(script) => {
                if let Some(package) = numbers.get(script.package_id.repr.as_str()) {
                    artifacts.add_archives(*package, &script);
                }
            }
            Message::BuildFinished(finished) => succeeded = finished.success,
            _ => {}
        }
    }
    let status = child.wait().map_err(BuildError::Start)?;
    if !succeeded || !status.success() {
        let said = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
        return Err(BuildError::Failed { said: said.trim_end().to_owned() });
    }
    artifacts.files.sort();
    artifacts.files.dedup();
    Ok(artifacts)
}

fn command(options: &BuildOptions) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(&options.folder);
    // Cargo sets it for programs only, and the judge goes by that.
    command.env_remove("CARGO_BIN_NAME");
    match told(&|name| std::env::var_os(name), &options.folder, &|path| std::fs::read_to_string(path).ok()) {
        Told::Variable(name, value) => {
            command.env(name, value);
        }
        Told::Argument(text) => {
            command.args(["--config", &text]);
        }
    }
    command.args(["build", "--message-format=json-render-diagnostics", "--target-dir"]);
    command.arg(&options.target_folder).args(&options.arguments);
    for (name, version) in &options.packages {
        command.arg("--package").arg(format!("{name}@{version}"));
    }
    if let Some((program, variables)) = &options.judge {
        // A wrapper that the user has is called by ours.
        if let Some(inner) = std::env::var_os("RUSTC_WRAPPER").filter(|inner| !inner.is_empty()) {
            command.env(super::judge::INNER_VARIABLE, inner);
        }
        command.env("RUSTC_WRAPPER", program).envs(variables.iter().cloned());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(if options.shows_progress { Stdio::inherit() } else { Stdio::piped() });
    command
}

impl Artifacts {
    fn add(&mut self, package: PackageIndex, artifact: &cargo_metadata::Artifact) {
        let kinds = &artifact.target.kind;
        let name = artifact.target.name.replace('-', "_");
        for file in &artifact.filenames {
            let path = file.as_std_path();
            let extension = path.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
            let is_shared = matches!(extension, "so" | "dylib" | "dll");
            let made = if kinds.contains(&CargoKind::CustomBuild) {
                Made::BuildScript
            } else if kinds.contains(&CargoKind::ProcMacro) {
                if !is_shared {
                    continue;
                }
                Made::ProcMacro
            } else if kinds.contains(&CargoKind::Bin) && artifact.executable.as_ref() == Some(file) {
                Made::Program
            } else if extension == "rlib" {
                Made::Library
            } else if is_shared {
                Made::Shared
            } else {
                // Metadata, debug information in a file of its own, and static libraries, which have what the rlib has.
                continue;
            };
            self.files.push(Artifact { package, made, name: name.clone(), path: path.to_owned() });
        }
    }

    /// Static libraries that a build script made. Those that it only found are somebody else's, and what they do is foreign.
    fn add_archives(&mut self, package: PackageIndex, script: &cargo_metadata::BuildScript) {
        for library in &script.linked_libs {
            let library = library.as_str();
            let Some((kind, name)) = library.split_once('=') else { continue };
            if kind.split(':').next() != Some("static") {
                continue;
            }
            let name = name.split(':').next().unwrap_or(name);
            let file = format!("lib{name}.a");
            let folders = script.linked_paths.iter().map(|folder| {
                let folder = folder.as_str();
                Path::new(folder.split_once('=').map_or(folder, |(_, folder)| folder))
            });
            for folder in folders.chain([script.out_dir.as_std_path()]) {
                let path = folder.join(&file);
                if path.starts_with(&script.out_dir) && path.is_file() {
                    self.files.push(Artifact { package, made: Made::Archive, name: name.to_owned(), path });
                    break;
                }
            }
        }
    }

    /// How many files there are to look at.
    pub fn count(&self) -> usize {
        self.files.len()
    }
}
