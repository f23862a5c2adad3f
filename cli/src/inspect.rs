//! `inspect`: what a component would need, what it offers and what it asks for, or what a native guest brings against its own memory bugs.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::HostCapability;
use cofferdam::manifest::manifest::Consume;
use cofferdam::wasm::{ComponentSummary, inspect};
use cofferdam::{LoadError, component_claims};

use crate::arguments::{Format, Inspect};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::document::ProgramDocument;
use crate::document::{
    ClaimsDocument, ConsumeDocument, ImportDocument, InspectDocument, VERSION, print_json,
};
use crate::exit::Exit;
use crate::{Stop, cache, call, render};

pub(crate) fn run(arguments: &Inspect, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let bytes = call::read(&arguments.component, ambient)?;
    let name = arguments.component.display().to_string();
    if bytes.starts_with(b"\x7fELF") {
        return native(arguments, &name, &bytes);
    }
    let summary = inspect(&cache::host(ambient)?, &name, &bytes)?;
    let claims = Claims::read(&name, &bytes)?;
    match arguments.format {
        Format::Json => print_json(&document(summary, claims))?,
        Format::Human => say(&name, &summary, &claims)?,
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

/// What the component's own manifest says. It is shown, and nothing is decided by it.
enum Claims {
    /// It carries none.
    Absent,
    Read(Vec<Consume>),
    /// It carries something else in its place.
    Wrong(Vec<String>),
}

impl Claims {
    fn read(name: &str, bytes: &[u8]) -> Result<Self, Stop> {
        match component_claims(name, bytes) {
            Ok(None) => Ok(Self::Absent),
            Ok(Some(own)) => Ok(Self::Read(own.consumes)),
            Err(LoadError::Invalid { diagnostics, .. }) => {
                Ok(Self::Wrong(diagnostics.into_iter().map(|finding| finding.message).collect()))
            }
            Err(other) => Err(Stop::Invalid(other.to_string())),
        }
    }

    fn document(self) -> Option<ClaimsDocument> {
        let (consumes, problems) = match self {
            Self::Absent => return None,
            Self::Read(consumes) => (consumes, Vec::new()),
            Self::Wrong(problems) => (Vec::new(), problems),
        };
        let consumes = consumes.into_iter().map(|consume| ConsumeDocument {
            capability: consume.capability.value.to_string(),
            reason: consume.reason,
            optional: consume.optional,
        });
        Some(ClaimsDocument { consumes: consumes.collect(), problems })
    }

    fn say(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        match self {
            Self::Absent => writeln!(out, "  has no manifest inside"),
            Self::Read(consumes) if consumes.is_empty() => writeln!(out, "  its manifest asks for nothing"),
            Self::Read(consumes) => {
                writeln!(out, "  its manifest asks for")?;
                let names: Vec<String> =
                    consumes.iter().map(|consume| consume.capability.value.to_string()).collect();
                let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
                for (name, consume) in names.iter().zip(consumes) {
                    let needed = if consume.optional { "optional" } else { "needed" };
                    writeln!(
                        out,
                        "    {:width$}  {needed:<8}  {}",
                        one_line(name),
                        one_line(&consume.reason)
                    )?;
                }
                Ok(())
            }
            Self::Wrong(problems) => {
                writeln!(out, "  its manifest cannot be used")?;
                for problem in problems.iter().take(PROBLEMS_MAX) {
                    writeln!(out, "    {}", one_line(problem))?;
                }
                match problems.len().saturating_sub(PROBLEMS_MAX) {
                    0 => Ok(()),
                    more => writeln!(out, "    and {more} more; `--format json` lists them"),
                }
            }
        }
    }
}

/// Most problems of a component's manifest that are shown to people.
const PROBLEMS_MAX: usize = 5;

/// Most characters of a reason that are shown to people. A reason is a sentence; documents have all of it.
const REASON_CHARS_MAX: usize = 200;

fn one_line(text: &str) -> String {
    render::printable(&call::shortened(text, REASON_CHARS_MAX)).replace('\n', " ")
}

fn document(summary: ComponentSummary, claims: Claims) -> InspectDocument {
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
        claims: claims.document(),
    }
}

fn say(name: &str, summary: &ComponentSummary, claims: &Claims) -> Result<(), Stop> {
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
    claims.say(&mut out)?;
    Ok(())
}
