//! `diff`: what authority changed between two versions of a crate, two lock files, or two revisions of a repository.

mod registry;
mod revision;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::Capability;

use crate::Stop;
use crate::arguments::{Diff, Format};
use crate::document::{DiffCrateDocument, DiffDocument, DiffEdgeDocument, EdgeName, VERSION, print_json};
use crate::exit::Exit;
use crate::render::printable;

pub(crate) fn run(arguments: &Diff, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let (old, new) = (arguments.old.as_str(), arguments.new.as_str());
    let kind = kind(old, new)?;
    if arguments.compiled && !matches!(kind, Kind::Revisions) {
        return Err(Stop::Usage(
            "`--compiled` builds revisions of the repository, and nothing else".to_owned(),
        ));
    }
    let (before, after) = match kind {
        Kind::Versions => (registry::version(old, ambient)?, registry::version(new, ambient)?),
        Kind::Locks => registry::locks(Path::new(old), Path::new(new), ambient)?,
        Kind::Revisions => {
            (revision::read(old, arguments, ambient)?, revision::read(new, arguments, ambient)?)
        }
    };
    let document = compare(old, new, &before, &after);
    let gains = document.crates.iter().any(|one| !one.gained.is_empty() || one.build_script == Some("added"))
        || document.edges.iter().any(|one| !one.gained.is_empty());
    match arguments.format {
        Format::Json => print_json(&document)?,
        Format::Human => {
            anstream::stdout().write_all(text(&document).as_bytes())?;
        }
    }
    Ok(if arguments.deny_new && gains { Exit::Denied } else { Exit::Ok })
}

enum Kind {
    Versions,
    Locks,
    Revisions,
}

/// What the two words are: `name@1.2.3`, a file, or else a revision.
fn kind(old: &str, new: &str) -> Result<Kind, Stop> {
    let is_file = |word: &str| Path::new(word).is_file();
    let is_version = |word: &str| {
        word.split_once('@').is_some_and(|(name, version)| {
            !name.is_empty() && version.starts_with(|first: char| first.is_ascii_digit())
        })
    };
    match ((is_file(old), is_file(new)), (is_version(old), is_version(new))) {
        ((true, true), _) => Ok(Kind::Locks),
        ((false, false), (true, true)) => Ok(Kind::Versions),
        ((false, false), (false, false)) => Ok(Kind::Revisions),
        _ => Err(Stop::Usage(
            "give two of a kind: `name@1.2.3` twice, two lock files, or two revisions of the repository"
                .to_owned(),
        )),
    }
}

/// One side.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) crates: BTreeMap<String, Facts>,
    /// What each edge brings; `None` where only the edge itself is known.
    pub(crate) edges: BTreeMap<(String, String), BTreeMap<Capability, Vec<String>>>,
}

/// What is known of a crate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) version: String,
    /// What its own code reaches, with the way.
    pub(crate) own: BTreeMap<Capability, Vec<String>>,
    /// SHA-256 of its build script.
    pub(crate) build_script: Option<String>,
    /// Names of what it depends on.
    pub(crate) dependencies: BTreeSet<String>,
    /// Why its code is not known.
    pub(crate) unread: Option<String>,
}

fn compare(old: &str, new: &str, before: &Snapshot, after: &Snapshot) -> DiffDocument {
    let mut crates = Vec::new();
    let nothing = Facts::default();
    let names: BTreeSet<&String> = before.crates.keys().chain(after.crates.keys()).collect();
    for name in names {
        let (was, is) = (before.crates.get(name), after.crates.get(name));
        if was == is {
            continue;
        }
        let (a, b) = (was.unwrap_or(&nothing), is.unwrap_or(&nothing));
        let build_script = match (&a.build_script, &b.build_script) {
            (None, Some(_)) => Some("added"),
            (Some(_), None) => Some("removed"),
            (Some(x), Some(y)) if x != y => Some("changed"),
            _ => None,
        };
        let list = |more: &BTreeSet<String>, less: &BTreeSet<String>| -> Vec<String> {
            more.difference(less).cloned().collect()
        };
        let document = DiffCrateDocument {
            name: name.clone(),
            old: was.map(|facts| facts.version.clone()),
            new: is.map(|facts| facts.version.clone()),
            gained: gained(&a.own, &b.own),
            lost: lost(&a.own, &b.own),
            build_script,
            new_dependencies: list(&b.dependencies, &a.dependencies),
            lost_dependencies: list(&a.dependencies, &b.dependencies),
            unread: b.unread.clone().or_else(|| a.unread.clone()),
        };
        let says_nothing = document.old == document.new
            && document.gained.is_empty()
            && document.lost.is_empty()
            && document.build_script.is_none()
            && document.new_dependencies.is_empty()
            && document.lost_dependencies.is_empty();
        if !says_nothing {
            crates.push(document);
        }
    }
    let none = BTreeMap::new();
    let keys: BTreeSet<&(String, String)> = before.edges.keys().chain(after.edges.keys()).collect();
    let edges = keys.into_iter().filter_map(|key| {
        let (was, is) = (before.edges.get(key), after.edges.get(key));
        let (a, b) = (was.unwrap_or(&none), is.unwrap_or(&none));
        let document = DiffEdgeDocument {
            ends: EdgeName { from: key.0.clone(), to: key.1.clone() },
            edge: match (was, is) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "kept",
            },
            gained: gained(a, b),
            lost: lost(a, b),
        };
        (was != is && (document.edge != "kept" || document.gained.len() + document.lost.len() > 0))
            .then_some(document)
    });
    DiffDocument {
        document: "diff",
        version: VERSION,
        old: old.to_owned(),
        new: new.to_owned(),
        crates,
        edges: edges.collect(),
    }
}

type Reached = BTreeMap<Capability, Vec<String>>;

fn gained(a: &Reached, b: &Reached) -> BTreeMap<String, Vec<String>> {
    let new = b.iter().filter(|(capability, _)| !a.contains_key(*capability));
    new.map(|(capability, way)| (capability.to_string(), way.clone())).collect()
}

fn lost(a: &Reached, b: &Reached) -> Vec<String> {
    a.keys().filter(|capability| !b.contains_key(*capability)).map(Capability::to_string).collect()
}

/// Text with styles; what comes from elsewhere is made harmless piece by piece, since styles are control characters too.
fn text(document: &DiffDocument) -> String {
    let (green, red, bold) = (
        anstyle::AnsiColor::Green.on_default(),
        anstyle::AnsiColor::Red.on_default(),
        anstyle::Style::new().bold(),
    );
    let mut text = String::new();
    let changes = |text: &mut String, gained: &BTreeMap<String, Vec<String>>, lost: &[String]| {
        for (capability, way) in gained {
            let _ = writeln!(text, "  {red}+ {capability}{red:#}");
            for line in way {
                let _ = writeln!(text, "      {}", printable(line));
            }
        }
        for capability in lost {
            let _ = writeln!(text, "  {green}- {capability}{green:#}");
        }
    };
    for one in &document.crates {
        let what = match (&one.old, &one.new) {
            (None, Some(new)) => format!("{new}, added"),
            (Some(old), None) => format!("{old}, removed"),
            (Some(old), Some(new)) if old != new => format!("{old} -> {new}"),
            (Some(same), _) => same.clone(),
            (None, None) => String::new(),
        };
        let _ = writeln!(text, "{bold}{}{bold:#} {}", printable(&one.name), printable(&what));
        if let Some(change) = one.build_script {
            let _ = writeln!(text, "  build script {change}");
        }
        changes(&mut text, &one.gained, &one.lost);
        for (sign, list) in [("+", &one.new_dependencies), ("-", &one.lost_dependencies)] {
            if !list.is_empty() {
                let _ = writeln!(text, "  {sign} depends on {}", printable(&list.join(", ")));
            }
        }
        if let Some(why) = &one.unread {
            let _ = writeln!(text, "  its code was not read: {}", printable(why));
        }
    }
    for one in &document.edges {
        let (from, to) = (printable(&one.ends.from), printable(&one.ends.to));
        let _ = writeln!(text, "{bold}{from} -> {to}{bold:#} {}", one.edge);
        changes(&mut text, &one.gained, &one.lost);
    }
    if text.is_empty() {
        text.push_str("nothing that the code reaches has changed\n");
    }
    text
}
