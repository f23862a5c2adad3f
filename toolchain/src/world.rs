//! What the world of a guest says that it imports, read from its WIT.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wit_parser::Resolve;

use crate::ToolchainError;

/// A world, by the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestWorld {
    /// The file, or the folder of its package, relative to the crate.
    pub path: PathBuf,
    /// The world's name.
    pub name: String,
}

impl GuestWorld {
    /// The names of what the world imports, with their versions, as a component names them.
    pub(crate) fn imports(&self, sources: &Path) -> Result<Vec<String>, ToolchainError> {
        let path = sources.join(&self.path);
        // The file may be a whole package, beside others, or a part of the one that its folder is.
        self.read(&path)
            .or_else(|error| match path.parent() {
                Some(folder) if path.is_file() && folder != sources => self.read(folder),
                _ => Err(error),
            })
            .map_err(|message| ToolchainError::World { path, world: self.name.clone(), message })
    }

    fn read(&self, path: &Path) -> Result<Vec<String>, String> {
        let mut resolve = Resolve::default();
        let package = match resolve.push_path(path) {
            Ok((package, _)) => package,
            Err(error) => return Err(resolve.render_error(&error)),
        };
        let world =
            resolve.select_world(&[package], Some(&self.name)).map_err(|error| format!("{error:#}"))?;
        Ok(resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 5] = [
        ("two/a.wit", "package acme:a; world one { import b: interface {} }"),
        ("two/b.wit", "package acme:b; world two {}"),
        (
            "wit/worlds.wit",
            "package acme:words@1.2.0;\nworld plain { export filter; }\nworld asking { import progress; export filter; }",
        ),
        (
            "wit/filter.wit",
            "package acme:words@1.2.0;\ninterface progress { use acme:kinds/units@2.0.0.{steps}; tell: func(done: steps); }\n\
             interface filter { run: func(); }",
        ),
        (
            "wit/deps/kinds/kinds.wit",
            "package acme:kinds@2.0.0;\ninterface units { record steps { of: u32 } }",
        ),
    ];

    fn imports(path: &str, name: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in FILES
            .into_iter()
            .chain([("alone.wit", "package acme:alone;\nworld one { import a: interface {} }")])
        {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        let world = GuestWorld { path: path.into(), name: name.to_owned() };
        world
            .imports(folder.path())
            .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn a_world_says_what_it_imports_and_what_that_uses() {
        let asking = ["acme:kinds/units@2.0.0", "acme:words/progress@1.2.0"].map(str::to_owned).to_vec();
        assert_eq!(imports("wit/worlds.wit", "asking"), Ok(asking.clone()));
        assert_eq!(imports("wit", "asking"), Ok(asking));
        assert_eq!(imports("wit/worlds.wit", "plain"), Ok(Vec::new()));
        assert_eq!(imports("alone.wit", "one"), Ok(vec!["a".to_owned()]));
        assert_eq!(imports("two/a.wit", "one"), Ok(vec!["b".to_owned()]), "a package beside another");
    }

    #[test]
    fn a_world_that_is_not_there_is_an_error() {
        let error = imports("wit/worlds.wit", "none").expect_err("there is none");
        assert!(error.starts_with("cannot read the world `none` of /wit/worlds.wit, "), "{error}");
        let error = imports("wit2/worlds.wit", "plain").expect_err("there is none");
        assert!(error.starts_with("cannot read the world `plain` of /wit2/worlds.wit, "), "{error}");
    }
}
