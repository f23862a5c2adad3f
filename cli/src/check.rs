//! `check`: resolves the graph and reports all that is denied.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{Code, Diagnostic, Project, Resolution, Severity, resolve};
use cofferdam::{Loaded, verify_backends, verify_paths_ambient};
use cofferdam_audit::Reading;

use crate::arguments::{Check, CheckFormat, Format};
use crate::code;
use crate::compiled::{self, Built, Judged};
use crate::document::CheckDocument;
use crate::exit::Exit;
use crate::record::Record;
use crate::{Stop, fix, reach, render, sarif};

/// Names of undeclared crates that are listed without `--verbose`.
const UNDECLARED_SHOWN: usize = 8;

/// The manifest of a program that is no Cargo package, or of the compartments of one that is.
const STANDALONE: &str = "capabilities.toml";

pub(crate) fn run(arguments: &Check, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let format = match arguments.format {
        CheckFormat::Human => Format::Human,
        CheckFormat::Json | CheckFormat::Sarif => Format::Json,
    };
    let mut loaded = arguments.source.load(format, ambient)?;
    let mut resolution = resolve(&loaded.project);
    if arguments.fix {
        (loaded, resolution) = fix::apply(arguments, loaded, resolution, ambient)?;
    }
    let mut findings = findings(&loaded, &resolution, ambient);
    // Before anything is declared nothing is denied, so there is nothing to compare the code with.
    if !arguments.no_code
        && loaded.project.has_declarations()
        && let Some(mut code) =
            code::Code::read(&loaded, arguments.source.target.as_deref(), Reading::Platform, ambient)?
    {
        if arguments.compiled {
            match compiled::look(&mut code, &loaded, &arguments.source, Judged::ByGrants, ambient)? {
                Built::Seen => {}
                Built::Refused(refused) => findings.extend(compiled::findings(&refused)),
            }
        }
        let verdict = code.verdict();
        findings.extend(reach::findings(&loaded, &resolution, &code, &verdict, &arguments.accept_unknown));
        if let Some(record) = Record::read(&loaded.folder)? {
            findings.extend(record.findings(&loaded, &code, &verdict, ambient));
        }
        findings.sort_by_key(|finding| finding.severity);
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let undeclared = undeclared(&loaded.project, &resolution);
    match arguments.format {
        CheckFormat::Sarif => sarif::print(&loaded.project, &findings)?,
        CheckFormat::Json => {
            CheckDocument::new(&loaded.project, &resolution, &findings, &undeclared).print()?;
        }
        CheckFormat::Human => say(arguments, &loaded, &resolution, &findings, &undeclared)?,
    }
    Ok(if errors > 0 || (arguments.deny_warnings && warnings > 0) { Exit::Denied } else { Exit::Ok })
}

/// Denials, then warnings; missing paths are warnings here, since another machine may have them.
pub(crate) fn findings(
    loaded: &Loaded,
    resolution: &Resolution,
    ambient: AmbientAuthority,
) -> Vec<Diagnostic> {
    let project = &loaded.project;
    let graph = resolution.granted(project);
    let mut findings: Vec<Diagnostic> =
        resolution.denials().iter().map(|denial| Diagnostic::of_denial(project, denial)).collect();
    findings.extend(resolution.warnings().iter().map(|warning| Diagnostic::of_warning(project, warning)));
    findings.extend(graph.iter().flat_map(|graph| verify_backends(project, graph)));
    findings.extend(verify_paths_ambient(project, graph.as_ref(), &loaded.folder, ambient).into_iter().map(
        |mut finding| {
            finding.severity = Severity::Warning;
            finding
        },
    ));
    findings
}

/// The crates of the graph that say nothing about themselves.
fn undeclared(project: &Project, resolution: &Resolution) -> Vec<String> {
    let mut reached = vec![false; project.crates().len()];
    let indices: Vec<_> = project.crates().collect();
    for (_, holder) in resolution.trace().holders() {
        if let Ok(at) = indices.binary_search(&holder.krate) {
            reached[at] = true;
        }
    }
    let silent =
        indices.iter().zip(reached).filter(|(index, reached)| *reached && project.tables(**index).is_none());
    silent.map(|(index, _)| project.name(*index)).collect()
}

fn say(
    arguments: &Check,
    loaded: &Loaded,
    resolution: &Resolution,
    findings: &[Diagnostic],
    undeclared: &[String],
) -> Result<(), Stop> {
    let project = &loaded.project;
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let (shown, folded): (Vec<&Diagnostic>, Vec<&Diagnostic>) =
        findings.iter().partition(|finding| arguments.verbose || !follows(finding, findings));
    let mut text = render::all(project.files(), shown);
    if !folded.is_empty() {
        let more = format!(
            "{} follow from these: the same capabilities, further down the same ways (--verbose lists them)\n\n",
            counted(folded.len(), "more finding")
        );
        text.push_str(&more);
    }
    text.push_str(&render::totals(errors, findings.len() - errors));
    anstream::stderr().write_all(text.as_bytes())?;
    let mut out = anstream::stdout();
    let crates = project.crates().len();
    let edges = project.edges().len();
    writeln!(out, "{}, {}", counted(crates, "crate"), counted(edges, "edge"))?;
    if !undeclared.is_empty() {
        let shown = if arguments.verbose { undeclared.len() } else { UNDECLARED_SHOWN.min(undeclared.len()) };
        let more = undeclared.len() - shown;
        let more = if more > 0 { format!(", and {more} more (--verbose lists them)") } else { String::new() };
        let names: Vec<String> = undeclared[..shown].iter().map(|name| render::printable(name)).collect();
        writeln!(out, "{} undeclared: {}{more}", counted(undeclared.len(), "crate"), names.join(", "))?;
    }
    let reached = |one: &Diagnostic| matches!(one.code, Code::ReachNotGranted | Code::ReachNotHeld);
    if arguments.fix && findings.iter().any(|one| one.severity == Severity::Error && reached(one)) {
        writeln!(
            out,
            "`--fix` writes what manifests ask of each other; what code reaches, `cofferdam init` writes"
        )?;
    }
    let beside = !project.is_standalone() && loaded.folder.join(STANDALONE).is_file();
    if beside {
        writeln!(out, "there is a `{STANDALONE}` here too, which `--manifest {STANDALONE}` checks")?;
    }
    if errors > 0 {
        writeln!(out, "denied: {}", counted(errors, "finding"))?;
    } else if !project.has_declarations() && beside {
        writeln!(out, "nothing is declared in Cargo's metadata, so nothing is denied")?;
    } else if !project.has_declarations() {
        writeln!(out, "nothing is declared yet, so nothing is denied; start with `cofferdam init`")?;
    } else if let Some(graph) = resolution.granted(project) {
        let compartments = graph.compartments().len();
        let grants = graph.grants().len();
        writeln!(
            out,
            "granted: {} over edges, {}",
            counted(grants, "capability"),
            counted(compartments, "compartment")
        )?;
    }
    Ok(())
}

/// Whether a finding is there only because of another: what an edge is not granted, the edges below it cannot be, and who does
/// not grant it need not hold it.
fn follows(finding: &Diagnostic, all: &[Diagnostic]) -> bool {
    let is_denied = |one: &&Diagnostic| {
        one.code == Code::ReachNotGranted && one.capability.is_some() && one.capability == finding.capability
    };
    let mut denied = all.iter().filter(is_denied);
    match (finding.code, &finding.edge) {
        (Code::ReachNotGranted, Some((from, _))) => {
            denied.any(|one| one.edge.as_ref().is_some_and(|(_, to)| to == from))
        }
        (Code::ReachNotHeld, _) => {
            denied.any(|one| one.edge.as_ref().is_some_and(|(from, _)| finding.chain.first() == Some(from)))
        }
        _ => false,
    }
}

/// `1 crate`, `2 crates`, `2 capabilities`.
pub(crate) fn counted(number: usize, word: &str) -> String {
    match (number, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {word}s"),
    }
}
