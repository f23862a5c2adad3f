//! `report`: the whole verdict as one file to keep or to show: a page to explore, a document, SARIF, or a summary.

mod html;
mod markdown;

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{Capability, CapabilityPage, HostCapability, PageSeverity, resolve};
use cofferdam::{Loaded, manifest::Resolution};
use cofferdam_audit::{PackageIndex, Reading, State, States};

use crate::arguments::{Format, Report, ReportFormat};
use crate::check::findings;
use crate::code::Code;
use crate::compiled::{self, Built, Judged};
use crate::document::{
    EdgeName, Finding, ReportCapabilityDocument, ReportCrateDocument, ReportDocument, ReportEdgeDocument,
    VERSION, WhyReachDocument, print_json,
};
use crate::exit::Exit;
use crate::reach::Granted;
use crate::{Stop, reach, sarif};

pub(crate) fn run(arguments: &Report, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let format = if arguments.format == ReportFormat::Json { Format::Json } else { Format::Human };
    let loaded = arguments.source.load(format, ambient)?;
    let Some(mut code) =
        Code::read(&loaded, arguments.source.target.as_deref(), Reading::Everything, ambient)?
    else {
        return Err(Stop::Usage("`report` looks at code, and a `capabilities.toml` has none".to_owned()));
    };
    let resolution = resolve(&loaded.project);
    let mut found = findings(&loaded, &resolution, ambient);
    if arguments.compiled
        && let Built::Refused(refused) =
            compiled::look(&mut code, &loaded, &arguments.source, Judged::ByGrants, ambient)?
    {
        found.extend(compiled::findings(&refused));
    }
    let states = code.states();
    if loaded.project.has_declarations() {
        found.extend(reach::findings(&loaded, &resolution, &code, &states.used, &[]));
        found.sort_by_key(|finding| finding.severity);
    }
    let document = document(&loaded, &resolution, &code, &states, &found)?;
    let text = match arguments.format {
        ReportFormat::Html => html::page(&document)?,
        ReportFormat::Markdown => markdown::summary(&document),
        ReportFormat::Sarif => {
            serde_json::to_string_pretty(&sarif::report(&loaded.project, &found, &document))? + "\n"
        }
        ReportFormat::Json if arguments.output.is_none() => {
            print_json(&document)?;
            return Ok(Exit::Ok);
        }
        ReportFormat::Json => serde_json::to_string_pretty(&document)? + "\n",
    };
    match &arguments.output {
        Some(path) => {
            std::fs::write(path, text).map_err(|error| Stop::Write(path.display().to_string(), error))?;
        }
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(Exit::Ok)
}

fn document(
    loaded: &Loaded,
    resolution: &Resolution,
    code: &Code,
    states: &States<'_>,
    found: &[cofferdam::manifest::Diagnostic],
) -> Result<ReportDocument, Stop> {
    let used = &states.used;
    let granted = Granted::new(&loaded.project, resolution, code, used);
    let unknowns = used.unknowns();
    let unread = |package| unknowns.iter().filter(|one| one.package == package).count();
    let linked: Vec<PackageIndex> =
        (0..code.graph.packages.len()).filter(|package| used.is_linked(*package)).collect();
    let crates: Vec<ReportCrateDocument> = linked
        .iter()
        .map(|package| {
            let of = &code.graph.packages[*package];
            let (reaching, memory) = used.unsafe_code(*package);
            let has = |kind| of.targets.iter().any(|target| target.kind == kind);
            ReportCrateDocument {
                krate: code.full_name(*package),
                name: of.name.clone(),
                crate_version: of.version.clone(),
                member: of.member,
                root: of.root,
                build_script: has(cofferdam_audit::TargetKind::BuildScript),
                proc_macro: has(cofferdam_audit::TargetKind::ProcMacro),
                unsafe_memory: memory,
                unsafe_authority: reaching.len(),
                not_analysed: unread(*package),
                uses: shown(states.own(*package))
                    .map(|(capability, state)| {
                        let way = states.way_within(*package, &capability, state);
                        let layers = states.layers_within(*package, &capability, state);
                        code.reach(&capability, state, layers, way.as_ref())
                    })
                    .collect(),
            }
        })
        .collect();
    let edges: Vec<ReportEdgeDocument> = used
        .needs()
        .keys()
        .map(|(from, to)| {
            let dependencies = &code.graph.packages[*from].dependencies;
            let brings = shown(states.over(*from, *to)).map(|(capability, state)| {
                let way =
                    (state == State::Used).then(|| states.way_over(*from, *to, &capability, state)).flatten();
                WhyReachDocument {
                    reach: code.reach(
                        &capability,
                        state,
                        states.layers_over(*from, *to, &capability, state),
                        way.as_ref(),
                    ),
                    granted: (state == State::Used).then(|| granted.says(*from, *to, &capability)).flatten(),
                }
            });
            ReportEdgeDocument {
                ends: EdgeName { from: code.full_name(*from), to: code.full_name(*to) },
                build: dependencies.iter().filter(|one| one.to == *to).all(|one| one.build),
                brings: brings.collect(),
            }
        })
        .collect();
    let mut names: Vec<String> = crates
        .iter()
        .flat_map(|of| &of.uses)
        .map(|reach| reach.capability.clone())
        .chain(edges.iter().flat_map(|edge| &edge.brings).map(|one| one.reach.capability.clone()))
        .collect();
    names.sort();
    names.dedup();
    let capabilities = names.iter().map(|name| capability(name)).collect::<Result<Vec<_>, Stop>>()?;
    let (files, lines, by_token) = used.extent();
    let folder = loaded.folder.canonicalize().unwrap_or_else(|_| loaded.folder.clone());
    Ok(ReportDocument {
        document: "report",
        version: VERSION,
        workspace: folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        declared: loaded.project.has_declarations(),
        files,
        lines,
        by_token,
        capabilities,
        crates,
        edges,
        findings: found.iter().map(|one| Finding::new(loaded.project.files(), one)).collect(),
    })
}

/// Without what everyone holds.
fn shown(all: std::collections::BTreeMap<Capability, State>) -> impl Iterator<Item = (Capability, State)> {
    all.into_iter().filter(|(capability, _)| !capability.granted_by_default())
}

/// What the page of a capability says.
fn capability(name: &str) -> Result<ReportCapabilityDocument, Stop> {
    let host = Capability::from_name(name).host_capability().unwrap_or(HostCapability::Ffi);
    let page = CapabilityPage::load(host)?;
    let twin = name.starts_with("build.") && !host.is_build_only();
    let meaning = if twin { format!("While the crate is compiled: {}", page.meaning) } else { page.meaning };
    Ok(ReportCapabilityDocument {
        name: name.to_owned(),
        meaning,
        risk: page.risk,
        severity: match page.severity {
            PageSeverity::Low => "low",
            PageSeverity::Moderate => "moderate",
            PageSeverity::High => "high",
            PageSeverity::Total => "total",
        },
    })
}
