//! The source of an audited crate: read and judged, whatever it says, and every file of it either analysed or listed as not.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use ambient_authority::ambient_authority;
use cofferdam_audit::{
    CfgSet, Extent, Graph, Package, Reading, Table, Target, TargetKind, audit_extent, read_sources_ambient,
};
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::load().expect("valid tables"));
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("cofferdam-fuzz-source-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("src")).expect("a folder");
    folder
});

fuzz_target!(|text: &[u8]| {
    let source = FOLDER.join("src/lib.rs");
    std::fs::write(&source, text).expect("writable");
    let target =
        |kind| Target { kind, name: "guest".to_owned(), source: source.clone(), edition_2015: false };
    let package = Package {
        name: "guest".to_owned(),
        version: "1.0.0".to_owned(),
        folder: FOLDER.clone(),
        // A build script is read by other rules.
        targets: vec![target(TargetKind::Library), target(TargetKind::BuildScript)],
        root: true,
        ..Package::default()
    };
    let cfg = CfgSet::from_lines("unix\ntarget_os=\"linux\"\ntarget_arch=\"x86_64\"\n");
    let graph = Graph { packages: vec![package], cfg, workspace: FOLDER.clone() };
    let ambient = ambient_authority();
    let sources =
        read_sources_ambient(&graph, Reading::Everything, None, &|_, _| {}, ambient).expect("threads");
    let used = audit_extent(&graph, &sources, &TABLE, Extent::Used, None).needs().len();
    let compiled = audit_extent(&graph, &sources, &TABLE, Extent::Compiled, None).needs().len();
    assert!(used <= compiled, "what is used is compiled");
});
