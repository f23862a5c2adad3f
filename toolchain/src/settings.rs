//! Where things are kept, and which programs are run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ambient_authority::AmbientAuthority;
use etcetera::BaseStrategy as _;

use crate::ToolchainError;
use crate::error::AtPath as _;

/// Where to look for a toolchain, and where to put one.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cache folder. Made, with mode 0700, when something is put into it.
    pub cache: PathBuf,
    /// The folder in which compilers are asked; a `rust-toolchain.toml` there counts.
    pub folder: PathBuf,
    /// The programs.
    pub programs: Programs,
    /// Whether a target of the installed Rust may be used. When not, only the cache folder is looked into.
    pub installed_rust: bool,
}

/// The programs that are run, by path or by a name in `PATH`.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Cargo.
    pub cargo: PathBuf,
    /// The compiler.
    pub rustc: PathBuf,
    /// What adds targets to the compiler.
    pub rustup: PathBuf,
    /// What downloads packages.
    pub apt_get: PathBuf,
    /// What knows about packages.
    pub apt_cache: PathBuf,
    /// What opens packages.
    pub dpkg_deb: PathBuf,
    /// A WASI SDK, whose clang compiles the C of guests.
    pub wasi_sdk: Option<PathBuf>,
}

impl Settings {
    /// What the environment says: `COFFERDAM_CACHE`, else `cofferdam` in the user's cache folder (`XDG_CACHE_HOME`);
    /// `CARGO`, `RUSTC` and `WASI_SDK_PATH`.
    ///
    /// # Errors
    /// When no cache folder can be named, or the current folder is gone.
    ///
    /// # Authority
    /// Reads environment variables, and the name of the current folder.
    pub fn from_environment_ambient(_: AmbientAuthority) -> Result<Self, ToolchainError> {
        let cache = match variable("COFFERDAM_CACHE") {
            Some(path) => PathBuf::from(path),
            None => etcetera::choose_base_strategy()
                .map_err(|_| ToolchainError::NoCache)?
                .cache_dir()
                .join("cofferdam"),
        };
        let folder = std::env::current_dir().at("find", Path::new("."))?;
        let program = |name: &str, usual: &str| variable(name).map_or_else(|| usual.into(), PathBuf::from);
        Ok(Self {
            cache: folder.join(cache),
            folder,
            programs: Programs {
                cargo: program("CARGO", "cargo"),
                rustc: program("RUSTC", "rustc"),
                rustup: "rustup".into(),
                apt_get: "apt-get".into(),
                apt_cache: "apt-cache".into(),
                dpkg_deb: "dpkg-deb".into(),
                wasi_sdk: variable("WASI_SDK_PATH").map(PathBuf::from),
            },
            installed_rust: true,
        })
    }

    /// Makes the cache folder if need be; refuses one that others may write: what is in it is run.
    pub(crate) fn make_cache(&self) -> Result<(), ToolchainError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.cache).at("make", &self.cache)?;
        self.check_cache()
    }

    /// Refuses a cache folder that others may write, or that `PATH` cannot list.
    pub(crate) fn check_cache(&self) -> Result<(), ToolchainError> {
        if std::env::join_paths([&self.cache]).is_err() {
            return Err(ToolchainError::UnlistableCache { path: self.cache.clone() });
        }
        #[cfg(unix)]
        if let Ok(metadata) = std::fs::metadata(&self.cache)
            && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o022 != 0
        {
            return Err(ToolchainError::OpenCache { path: self.cache.clone() });
        }
        Ok(())
    }
}

/// A variable that says something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
