//! `run`: a root that is itself a program for wasm, with its dependencies, under what the workspace holds.

use std::io::Write as _;
use std::path::PathBuf;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::manifest::Limits;
use cofferdam::manifest::scope::Nanoseconds;
use cofferdam::manifest::{Backend, CrateIndex, Diagnostic, Project, Severity, print, resolve};
use cofferdam::wasm::{CallError, FaultKind, Input, Output, Val};
use cofferdam::{AuditLog, EdgeName, Plan, Runtime, verify_paths_ambient};
use cofferdam_toolchain::{Settings, target_folder_ambient};

use crate::arguments::{Format, Run};
use crate::exit::Exit;
use crate::profile::Profile;
use crate::{Stop, cache, call, render};

/// Who calls the root: whoever typed the command.
const CALLER: &str = "command-line";

/// A program runs until it ends, unless its manifest says otherwise: 100 years.
const NO_DEADLINE: Nanoseconds = Nanoseconds(100 * 365 * 24 * 3_600 * 1_000_000_000);

pub(crate) fn run(arguments: &Run, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let loaded = arguments.source.load(Format::Human, ambient)?;
    let project = &loaded.project;
    let resolution = resolve(project);
    let Some(graph) = resolution.granted(project) else {
        let denials: Vec<_> =
            resolution.denials().iter().map(|denial| Diagnostic::of_denial(project, denial)).collect();
        return Err(call::say(project.files(), &denials, Exit::Denied));
    };
    let mut missing = verify_paths_ambient(project, Some(&graph), &loaded.folder, ambient);
    missing.retain(|finding| finding.severity == Severity::Error);
    if !missing.is_empty() {
        return Err(call::say(project.files(), &missing, Exit::CannotEnforce));
    }
    let root = root(project, arguments.package.as_deref())?;
    let name = project.name(root);

    // The root holds what the workspace holds, as over an edge from whoever typed the command.
    let holds = project.workspace().holds.iter().flat_map(|holds| &holds.value);
    let mut compartments = call::plan_of(CALLER, &name, &call::clause_lines(holds), &[])?;
    let Some(mut outer) = compartments.pop() else {
        return Err(Stop::Usage(format!("`{name}` has no compartment")));
    };
    let below = cofferdam::plan(project, &graph)?.compartments;
    outer.number = below.iter().map(|compartment| compartment.number).max().unwrap_or(0) + 1;
    outer.version = project.package(root).version.to_string();
    outer.limits = Limits {
        call_deadline: project.limits(root).call_deadline.or(Some(NO_DEADLINE)),
        ..project.limits(root)
    };
    outer.component = project.component(root).map(|component| cofferdam::ComponentPlan {
        path: component.value.to_string(),
        sha256: project.package(root).checksum.clone(),
    });
    let number = outer.number;
    let mut plan = vec![outer];
    plan.extend(below.into_iter().map(|mut compartment| {
        if compartment.inside.is_none() && compartment.consumer == name {
            compartment.inside = Some(number);
        }
        compartment
    }));

    let edge = format!("{CALLER} -> {name}");
    let mut program = vec![name.clone()];
    program.extend(arguments.arguments.iter().cloned());
    let mut builder = Runtime::from_plan(Plan { compartments: plan, linked: Vec::new() }, &loaded.folder)
        .output(Output::Inherited)
        .input(&edge, Input::Inherited)
        .arguments(&edge, program)
        .components_in(components(arguments, &loaded.folder, ambient)?);
    if let Some(path) = &arguments.audit {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| Stop::Write(path.display().to_string(), error))?;
        builder = builder.audit(AuditLog::to_writer(file));
    }
    if let Some(cache) = cache::if_possible(ambient) {
        builder = builder.cache(cache);
    }
    let runtime = builder.start_ambient(ambient).map_err(|error| Stop::Usage(error.to_string()))?;
    let edge = runtime.edge(EdgeName { consumer: CALLER, krate: &name })?;
    let is_run =
        |function: &String| function.strip_prefix("wasi:cli/run").is_some_and(|rest| rest.ends_with("#run"));
    let Some(function) = edge.functions().into_iter().find(is_run) else {
        return Err(Stop::Usage(format!(
            "`{name}` is no program: its component does not export `wasi:cli/run`; `cofferdam call` tries its functions"
        )));
    };
    let profile = arguments.profile.then(Profile::begin).transpose()?;
    let outcome = edge.call_untyped(&function, &[]);
    if let Some(profile) = profile {
        anstream::eprint!("{}", profile.table());
    }
    for refusal in edge.take_refusals() {
        let text = render::printable(&format!("{edge}: {refusal}", edge = edge.name()));
        anstream::eprintln!("refused: {text}");
    }
    if let Some(kind) = edge.lost_output() {
        return Err(Stop::Output(kind.into()));
    }
    if let Err(CallError::Fault { edge, kind }) = &outcome
        // Of the program itself, and not of a dependency that is fused with it.
        && let FaultKind::Exit(code) = kind
    {
        if *code == 0 {
            return Ok(Exit::Ok);
        }
        // Which number it was, a component cannot say: WASI 0.2 knows success and failure.
        let text = render::plain_error(&format!("`{edge}`: the program ended itself with failure"));
        let _ = writeln!(anstream::stderr(), "{text}");
        return Ok(Exit::Guest);
    }
    match outcome?.as_slice() {
        [Val::Result(Ok(_))] => Ok(Exit::Ok),
        _ => Ok(Exit::Guest),
    }
}

/// The root that is asked for, or the only one that is a program for wasm.
fn root(project: &Project, package: Option<&str>) -> Result<CrateIndex, Stop> {
    let wasm = |index: &CrateIndex| project.backend(*index) == Backend::Wasm;
    if let Some(name) = package {
        let index = project.find(name).map_err(Stop::Usage)?;
        if !project.roots().contains(&index) || !wasm(&index) {
            let name = print::string(name);
            return Err(Stop::Usage(format!("{name} is not a root with `backend = \"wasm\"`")));
        }
        return Ok(index);
    }
    let roots: Vec<CrateIndex> = project.roots().iter().copied().filter(wasm).collect();
    match roots.as_slice() {
        [only] => Ok(*only),
        [] => Err(Stop::Usage("no root of the graph has `backend = \"wasm\"`".to_owned())),
        several => {
            let names: Vec<String> =
                several.iter().map(|index| format!("`{}`", project.name(*index))).collect();
            Err(Stop::Usage(format!("say which root with `-p`: {}", names.join(", "))))
        }
    }
}

/// Where `build` has put the components.
fn components(arguments: &Run, folder: &std::path::Path, ambient: AmbientAuthority) -> Result<PathBuf, Stop> {
    let manifest = match (&arguments.source.manifest, &arguments.guests) {
        (None, _) => folder.join("Cargo.toml"),
        (Some(_), Some(guests)) => guests.clone(),
        // The file itself names its components then.
        (Some(_), None) => return Ok(folder.to_owned()),
    };
    let settings = Settings::from_environment_ambient(ambient)?;
    Ok(target_folder_ambient(&settings, &manifest, ambient)?.join("cofferdam").join("components"))
}
