//! What a command is about: a crate, or an edge `'a -> b'`; and the capabilities that a word of the command line means.

use std::collections::BTreeSet;

use cofferdam::manifest::{Capability, HostCapability, is_capability_name, nearest};
use cofferdam_audit::PackageIndex;

use crate::code::Code;
use crate::{Stop, render};

/// A crate or an edge of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Package(PackageIndex),
    Edge(PackageIndex, PackageIndex),
}

impl Subject {
    pub(crate) fn find(code: &Code, text: &str) -> Result<Self, Stop> {
        match text.split_once("->") {
            Some((from, to)) => Ok(Self::Edge(package(code, from.trim())?, package(code, to.trim())?)),
            None => Ok(Self::Package(package(code, text.trim())?)),
        }
    }
}

/// The package of that name, or of that `name@version`.
pub(crate) fn package(code: &Code, text: &str) -> Result<PackageIndex, Stop> {
    let (name, version) = text.split_once('@').map_or((text, ""), |(name, version)| (name, version));
    let packages = &code.graph.packages;
    let mut found = packages
        .iter()
        .enumerate()
        .filter(|(_, package)| package.name == name && package.version.starts_with(version));
    match (found.next(), found.next()) {
        (Some((only, _)), None) => Ok(only),
        (None, _) => {
            let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
            let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let text = render::printable(text);
            Err(Stop::Usage(format!("there is no crate `{text}` in the graph{hint}")))
        }
        (Some((_, first)), Some((_, second))) => Err(Stop::Usage(format!(
            "`{text}` means more than one crate; say `{name}@{}` or `{name}@{}`",
            first.version, second.version
        ))),
    }
}

/// Whether a capability is meant by a word: its own name, or that of its class.
pub(crate) fn means(word: &str, capability: &Capability) -> bool {
    let name = capability.to_string();
    name == word || name.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'))
}

/// Refuses a word that is no capability and no class.
pub(crate) fn known(word: &str) -> Result<(), Stop> {
    let bare = word.strip_prefix("build.").unwrap_or(word);
    let is_class = HostCapability::of_class(bare).next().is_some() || bare == "build";
    if is_class || matches!(Capability::from_name(word), Capability::Host(..)) {
        return Ok(());
    }
    let names: Vec<&str> = HostCapability::all().map(HostCapability::name).collect();
    let hint = match nearest(bare, names) {
        Some(near) if is_capability_name(word) => format!("; did you mean `{near}`?"),
        _ => "; `cofferdam explain capabilities` lists them".to_owned(),
    };
    Err(Stop::Usage(format!("`{}` is no capability that code reaches{hint}", render::printable(word))))
}
