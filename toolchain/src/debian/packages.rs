//! Which packages are needed, from the lists that `apt` has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use super::Parts;
use crate::command::{Run, text_of};
use crate::error::AtPath as _;
use crate::limits::{PACKAGE_BYTES_MAX, PACKAGES_MAX};
use crate::{Settings, ToolchainError};

/// One package, as the lists describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    depends: Vec<String>,
}

/// Everything to download.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) packages: Vec<Package>,
    /// The number of LLVM's version, as package names have it.
    pub(crate) llvm: String,
}

/// Settings for lists of our own.
const HOOKLESS: &str = "apt.conf";

/// What the system does after its own lists have changed is not to be done for ours.
const HOOKLESS_TEXT: &str = "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
    #clear APT::Update::Post-Invoke-Success;\n";

/// How `apt` is asked: with the system's lists, or with lists of our own.
#[derive(Debug, Clone)]
pub(crate) struct Apt {
    pub(crate) get: PathBuf,
    pub(crate) cache: PathBuf,
    /// A folder for what `apt` makes of its lists, which takes long and would be made for each question anew.
    pub(crate) folder: PathBuf,
    /// Whether the lists are in that folder too, where no root is needed to bring them up to date.
    pub(crate) private: bool,
}

impl Apt {
    pub(crate) fn system(settings: &Settings, folder: PathBuf) -> Result<Self, ToolchainError> {
        for inner in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(inner);
            std::fs::create_dir_all(&path).at("make", &path)?;
        }
        let path = folder.join(HOOKLESS);
        std::fs::write(&path, HOOKLESS_TEXT).at("write", &path)?;
        let programs = &settings.programs;
        Ok(Self { get: programs.apt_get.clone(), cache: programs.apt_cache.clone(), folder, private: false })
    }

    /// With fresh lists in a folder of our own.
    pub(crate) fn private(settings: &Settings, folder: PathBuf) -> Result<Self, ToolchainError> {
        let apt = Self { private: true, ..Self::system(settings, folder)? };
        let run = Run { what: "bringing the package lists up to date", limit: None, inherit_stderr: false };
        run.succeed(apt.get().arg("update"), &mut |_| {})?;
        Ok(apt)
    }

    pub(crate) fn get(&self) -> Command {
        self.with_lists(&self.get)
    }

    fn with_lists(&self, program: &PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").args(["-q", "-o", "APT::Sandbox::User="]);
        command.arg("-o").arg(format!("Dir::Cache={}", self.folder.join("cache").display()));
        command.arg("-c").arg(self.folder.join(HOOKLESS));
        if self.private {
            command.arg("-o").arg(format!("Dir::State::Lists={}", self.folder.join("lists").display()));
        }
        command
    }

    /// The newest of a package that the lists offer.
    fn show(&self, name: &str) -> Result<Package, ToolchainError> {
        let mut command = self.with_lists(&self.cache);
        command.args(["show", "--no-all-versions", "--", name]);
        let ran = Run { what: "reading the package lists", limit: None, inherit_stderr: false }
            .run(&mut command, &mut |_| {})?;
        let text = String::from_utf8_lossy(&ran.stdout);
        if !ran.status.success() || text.trim().is_empty() {
            return Err(ToolchainError::NoPackage { package: name.to_owned() });
        }
        parse(name, &text)
    }
}

/// Reads the first paragraph of what `apt-cache show` says.
fn parse(name: &str, text: &str) -> Result<Package, ToolchainError> {
    let bad = |problem| ToolchainError::BadPackage { package: name.to_owned(), problem };
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let field = |key| fields.get(key).copied();
    if field("Package") != Some(name) {
        return Err(bad("it has another name"));
    }
    let version = field("Version").ok_or_else(|| bad("it has no version"))?;
    // A version becomes part of file names.
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:".contains(c)) {
        return Err(bad("its version is none"));
    }
    let bytes = field("Size").and_then(|size| size.parse().ok()).ok_or_else(|| bad("it has no size"))?;
    if bytes > PACKAGE_BYTES_MAX {
        return Err(bad("it is larger than 400 MiB"));
    }
    let sha256 = field("SHA256").ok_or_else(|| bad("it has no SHA-256"))?;
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad("its SHA-256 is none"));
    }
    let depends = [field("Pre-Depends"), field("Depends")].into_iter().flatten();
    let depends = depends.flat_map(|list| list.split(',')).filter_map(|one| {
        // Of alternatives the first is what the distribution itself means.
        let first = one.split('|').next()?.trim();
        let name = first.split([' ', ':', '(']).next()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    Ok(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        bytes,
        sha256: sha256.to_ascii_lowercase(),
        depends: depends.collect(),
    })
}

/// The packages for a toolchain: those that are named here, and the shared libraries they need which the system lacks.
pub(crate) fn select(apt: &Apt, parts: Parts) -> Result<Selection, ToolchainError> {
    let mut chosen: BTreeMap<String, Package> = BTreeMap::new();
    // Which LLVM it is follows from Rust's own package, so that the linker and clang understand what the compiler writes.
    let rustc = apt.show("rustc-web")?;
    let dev = apt.show(one(&rustc, |name| name == "libstd-rust-web-dev")?)?;
    let std = apt.show(one(&dev, |name| name.starts_with("libstd-rust-web-"))?)?;
    let libllvm = apt.show(one(&std, |name| name.starts_with("libllvm"))?)?;
    let llvm = libllvm.name.trim_start_matches("libllvm").to_owned();
    let version = rustc.version.clone();
    let mut wanted = vec![
        format!("clang-{llvm}"),
        format!("libclang-cpp{llvm}"),
        format!("libclang-common-{llvm}-dev"),
        "wasi-libc".to_owned(),
    ];
    if parts == Parts::RustAndC {
        wanted.extend(["rust-web-src".to_owned(), "rust-web-llvm".to_owned(), format!("lld-{llvm}")]);
        wanted.push(format!("libclang-rt-{llvm}-dev-wasm32"));
        chosen.extend([rustc, dev, std].map(|package| (package.name.clone(), package)));
    }
    chosen.insert(libllvm.name.clone(), libllvm);
    for name in wanted {
        let package = apt.show(&name)?;
        if name.starts_with("rust-web-") && package.version != version {
            return Err(ToolchainError::BadPackage {
                package: name,
                problem: "it is of another version than rustc-web",
            });
        }
        chosen.insert(name, package);
    }
    add_libraries(apt, &mut chosen)?;
    Ok(Selection { packages: chosen.into_values().collect(), llvm })
}

/// The one dependency that is meant.
fn one(package: &Package, wanted: impl Fn(&str) -> bool) -> Result<&str, ToolchainError> {
    package.depends.iter().map(String::as_str).find(|name| wanted(name)).ok_or_else(|| {
        ToolchainError::BadPackage {
            package: package.name.clone(),
            problem: "it depends on other packages than it used to",
        }
    })
}

/// Shared libraries that the programs need, and the system has not installed.
fn add_libraries(apt: &Apt, chosen: &mut BTreeMap<String, Package>) -> Result<(), ToolchainError> {
    let present = installed()?;
    let mut seen: BTreeSet<String> = chosen.keys().cloned().collect();
    let mut open: Vec<String> = chosen.values().flat_map(|package| package.depends.clone()).collect();
    while let Some(name) = open.pop() {
        // The C library is the system's own, or no program of this machine would run.
        let library = name.starts_with("lib")
            && name.bytes().last().is_some_and(|last| last.is_ascii_digit())
            && !matches!(name.as_str(), "libc6" | "libgcc-s1");
        let drawn_in = library && !name.starts_with("libclang") && !name.starts_with("libobjc");
        if !drawn_in || !seen.insert(name.clone()) || present.contains(&name) {
            continue;
        }
        let package = apt.show(&name)?;
        open.extend(package.depends.iter().cloned());
        chosen.insert(name, package);
        if chosen.len() > PACKAGES_MAX {
            return Err(ToolchainError::BadPackage {
                package: "rustc-web".to_owned(),
                problem: "it needs more than 120 packages",
            });
        }
    }
    Ok(())
}

/// The packages that the system has.
fn installed() -> Result<BTreeSet<String>, ToolchainError> {
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${db:Status-Status} ${Package}\\n"]);
    let text = text_of("reading which packages are installed", &mut command)?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Package: x\nVersion: 1:2.0~deb12u1\nSize: 42\n\
        Depends: libc6 (>= 2.34), a:any | b, libllvm22 (= 1:22)\nDescription: one\n more: text\n\
        SHA256: 8FEFE1D6377FE4082F5A9D2A47E095E2D20319EAAB9754BD2F0275155C9ADF90\n\nPackage: y\nVersion: 1\n";

    #[test]
    fn the_first_paragraph_is_read() {
        let package = parse("x", SHOWN).expect("right");
        assert_eq!(package.version, "1:2.0~deb12u1");
        assert_eq!(package.bytes, 42);
        assert!(package.sha256.starts_with("8fefe1d6"));
        assert_eq!(package.depends, ["libc6", "a", "libllvm22"]);
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for (from, to) in [
            ("Package: x", "Package: z"),
            ("Version: 1:2.0~deb12u1", "Version: ../../up"),
            ("Size: 42", "Size: 419430401"),
            ("SHA256: 8F", "SHA256: "),
            ("SHA256: 8F", "SHA256: ZZ"),
        ] {
            let wrong = SHOWN.replacen(from, to, 1);
            assert!(matches!(parse("x", &wrong), Err(ToolchainError::BadPackage { .. })), "{to}");
        }
        let largest = SHOWN.replacen("Size: 42", "Size: 419430400", 1);
        assert!(parse("x", &largest).is_ok());
    }

    /// Lists in which Rust needs so many shared libraries, each of which the next.
    #[cfg(unix)]
    fn with_libraries(number: usize) -> Result<Selection, ToolchainError> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let offer = |name: &str, depends: &str| {
            let text = format!(
                "Package: {name}\nVersion: 1\nSize: 1\nSHA256: {}\nDepends: {depends}\n",
                "a".repeat(64)
            );
            std::fs::write(folder.path().join(name), text).expect("writable");
        };
        offer("rustc-web", "libstd-rust-web-dev, libmade-up1");
        offer("libstd-rust-web-dev", "libstd-rust-web-1.0");
        offer("libstd-rust-web-1.0", "libllvm9");
        for name in [
            "clang-9",
            "libclang-cpp9",
            "libclang-common-9-dev",
            "wasi-libc",
            "rust-web-src",
            "rust-web-llvm",
        ] {
            offer(name, "");
        }
        for name in ["libllvm9", "lld-9", "libclang-rt-9-dev-wasm32"] {
            offer(name, "libc6");
        }
        for number in 1..=number {
            offer(&format!("libmade-up{number}"), &format!("libmade-up{}", number + 1));
        }
        offer(&format!("libmade-up{number}"), "libc6");
        let script = folder.path().join("apt-cache");
        let text = format!("#!/bin/sh\nfor name; do :; done; cat {}/$name\n", folder.path().display());
        std::fs::write(&script, text).expect("writable");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("set");
        let folder = folder.path().to_owned();
        select(&Apt { get: "false".into(), cache: script, folder, private: false }, Parts::RustAndC)
    }

    #[cfg(unix)]
    #[test]
    fn packages_are_bounded() {
        // Twelve are named; the others are found.
        let most = with_libraries(PACKAGES_MAX - 12).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(most.packages.len(), PACKAGES_MAX);
        assert_eq!(most.llvm, "9");
        let error = with_libraries(PACKAGES_MAX - 11).expect_err("one too many").to_string();
        assert!(error.contains("more than 120 packages"), "{error}");
    }
}
