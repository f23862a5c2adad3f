//! Why there is no toolchain, or no component.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a toolchain cannot be found or made, or a guest not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolchainError {
    /// No Rust that compiles programs for process compartments.
    #[error(
        "no Rust for x86_64-unknown-linux-gnu, for which guests of process compartments are compiled; `rustup target add x86_64-unknown-linux-gnu` installs it"
    )]
    NoNative,
    /// Nothing here compiles guests.
    #[error(
        "no compiler for guests: {} has neither wasm32-wasip2 nor wasm32-wasip1, and {} holds none; run `cofferdam setup`",
        rustc.display(), cache.display()
    )]
    Missing {
        /// The compiler that was asked.
        rustc: PathBuf,
        /// The cache folder that was looked into.
        cache: PathBuf,
    },
    /// Neither way to get one works here.
    #[error(
        "cannot get a compiler for guests: {rustup}; {debian}. \
         Install Rust with rustup and run `rustup target add wasm32-wasip2`, or use a Debian system that offers `rustc-web`"
    )]
    NoRoute {
        /// What came of rustup.
        rustup: String,
        /// What came of Debian's packages.
        debian: String,
    },
    /// There is no folder to keep things in.
    #[error("there is no cache folder: the home folder is unknown; set `COFFERDAM_CACHE`")]
    NoCache,
    /// Others may write into the cache folder: what is in it would be run.
    #[error("the cache folder {} can be written by others; give it mode 0700, or set `COFFERDAM_CACHE`", path.display())]
    OpenCache {
        /// The folder.
        path: PathBuf,
    },
    /// The cache folder cannot be named in `PATH`.
    #[error("the cache folder {} has `:` in its name, and programs in it could not be found; set `COFFERDAM_CACHE`", path.display())]
    UnlistableCache {
        /// The folder.
        path: PathBuf,
    },
    /// A program cannot be started.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program failed.
    #[error("{what} failed: `{program}` ended with {status}{}", tail(said))]
    Failed {
        /// What was being done.
        what: String,
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// What it said, unless it said it to the user already.
        said: String,
    },
    /// A program did not end in time.
    #[error("{what} took longer than {} s and was stopped{}", limit.as_secs(), tail(said))]
    TooSlow {
        /// What was being done.
        what: String,
        /// The limit.
        limit: Duration,
        /// What it said.
        said: String,
    },
    /// A file cannot be read, written or moved.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The lists of packages do not offer what is needed.
    #[error("the package lists offer no `{package}`")]
    NoPackage {
        /// The package.
        package: String,
    },
    /// A list of packages says what cannot be right.
    #[error("the package lists are wrong about `{package}`: {problem}")]
    BadPackage {
        /// The package.
        package: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A downloaded package is not what the lists say.
    #[error("refused {}: its SHA-256 is {found}, the package lists say {expected}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// From the lists.
        expected: String,
        /// From the file.
        found: String,
    },
    /// What was made is not usable.
    #[error("the toolchain in {} is not usable: {problem}; remove that folder and run `cofferdam setup`", path.display())]
    Unusable {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The workspace cannot be read.
    #[error("cannot read the workspace of {}: {message}", manifest.display())]
    Workspace {
        /// The guest's `Cargo.toml`.
        manifest: PathBuf,
        /// Cargo's answer.
        message: String,
    },
    /// The guest's crate is not there.
    #[error("the workspace of {} has no package `{package}`", manifest.display())]
    NoCrate {
        /// The `Cargo.toml`.
        manifest: PathBuf,
        /// The package.
        package: String,
    },
    /// Cargo cannot compile the guest.
    #[error("cannot build the guest `{package}` for {target}{}{}", tail(said), note(hint))]
    Build {
        /// The guest's package.
        package: String,
        /// The target.
        target: &'static str,
        /// What Cargo said, unless the user has seen it.
        said: String,
        /// What may be missing.
        hint: String,
    },
    /// Cargo has built, but no module came of it.
    #[error("the guest `{package}` has no {wanted} to build")]
    NoModule {
        /// The guest's package.
        package: String,
        /// A library or a program.
        wanted: &'static str,
    },
    /// The world that the guest is said to have cannot be read.
    #[error("cannot read the world `{world}` of {}, which begins in the crate's folder: {message}", path.display())]
    World {
        /// The file.
        path: PathBuf,
        /// The world.
        world: String,
        /// Why.
        message: String,
    },
    /// The module cannot become a component.
    #[error("the module {} cannot become a component: {message}", path.display())]
    Encode {
        /// The module.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// What a program said, on lines of its own.
fn tail(said: &str) -> String {
    let said = said.trim_end();
    if said.is_empty() { String::new() } else { format!("\n{said}") }
}

fn note(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("\nnote: {hint}") }
}

/// Names the file in an I/O error.
pub(crate) trait AtPath<T> {
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, ToolchainError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, ToolchainError> {
        self.map_err(|source| ToolchainError::File { what, path: path.to_owned(), source })
    }
}
