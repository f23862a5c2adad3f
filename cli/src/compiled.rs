//! `--compiled`: builds the workspace in a target folder of its own and looks at what comes out, beside its source.
//!
//! What runs in that build is judged first: this program stands in for the compiler, and a build script or procedural macro that
//! reaches what nobody granted is never started.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};

use ambient_authority::AmbientAuthority;
use cofferdam::Loaded;
use cofferdam::manifest::{Code as MessageCode, Diagnostic, Resolution, resolve};
use cofferdam_audit::judge::{self, Policy, Refusal};
use cofferdam_audit::record;
use cofferdam_audit::{BuildError, BuildOptions, Compiled, PackageIndex, build_ambient, examine_ambient};

use crate::arguments::Source;
use crate::check::counted;
use crate::code::Code;
use crate::exit::Exit;
use crate::reach::is_confined;
use crate::{Stop, render};

/// Where it is built, below Cargo's target folder.
const FOLDER: &str = "cofferdam/audit";

/// The file with what may run in the build, in that folder.
const POLICY: &str = "cofferdam-judge.json";

/// Who is judged before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Everything, by what is granted, once anything is declared.
    ByGrants,
    /// Nothing: what there is now is about to be granted.
    Nothing,
}

/// How a build ended.
pub(crate) enum Built {
    /// It was looked at.
    Seen,
    /// Something was not allowed to run.
    Refused(Vec<Refusal>),
}

/// Builds, and adds to the code what compiled code shows.
pub(crate) fn look(
    code: &mut Code,
    loaded: &Loaded,
    source: &Source,
    judged: Judged,
    ambient: AmbientAuthority,
) -> Result<Built, Stop> {
    let Some(metadata) = &loaded.metadata else { return Ok(Built::Seen) };
    if std::env::var_os("CARGO_BUILD_TARGET").is_some_and(|target| !target.is_empty()) {
        let text = "`--compiled` cannot look into build scripts when a target is set for the whole build; unset `CARGO_BUILD_TARGET`";
        return Err(Stop::Usage(text.to_owned()));
    }
    if let Some(target) = source.target.as_deref().filter(|target| code.host.as_deref() != Some(target)) {
        return Err(Stop::Usage(format!(
            "`--compiled` looks at what is compiled for this machine, and cannot at what is for `{target}`; leave out `--compiled`"
        )));
    }
    let folder = metadata.target_directory.as_std_path().join(FOLDER);
    let policy = folder.join(POLICY);
    let is_judged = judged == Judged::ByGrants && loaded.project.has_declarations();
    let allowed = is_judged.then(|| allowed(loaded, &resolve(&loaded.project), code));
    let record = folder.join(record::RECORD);
    let judge = if let Some(allowed) = &allowed {
        let write = allowed.write_ambient(&policy, ambient);
        write.map_err(|error| Stop::Write(policy.display().to_string(), error))?;
        let recheck = record::recheck_ambient(&record, &policy, ambient);
        recheck.map_err(|error| Stop::Write(folder.display().to_string(), error))?;
        let program =
            std::env::current_exe().map_err(|error| Stop::Read("this program".to_owned(), error))?;
        Some((program, vec![(judge::POLICY_VARIABLE.to_owned(), policy.display().to_string())]))
    } else {
        None
    };
    let begin = record::begin_ambient(&record, &policy, is_judged, ambient);
    begin.map_err(|error| Stop::Write(record.display().to_string(), error))?;
    let roots = code.graph.packages.iter().filter(|package| package.root);
    let options = BuildOptions {
        folder: metadata.workspace_root.as_std_path().to_owned(),
        target_folder: folder,
        arguments: source.build_arguments(),
        packages: roots.map(|package| (package.name.clone(), package.version.clone())).collect(),
        judge,
        shows_progress: std::io::stderr().is_terminal(),
    };
    let artifacts = match build_ambient(&code.graph, &options, ambient) {
        Ok(artifacts) => artifacts,
        Err(error @ BuildError::Failed { .. }) if is_judged => {
            let refused = judge::refusals_ambient(&policy, ambient);
            return if refused.is_empty() { Err(error.into()) } else { Ok(Built::Refused(refused)) };
        }
        Err(error) => return Err(error.into()),
    };
    let remember = record::remember_ambient(&record, &code.graph, &artifacts, allowed, ambient);
    remember.map_err(|error| Stop::Write(record.display().to_string(), error))?;
    code.compiled = Some(examine_ambient(&code.graph, &artifacts, &code.table, ambient)?);
    Ok(Built::Seen)
}

/// The same for commands that only show: what was refused ends them.
pub(crate) fn look_or_stop(
    code: &mut Code,
    loaded: &Loaded,
    source: &Source,
    judged: Judged,
    ambient: AmbientAuthority,
) -> Result<(), Stop> {
    let Built::Refused(refused) = look(code, loaded, source, judged, ambient)? else { return Ok(()) };
    let mut error = anstream::stderr();
    for refusal in &refused {
        writeln!(error, "{}", render::plain_error(&judge::told(refusal)))?;
    }
    writeln!(error, "`cofferdam check --compiled` says which grants would allow it")?;
    Err(Stop::Said(Exit::Denied))
}

/// What anybody grants to each package for the time when it is compiled. What only compartments use is not judged by grants, here
/// as in `check`.
fn allowed(loaded: &Loaded, resolution: &Resolution, code: &Code) -> Policy {
    let (project, trace) = (&loaded.project, resolution.trace());
    let mut granted: BTreeMap<PackageIndex, BTreeSet<String>> = BTreeMap::new();
    let mut confined: BTreeSet<PackageIndex> = BTreeSet::new();
    let mut inline: BTreeSet<PackageIndex> = BTreeSet::new();
    for flow in trace.flows() {
        let Some(&to) = code.packages.get(&project.edge(flow.edge).to) else { continue };
        if is_confined(project, resolution, flow) {
            confined.insert(to);
            continue;
        }
        inline.insert(to);
        let names = judge::capabilities().filter(|one| flow.authority.scope(one).is_some());
        granted.entry(to).or_default().extend(names.map(|one| one.to_string()));
    }
    for (_, holder) in trace.holders().filter(|(_, holder)| holder.is_root) {
        let Some(&package) = code.packages.get(&holder.krate) else { continue };
        inline.insert(package);
        let names = judge::capabilities().filter(|one| holder.root_authority().scope(one).is_some());
        granted.entry(package).or_default().extend(names.map(|one| one.to_string()));
    }
    for package in confined.difference(&inline) {
        granted.insert(*package, judge::capabilities().map(|one| one.to_string()).collect());
    }
    let named = granted.into_iter().map(|(package, names)| (code.full_name(package), names));
    Policy { allowed: named.collect() }
}

/// What was refused, as findings.
pub(crate) fn findings(refused: &[Refusal]) -> Vec<Diagnostic> {
    refused
        .iter()
        .map(|refusal| {
            let package = &refusal.package;
            let Some(capability) = &refusal.capability else {
                let message = format!("{} of `{package}` cannot be judged, so it did not run", refusal.what);
                let mut finding = Diagnostic::new(MessageCode::NotAnalysed, message);
                finding.notes.clone_from(&refusal.way);
                return finding;
            };
            let message = format!(
                "{} of `{package}` reaches `{capability}`, which no grant allows; it did not run",
                refusal.what
            );
            let mut finding = Diagnostic::new(MessageCode::ReachNotGranted, message);
            finding.capability = Some(capability.clone());
            finding.notes.push(format!("reached by\n{}", refusal.way.join("\n-> ")));
            let name = package.split('@').next().unwrap_or(package);
            finding.help.push(format!(
                "if it should: grant `{capability}` to `{name}` on the edge to it, or `cofferdam init --compiled`"
            ));
            finding
        })
        .collect()
}

/// What was looked at, in a line or two.
pub(crate) fn summary(code: &Code, compiled: &Compiled) -> String {
    let measure = compiled.measure;
    let mut text = format!(
        "{} and {} compiled, {} functions and pieces of data; {} of which nothing is known\n",
        counted(measure.libraries, "library"),
        counted(measure.programs, "program"),
        measure.pieces,
        counted(compiled.unknown.len(), "symbol")
    );
    for unknown in &compiled.unknown {
        text.push_str("  ");
        text.push_str(&code.name(unknown.package));
        text.push_str(": ");
        text.push_str(&unknown.name);
        text.push('\n');
    }
    text
}
