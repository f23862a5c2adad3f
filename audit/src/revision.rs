//! Which code of ours made what is cached: a change of it must spoil what an older one wrote, also between two releases.

/// Of the code that says what a source is.
pub(crate) const SCAN: u64 = {
    let hash = text(BEGIN, include_bytes!("scan/mod.rs"));
    let hash = text(hash, include_bytes!("scan/bodies.rs"));
    let hash = text(hash, include_bytes!("scan/conditions.rs"));
    let hash = text(hash, include_bytes!("scan/glue.rs"));
    let hash = text(hash, include_bytes!("scan/macros.rs"));
    let hash = text(hash, include_bytes!("scan/modules.rs"));
    let hash = text(hash, include_bytes!("scan/observe.rs"));
    let hash = text(hash, include_bytes!("scan/text.rs"));
    let hash = text(hash, include_bytes!("scan/tokens.rs"));
    let hash = text(hash, include_bytes!("scan/uses.rs"));
    let hash = text(hash, include_bytes!("scan/walk.rs"));
    let hash = text(hash, include_bytes!("limits.rs"));
    let hash = text(hash, include_bytes!("predicate.rs"));
    text(hash, include_bytes!("summary.rs"))
};

/// Of the code that says what it means.
pub(crate) const JUDGE: u64 = {
    let hash = text(SCAN, include_bytes!("facts.rs"));
    let hash = text(hash, include_bytes!("link/live.rs"));
    let hash = text(hash, include_bytes!("link/names.rs"));
    let hash = text(hash, include_bytes!("link/sets.rs"));
    let hash = text(hash, include_bytes!("link/stage.rs"));
    let hash = text(hash, include_bytes!("table.rs"));
    text(hash, include_bytes!("whole.rs"))
};

const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, by its authors' description. Nobody gains by a collision: what is cached lies in the user's own folder.
#[allow(long_running_const_eval, reason = "it ends with the text")]
const fn text(mut hash: u64, text: &[u8]) -> u64 {
    let mut at = 0;
    while at < text.len() {
        hash = (hash ^ text[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    /// Files that neither read source nor judge it.
    const OTHERS: &[&str] = &[
        "audit.rs",
        "cache.rs",
        "claims.rs",
        "digest.rs",
        "lib.rs",
        "map.rs",
        "mod.rs",
        "package.rs",
        "revision.rs",
        "sources.rs",
        "states.rs",
        "workspace.rs",
    ];

    #[test]
    fn every_file_that_matters_is_in() {
        let here = include_str!("revision.rs");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = 0;
        for folder in ["", "scan", "link"] {
            for entry in std::fs::read_dir(root.join(folder)).expect("a folder").flatten() {
                let name = entry.file_name().into_string().expect("UTF-8");
                if entry.path().is_dir() || OTHERS.contains(&name.as_str()) && folder != "scan" {
                    continue;
                }
                files += 1;
                let named = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                assert!(here.contains(&format!("include_bytes!(\"{named}\")")), "{named} is not in");
            }
        }
        assert_eq!(files, here.matches("include_bytes!(\"").count());
    }
}
