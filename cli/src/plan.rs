//! `plan`: prints what would run.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{Diagnostic, Severity, Weakening, print, resolve};
use cofferdam::{CompartmentPlan, Plan, verify_backends, verify_paths_ambient};

use crate::arguments::{self, Format};
use crate::document::{CheckDocument, PlanDocument};
use crate::exit::Exit;
use crate::{Stop, render};

pub(crate) fn run(arguments: &arguments::Plan, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let loaded = arguments.source.load(arguments.format, ambient)?;
    let project = &loaded.project;
    let resolution = resolve(project);
    let Some(graph) = resolution.granted(project) else {
        let denials: Vec<_> =
            resolution.denials().iter().map(|denial| Diagnostic::of_denial(project, denial)).collect();
        if arguments.format == Format::Json {
            CheckDocument::new(project, &resolution, &denials, &[]).print()?;
            return Ok(Exit::Denied);
        }
        let text = render::all(project.files(), &denials) + &render::totals(denials.len(), 0);
        anstream::stderr().write_all(text.as_bytes())?;
        return Ok(Exit::Denied);
    };
    let mut missing = verify_backends(project, &graph);
    missing.extend(verify_paths_ambient(project, Some(&graph), &loaded.folder, ambient));
    let plan = cofferdam::plan(project, &graph)?;
    match arguments.format {
        Format::Json => PlanDocument::new(plan).print()?,
        Format::Human => say(&plan, project.is_standalone(), arguments.verbose)?,
    }
    let errors = missing.iter().filter(|finding| finding.severity == Severity::Error).count();
    let text = render::all(project.files(), &missing) + &render::totals(errors, missing.len() - errors);
    if !missing.is_empty() {
        anstream::stderr().write_all(text.as_bytes())?;
    }
    Ok(if errors == 0 { Exit::Ok } else { Exit::CannotEnforce })
}

fn say(plan: &Plan, standalone: bool, verbose: bool) -> Result<(), Stop> {
    let mut out = anstream::stdout();
    if plan.compartments.is_empty() {
        writeln!(out, "no compartments: every crate is inline")?;
    }
    for linked in &plan.linked {
        writeln!(out, "{} (inline), linked into the host program: not isolated", linked.edge())?;
    }
    for compartment in &plan.compartments {
        say_one(&mut out, compartment, standalone, verbose)?;
    }
    Ok(())
}

fn say_one(
    out: &mut impl std::io::Write,
    compartment: &CompartmentPlan,
    standalone: bool,
    verbose: bool,
) -> std::io::Result<()> {
    let CompartmentPlan { number, krate, version, consumer, backend, .. } = compartment;
    let inside =
        compartment.inside.map_or("the host program".to_owned(), |inside| format!("compartment {inside}"));
    let how = if compartment.link == "fused" { "fused into" } else { "called from" };
    // A `capabilities.toml` need not give versions, and this one stands in for those that it does not give.
    let version = match version.as_str() {
        "0.0.0" if standalone => String::new(),
        version => format!(" {version}"),
    };
    writeln!(out, "{number}. {consumer} -> {krate}{version} ({backend}), {how} {inside}")?;
    if let Some(world) = &compartment.world {
        writeln!(out, "   world   {world}")?;
    }
    let limits = print::limits(&compartment.limits);
    if !limits.is_empty() {
        let limits: Vec<String> = limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(out, "   limits  {}", limits.join(", "))?;
    }
    for weakening in &compartment.weakenings {
        writeln!(
            out,
            "   WEAKER  {} without {}: {}",
            // The one is left out where a machine does not have it, the other everywhere.
            if weakening.name == Weakening::Speculation.name() { "runs" } else { "may run" },
            if weakening.name == Weakening::Speculation.name() {
                "speculation control"
            } else {
                &weakening.name
            },
            render::printable(&weakening.reason)
        )?;
    }
    if compartment.grants.is_empty() {
        writeln!(out, "   grants  nothing")?;
    }
    for grant in &compartment.grants {
        let scope = render::printable(&grant.scope.to_string());
        writeln!(out, "   grant   {}", format!("{} {scope}", grant.capability).trim_end())?;
    }
    for mount in &compartment.mounts {
        let kind = if mount.file { "file " } else { "" };
        writeln!(out, "   sees    {kind}{} as {} ({})", mount.host, mount.at, mount.capabilities.join(", "))?;
    }
    if verbose {
        for import in &compartment.wasm_imports {
            writeln!(out, "   import  {} ({})", import.interface, import.because_of)?;
        }
        for call in &compartment.syscalls {
            let when = if call.when.is_empty() {
                String::new()
            } else {
                format!(" when {}", call.when.join(" and "))
            };
            writeln!(out, "   call    {} {}{when} ({})", call.action, call.name, call.because_of)?;
        }
        for right in &compartment.landlock {
            writeln!(out, "   right   {} ({})", right.right, right.because_of)?;
        }
    } else {
        let (imports, calls) = (compartment.wasm_imports.len(), compartment.syscalls.len());
        if imports + calls > 0 {
            let rules = if imports > 0 {
                format!("{imports} WASI interfaces")
            } else {
                format!("{calls} system call rules")
            };
            writeln!(out, "   adds    {rules} (--verbose lists them)")?;
        }
    }
    Ok(())
}
