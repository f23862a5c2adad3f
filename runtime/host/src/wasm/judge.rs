//! Whether what a component imports is what its crate says that it needs.
//!
//! It judges names only and reads no component, so it needs no engine; and it grants nothing.

use std::collections::BTreeSet;

use capability_manifest::manifest::EdgeKind;
use capability_manifest::{
    Backend, Capability, Code, CrateIndex, Diagnostic, HostCapability, PageError, Project,
};

use super::inspect::capability_of_interface;

/// Interfaces that the standard library imports in every guest, used or not: on `wasm32-wasip1` through the adapter, on
/// `wasm32-wasip2` through its C library. Without a grant they answer emptily (no variables, no folders, streams that lead
/// nowhere), or a call of them is a violation (`exit`, `wall-clock`). Measured with Rust 1.95 and 1.96, and the adapter of
/// wasmtime 48.
const START_UP: [&str; 13] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
];

/// What is to be said about one import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportVerdict {
    /// It reaches nothing by itself.
    Powerless,
    /// It is not the host's: one of the crate's own edges to a wasm crate provides it, which is compared when it starts.
    OverAnEdge,
    /// It is not the host's, and the crate's world declares it: whoever uses the crate provides it, which is compared when it starts.
    Declared,
    /// The crate consumes it.
    Consumed,
    /// The crate does not consume it, and the standard library imports it all the same.
    StartUp,
    /// The crate does not consume it: a denial.
    NotConsumed,
    /// Nothing provides it: a denial.
    Unknown,
}

impl ImportVerdict {
    /// Whether the component is refused for it.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::NotConsumed | Self::Unknown)
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Powerless => "powerless",
            Self::Consumed => "consumed",
            Self::StartUp => "start-up",
            Self::OverAnEdge => "over-an-edge",
            Self::Declared => "declared",
            Self::NotConsumed => "not-consumed",
            Self::Unknown => "unknown",
        }
    }
}

/// One import with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedImport {
    /// The interface, with its version.
    pub interface: String,
    /// The capabilities of which any one gives it power.
    pub capabilities: Vec<HostCapability>,
    /// What is to be said about it.
    pub verdict: ImportVerdict,
}

/// Judges what the component of a crate imports, in the given order. `declared` are the names of what its world imports.
///
/// What a component may import is what its crate consumes, and what the inline crates consume that are compiled into it.
///
/// # Errors
/// When a page of ours is wrong.
pub fn judge_imports(
    project: &Project,
    krate: CrateIndex,
    imports: &[String],
    declared: &[String],
) -> Result<Vec<JudgedImport>, PageError> {
    let consumed = consumed(project, krate);
    let calls_others = project
        .edges_from(krate)
        .map(|edge| project.edge(edge))
        .any(|edge| edge.kind == EdgeKind::Normal && project.backend(edge.to) == Backend::Wasm);
    let judge = |interface: &String| {
        let plain = interface.split('@').next().unwrap_or(interface);
        let found = capability_of_interface(plain)?;
        let verdict = match &found {
            None if calls_others && !plain.starts_with("wasi:") => ImportVerdict::OverAnEdge,
            // A declaration gives nothing: an interface of the host's that no page knows is provided by nobody.
            None if declared.contains(interface) && !plain.starts_with("wasi:") => ImportVerdict::Declared,
            None => ImportVerdict::Unknown,
            Some(capabilities) if capabilities.is_empty() => ImportVerdict::Powerless,
            Some(capabilities) if capabilities.iter().any(|one| consumed.contains(one)) => {
                ImportVerdict::Consumed
            }
            Some(_) if START_UP.contains(&plain) => ImportVerdict::StartUp,
            Some(_) => ImportVerdict::NotConsumed,
        };
        let capabilities = found.unwrap_or_default();
        Ok(JudgedImport { interface: interface.clone(), capabilities, verdict })
    };
    imports.iter().map(judge).collect()
}

/// What a crate consumes, and what the crates consume that are linked into its component.
fn consumed(project: &Project, krate: CrateIndex) -> BTreeSet<HostCapability> {
    let mut seen = BTreeSet::from([krate]);
    let mut open = vec![krate];
    let mut found = BTreeSet::new();
    while let Some(index) = open.pop() {
        for consume in project.tables(index).iter().flat_map(|tables| &tables.consumes) {
            // What is used while the crate is compiled is no power of the component.
            if let Capability::Host(capability_manifest::Stage::Run, host) = consume.capability.value {
                found.insert(host);
            }
        }
        for edge in project.edges_from(index).map(|edge| project.edge(edge)) {
            let linked = edge.kind == EdgeKind::Normal && project.backend(edge.to) == Backend::Inline;
            if linked && seen.insert(edge.to) {
                open.push(edge.to);
            }
        }
    }
    found
}

/// The denial of an import; `None` when it is none.
pub fn import_denial(project: &Project, krate: CrateIndex, import: &JudgedImport) -> Option<Diagnostic> {
    let name = project.name(krate);
    let interface = &import.interface;
    let mut diagnostic = match import.verdict {
        ImportVerdict::NotConsumed => {
            let names: Vec<String> =
                import.capabilities.iter().map(|one| format!("`{}`", one.name())).collect();
            let message = format!(
                "the component of `{name}` imports `{interface}`, which means {}, and `{name}` does not consume it",
                names.join(" or ")
            );
            Diagnostic::new(Code::ImportNotConsumed, message)
        }
        ImportVerdict::Unknown => {
            let message = format!("the component of `{name}` imports `{interface}`, which nothing provides");
            let mut diagnostic = Diagnostic::new(Code::ImportUnknown, message);
            if !interface.starts_with("wasi:") {
                let help = "if whoever uses the crate is to provide it, its world must import it, and `world = \"FILE#NAME\"` name that world";
                diagnostic.help.push(help.to_owned());
            }
            diagnostic
        }
        _ => return None,
    };
    let consumes = project.tables(krate).and_then(|tables| tables.consumes.first());
    diagnostic.primary = match consumes {
        Some(first) => Some((first.capability.at, "what it consumes begins here".to_owned())),
        None => project.name_line(krate).map(|at| (at, "it consumes nothing".to_owned())),
    };
    if import.verdict == ImportVerdict::NotConsumed {
        diagnostic.capability = import.capabilities.first().map(|one| one.name().to_owned());
        let line = diagnostic.capability.as_ref().map(|name| format!("\"{name}\" = \"why\""));
        if let (Some(line), Some(file)) = (line, project.editable_file(krate)) {
            let table = if project.is_standalone() {
                format!("crates.{name}")
            } else {
                "package.metadata.capabilities".to_owned()
            };
            let in_file = project.files().get(file).name();
            // Where there is a table, there may be a `consumes` too that is empty.
            let line = if project.tables(krate).is_some() {
                format!("add to `consumes` of [{table}] in {in_file}:\n{line}")
            } else {
                format!("add to {in_file}:\n[{table}]\nconsumes = {{ {line} }}")
            };
            diagnostic.help.push(line);
        }
        if interface.starts_with("wasi:random/") {
            diagnostic.notes.push("the standard library's hash maps draw their seed from it".to_owned());
        }
    }
    Some(diagnostic)
}

#[cfg(test)]
mod tests {
    use capability_manifest::{Files, Form, ManifestText, ProjectBuilder, parse};

    use super::*;

    fn project(text: &str) -> Project {
        let mut files = Files::default();
        let text = ManifestText::from_bytes("capabilities.toml", text.as_bytes().to_vec()).expect("text");
        let file = files.add(text);
        let manifest = parse(file, files.get(file), Form::Standalone).expect("a manifest");
        ProjectBuilder::standalone(files, manifest).unwrap_or_else(|(_, errors)| panic!("{errors:?}"))
    }

    const PROJECT: &str = "[crates.host]\ndependencies = [\"guest\"]\n\
        [crates.guest]\ndependencies = [\"inside\", \"apart\"]\nconsumes = { stdio = \"says\" }\n\
        compartment = { backend = \"wasm\" }\n\
        [crates.inside]\nconsumes = { clock = \"measures\" }\n\
        [crates.apart]\nconsumes = { entropy = \"draws\" }\ncompartment = { backend = \"wasm\" }\n";

    fn judged(interface: &str) -> (Project, CrateIndex, JudgedImport) {
        let project = project(PROJECT);
        let guest = project.find("guest").expect("there");
        let judged =
            judge_imports(&project, guest, &[interface.to_owned()], &[]).expect("pages of ours are right");
        (project, guest, judged[0].clone())
    }

    #[test]
    fn each_import_has_its_verdict() {
        for (interface, verdict) in [
            ("wasi:io/poll@0.2.6", ImportVerdict::Powerless),
            ("wasi:cli/stdout@0.2.6", ImportVerdict::Consumed),
            ("wasi:clocks/monotonic-clock@0.2.6", ImportVerdict::Consumed),
            ("wasi:clocks/wall-clock@0.2.12", ImportVerdict::Consumed),
            ("wasi:cli/environment@0.2.6", ImportVerdict::StartUp),
            ("wasi:filesystem/preopens@0.2.6", ImportVerdict::StartUp),
            // What another compartment consumes is no power of this one.
            ("wasi:random/random@0.2.6", ImportVerdict::NotConsumed),
            ("wasi:sockets/tcp@0.2.6", ImportVerdict::NotConsumed),
            ("wasi:keyvalue/store@0.2.6", ImportVerdict::Unknown),
            // `apart` may have it.
            ("a-function", ImportVerdict::OverAnEdge),
        ] {
            let (project, guest, judged) = judged(interface);
            assert_eq!(judged.verdict, verdict, "{interface}");
            assert_eq!(import_denial(&project, guest, &judged).is_some(), verdict.is_denial(), "{interface}");
        }
    }

    #[test]
    fn a_denial_names_crate_import_capability_and_line() {
        let (project, guest, judged) = judged("wasi:random/random@0.2.6");
        let denial = import_denial(&project, guest, &judged).expect("a denial");
        assert_eq!(denial.code, Code::ImportNotConsumed);
        assert_eq!(denial.capability.as_deref(), Some("entropy"));
        assert_eq!(
            denial.message,
            "the component of `guest` imports `wasi:random/random@0.2.6`, which means `entropy`, and `guest` does not \
             consume it"
        );
        assert_eq!(
            denial.help,
            ["add to `consumes` of [crates.guest] in capabilities.toml:\n\"entropy\" = \"why\""]
        );
        assert!(denial.primary.is_some() && denial.notes.len() == 1);
    }

    #[test]
    fn what_another_compartment_exports_comes_over_an_edge_and_nothing_of_the_host_does() {
        let judged = |dependencies: &str, declared: &[&str]| {
            let text = format!(
                "[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\ndependencies = [{dependencies}]\n\
                 compartment = {{ backend = \"wasm\" }}\n[crates.other.compartment]\nbackend = \"wasm\"\n"
            );
            let mut files = Files::default();
            let text = ManifestText::from_bytes("capabilities.toml", text.into_bytes());
            let file = files.add(text.expect("small"));
            let manifest = parse(file, files.get(file), Form::Standalone);
            let manifest = manifest.unwrap_or_else(|errors| panic!("{}", errors[0].kind));
            let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
            let guest = project.find("guest").expect("there");
            let imports = ["acme:b/api@1.0.0", "wasi:keyvalue/store@0.2.0"].map(str::to_owned);
            let declared: Vec<String> = declared.iter().map(|&name| name.to_owned()).collect();
            let judged = judge_imports(&project, guest, &imports, &declared).expect("the pages are right");
            judged.into_iter().map(|import| import.verdict).collect::<Vec<_>>()
        };
        assert_eq!(judged("\"other\"", &[]), [ImportVerdict::OverAnEdge, ImportVerdict::Unknown]);
        assert_eq!(judged("", &[]), [ImportVerdict::Unknown, ImportVerdict::Unknown]);
        let declared = ["acme:b/api@1.0.0", "wasi:keyvalue/store@0.2.0"];
        assert_eq!(judged("", &declared), [ImportVerdict::Declared, ImportVerdict::Unknown]);
        assert_eq!(judged("", &["acme:b/api@2.0.0"]), [ImportVerdict::Unknown, ImportVerdict::Unknown]);
    }

    #[test]
    fn an_import_that_nothing_provides_is_its_own_denial() {
        let (project, guest, judged) = judged("wasi:keyvalue/store@0.2.6");
        let denial = import_denial(&project, guest, &judged).expect("a denial");
        assert_eq!(denial.code, Code::ImportUnknown);
        assert_eq!(denial.capability, None);
    }
}
