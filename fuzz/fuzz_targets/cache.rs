//! Files of the audit's cache that somebody else wrote, each with the digest that belongs to it: the verdict is made or found, never a
//! panic.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use ambient_authority::ambient_authority;
use cofferdam_audit::{
    Cache, CfgSet, Extent, Graph, Package, Reading, Table, Target, TargetKind, audit_extent,
    read_sources_ambient,
};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// A workspace of one crate, and the files that reading and judging it leaves, with what is in them.
struct Kept {
    graph: Graph,
    cache: Cache,
    files: Vec<(PathBuf, Vec<u8>)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::load().expect("valid tables"));
static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("cofferdam-fuzz-cache-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("src")).expect("a folder");
    let source = folder.join("src/lib.rs");
    std::fs::write(
        &source,
        "mod inner { pub fn f() { let _ = std::fs::read(\"x\"); } } pub fn g() { inner::f() }",
    )
    .expect("writable");
    let package = Package {
        name: "guest".to_owned(),
        version: "1.0.0".to_owned(),
        checksum: Some("a".repeat(64)),
        folder: folder.clone(),
        targets: vec![Target {
            kind: TargetKind::Library,
            name: "guest".to_owned(),
            source,
            edition_2015: false,
        }],
        root: true,
        ..Package::default()
    };
    let graph =
        Graph { packages: vec![package], cfg: CfgSet::from_lines("unix\n"), workspace: folder.clone() };
    let cache = Cache::in_folder(&folder.join("cache"));
    judge(&graph, &cache);
    let mut files = Vec::new();
    let mut folders = vec![folder.join("cache")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                files.push((path, bytes));
            }
        }
    }
    files.sort();
    assert!(files.len() >= 3, "a summary, its files and a verdict");
    Kept { graph, cache, files }
});

fn judge(graph: &Graph, cache: &Cache) -> usize {
    let ambient = ambient_authority();
    let sources =
        read_sources_ambient(graph, Reading::Platform, Some(cache), &|_, _| {}, ambient).expect("threads");
    let audit = audit_extent(graph, &sources, &TABLE, Extent::Used, None);
    audit.needs().len() + audit.unknowns().len() + audit.unsafe_code(0).1
}

fuzz_target!(|input: &[u8]| {
    let Some((which, body)) = input.split_first() else { return };
    let kept = &*KEPT;
    let (path, whole) = &kept.files[usize::from(*which) % kept.files.len()];
    // Of a verdict alone nothing is asked again; without it, everything is.
    if *which >= 128 {
        for (other, _) in &kept.files {
            if other.extension().is_some_and(|kind| kind == "verdict") && other != path {
                std::fs::remove_file(other).expect("it is there");
            }
        }
    }
    let written = [Sha256::digest(body).as_slice(), body].concat();
    std::fs::write(path, written).expect("writable");
    judge(&kept.graph, &kept.cache);
    std::fs::write(path, whole).expect("writable");
    for (path, whole) in &kept.files {
        std::fs::write(path, whole).expect("writable");
    }
});
