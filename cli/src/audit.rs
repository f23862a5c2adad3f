//! `audit`: what the code of each crate reaches, what each edge brings, in which state, and by which way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::Capability;
use cofferdam_audit::{Audit as Verdict, Layer, Layers, PackageIndex, Reading, State, States};

use crate::arguments::{Audit, Format};
use crate::check::counted;
use crate::code::Code;
use crate::compiled::{self, Judged, look_or_stop};
use crate::document::{
    AuditCrateDocument, AuditDocument, AuditEdgeDocument, CompiledDocument, EdgeName, UnknownDocument,
    UnknownSymbolDocument, VERSION, print_json,
};
use crate::exit::Exit;
use crate::reach::{seen_by, to_grant, way_lines};
use crate::subject::Subject;
use crate::{Stop, render};

pub(crate) fn run(arguments: &Audit, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let loaded = arguments.source.load(arguments.format, ambient)?;
    // The other two states cost as much again each, so the whole table has them only when asked for.
    let all_states = arguments.subject.is_some() || arguments.states || arguments.claims;
    let reading = if all_states { Reading::Everything } else { Reading::Platform };
    let Some(mut code) = Code::read(&loaded, arguments.source.target.as_deref(), reading, ambient)? else {
        return Err(Stop::Usage("`audit` looks at code, and a `capabilities.toml` has none".to_owned()));
    };
    if arguments.compiled {
        look_or_stop(&mut code, &loaded, &arguments.source, Judged::ByGrants, ambient)?;
    }
    let subject = arguments.subject.as_deref().map(|text| Subject::find(&code, text)).transpose()?;
    let view =
        if all_states { View::All(Box::new(code.states())) } else { View::Used(Box::new(code.verdict())) };
    if let (View::All(states), true) = (&view, arguments.claims) {
        anstream::stdout().write_all(claims(&code, states, subject).as_bytes())?;
        return Ok(Exit::Ok);
    }
    match arguments.format {
        Format::Json => print_json(&document(&code, &view, subject))?,
        Format::Human => {
            let text = match subject {
                None => everything(&code, &view),
                Some(Subject::Package(package)) => one_package(&code, &view, package),
                Some(Subject::Edge(from, to)) => one_edge(&code, &view, from, to),
            };
            anstream::stdout().write_all(render::printable(&text).as_bytes())?;
        }
    }
    Ok(Exit::Ok)
}

/// What is shown: what is used, or all three states.
enum View<'s> {
    Used(Box<Verdict<'s>>),
    All(Box<States<'s>>),
}

impl<'s> View<'s> {
    fn used(&self) -> &Verdict<'s> {
        match self {
            Self::Used(verdict) => verdict,
            Self::All(states) => &states.used,
        }
    }

    fn own(&self, package: PackageIndex) -> BTreeMap<Capability, State> {
        let mut all = match self {
            Self::Used(verdict) => {
                to_grant(&verdict.own(package)).into_iter().map(|name| (name, State::Used)).collect()
            }
            Self::All(states) => states.own(package),
        };
        all.retain(|capability, _| !capability.granted_by_default());
        all
    }

    fn over(&self, from: PackageIndex, to: PackageIndex) -> BTreeMap<Capability, State> {
        let mut all = match self {
            Self::Used(verdict) => verdict
                .needs()
                .get(&(from, to))
                .map(|need| to_grant(&need.run.union(&need.build).cloned().collect()))
                .into_iter()
                .flatten()
                .map(|name| (name, State::Used))
                .collect(),
            Self::All(states) => states.over(from, to),
        };
        all.retain(|capability, _| !capability.granted_by_default());
        all
    }

    fn layers_within(&self, package: PackageIndex, capability: &Capability, state: State) -> Layers {
        match self {
            Self::Used(verdict) => verdict.layers_within(package, capability),
            Self::All(states) => states.layers_within(package, capability, state),
        }
    }

    fn layers_over(
        &self,
        from: PackageIndex,
        to: PackageIndex,
        capability: &Capability,
        state: State,
    ) -> Layers {
        match self {
            Self::Used(verdict) => verdict.layers_over(from, to, capability),
            Self::All(states) => states.layers_over(from, to, capability, state),
        }
    }

    fn way_within(
        &self,
        package: PackageIndex,
        capability: &Capability,
        state: State,
    ) -> Option<cofferdam_audit::Way> {
        match self {
            Self::Used(verdict) => verdict.way_within(package, capability),
            Self::All(states) => states.way_within(package, capability, state),
        }
    }
}

/// Width of the column of names in the table.
const NAME_WIDTH: usize = 28;
/// Where a line of the table ends; what is more goes on below.
const LINE_WIDTH: usize = 100;

/// `name 1.2.3    filesystem.read, clock`, broken so that it fits a terminal.
fn row(text: &mut String, name: &str, capabilities: &[String]) {
    let mut line = format!("{name:NAME_WIDTH$}");
    if name.len() >= NAME_WIDTH {
        let _ = writeln!(text, "{name}");
        line = " ".repeat(NAME_WIDTH);
    }
    for (at, capability) in capabilities.iter().enumerate() {
        let comma = if at + 1 < capabilities.len() { "," } else { "" };
        if line.len() + capability.len() + 2 > LINE_WIDTH {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(NAME_WIDTH);
        }
        let _ = write!(line, " {capability}{comma}");
    }
    let _ = writeln!(text, "{line}");
}

/// `clock`, or `clock (compiled)`.
fn marked((capability, state): (&Capability, &State)) -> String {
    match state {
        State::Used => capability.to_string(),
        other => format!("{capability} ({})", other.name()),
    }
}

/// One row for each crate that reaches anything by itself.
fn everything(code: &Code, view: &View<'_>) -> String {
    let mut text = String::new();
    let mut quiet = 0;
    let verdict = view.used();
    let mut packages: Vec<PackageIndex> =
        (0..code.graph.packages.len()).filter(|at| verdict.is_linked(*at)).collect();
    packages.sort_by_key(|at| (!code.graph.packages[*at].member, &code.graph.packages[*at].name));
    for at in packages {
        let package = &code.graph.packages[at];
        let own: Vec<String> = view
            .own(at)
            .iter()
            .map(|(capability, state)| {
                // What source shows too needs no word about it.
                let layers = view.layers_within(at, capability, *state);
                let only = if layers.has(Layer::Source) { "" } else { " *" };
                marked((capability, state)) + only
            })
            .collect();
        if own.is_empty() {
            quiet += 1;
        } else {
            row(&mut text, &format!("{} {}", package.name, package.version), &own);
        }
    }
    let (files, lines, by_token) = verdict.extent();
    let unknowns = verdict.unknowns();
    let (generated, unread): (Vec<_>, Vec<_>) = unknowns.iter().partition(|unknown| unknown.generated);
    let _ = writeln!(text, "\n{} more reach nothing by themselves", counted(quiet, "crate"));
    let _ = writeln!(
        text,
        "{}, {lines} lines read; {by_token} token by token, {} written by build scripts, {} not analysed",
        counted(files, "file"),
        generated.len(),
        unread.len()
    );
    for unknown in unread {
        let package = &code.graph.packages[unknown.package];
        let _ = writeln!(text, "  {} {}: {} {}", package.name, package.version, unknown.file, unknown.why);
    }
    if let Some(seen) = &code.compiled {
        text.push_str(&compiled::summary(code, seen));
        text.push_str("* only compiled code shows it\n");
    }
    text
}

fn one_package(code: &Code, view: &View<'_>, package: PackageIndex) -> String {
    let of = &code.graph.packages[package];
    let verdict = view.used();
    let mut text = format!("{} {}\n", of.name, of.version);
    if !verdict.is_linked(package) {
        text.push_str("  is not linked for this platform, or with these features\n");
        return text;
    }
    let mut own: Vec<(Capability, State)> = view.own(package).into_iter().collect();
    own.sort_by_key(|(_, state)| *state);
    for (capability, state) in own {
        let seen = seen_by(code, view.layers_within(package, &capability, state));
        let _ = writeln!(text, "  {capability}, {}{seen}", state.meaning());
        if let Some(way) = view.way_within(package, &capability, state) {
            for line in way_lines(code, &way) {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    let (reaching, memory) = verdict.unsafe_code(package);
    let _ = writeln!(
        text,
        "  unsafe code: {memory} that handles memory, {} that reaches authority",
        reaching.len()
    );
    let names = |from: PackageIndex, to: PackageIndex| {
        let all = view.over(from, to);
        all.iter().filter(|(_, state)| **state == State::Used).map(marked).collect::<Vec<_>>().join(", ")
    };
    for (from, to) in verdict.needs().keys().copied() {
        if from != package && to != package {
            continue;
        }
        let all = names(from, to);
        if all.is_empty() {
            continue;
        }
        let _ = if to == package {
            writeln!(text, "  brings `{}` {all}", code.name(from))
        } else {
            writeln!(text, "  is brought by `{}` {all}", code.name(to))
        };
    }
    text
}

fn one_edge(code: &Code, view: &View<'_>, from: PackageIndex, to: PackageIndex) -> String {
    let mut text = format!("{} -> {}\n", code.name(from), code.name(to));
    if !view.used().needs().contains_key(&(from, to)) {
        text.push_str("  there is no such edge for this platform\n");
        return text;
    }
    let mut all: Vec<(Capability, State)> = view.over(from, to).into_iter().collect();
    all.sort_by_key(|(_, state)| *state);
    if all.iter().all(|(_, state)| *state != State::Used) {
        text.push_str("  brings nothing\n");
    }
    for (capability, state) in all {
        let seen = seen_by(code, view.layers_over(from, to, &capability, state));
        let _ = writeln!(text, "  {capability}, {}{seen}", state.meaning());
        if let (View::All(states), State::Used) = (view, state)
            && let Some(way) = states.way_over(from, to, &capability, state)
        {
            for line in way_lines(code, &way) {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text
}

/// Entries for `policies/crates/`, without the reason, which only a person can give.
fn claims(code: &Code, states: &States<'_>, subject: Option<Subject>) -> String {
    let mut text = String::new();
    for (at, package) in code.graph.packages.iter().enumerate() {
        let wanted = match subject {
            None => !package.member,
            Some(Subject::Package(only)) => only == at,
            Some(Subject::Edge(_, to)) => to == at,
        };
        if !wanted || !states.used.is_linked(at) {
            continue;
        }
        let own = states.own(at);
        let list = |elsewhere: bool| {
            let names = own.iter().filter(|(name, state)| {
                !name.granted_by_default() && (**state == State::OtherCfg) == elsewhere
            });
            names.map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        };
        let (major, minor) = package.version.split_once('.').unwrap_or((&package.version, "0"));
        let minor = minor.split('.').next().unwrap_or("0");
        let versions = if major == "0" { format!("0.{minor}") } else { major.to_owned() };
        let _ = write!(
            text,
            "[[claim]]\nname = \"{}\"\nversions = \"{versions}\"\nread = [\"{}\"]\nuses = [{}]\nelsewhere = [{}]\nreason = \"\"\n\n",
            package.name,
            package.version,
            list(false),
            list(true)
        );
    }
    text
}

fn document(code: &Code, view: &View<'_>, subject: Option<Subject>) -> AuditDocument {
    let verdict = view.used();
    let shows_package = |package: PackageIndex| match subject {
        None => true,
        Some(Subject::Package(only)) => only == package,
        Some(Subject::Edge(..)) => false,
    };
    let shows_edge = |from: PackageIndex, to: PackageIndex| match subject {
        None => true,
        Some(Subject::Package(only)) => only == from || only == to,
        Some(Subject::Edge(a, b)) => (a, b) == (from, to),
    };
    let crates = (0..code.graph.packages.len())
        .filter(|package| verdict.is_linked(*package) && shows_package(*package))
        .map(|package| {
            let own = view.own(package).into_iter().map(|(capability, state)| {
                let way = view.way_within(package, &capability, state);
                code.reach(&capability, state, view.layers_within(package, &capability, state), way.as_ref())
            });
            let (reaching, memory) = verdict.unsafe_code(package);
            AuditCrateDocument {
                krate: code.full_name(package),
                uses: own.collect(),
                unsafe_memory: memory,
                unsafe_authority: reaching.len(),
            }
        })
        .collect();
    let edges = verdict
        .needs()
        .keys()
        .filter(|(from, to)| shows_edge(*from, *to))
        .map(|(from, to)| {
            let brings = view.over(*from, *to).into_iter().map(|(capability, state)| {
                // Ways cost a search each, so they are given only for what was asked about.
                let way = match (view, subject) {
                    (View::All(states), Some(_)) => states.way_over(*from, *to, &capability, state),
                    _ => None,
                };
                let layers = view.layers_over(*from, *to, &capability, state);
                code.reach(&capability, state, layers, way.as_ref())
            });
            let ends = EdgeName { from: code.full_name(*from), to: code.full_name(*to) };
            AuditEdgeDocument { ends, brings: brings.collect() }
        })
        .collect();
    let (files, lines, by_token) = verdict.extent();
    AuditDocument {
        document: "audit",
        version: VERSION,
        files,
        lines,
        by_token,
        crates,
        edges,
        unknown: verdict
            .unknowns()
            .into_iter()
            .map(|unknown| UnknownDocument {
                krate: code.full_name(unknown.package),
                file: unknown.file,
                line: unknown.line,
                why: unknown.why,
                generated: unknown.generated,
            })
            .collect(),
        compiled: code.compiled.as_ref().map(|seen| CompiledDocument {
            libraries: seen.measure.libraries,
            programs: seen.measure.programs,
            pieces: seen.measure.pieces,
            unknown_symbols: seen
                .unknown
                .iter()
                .map(|unknown| UnknownSymbolDocument {
                    krate: code.full_name(unknown.package),
                    symbol: unknown.name.clone(),
                })
                .collect(),
        }),
    }
}
