//! `explain`: pages of capabilities and codes, and the chain of who gave what.

use std::fmt::Write as _;
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{
    Capability, CapabilityPage, Code, CrateIndex, Explanation, HostCapability, Project, Resolution, Route,
    Stage, explain, is_capability_name, nearest, resolve,
};

use crate::arguments::{Explain, Format};
use crate::document::{ExplainDocument, RouteDocument, StepDocument, VERSION, print_json};
use crate::exit::Exit;
use crate::{Stop, render, source};

pub(crate) fn run(arguments: &Explain, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    if arguments.capability.is_none()
        && let Some(page) = page(&arguments.subject)?
    {
        if arguments.format == Format::Json {
            return Err(Stop::Usage("pages have no JSON form; ask for a crate and a capability".to_owned()));
        }
        anstream::stdout().write_all(page.as_bytes())?;
        return Ok(Exit::Ok);
    }
    if let Some(name) = &arguments.capability
        && !is_capability_name(name)
    {
        return Err(Stop::Usage(format!("`{}` cannot be the name of a capability", render::printable(name))));
    }
    let slip = near(&arguments.subject).filter(|_| arguments.capability.is_none());
    let loaded = match (arguments.source.load_quietly(ambient), slip) {
        (Ok(loaded), _) => loaded,
        // The word is nearly one that needs no graph, and there is no graph here: that is what was meant.
        (Err(_), Some(near)) => return Err(Stop::Usage(format!("there is `cofferdam explain {near}`"))),
        (Err(error), None) => return Err(source::say(&error, arguments.format)),
    };
    let project = &loaded.project;
    let resolution = resolve(project);
    let (subject, consumer) = ends(project, &arguments.subject)?;
    let text = match &arguments.capability {
        Some(name) => {
            let capability = known(project, name)?;
            let told = explain(project, &resolution, subject, consumer, &capability);
            if arguments.format == Format::Json {
                print_json(&document(project, &told))?;
                return Ok(Exit::Ok);
            }
            story(project, &told)
        }
        None => everything(project, &resolution, subject, consumer),
    };
    anstream::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// What is not about a graph: lists, pages and codes. `None` when the word is none of them, and so a crate.
fn page(subject: &str) -> Result<Option<String>, Stop> {
    if subject == "capabilities" {
        return list_capabilities().map(Some);
    }
    if subject == "codes" {
        let lines = Code::ALL.iter().map(|code| format!("{:28} {}\n", code.name(), code.summary()));
        return Ok(Some(lines.collect()));
    }
    if let Some(code) = Code::from_name(subject) {
        let severity = match code.severity() {
            cofferdam::manifest::Severity::Error => "error",
            cofferdam::manifest::Severity::Warning => "warning",
        };
        return Ok(Some(format!("{severity}[{code}]: {}\n\n{}\n", code.summary(), code.explanation())));
    }
    if let Capability::Host(stage, host) = Capability::from_name(subject) {
        return capability_page(stage, host).map(Some);
    }
    let class: Vec<HostCapability> = HostCapability::of_class(subject).collect();
    if class.is_empty() {
        return Ok(None);
    }
    let mut text = format!("`{subject}` is a class; a grant names its actions:\n\n");
    for host in class {
        let page = CapabilityPage::load(host)?;
        let _ = writeln!(text, "  {:20} {}", page.name, page.meaning);
    }
    Ok(Some(text))
}

fn list_capabilities() -> Result<String, Stop> {
    let mut text = String::new();
    for host in HostCapability::all() {
        let page = CapabilityPage::load(host)?;
        let _ = writeln!(text, "{:20} {}", page.name, page.meaning);
    }
    text.push_str("\nEach has a twin `build.NAME`, for what a build script or procedural macro does.\n");
    text.push_str("Any other name exists when a crate of the graph has it in its `exports`.\n");
    Ok(text)
}

fn capability_page(stage: Stage, host: HostCapability) -> Result<String, Stop> {
    let page = CapabilityPage::load(host)?;
    let bold = anstyle::Style::new().bold();
    let (on, off) = (bold.render(), bold.render_reset());
    let mut text = String::new();
    let twin = stage == Stage::Build && !host.is_build_only();
    if twin {
        let _ = writeln!(
            text,
            "{on}build.{}{off}: `{}`, used while a crate is compiled.\n",
            page.name, page.name
        );
    }
    let severity = format!("{:?}", page.severity).to_lowercase();
    let _ = writeln!(
        text,
        "{on}{}{off} (severity: {severity})\n\n{}\n\n{on}Risk{off}\n{}\n",
        page.name, page.meaning, page.risk
    );
    let _ = writeln!(text, "{on}Grant{off}\n    {}", page.example);
    for implied in &page.implies {
        let _ = writeln!(text, "    Includes `{implied}` of the same.");
    }
    if page.granted_by_default {
        let _ = writeln!(text, "    Everybody holds it; it is reported, not granted.");
    }
    let acquired = [
        ("std", &page.acquired_by.std),
        ("C", &page.acquired_by.libc),
        ("crates", &page.acquired_by.crates),
        ("code", &page.acquired_by.attributes),
    ];
    let _ = writeln!(text, "\n{on}Acquired by{off}");
    for (what, items) in acquired.iter().filter(|(_, items)| !items.is_empty()) {
        let _ = writeln!(text, "{}", wrapped(what, items));
    }
    if let (Some(wasm), Some(process)) = (&page.wasm, &page.process) {
        let _ = writeln!(text, "\n{on}In a wasm compartment{off}: {}\n{}", yes(wasm.provided), wasm.note);
        for import in &wasm.imports {
            let _ = writeln!(text, "    {}: {}", import.interface, import.reason);
        }
        let _ = writeln!(
            text,
            "\n{on}In a process compartment{off}: {}\n{}",
            yes(process.provided),
            process.note
        );
        for rule in &process.syscalls {
            let action = rule
                .errno
                .as_deref()
                .map_or(format!("{:?}", rule.action).to_lowercase(), |errno| format!("answers {errno}"));
            let when: Vec<String> = rule
                .when
                .iter()
                .map(|when| format!("arg{} & {:#x} == {:#x}", when.argument, when.mask, when.equals))
                .collect();
            let when = if when.is_empty() { String::new() } else { format!(" when {}", when.join(" and ")) };
            let _ = writeln!(text, "    {} ({action}{when}): {}", rule.name, rule.reason);
        }
        for rule in &process.landlock {
            let _ = writeln!(text, "    Landlock {}: {}", rule.right, rule.reason);
        }
    }
    if let Some(build) = &page.build {
        let _ = writeln!(text, "\n{on}While a crate is compiled{off}\n{}", build.note);
    }
    Ok(text)
}

fn yes(provided: bool) -> &'static str {
    if provided { "can be granted" } else { "cannot be granted" }
}

/// `    std: a, b, c`, in lines of at most about 100 columns.
fn wrapped(what: &str, items: &[String]) -> String {
    let mut text = format!("    {what}:");
    let mut column = text.len();
    for (index, item) in items.iter().enumerate() {
        let item = format!(" {item}{}", if index + 1 < items.len() { "," } else { "" });
        if column + item.len() > 100 {
            text.push_str("\n       ");
            column = 7;
        }
        column += item.len();
        text.push_str(&item);
    }
    text
}

/// The code, capability or class nearest to a word.
fn near(word: &str) -> Option<&'static str> {
    let codes = Code::ALL.iter().map(|code| code.name());
    let names = HostCapability::all().flat_map(|host| [host.name(), host.class()]);
    nearest(word, codes.chain(names).chain(["capabilities", "codes"]))
}

/// A crate, or an edge as `a -> b`.
fn ends(project: &Project, subject: &str) -> Result<(CrateIndex, Option<CrateIndex>), Stop> {
    let find = |name: &str| project.find(name.trim()).map_err(|why| Stop::Usage(render::printable(&why)));
    let Some((from, to)) = subject.split_once("->") else {
        return project.find(subject).map(|index| (index, None)).map_err(|why| {
            let hint = near(subject)
                .map(|name| format!("\nthere is `cofferdam explain {name}`"))
                .unwrap_or_default();
            Stop::Usage(render::printable(&why) + &hint)
        });
    };
    let (from, to) = (find(from)?, find(to)?);
    if project.edges_from(from).all(|edge| project.edge(edge).to != to) {
        let message = format!("`{}` does not depend on `{}`", project.name(from), project.name(to));
        return Err(Stop::Usage(message));
    }
    Ok((to, Some(from)))
}

/// The capability of that name, if the host or any crate has it.
fn known(project: &Project, name: &str) -> Result<Capability, Stop> {
    let capability = Capability::from_name(name);
    let exported = || {
        project
            .crates()
            .filter_map(|index| project.tables(index))
            .any(|tables| tables.exports.iter().any(|export| export.capability.value == capability))
    };
    if matches!(capability, Capability::Host(..)) || exported() {
        return Ok(capability);
    }
    let actions: Vec<&str> = HostCapability::of_class(name).map(HostCapability::name).collect();
    Err(Stop::Usage(if actions.is_empty() {
        let exported =
            project.crates().filter_map(|index| project.tables(index)).flat_map(|tables| &tables.exports);
        let exported: Vec<String> = exported.map(|export| export.capability.value.to_string()).collect();
        let host = nearest(name, HostCapability::all().map(HostCapability::name)).map(str::to_owned);
        match host.or_else(|| nearest(name, exported.iter().map(String::as_str)).map(str::to_owned)) {
            Some(near) => format!("there is no capability `{name}`; did you mean `{near}`?"),
            None => format!("there is no capability `{name}`; `cofferdam explain capabilities` lists them"),
        }
    } else {
        format!("`{name}` is a class; name one of its actions: {}", actions.join(", "))
    }))
}

/// Everything that a crate holds, edge by edge.
fn everything(
    project: &Project,
    resolution: &Resolution,
    subject: CrateIndex,
    consumer: Option<CrateIndex>,
) -> String {
    let trace = resolution.trace();
    let package = project.package(subject);
    let version = render::version(&package.version.to_string());
    let mut text = format!("{}{version} ({})\n", package.name, project.backend(subject));
    match project.tables(subject) {
        None => text.push_str("  undeclared: it says nothing about its capabilities\n"),
        Some(tables) => {
            for consume in &tables.consumes {
                let optional = if consume.optional { " (optional)" } else { "" };
                let reason = render::printable(&consume.reason);
                let _ = writeln!(text, "  consumes {}{optional}: {reason}", consume.capability.value);
            }
            for export in &tables.exports {
                let _ = writeln!(
                    text,
                    "  exports {}: {}",
                    export.capability.value,
                    render::printable(&export.reason)
                );
            }
        }
    }
    for (_, holder) in trace.holders().filter(|(_, holder)| holder.krate == subject) {
        if holder.is_root && consumer.is_none() {
            let _ = writeln!(text, "  the workspace gives it {}", holder.root_authority());
        }
        for flow in holder.arrivals.iter().map(|flow| trace.flow(*flow)) {
            let from = trace.holder(flow.from).krate;
            if consumer.is_none_or(|consumer| consumer == from) {
                let _ = writeln!(text, "  `{}` gives it {}", project.name(from), flow.authority);
            }
        }
    }
    if trace.holders().all(|(_, holder)| holder.krate != subject) {
        text.push_str("  no root reaches it, so it is never given anything\n");
    }
    text
}

/// The chain of one capability, as a person reads it.
fn story(project: &Project, told: &Explanation) -> String {
    let name = project.name(told.subject);
    let capability = &told.capability;
    let mut text = match told.consumer {
        Some(consumer) => format!("{} -> {name}: {capability}\n", project.name(consumer)),
        None => format!("{name}: {capability}\n"),
    };
    match told.asked_at {
        Some(at) => {
            let _ = writeln!(text, "  it asks for it at {}", render::place(project.files(), at));
        }
        None if project.tables(told.subject).is_none() => {
            text.push_str("  it is undeclared, and so asks for nothing\n");
        }
        None => text.push_str("  it does not ask for it\n"),
    }
    if told.routes.is_empty() {
        text.push_str("  no root reaches it\n");
    }
    for route in &told.routes {
        text.push('\n');
        text.push_str(&route_story(project, capability, route));
    }
    if let Some(union) = told.union.as_ref().filter(|_| told.routes.iter().any(|route| !route.arrives)) {
        let scope = if union.is_empty() { String::new() } else { format!(" of {union}") };
        let _ = writeln!(
            text,
            "\n  being inline and linked once, it can use {capability}{scope} over every edge"
        );
    }
    text
}

fn route_story(project: &Project, capability: &Capability, route: &Route) -> String {
    let mut text = String::new();
    for (depth, step) in route.steps.iter().enumerate() {
        let giver = step.from.map_or("the workspace".to_owned(), |from| project.name(from));
        let verb = if step.from.is_some() { "gives" } else { "holds for" };
        let receiver = project.name(step.to);
        let indent = "  ".repeat(depth + 1);
        let what = match &step.scope {
            Some(scope) if scope.is_empty() => capability.to_string(),
            Some(scope) => format!("{capability} of {}", render::printable(scope)),
            None => format!("no {capability}"),
        };
        let _ = write!(text, "{indent}{giver} {verb} {receiver} {what}");
        if step.exceeds {
            text.push_str(", more than it holds itself");
        }
        if step.scope.is_none() || step.exceeds {
            text.push_str("   <- it stops here");
        }
        text.push('\n');
        if let Some(at) = step.at {
            let _ = writeln!(text, "{indent}  at {}", render::place(project.files(), at));
        }
        if let Some(reason) = &step.reason {
            let _ = writeln!(text, "{indent}  because: {}", render::printable(reason));
        }
    }
    if !route.beyond.is_empty() {
        let names: Vec<String> = route.beyond.iter().map(|index| project.name(*index)).collect();
        let _ = writeln!(text, "  not reached: {}", names.join(" -> "));
    }
    text
}

fn document(project: &Project, told: &Explanation) -> ExplainDocument {
    let routes = told.routes.iter().map(|route| RouteDocument {
        arrives: route.arrives,
        beyond: route.beyond.iter().map(|index| project.name(*index)).collect(),
        steps: route
            .steps
            .iter()
            .map(|step| StepDocument {
                from: step.from.map(|from| project.name(from)),
                to: project.name(step.to),
                scope: step.scope.clone(),
                exceeds: step.exceeds,
                at: step.at.map(|at| project.files().describe(at)),
                reason: step.reason.clone(),
            })
            .collect(),
    });
    ExplainDocument {
        document: "explain",
        version: VERSION,
        krate: project.name(told.subject),
        consumer: told.consumer.map(|consumer| project.name(consumer)),
        capability: told.capability.to_string(),
        granted: !told.routes.is_empty() && told.routes.iter().all(|route| route.arrives),
        routes: routes.collect(),
    }
}
