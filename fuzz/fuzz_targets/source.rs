//! Source of a crate that is audited: read and judged, or listed as not understood, and never a panic.
#![no_main]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ambient_authority::ambient_authority;
use cofferdam_audit::{Graph, Package, Table, Target, TargetKind, audit, read_sources_ambient};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static TABLE: OnceLock<Table> = OnceLock::new();
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let table = TABLE.get_or_init(|| Table::load().expect("ours"));
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder")).path();
    let source = folder.join("lib.rs");
    std::fs::write(&source, bytes).expect("writable");
    let package = Package {
        name: "fuzzed".to_owned(),
        version: "0.1.0".to_owned(),
        checksum: None,
        folder: folder.to_owned(),
        targets: vec![Target { kind: TargetKind::Library, name: "fuzzed".to_owned(), source, edition_2015: false }],
        features: BTreeSet::new(),
        dependencies: Vec::new(),
        root: true,
        member: true,
        links: None,
    };
    let graph = Graph { packages: vec![package], workspace: folder.to_owned(), ..Graph::default() };
    let sources = read_sources_ambient(&graph, None, &|_, _| {}, ambient_authority()).expect("threads");
    let audited = audit(&graph, &sources, table);
    let _ = (audited.root_need(0), audited.unknowns(), audited.unsafe_code(0));
});
