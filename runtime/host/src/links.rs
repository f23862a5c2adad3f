//! Where a granted path leads, when guests may have put links on the way.
//!
//! A guest that may write a folder may put a link there that leads anywhere in the host. Whoever is granted a path through that folder, this
//! guest or another, would get what it leads to. So no such link is followed: neither now nor by whoever opens what was found here.

use std::ffi::OsString;
#[cfg(feature = "wasm")]
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use capability_manifest::HostCapability;

use crate::plan::{CompartmentPlan, MountPlan};

/// The folders, as paths of the host, that guests of one runtime may write. All of its compartments share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<RwLock<Vec<String>>>);

/// It follows from the grants, which are compared.
impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Written {
    /// Of these compartments, each of which gets it.
    pub(crate) fn share(compartments: &mut [CompartmentPlan]) {
        let all = Self::default();
        for compartment in compartments.iter_mut() {
            all.add(compartment);
        }
        for compartment in compartments {
            compartment.written = all.clone();
        }
    }

    /// Takes in what one more compartment may write, and gives it the same list.
    #[cfg(feature = "wasm")]
    pub(crate) fn admit(&self, compartment: &mut CompartmentPlan) {
        self.add(compartment);
        compartment.written = self.clone();
    }

    fn add(&self, compartment: &CompartmentPlan) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // A single file that may be written cannot be replaced by a link.
        for mount in compartment.mounts.iter().filter(|mount| !mount.file) {
            if mount.capabilities.iter().any(|name| name == HostCapability::FilesystemWrite.name())
                && !all.contains(&mount.host)
            {
                all.push(mount.host.clone());
            }
        }
    }

    /// Each without links.
    fn found(&self, folder: &Path) -> Vec<PathBuf> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|host| std::fs::canonicalize(folder.join(host)).ok()).collect()
    }
}

/// The path without links that a granted path leads to.
///
/// # Errors
/// When it is not there, or goes through a link in a folder that a guest may write.
pub(crate) fn follow(plan: &CompartmentPlan, mount: &MountPlan, folder: &Path) -> Result<PathBuf, String> {
    let (path, links) = walk(&folder.join(&mount.host)).map_err(|error| error.to_string())?;
    if links.is_empty() {
        return Ok(path);
    }
    let written = plan.written.found(folder);
    match links.iter().find_map(|link| written.iter().find(|written| link.starts_with(written))) {
        None => Ok(path),
        Some(written) => Err(format!(
            "it goes through a link in `{}`, which a guest may write; name what it leads to",
            written.display()
        )),
    }
}

/// Opens a folder that [`follow`] found, and sees that it is the one at this path: no link was put on the way meanwhile. Gives a path by
/// which the open one is reached as long as the file is kept.
///
/// # Errors
/// When it cannot be opened, or is elsewhere.
#[cfg(all(feature = "wasm", target_os = "linux"))]
pub(crate) fn hold(path: &Path) -> Result<(File, PathBuf), String> {
    use std::os::fd::AsRawFd;
    // With a dot behind it only a folder is opened: a pipe in its place would keep the host waiting.
    let held = File::open(path.join(".")).map_err(|error| error.to_string())?;
    let open = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    match std::fs::read_link(&open) {
        Ok(found) if found == path => Ok((held, open)),
        Ok(found) => Err(format!("it was exchanged, and leads to `{}`", found.display())),
        Err(error) => Err(error.to_string()),
    }
}

/// The same where the system does not say where an open folder is: the path is looked at again, which leaves a moment in between.
#[cfg(all(feature = "wasm", not(target_os = "linux")))]
pub(crate) fn hold(path: &Path) -> Result<(File, PathBuf), String> {
    let held = File::open(path.join(".")).map_err(|error| error.to_string())?;
    match walk(path) {
        Ok((_, links)) if links.is_empty() => Ok((held, path.to_owned())),
        Ok(_) => Err("it was exchanged".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The path without links that a path leads to, and the folders, free of links, of every link that was followed on the way.
fn walk(path: &Path) -> std::io::Result<(PathBuf, Vec<PathBuf>)> {
    // As many as the kernel follows, path_resolution(7).
    const LINKS_MAX: usize = 40;
    let parts =
        |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let mut todo = parts(&std::path::absolute(path)?);
    todo.reverse();
    let (mut at, mut folders) = (PathBuf::new(), Vec::new());
    while let Some(part) = todo.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        if !std::fs::symlink_metadata(&next)?.is_symlink() {
            at = next;
            continue;
        }
        if folders.len() == LINKS_MAX {
            return Err(std::io::Error::other("too many links"));
        }
        todo.extend(parts(&std::fs::read_link(&next)?).into_iter().rev());
        folders.push(at.clone());
    }
    Ok((at, folders))
}

#[cfg(all(test, unix, feature = "wasm"))]
mod tests {
    use std::os::unix::fs::symlink;

    use capability_manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};

    use super::*;

    #[test]
    fn the_folder_of_every_link_on_the_way_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = std::fs::canonicalize(folder.path()).expect("it is there");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        std::fs::create_dir(root.join("c")).expect("a folder");
        symlink("../c", root.join("a/up")).expect("a link");
        symlink(root.join("a/up"), root.join("c/away")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        let found = |path: &str| walk(&root.join(path)).ok();
        assert_eq!(found("a/b"), Some((root.join("a/b"), Vec::new())));
        assert_eq!(found("a/b/../up"), Some((root.join("c"), vec![root.join("a")])));
        assert_eq!(found("c/away"), Some((root.join("c"), vec![root.join("c"), root.join("a")])));
        assert_eq!(found("loop"), None);
        assert_eq!(found("missing"), None);
    }

    #[test]
    fn what_was_exchanged_meanwhile_is_not_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = std::fs::canonicalize(folder.path()).expect("it is there");
        std::fs::create_dir(root.join("a")).expect("a folder");
        assert!(hold(&root.join("a")).is_ok());
        std::fs::remove_dir(root.join("a")).expect("it is there");
        symlink("/etc", root.join("a")).expect("a link");
        assert!(hold(&root.join("a")).expect_err("elsewhere").contains("exchanged"));
        std::fs::remove_file(root.join("a")).expect("it is there");
        std::fs::write(root.join("a"), "").expect("writable");
        assert!(hold(&root.join("a")).is_err(), "only a folder is held");
    }

    /// `cofferdam run` puts a plan together from two.
    #[test]
    fn a_runtime_has_one_list_for_all_of_its_plan() {
        let planned = |krate: &str, grants: &str| {
            let text = format!(
                "[holds]\n{grants}\n[crates.app]\ndependencies = [\"{krate}\"]\n[crates.app.grants.{krate}]\n{grants}\n\
                 [crates.{krate}.compartment]\nbackend = \"wasm\"\n"
            );
            let mut files = Files::default();
            let file =
                files.add(ManifestText::from_bytes("capabilities.toml", text.into_bytes()).expect("small"));
            let manifest = parse(file, files.get(file), Form::Standalone).expect("a manifest");
            let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
            let graph = resolve(&project).granted(&project).expect("granted");
            crate::plan(&project, &graph).expect("the pages are right").compartments.remove(0)
        };
        let one = planned("writer", "filesystem = { write = [\"data\"] }");
        let other = planned("reader", "filesystem = { read = [\"data/left\"] }");
        assert_eq!(*other.written.0.read().expect("no panic"), Vec::<String>::new(), "by itself");
        let plan = crate::Plan { compartments: vec![one, other], linked: Vec::new() };
        let builder = crate::Runtime::from_plan(plan, "");
        for compartment in &builder.plan().compartments {
            assert_eq!(*compartment.written.0.read().expect("no panic"), ["data"], "{}", compartment.krate);
        }
    }
}
