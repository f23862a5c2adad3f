//! What a target's source is, as one number: to say whether a build script is the one that somebody looked at.

use std::collections::BTreeMap;

use ambient_authority::AmbientAuthority;
use sha2::{Digest as _, Sha256};

use crate::cache::hex;
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::sources::Sources;

/// For each package that has a target of a kind: SHA-256, in lowercase hexadecimal, over the names and bytes of the files that
/// those targets were read from. A package of which a file is gone since is not in it.
///
/// # Authority
/// Reads those files.
pub fn digests_ambient(
    graph: &Graph,
    sources: &Sources,
    kind: TargetKind,
    _: AmbientAuthority,
) -> BTreeMap<PackageIndex, String> {
    let mut all = BTreeMap::new();
    for (package, files) in sources.files_of(graph, kind) {
        let mut hash = Sha256::new();
        let read = files.iter().all(|file| {
            let Ok(bytes) = std::fs::read(graph.packages[package].folder.join(file)) else { return false };
            for part in [file.as_bytes(), &bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            true
        });
        if read {
            all.insert(package, hex(&hash.finalize()));
        }
    }
    all
}
