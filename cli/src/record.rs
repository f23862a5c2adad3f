//! `Cofferdam.lock`: which edges there were and which build scripts ran when somebody last looked. `init` writes it, `check`
//! compares: a dependency that comes in unseen, or a build script that changes, is a finding even while it reaches nothing new.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use ambient_authority::AmbientAuthority;
use cofferdam::Loaded;
use cofferdam::manifest::{Code as MessageCode, Diagnostic, print};
use cofferdam_audit::{Audit, TargetKind, digests_ambient};
use serde::Deserialize;

use crate::code::Code;
use crate::reach::to_grant;
use crate::{Stop, render};

/// The file, in the workspace's root.
pub(crate) const NAME: &str = "Cofferdam.lock";

/// The form of the file.
const VERSION: u32 = 1;

/// Most bytes of it that are read: a line for each of the most edges that a graph may have.
const BYTES_MAX: u64 = 64 << 20;

/// What was there.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    version: u32,
    /// `consumer -> dependency`, by name: an update is no new edge.
    edges: BTreeSet<String>,
    /// `name version` and the SHA-256 of the build script's source. Those of members are not here: they are read as they are.
    #[serde(default, rename = "build-scripts")]
    build_scripts: BTreeMap<String, String>,
}

impl Record {
    /// What is there now.
    pub(crate) fn of(loaded: &Loaded, code: &Code, ambient: AmbientAuthority) -> Self {
        let project = &loaded.project;
        let name = |index| project.package(index).name.as_str();
        let edges = project.edges().map(|edge| project.edge(edge));
        let edges = edges.map(|edge| format!("{} -> {}", name(edge.from), name(edge.to))).collect();
        let digests = digests_ambient(&code.graph, &code.sources, TargetKind::BuildScript, ambient);
        let build_scripts = digests
            .into_iter()
            .map(|(package, digest)| (&code.graph.packages[package], digest))
            .filter(|(of, _)| !of.member)
            .map(|(of, digest)| (format!("{} {}", of.name, of.version), digest))
            .collect();
        Self { version: VERSION, edges, build_scripts }
    }

    /// The file's. `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Stop> {
        use std::io::Read as _;
        let path = folder.join(NAME);
        let failed = |error| Stop::Read(path.display().to_string(), error);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        let record: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            Stop::Invalid(format!(
                "`{NAME}` line {line}: {}; it is made by `cofferdam init`, which writes it anew when it is removed",
                error.message()
            ))
        })?;
        if record.version != VERSION {
            let found = record.version;
            return Err(Stop::Invalid(format!("`{NAME}` has version {found}; this program knows {VERSION}")));
        }
        Ok(Some(record))
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "# What `cofferdam init` saw, and somebody accepted by committing it. Made by the program.\nversion = {}\n\nedges = [\n",
            self.version
        );
        for edge in &self.edges {
            let _ = writeln!(text, "    {},", print::string(edge));
        }
        text.push_str("]\n");
        if !self.build_scripts.is_empty() {
            text.push_str("\n[build-scripts]\n");
            for (package, digest) in &self.build_scripts {
                let _ = writeln!(text, "{} = {}", print::string(package), print::string(digest));
            }
        }
        text
    }

    /// What is there now and was not, or is another.
    pub(crate) fn findings(
        &self,
        loaded: &Loaded,
        code: &Code,
        verdict: &Audit<'_>,
        ambient: AmbientAuthority,
    ) -> Vec<Diagnostic> {
        let now = Self::of(loaded, code, ambient);
        let mut all = self.changed_scripts(&now, code, verdict);
        let project = &loaded.project;
        let mut seen = BTreeSet::new();
        for edge in project.edges().map(|edge| project.edge(edge)) {
            let ends = (project.package(edge.from).name.clone(), project.package(edge.to).name.clone());
            let named = format!("{} -> {}", ends.0, ends.1);
            if self.edges.contains(&named) || !seen.insert(named) {
                continue;
            }
            let mut finding = Diagnostic::new(
                MessageCode::NewEdge,
                format!("`{}` did not depend on `{}` when `{NAME}` was written", ends.0, ends.1),
            );
            let need = match (code.packages.get(&edge.from), code.packages.get(&edge.to)) {
                (Some(from), Some(to)) => verdict.needs().get(&(*from, *to)),
                _ => None,
            };
            let brings = need.map(|need| to_grant(&need.run.union(&need.build).cloned().collect()));
            finding.notes.push(match brings {
                None => "it is not linked for this platform".to_owned(),
                Some(names) if names.is_empty() => "it brings nothing that has to be granted".to_owned(),
                Some(names) => {
                    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                    format!("it brings {}", names.join(", "))
                }
            });
            finding.help.push("when it should be there: `cofferdam init`".to_owned());
            finding.primary =
                edge.line.or_else(|| project.name_line(edge.from)).map(|at| (at, String::new()));
            finding.edge = Some(ends);
            all.push(finding);
        }
        all
    }

    fn changed_scripts(&self, now: &Self, code: &Code, verdict: &Audit<'_>) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        for (package, digest) in &now.build_scripts {
            let (name, version) = package.split_once(' ').unwrap_or((package, ""));
            let of_name = |known: &str| known.split(' ').next() == Some(name);
            let mut known = self.build_scripts.iter().filter(|(known, _)| of_name(known)).peekable();
            if known.peek().is_none() || known.clone().any(|(_, before)| before == digest) {
                continue;
            }
            let before = self.build_scripts.get(package);
            let message = if before.is_some() {
                format!(
                    "the build script of `{package}` is another than when `{NAME}` was written, in the same version"
                )
            } else {
                let versions: Vec<&str> =
                    known.filter_map(|(known, _)| Some(known.split_once(' ')?.1)).collect();
                format!("the build script of `{name}` changed between {} and {version}", versions.join(", "))
            };
            let mut finding = Diagnostic::new(MessageCode::BuildScriptChanged, message);
            let index = code.graph.packages.iter().position(|of| of.name == name && of.version == version);
            if let Some(index) = index {
                let of = &code.graph.packages[index];
                let script = of.targets.iter().find(|target| target.kind == TargetKind::BuildScript);
                if let Some(script) = script {
                    finding.notes.push(render::printable(&script.source.display().to_string()));
                }
                let own: Vec<String> = to_grant(&verdict.own(index))
                    .iter()
                    .map(ToString::to_string)
                    .filter(|name| name.starts_with("build."))
                    .collect();
                finding.notes.push(format!("it reaches {}", own.join(", ")));
            }
            finding.help.push("read it; `cofferdam init` records it".to_owned());
            finding.chain = vec![name.to_owned()];
            all.push(finding);
        }
        all
    }
}
