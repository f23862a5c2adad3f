//! `call`: tries one function of a component. The grants of the command line go through the whole pipeline.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::manifest::Clause;
use cofferdam::manifest::{
    Diagnostic, Files, Form, Manifest, ManifestText, ProjectBuilder, parse, print, resolve,
};
use cofferdam::wasm::{CallError, StartError, Type, Val, WasmCompartment};
use cofferdam::{AuditLog, CompartmentPlan, LoadError, read_component_ambient};

use crate::arguments::Call;
use crate::exit::Exit;
use crate::{Stop, cache, render};

pub(crate) fn run(arguments: &Call, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let plan = planned(arguments)?;
    let bytes = read(&arguments.component, ambient)?;
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
        let several = if parameters.len() == 1 { "" } else { "s" };
        return Err(Stop::Usage(format!(
            "`{}` takes {} argument{several}, not {}: `{}`",
            arguments.function,
            parameters.len(),
            arguments.arguments.len(),
            signature(&compartment, &arguments.function)?
        )));
    }
    let mut values = Vec::new();
    for ((name, ty), text) in parameters.iter().zip(&arguments.arguments) {
        let value = match Val::from_wave(ty, text) {
            Ok(value) => value,
            Err(error) => {
                let hint = match quoted(ty, text) {
                    Some(quoted) => format!("text is written in quotes: {quoted}"),
                    None => {
                        format!("the function is `{}`", signature(&compartment, &arguments.function)?)
                    }
                };
                return Err(Stop::Usage(format!("the argument `{name}`: {error:#}; {hint}")));
            }
        };
        values.push(value);
    }
    let outcome = compartment.call(&arguments.function, &values);
    let said = compartment.take_stdio();
    for (stream, text) in [("stdout", said.stdout), ("stderr", said.stderr)] {
        for line in String::from_utf8_lossy(&text).lines() {
            writeln!(anstream::stderr(), "guest {stream}: {}", render::printable(line))?;
        }
    }
    for refusal in compartment.take_refusals() {
        writeln!(anstream::stderr(), "refused: {}", render::printable(&refusal.to_string()))?;
    }
    for value in outcome? {
        let text =
            value.to_wave().map_err(|error| Stop::Usage(format!("the result cannot be shown: {error:#}")))?;
        writeln!(anstream::stdout(), "{}", render::printable(&text))?;
    }
    Ok(Exit::Ok)
}

/// Most characters of a signature in a message; a component can make one as long as it likes.
const SIGNATURE_CHARS_MAX: usize = 400;

fn signature(compartment: &WasmCompartment, function: &str) -> Result<String, Stop> {
    Ok(shortened(&compartment.signature(function)?, SIGNATURE_CHARS_MAX))
}

/// A text's beginning, and a sign that it goes on.
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An argument as it has to stand in a shell, for who has left out the quotes that WAVE has around text.
fn quoted(ty: &Type, text: &str) -> Option<String> {
    if !matches!(ty, Type::String) || text.starts_with('"') {
        return None;
    }
    // What is long is not repeated.
    let text = if text.chars().count() > QUOTED_CHARS_MAX { "text" } else { text };
    let wave = Val::String(text.to_owned()).to_wave().ok()?;
    Some(format!("'{}'", wave.replace('\'', r"'\''")))
}

/// Most characters of an argument in a message.
const QUOTED_CHARS_MAX: usize = 80;

/// A component's bytes, as long as they are not too many.
pub(crate) fn read(path: &Path, ambient: AmbientAuthority) -> Result<Vec<u8>, Stop> {
    read_component_ambient(path, ambient).map_err(|error| match error {
        LoadError::Read { path, source } => Stop::Read(path.display().to_string(), source),
        other => Stop::Invalid(other.to_string()),
    })
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
        let findings = errors.iter().map(Diagnostic::of_project_error).collect();
        say(&files, &once(findings, text.len()), Exit::Invalid)
    })?;
    let resolution = resolve(&project);
    let Some(graph) = resolution.granted(&project) else {
        let denials: Vec<_> =
            resolution.denials().iter().map(|denial| Diagnostic::of_denial(&project, denial)).collect();
        return Err(say(project.files(), &once(denials, text.len()), Exit::Denied));
    };
    Ok(cofferdam::plan(&project, &graph)?.compartments)
}

/// Findings less those that repeat others: what is granted is also what is held, in lines behind those of the command line, which
/// begin at `held`.
fn once(findings: Vec<Diagnostic>, held: usize) -> Vec<Diagnostic> {
    let repeats = |finding: &Diagnostic| {
        let at = finding.primary.as_ref().map(|(at, _)| at.range().start);
        at.is_some_and(|start| start >= held)
    };
    let (behind, own): (Vec<_>, Vec<_>) = findings.into_iter().partition(repeats);
    if own.is_empty() { behind } else { own }
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
