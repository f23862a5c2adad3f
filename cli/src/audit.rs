//! `audit`: what the code of each crate reaches, what each edge brings, and by which way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::Capability;
use cofferdam_audit::{Audit as Verdict, PackageIndex, Way, audit};

use crate::arguments::{Audit, Format};
use crate::check::counted;
use crate::code::Code;
use crate::document::{
    AuditCrateDocument, AuditDocument, AuditEdgeDocument, EdgeName, ReachDocument, UnknownDocument, VERSION,
    WayStepDocument, print_json,
};
use crate::exit::Exit;
use crate::reach::{to_grant, way_text};
use crate::{Stop, render};

pub(crate) fn run(arguments: &Audit, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let loaded = arguments.source.load(arguments.format, ambient)?;
    let Some(code) = Code::read(&loaded, arguments.source.target.as_deref(), ambient)? else {
        return Err(Stop::Usage("`audit` looks at code, and a `capabilities.toml` has none".to_owned()));
    };
    let verdict = audit(&code.graph, &code.sources, &code.table);
    let subject = arguments.subject.as_deref().map(|text| Subject::find(&code, text)).transpose()?;
    match arguments.format {
        Format::Json => print_json(&document(&code, &verdict, subject.as_ref()))?,
        Format::Human => {
            let text = match &subject {
                None => everything(&code, &verdict),
                Some(Subject::Package(package)) => one_package(&code, &verdict, *package),
                Some(Subject::Edge(from, to)) => one_edge(&code, &verdict, *from, *to),
            };
            anstream::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(Exit::Ok)
}

enum Subject {
    Package(PackageIndex),
    Edge(PackageIndex, PackageIndex),
}

impl Subject {
    fn find(code: &Code, text: &str) -> Result<Self, Stop> {
        match text.split_once("->") {
            Some((from, to)) => {
                Ok(Self::Edge(Self::package(code, from.trim())?, Self::package(code, to.trim())?))
            }
            None => Ok(Self::Package(Self::package(code, text.trim())?)),
        }
    }

    fn package(code: &Code, text: &str) -> Result<PackageIndex, Stop> {
        let (name, version) = text.split_once('@').map_or((text, ""), |(name, version)| (name, version));
        let mut found = code
            .graph
            .packages
            .iter()
            .enumerate()
            .filter(|(_, package)| package.name == name && package.version.starts_with(version));
        match (found.next(), found.next()) {
            (Some((only, _)), None) => Ok(only),
            (None, _) => Err(Stop::Usage(format!("there is no crate `{text}` in the graph"))),
            (Some((_, first)), Some((_, second))) => Err(Stop::Usage(format!(
                "`{text}` means more than one crate; say `{name}@{}` or `{name}@{}`",
                first.version, second.version
            ))),
        }
    }
}

fn names(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}

/// One line for each crate that reaches anything by itself.
fn everything(code: &Code, verdict: &Verdict<'_>) -> String {
    let mut text = String::new();
    let mut quiet = 0;
    for (at, package) in code.graph.packages.iter().enumerate().filter(|(at, _)| verdict.is_linked(*at)) {
        let own = to_grant(&verdict.own(at));
        if own.is_empty() {
            quiet += 1;
        } else {
            let _ = writeln!(text, "{} {}\n  {}", package.name, package.version, names(&own));
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
    render::printable(&text)
}

fn one_package(code: &Code, verdict: &Verdict<'_>, package: PackageIndex) -> String {
    let of = &code.graph.packages[package];
    let mut text = format!("{} {}\n", of.name, of.version);
    if !verdict.is_linked(package) {
        text.push_str("  is not linked for this platform, or with these features\n");
        return text;
    }
    for capability in to_grant(&verdict.own(package)) {
        let _ = writeln!(text, "  uses {capability}");
        if let Some(way) = verdict.way_within(package, &capability) {
            text.push_str(&indented(&way_text(code, &way)));
        }
    }
    let (reaching, memory) = verdict.unsafe_code(package);
    let _ = writeln!(
        text,
        "  unsafe code: {memory} that handles memory, {} that reaches authority",
        reaching.len()
    );
    for ((from, to), need) in verdict.needs() {
        let all = to_grant(&need.run.union(&need.build).cloned().collect());
        if *to == package && !all.is_empty() {
            let _ = writeln!(text, "  brings `{}` {}", code.graph.packages[*from].name, names(&all));
        } else if *from == package && !all.is_empty() {
            let _ = writeln!(text, "  is brought by `{}` {}", code.graph.packages[*to].name, names(&all));
        }
    }
    render::printable(&text)
}

fn one_edge(code: &Code, verdict: &Verdict<'_>, from: PackageIndex, to: PackageIndex) -> String {
    let mut text = format!("{} -> {}\n", code.graph.packages[from].name, code.graph.packages[to].name);
    let Some(need) = verdict.needs().get(&(from, to)) else {
        text.push_str("  there is no such edge for this platform\n");
        return text;
    };
    let all = to_grant(&need.run.union(&need.build).cloned().collect());
    if all.is_empty() {
        text.push_str("  brings nothing\n");
    }
    for capability in all {
        let _ = writeln!(text, "  brings {capability}");
        if let Some(way) = verdict.way_over(from, to, &capability) {
            text.push_str(&indented(&way_text(code, &way)));
        }
    }
    render::printable(&text)
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "    {line}");
        out
    })
}

fn document(code: &Code, verdict: &Verdict<'_>, subject: Option<&Subject>) -> AuditDocument {
    let name = |package: PackageIndex| {
        let of = &code.graph.packages[package];
        format!("{}@{}", of.name, of.version)
    };
    let reaches = |found: BTreeMap<Capability, Option<Way>>| {
        found
            .into_iter()
            .map(|(capability, way)| ReachDocument {
                capability: capability.to_string(),
                what: way.as_ref().map(|way| way.what.clone()),
                way: way
                    .iter()
                    .flat_map(|way| &way.places)
                    .map(|place| WayStepDocument {
                        krate: name(place.package),
                        item: place.item.clone(),
                        file: place.file.clone(),
                        line: place.line,
                    })
                    .collect(),
            })
            .collect::<Vec<_>>()
    };
    let shows_package = |package: PackageIndex| match subject {
        None => true,
        Some(Subject::Package(only)) => *only == package,
        Some(Subject::Edge(..)) => false,
    };
    let shows_edge = |from: PackageIndex, to: PackageIndex| match subject {
        None => true,
        Some(Subject::Package(only)) => *only == from || *only == to,
        Some(Subject::Edge(a, b)) => (*a, *b) == (from, to),
    };
    let crates = (0..code.graph.packages.len())
        .filter(|package| verdict.is_linked(*package) && shows_package(*package))
        .map(|package| {
            let own = to_grant(&verdict.own(package)).into_iter();
            let own = own.map(|capability| {
                let way = verdict.way_within(package, &capability);
                (capability, way)
            });
            let (reaching, memory) = verdict.unsafe_code(package);
            AuditCrateDocument {
                krate: name(package),
                uses: reaches(own.collect()),
                unsafe_memory: memory,
                unsafe_authority: reaching.len(),
            }
        })
        .collect();
    let edges = verdict
        .needs()
        .iter()
        .filter(|((from, to), _)| shows_edge(*from, *to))
        .map(|((from, to), need)| {
            let all = to_grant(&need.run.union(&need.build).cloned().collect()).into_iter();
            // Ways cost a search each, so they are given only for what was asked about.
            let all = all.map(|capability| {
                let way = subject.and_then(|_| verdict.way_over(*from, *to, &capability));
                (capability, way)
            });
            AuditEdgeDocument {
                ends: EdgeName { from: name(*from), to: name(*to) },
                brings: reaches(all.collect()),
            }
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
                krate: name(unknown.package),
                file: unknown.file,
                line: unknown.line,
                why: unknown.why,
                generated: unknown.generated,
            })
            .collect(),
    }
}
