//! `inspect`: what a component would need and what it offers.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::HostCapability;
use cofferdam::wasm::{ComponentSummary, inspect};

use crate::arguments::{Format, Inspect};
use crate::document::{ImportDocument, InspectDocument, VERSION, print_json};
use crate::exit::Exit;
use crate::{Stop, cache, call, render};

pub(crate) fn run(arguments: &Inspect, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let bytes = call::read(&arguments.component)?;
    let name = arguments.component.display().to_string();
    let summary = inspect(&cache::host(ambient)?, &name, &bytes)?;
    match arguments.format {
        Format::Json => print_json(&document(summary))?,
        Format::Human => say(&name, &summary)?,
    }
    Ok(Exit::Ok)
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
