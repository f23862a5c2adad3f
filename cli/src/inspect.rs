//! `inspect`: what a component would need and what it offers, or what a native guest brings against its own memory bugs.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::HostCapability;
use cofferdam::wasm::{ComponentSummary, inspect};

use crate::arguments::{Format, Inspect};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::document::ProgramDocument;
use crate::document::{ImportDocument, InspectDocument, VERSION, print_json};
use crate::exit::Exit;
use crate::{Stop, cache, call, render};

pub(crate) fn run(arguments: &Inspect, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let bytes = call::read(&arguments.component)?;
    let name = arguments.component.display().to_string();
    if bytes.starts_with(b"\x7fELF") {
        return native(arguments, &name, &bytes);
    }
    let summary = inspect(&cache::host(ambient)?, &name, &bytes)?;
    match arguments.format {
        Format::Json => print_json(&document(summary))?,
        Format::Human => say(&name, &summary)?,
    }
    Ok(Exit::Ok)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn native(arguments: &Inspect, name: &str, bytes: &[u8]) -> Result<Exit, Stop> {
    let summary = cofferdam::process::inspect_program(bytes)
        .map_err(|message| Stop::Usage(format!("`{}`: {message}", render::printable(name))))?;
    let lacks = summary.lacks();
    if arguments.format == Format::Json {
        print_json(&ProgramDocument {
            document: "inspect",
            version: VERSION,
            bytes: summary.bytes,
            is_static: summary.is_static,
            position_independent: summary.position_independent,
            executable_stack: summary.executable_stack,
            writable_code: summary.writable_code,
            read_only_relocations: summary.read_only_relocations,
            bound_at_start: summary.bound_at_start,
            stack_protector: summary.stack_protector,
            unwind_tables: summary.unwind_tables,
            lacks,
        })?;
        return Ok(Exit::Ok);
    }
    let mut out = anstream::stdout();
    writeln!(out, "{}\n  a native program of {} bytes", render::printable(name), summary.bytes)?;
    let protector = match summary.stack_protector {
        Some(true) => "yes, in its C code",
        Some(false) => "no",
        None => "unknown: it has no symbols",
    };
    let yes = |has: bool| if has { "yes" } else { "no" };
    for (what, has) in [
        ("static", yes(summary.is_static)),
        ("random addresses", yes(summary.position_independent)),
        ("stack without code", yes(!summary.executable_stack)),
        ("code never writable", yes(!summary.writable_code)),
        ("read-only relocations", yes(summary.read_only_relocations)),
        ("stack protector", protector),
        ("names in reports", yes(summary.unwind_tables)),
    ] {
        writeln!(out, "  {what:<22} {has}")?;
    }
    for what in lacks {
        writeln!(out, "  lacks {what}")?;
    }
    Ok(Exit::Ok)
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn native(_: &Inspect, name: &str, _: &[u8]) -> Result<Exit, Stop> {
    Err(Stop::Usage(format!(
        "`{}` is a native program; those are looked at on Linux on x86-64",
        render::printable(name)
    )))
}

fn document(summary: ComponentSummary) -> InspectDocument {
    let imports = summary.imports.into_iter().map(|import| ImportDocument {
        interface: import.interface,
        capabilities: import.capabilities.into_iter().map(HostCapability::name).collect(),
        known: import.known,
    });
    InspectDocument {
        document: "inspect",
        version: VERSION,
        sha256: summary.digest,
        bytes: summary.bytes,
        imports: imports.collect(),
        exports: summary.exports,
    }
}

fn say(name: &str, summary: &ComponentSummary) -> Result<(), Stop> {
    let mut out = anstream::stdout();
    writeln!(out, "{}\n  {} bytes, sha256 {}", render::printable(name), summary.bytes, summary.digest)?;
    let width = summary.imports.iter().map(|import| import.interface.chars().count()).max().unwrap_or(0);
    for import in &summary.imports {
        let names: Vec<&str> = import.capabilities.iter().map(|host| host.name()).collect();
        let means = match (import.known, names.is_empty()) {
            (false, _) => "nothing here provides it: it would not start".to_owned(),
            (true, true) => "reaches nothing by itself".to_owned(),
            (true, false) => names.join(" or "),
        };
        writeln!(out, "  imports {:width$}  {means}", render::printable(&import.interface))?;
    }
    for export in &summary.exports {
        writeln!(out, "  exports {}", render::printable(export))?;
    }
    Ok(())
}
