//! `call`: tries one function of a component. The grants of the command line go through the whole pipeline.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::manifest::Clause;
use cofferdam::manifest::{
    Diagnostic, Files, Form, Manifest, ManifestText, ProjectBuilder, parse, print, resolve,
};
use cofferdam::wasm::{CallError, StartError, Val, WasmCompartment};
use cofferdam::{AuditLog, CompartmentPlan};

use crate::arguments::Call;
use crate::exit::Exit;
use crate::{Stop, cache, render};

pub(crate) fn run(arguments: &Call, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let plan = planned(arguments)?;
    let bytes = read(&arguments.component)?;
    let log = match &arguments.audit {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            AuditLog::to_writer(file.map_err(|error| Stop::Write(path.display().to_string(), error))?)
        }
        None => AuditLog::discard(),
    };
    let host = cache::host(ambient)?;
    let compartment = WasmCompartment::start_ambient(&host, &plan, &bytes, Path::new(""), &log, ambient)?;
    let parameters = compartment.parameters(&arguments.function)?;
    if parameters.len() != arguments.arguments.len() {
        let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Stop::Usage(format!(
            "`{}` takes {} arguments ({}), not {}",
            arguments.function,
            names.len(),
            names.join(", "),
            arguments.arguments.len()
        )));
    }
    let mut values = Vec::new();
    for ((name, ty), text) in parameters.iter().zip(&arguments.arguments) {
        let value = Val::from_wave(ty, text);
        values.push(value.map_err(|error| Stop::Usage(format!("the argument `{name}`: {error:#}")))?);
    }
    let outcome = compartment.call(&arguments.function, &values);
    let said = compartment.take_stdio();
    for (stream, text) in [("stdout", said.stdout), ("stderr", said.stderr)] {
        for line in String::from_utf8_lossy(&text).lines() {
            writeln!(anstream::stderr(), "guest {stream}: {}", render::printable(line))?;
        }
    }
    for value in outcome? {
        let text =
            value.to_wave().map_err(|error| Stop::Usage(format!("the result cannot be shown: {error:#}")))?;
        writeln!(anstream::stdout(), "{}", render::printable(&text))?;
    }
    Ok(Exit::Ok)
}

/// Largest component that is read, bytes. The largest in use have some ten million.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// A component's bytes, as long as they are not too many.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    let failed = |error| Stop::Read(path.display().to_string(), error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("larger than {COMPONENT_BYTES_MAX} bytes"))));
    }
    Ok(bytes)
}

/// The plan of the one compartment: `call` is the root, holds what the grants say, and grants it.
fn planned(arguments: &Call) -> Result<CompartmentPlan, Stop> {
    for (option, line) in arguments
        .grant
        .iter()
        .map(|line| ("--grant", line))
        .chain(arguments.limit.iter().map(|line| ("--limit", line)))
    {
        // One line stays in the table that it is put into; a second line could open another.
        if line.contains(['\n', '\r']) || line.trim_start().starts_with('[') {
            return Err(Stop::Usage(format!("{option} takes one line of a table, such as `clock = true`")));
        }
    }
    let mut compartments = plan_of("call", "component", &arguments.grant, &arguments.limit)?;
    match (compartments.pop(), compartments.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(Stop::Usage("the lines of the command line must leave one wasm compartment".to_owned())),
    }
}

/// The plan of one wasm crate under a consumer that holds just what it grants: through the whole pipeline.
pub(crate) fn plan_of(
    consumer: &str,
    krate: &str,
    grants: &[String],
    limits: &[String],
) -> Result<Vec<CompartmentPlan>, Stop> {
    let (consumer, krate) = (print::string(consumer), print::string(krate));
    let mut text = format!("[crates.{consumer}]\ndependencies = [{krate}]\n");
    if !grants.is_empty() {
        let _ = writeln!(text, "[crates.{consumer}.grants.{krate}]\n{}", grants.join("\n"));
    }
    let _ = writeln!(text, "[crates.{krate}.compartment]\nbackend = \"wasm\"");
    let _ = writeln!(text, "[crates.{krate}.compartment.limits]\n{}", limits.join("\n"));
    let (_, manifest) = parsed(text.clone())?;
    let granted = manifest.crates.iter().flat_map(|tables| &tables.grants).flat_map(|grant| &grant.clauses);
    let holds = clause_lines(granted);
    let (files, manifest) = parsed(format!("{text}[holds]\n{}\n", holds.join("\n")))?;
    let project = ProjectBuilder::standalone(files, manifest).map_err(|(files, errors)| {
        say(&files, &errors.iter().map(Diagnostic::of_project_error).collect::<Vec<_>>(), Exit::Invalid)
    })?;
    let resolution = resolve(&project);
    let Some(graph) = resolution.granted(&project) else {
        let denials: Vec<_> =
            resolution.denials().iter().map(|denial| Diagnostic::of_denial(&project, denial)).collect();
        return Err(say(project.files(), &denials, Exit::Denied));
    };
    Ok(cofferdam::plan(&project, &graph)?.compartments)
}

/// Clauses as lines that can stand in one table.
pub(crate) fn clause_lines<'c>(clauses: impl Iterator<Item = &'c Clause>) -> Vec<String> {
    clauses
        .map(|clause| {
            let name = print::string(&clause.capability.value.to_string());
            let line = print::clause(&clause.capability.value, &clause.scope.value);
            // Clauses of one class would meet in one key; a full name keeps them apart, and only a quota needs its class.
            if print::quota(&clause.scope.value).is_some() {
                line
            } else {
                format!("{name} = {}", print::clause_parts(&clause.capability.value, &clause.scope.value).1)
            }
        })
        .collect()
}

fn parsed(text: String) -> Result<(Files, Manifest), Stop> {
    let mut files = Files::default();
    let text = ManifestText::from_bytes("the command line", text.into_bytes());
    let file = files.add(text.map_err(|error| Stop::Usage(error.to_string()))?);
    match parse(file, files.get(file), Form::Standalone) {
        Ok(manifest) => Ok((files, manifest)),
        Err(errors) => {
            let findings: Vec<_> = errors.iter().map(Diagnostic::of_manifest_error).collect();
            Err(say(&files, &findings, Exit::Invalid))
        }
    }
}

pub(crate) fn say(files: &Files, findings: &[Diagnostic], exit: Exit) -> Stop {
    let text = render::all(files, findings) + &render::totals(findings.len(), 0);
    match anstream::stderr().write_all(text.as_bytes()) {
        Ok(()) => Stop::Said(exit),
        Err(error) => Stop::Output(error),
    }
}

/// Whose fault it is that a component does not start.
pub(crate) fn exit_of_start(error: &StartError) -> Exit {
    match error {
        StartError::NotAComponent { .. } => Exit::Invalid,
        StartError::UnknownImports { .. } => Exit::Denied,
        StartError::Call(error) => exit_of_call(error),
        _ => Exit::CannotEnforce,
    }
}

/// Whose fault it is that a call has no result.
pub(crate) fn exit_of_call(error: &CallError) -> Exit {
    match error {
        CallError::UnknownFunction { .. } | CallError::Usage { .. } => Exit::Usage,
        CallError::Audit(_) => Exit::Invalid,
        _ => Exit::Guest,
    }
}
