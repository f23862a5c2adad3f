//! Summaries of packages from a registry, kept between runs. They hold what is written, not what it means, so tables do not
//! spoil them. A package is found by its checksum, and where only what is compiled was read, by platform and features, and the file of its summary
//! begins with a digest of what follows: what does not fit is read anew, never believed.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::limits::CACHE_BYTES_MAX;
use crate::package::Package;
use crate::predicate::CfgSet;
use crate::summary::Summary;

/// Changes when the form of a summary, or what a scan finds, changes.
const VERSION: &str = "cofferdam-source-6";

/// A folder of summaries.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in a folder, which need not exist yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.join(VERSION) }
    }

    /// The name says what was read: the package by its checksum, the targets that were followed, and the version of the code.
    fn file(&self, package: &Package, platform: Option<&CfgSet>) -> Option<PathBuf> {
        let checksum = package.checksum.as_ref()?;
        let mut hash = Sha256::new();
        hash.update(VERSION);
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(checksum);
        for target in &package.targets {
            hash.update([target.kind as u8]);
            let source = target.source.strip_prefix(&package.folder).unwrap_or(&target.source);
            hash.update(source.to_string_lossy().as_bytes());
            hash.update([0]);
        }
        hash.update([u8::from(package.links.is_some()), u8::from(platform.is_some())]);
        if let Some(platform) = platform {
            // What was left out depends on both.
            hash.update(format!("{platform:?} {:?}", package.features));
        }
        Some(self.folder.join(hex(&hash.finalize())))
    }

    /// The summary of a package, when it was kept whole.
    pub(crate) fn load(&self, package: &Package, platform: Option<&CfgSet>) -> Option<Summary> {
        let path = self.file(package, platform)?;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(CACHE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        if bytes.len() as u64 > CACHE_BYTES_MAX {
            return None;
        }
        let (digest, body) = bytes.split_at_checked(32)?;
        if Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let summary: Summary = postcard::from_bytes(body).ok()?;
        (summary.targets.len() == package.targets.len() && summary.is_sound()).then_some(summary)
    }

    /// Keeps a summary. A failure is no error: the next run reads the source again.
    pub(crate) fn store(&self, package: &Package, platform: Option<&CfgSet>, summary: &Summary) {
        let Some(path) = self.file(package, platform) else { return };
        let Ok(body) = postcard::to_stdvec(summary) else { return };
        let stored = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            let temporary = path.with_extension(format!("{}.new", std::process::id()));
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&Sha256::digest(&body))?;
            file.write_all(&body)?;
            drop(file);
            std::fs::rename(&temporary, &path)
        };
        let _ = stored();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
