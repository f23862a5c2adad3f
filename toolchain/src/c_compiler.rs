//! What compiles the C of a guest: a clang that knows WebAssembly, and the headers of WASI's C library.
//!
//! The library itself comes with Rust's target; only the headers are used from here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::debian::Installed;
use crate::{GuestTarget, Settings};

/// A C compiler for guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CCompiler {
    pub(crate) clang: PathBuf,
    pub(crate) archiver: PathBuf,
    pub(crate) sysroot: PathBuf,
    pub(crate) headers: Option<PathBuf>,
    pub(crate) libraries: Vec<PathBuf>,
    pub(crate) id: String,
}

impl CCompiler {
    /// The compiler.
    pub fn clang(&self) -> &Path {
        &self.clang
    }

    /// What the `cc` crate reads when it compiles for that target.
    pub(crate) fn variables(&self, target: GuestTarget) -> Vec<(String, OsString)> {
        let suffix = target.triple().replace('-', "_");
        let mut flags = OsString::from("--sysroot=");
        flags.push(quoted(&self.sysroot));
        if let Some(headers) = &self.headers {
            flags.push(" -isystem ");
            flags.push(quoted(headers));
        }
        vec![
            (format!("CC_{suffix}"), self.clang.clone().into()),
            (format!("AR_{suffix}"), self.archiver.clone().into()),
            (format!("CFLAGS_{suffix}"), flags),
            // The flags hold paths, and a path may hold a space.
            ("CC_SHELL_ESCAPED_FLAGS".to_owned(), "1".into()),
        ]
    }
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> OsString {
    let text = path.to_string_lossy();
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+~".contains(c)) {
        return path.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

/// A WASI SDK that the user names, else what `setup` put into the cache folder.
pub(crate) fn find(settings: &Settings) -> Option<CCompiler> {
    if let Some(sdk) = &settings.programs.wasi_sdk {
        let clang = sdk.join("bin/clang");
        let sysroot = sdk.join("share/wasi-sysroot");
        if clang.is_file() && sysroot.is_dir() {
            let id = std::fs::read_to_string(sdk.join("VERSION")).unwrap_or_default();
            let id = format!("{} {id}", sdk.display());
            let archiver = sdk.join("bin/llvm-ar");
            return Some(CCompiler { clang, archiver, sysroot, headers: None, libraries: Vec::new(), id });
        }
    }
    let installed = Installed::newest(&settings.cache, false)?;
    Some(CCompiler {
        clang: installed.clang()?,
        // LLVM's own is in a package of 19 MB that is needed for nothing else, and the linker reads the archives of any.
        archiver: "ar".into(),
        sysroot: installed.root().join("usr"),
        headers: Some(installed.root().join("usr/include/wasm32-wasi")),
        libraries: installed.libraries(),
        id: installed.root().display().to_string(),
    })
}
