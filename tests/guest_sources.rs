//! A copy of `tests/guests` that a test may change.

use std::path::Path;

/// Copies the workspace `guests`, which stands in `tests` of the repository at `root`, and keeps what it takes from the repository
/// there.
pub(crate) fn copy_guests(root: &Path, to: &Path) {
    copy(&root.join("tests/guests"), to);
    let manifest = to.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).expect("readable");
    let up = format!("path = \"{}/", root.display());
    let text = text.replace("path = \"../../", &up);
    std::fs::write(manifest, text).expect("writable");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() && entry.file_name() != "target" {
            copy(&from, &to);
        } else if from.is_file() {
            std::fs::copy(from, to).expect("copied");
        }
    }
}
