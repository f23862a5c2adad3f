//! What a target's source is, as one number: to say whether a build script is the one that somebody looked at.

use std::collections::BTreeSet;

use ambient_authority::AmbientAuthority;
use sha2::{Digest as _, Sha256};

use crate::audit::Sources;
use crate::cache::hex;
use crate::package::{Graph, PackageIndex, TargetKind};

/// SHA-256, in lowercase hexadecimal, over the names and bytes of the files that a package's targets of a kind were read from.
/// `None` when there is no such target, or when a file is gone since.
///
/// # Authority
/// Reads those files.
pub fn digest_ambient(
    graph: &Graph,
    sources: &Sources,
    package: PackageIndex,
    kind: TargetKind,
    _: AmbientAuthority,
) -> Option<String> {
    let of = &graph.packages[package];
    let summary = sources.summary(package);
    let mut files: BTreeSet<&str> = BTreeSet::new();
    for (target, _) in summary.targets.iter().zip(&of.targets).filter(|(_, of)| of.kind == kind) {
        files.extend(target.files.iter().map(|file| summary.files[*file as usize].as_str()));
    }
    if files.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    for file in files {
        let bytes = std::fs::read(of.folder.join(file)).ok()?;
        for part in [file.as_bytes(), &bytes] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Some(hex(&hash.finalize()))
}
