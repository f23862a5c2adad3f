//! Downloads packages into the cache folder. What is there and is right is not downloaded again.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::packages::{Apt, Package};
use crate::ToolchainError;
use crate::command::Run;
use crate::error::AtPath as _;
use crate::fingerprint::hexadecimal;
use crate::progress::{Progress, Tell};

/// Downloads all, each checked against the digest that the lists give. The files, in the same order.
pub(crate) fn download(
    apt: &Apt,
    packages: &[Package],
    folder: &Path,
    tell: Tell<'_>,
) -> Result<Vec<PathBuf>, ToolchainError> {
    std::fs::create_dir_all(folder).at("make", folder)?;
    let total = packages.iter().map(|package| package.bytes).sum();
    let mut done = 0;
    let mut files = Vec::with_capacity(packages.len());
    for package in packages {
        tell(Progress::Bytes { done, total });
        tell(Progress::Detail(&package.name));
        let file = folder.join(format!("{}_{}.deb", package.name, package.version.replace(':', "%3a")));
        if !is_right(&file, package)? {
            fetch(apt, package, &file, &mut |now| tell(Progress::Bytes { done: done + now, total }))?;
        }
        done += package.bytes;
        files.push(file);
    }
    tell(Progress::Bytes { done, total });
    Ok(files)
}

/// Whether a file is that package; one that is not is removed.
fn is_right(file: &Path, package: &Package) -> Result<bool, ToolchainError> {
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() == package.bytes && digest(file)? == package.sha256 => Ok(true),
        Ok(_) => std::fs::remove_file(file).at("remove", file).map(|()| false),
        Err(_) => Ok(false),
    }
}

fn fetch(
    apt: &Apt,
    package: &Package,
    file: &Path,
    arrived: &mut dyn FnMut(u64),
) -> Result<(), ToolchainError> {
    // A folder for this one alone: `apt-get` names the file as it likes.
    let partial = file.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial).at("remove", &partial)?;
    }
    std::fs::create_dir(&partial).at("make", &partial)?;
    let mut command = apt.get();
    command.arg("download").arg(format!("{}={}", package.name, package.version)).current_dir(&partial);
    let run = Run { what: &format!("downloading {}", package.name), limit: None, inherit_stderr: false };
    run.succeed(&mut command, &mut |_| {
        if let Some(metadata) = only_file(&partial).and_then(|file| file.metadata().ok()) {
            arrived(metadata.len().min(package.bytes));
        }
    })?;
    let got =
        only_file(&partial).ok_or_else(|| ToolchainError::NoPackage { package: package.name.clone() })?;
    let found = digest(&got)?;
    if found != package.sha256 {
        let error = ToolchainError::Corrupt { path: got, expected: package.sha256.clone(), found };
        std::fs::remove_dir_all(&partial).at("remove", &partial)?;
        return Err(error);
    }
    std::fs::rename(&got, file).at("move", &got)?;
    std::fs::remove_dir_all(&partial).at("remove", &partial)
}

fn only_file(folder: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.next().map(|entry| entry.path())
}

/// SHA-256 of a file, lowercase hexadecimal.
fn digest(path: &Path) -> Result<String, ToolchainError> {
    let mut file = File::open(path).at("read", path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut piece).at("read", path)?;
        if read == 0 {
            return Ok(hexadecimal(&digest.finalize()));
        }
        digest.update(&piece[..read]);
    }
}
