//! A revision of the repository, written into a folder of its own and judged there. Neither the working tree nor the index is
//! touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use ambient_authority::AmbientAuthority;
use cofferdam_audit::{Reading, TargetKind, digests_ambient};

use super::{Facts, Snapshot};
use crate::Stop;
use crate::arguments::{Diff, Format, Source};
use crate::code::Code;
use crate::compiled::{Judged, look_or_stop};
use crate::reach::{to_grant, way_lines};

pub(super) fn read(revision: &str, arguments: &Diff, ambient: AmbientAuthority) -> Result<Snapshot, Stop> {
    let source = &arguments.source;
    if source.manifest.is_some() {
        return Err(Stop::Usage("revisions are compared by their code; leave out `--manifest`".to_owned()));
    }
    let start = source.manifest_path.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let start = if start.as_os_str().is_empty() { Path::new(".") } else { start };
    let top = git(start, &["rev-parse", "--show-toplevel"], None)?;
    let top = PathBuf::from(top.trim());
    let commit =
        git(start, &["rev-parse", "--verify", "--end-of-options", &format!("{revision}^{{commit}}")], None)
            .map_err(|_| Stop::Usage(format!("`{revision}` is no revision of this repository")))?;
    let commit = commit.trim().to_owned();
    let scratch = tempfile::tempdir().map_err(|error| Stop::Write("a temporary folder".to_owned(), error))?;
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree).map_err(|error| Stop::Write(tree.display().to_string(), error))?;
    let index = scratch.path().join("index");
    git(&top, &["read-tree", &commit], Some(&index))?;
    let prefix = format!("--prefix={}/", tree.display());
    git(&top, &["checkout-index", "--all", "--force", &prefix], Some(&index))?;
    // The same folder below the top as here.
    let here = start.canonicalize().map_err(|error| Stop::Read(start.display().to_string(), error))?;
    let top = top.canonicalize().map_err(|error| Stop::Read(top.display().to_string(), error))?;
    let below = here.strip_prefix(&top).unwrap_or(Path::new(""));
    let mut there = Some(tree.join(below));
    let manifest = loop {
        match there {
            Some(folder) if folder.join("Cargo.toml").is_file() => break folder.join("Cargo.toml"),
            Some(folder) if folder.starts_with(&tree) => there = folder.parent().map(Path::to_owned),
            _ => return Err(Stop::Usage(format!("`{revision}` has no Cargo.toml here"))),
        }
    };
    let source = Source {
        manifest: None,
        manifest_path: Some(manifest),
        target: source.target.clone(),
        features: source.features.clone(),
        ..*source
    };
    let loaded = source.load(Format::Human, ambient)?;
    let Some(mut code) = Code::read(&loaded, source.target.as_deref(), Reading::Platform, ambient)? else {
        return Ok(Snapshot::default());
    };
    if arguments.compiled {
        look_or_stop(&mut code, &loaded, &source, Judged::ByGrants, ambient)?;
    }
    let verdict = code.verdict();
    let mut snapshot = Snapshot::default();
    let mut digests = digests_ambient(&code.graph, &code.sources, TargetKind::BuildScript, ambient);
    for package in (0..code.graph.packages.len()).filter(|package| verdict.is_linked(*package)) {
        let own = to_grant(&verdict.own(package)).into_iter().map(|capability| {
            let way = verdict.way_within(package, &capability);
            let lines = way.map_or_else(Vec::new, |way| way_lines(&code, &way));
            (capability, lines)
        });
        let of = &code.graph.packages[package];
        let facts = Facts {
            version: of.version.clone(),
            own: own.collect(),
            build_script: digests.remove(&package),
            dependencies: of.dependencies.iter().map(|one| code.name(one.to)).collect(),
            unread: None,
        };
        snapshot.crates.insert(code.name(package), facts);
    }
    for ((from, to), need) in verdict.needs() {
        let brings =
            to_grant(&need.run.union(&need.build).cloned().collect()).into_iter().map(|capability| {
                let way = verdict.way_over(*from, *to, &capability);
                let lines = way.map_or_else(Vec::new, |way| way_lines(&code, &way));
                (capability, lines)
            });
        snapshot.edges.insert((code.name(*from), code.name(*to)), brings.collect());
    }
    Ok(snapshot)
}

/// What git says.
fn git(folder: &Path, arguments: &[&str], index: Option<&Path>) -> Result<String, Stop> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    if let Some(index) = index {
        command.env("GIT_INDEX_FILE", index);
    }
    let output = command.output().map_err(|error| Stop::Read("git".to_owned(), error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        return Err(Stop::Usage(format!("git {} failed: {said}", arguments[0])));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
