//! What stands beside a built guest, for the runtime: where its crate is, and of which files it was made.

use std::path::{Path, PathBuf};

use cargo_metadata::Package;
use serde::Serialize;

use crate::fingerprint::Inputs;
use crate::guest::dependencies;

/// The note.
#[derive(Debug, Serialize)]
struct Note<'n> {
    /// The crate's folder.
    folder: &'n str,
    /// The files below it that are compiled, by their paths in it; nothing where any file of the folder may be one: a build script may
    /// read what it likes.
    files: Option<Vec<&'n str>>,
    /// The files of other crates that can be edited.
    others: Vec<&'n str>,
}

/// Writes it, as JSON.
pub(crate) fn note(package: &Package, inputs: &Inputs, module: &Path, target_folder: &Path) -> Vec<u8> {
    let folder = package.manifest_path.parent().map_or("", |folder| folder.as_str());
    let scripted = package.targets.iter().any(cargo_metadata::Target::is_custom_build);
    let read = dependencies(module);
    let mut note = Note { folder, files: None, others: Vec::new() };
    if let Some(read) = &read {
        let mut files = Vec::new();
        // A build script may ask for what is not there, so that it runs again when it is, or each time.
        let there =
            |path: &&PathBuf| inputs.covers(path) && !path.starts_with(target_folder) && path.exists();
        for path in read.iter().filter(there) {
            match path.strip_prefix(folder) {
                Ok(inside) => files.extend(inside.to_str()),
                Err(_) => note.others.extend(path.to_str()),
            }
        }
        note.files = (!scripted).then_some(files);
    }
    serde_json::to_vec(&note).expect("texts")
}
