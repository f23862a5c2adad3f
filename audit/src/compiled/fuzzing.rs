//! What fuzzers call: what a compiler or a build script left, whatever it is.

use std::sync::LazyLock;

use super::build::{Artifact, Artifacts, Made};
use super::examine::examine;
use super::sysroot::Sysroot;
use super::{mangled, shown};
use crate::package::{Graph, Package, Target, TargetKind};
use crate::table::Table;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::load().expect("valid tables"));

/// Reads the bytes as a library, as C code, as a program, as a build script, and as a symbol's name.
///
/// # Panics
/// Never, and that is what is tried.
pub fn compiled(bytes: &[u8]) {
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = (mangled::parse(name), shown(name));
    }
    let target =
        |kind| Target { kind, name: "guest".to_owned(), source: "lib.rs".into(), edition_2015: false };
    let package = Package {
        name: "guest".to_owned(),
        targets: vec![target(TargetKind::Library), target(TargetKind::BuildScript)],
        root: true,
        ..Package::default()
    };
    let graph = Graph { packages: vec![package], ..Graph::default() };
    let made = [Made::Library, Made::Archive, Made::Program, Made::Shared, Made::BuildScript];
    let file = |made| Artifact { package: 0, made, name: "guest".to_owned(), path: "guest".into() };
    let artifacts = Artifacts { files: made.map(file).to_vec() };
    let sysroot = Sysroot { crates: Default::default(), symbols: Default::default() };
    let found = examine(&graph, &artifacts, &[bytes; 5], sysroot, &TABLE);
    // Each is read, or it is said that it is not.
    assert_eq!(found.measure.programs + found.unread.iter().filter(|one| is_program(&one.why)).count(), 3);
}

/// Whether it is a program that was not read, and not a library.
fn is_program(why: &str) -> bool {
    why != "holds compiled code of a form that cannot be read"
}
