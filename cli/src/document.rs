//! The machine-readable outputs. Each document names its kind and version; docs/json.md describes them, and
//! `cofferdam schema` prints their JSON schema. Within a version, fields are only added.

use std::io::Write as _;

use cofferdam::manifest::{Diagnostic, Files, Location, Project, Resolution, Severity, print};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;

use crate::Stop;
use crate::arguments::Document;
use crate::exit::Exit;

/// Version of every document.
pub(crate) const VERSION: u32 = 1;

/// The output of `check --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam check")]
pub(crate) struct CheckDocument {
    /// Always `check`.
    document: &'static str,
    /// Version of this format.
    version: u32,
    /// `granted`, `denied`, or `invalid`.
    outcome: &'static str,
    /// Crates in the graph.
    crates: usize,
    /// Dependency edges in the graph.
    edges: usize,
    /// Compartments that would run; 0 unless granted.
    compartments: usize,
    /// Crates that say nothing about themselves.
    undeclared: Vec<String>,
    /// Everything found, errors first.
    findings: Vec<Finding>,
}

/// One finding.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Finding {
    /// Its stable code; `cofferdam explain CODE` says more.
    code: &'static str,
    /// `error` or `warning`.
    severity: &'static str,
    /// What is wrong.
    message: String,
    /// Where; the first place is the primary one.
    places: Vec<Place>,
    /// The edge that it is about.
    edge: Option<EdgeName>,
    /// The capability that it is about.
    capability: Option<String>,
    /// The crates from the root to the one that it is about.
    chain: Vec<String>,
    /// More about it.
    notes: Vec<String>,
    /// What to do next.
    help: Vec<String>,
    /// Lines that would mend it.
    fixes: Vec<FixLine>,
}

/// A place in a manifest.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Place {
    /// The file, relative to the workspace's root.
    file: String,
    /// Line, from 1.
    line: usize,
    /// Column in characters, from 1.
    column: usize,
    /// First byte, from 0.
    start: usize,
    /// The byte after the last.
    end: usize,
    /// What is there.
    label: String,
}

/// The two ends of an edge.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct EdgeName {
    /// The consumer.
    pub(crate) from: String,
    /// The dependency.
    pub(crate) to: String,
}

/// A line that would mend a finding.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FixLine {
    /// The file.
    file: String,
    /// The table's path of keys.
    table: Vec<String>,
    /// The line to add.
    line: String,
    /// Whether it can be used as it is; otherwise it holds an example to replace.
    complete: bool,
}

fn place(files: &Files, at: Location, label: &str) -> Place {
    let text = files.get(at.file);
    let range = at.range();
    let (line, column) = text.line_column(range.start);
    Place {
        file: text.name().to_owned(),
        line,
        column,
        start: range.start,
        end: range.end,
        label: label.to_owned(),
    }
}

impl Finding {
    pub(crate) fn new(files: &Files, diagnostic: &Diagnostic) -> Self {
        let places = diagnostic.primary.iter().chain(&diagnostic.secondary);
        Self {
            code: diagnostic.code.name(),
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            message: diagnostic.message.clone(),
            places: places.map(|(at, label)| place(files, *at, label)).collect(),
            edge: diagnostic.edge.clone().map(|(from, to)| EdgeName { from, to }),
            capability: diagnostic.capability.clone(),
            chain: diagnostic.chain.clone(),
            notes: diagnostic.notes.clone(),
            help: diagnostic.help.clone(),
            fixes: diagnostic
                .fixes
                .iter()
                .map(|fix| FixLine {
                    file: files.get(fix.file).name().to_owned(),
                    table: fix.table.clone(),
                    line: print::clause(&fix.capability, &fix.scope),
                    complete: fix.complete,
                })
                .collect(),
        }
    }
}

impl Finding {
    pub(crate) fn code(&self) -> &str {
        self.code
    }

    pub(crate) fn severity(&self) -> &str {
        self.severity
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn edge(&self) -> Option<(&str, &str)> {
        self.edge.as_ref().map(|edge| (edge.from.as_str(), edge.to.as_str()))
    }
}

impl CheckDocument {
    pub(crate) fn new(
        project: &Project,
        resolution: &Resolution,
        findings: &[Diagnostic],
        undeclared: &[String],
    ) -> Self {
        // What the code reaches can deny what the manifests alone would grant.
        let denied = findings.iter().any(|finding| finding.severity == Severity::Error);
        let graph = resolution.granted(project).filter(|_| !denied);
        Self {
            document: "check",
            version: VERSION,
            outcome: if graph.is_some() { "granted" } else { "denied" },
            crates: project.crates().len(),
            edges: project.edges().len(),
            compartments: graph.map_or(0, |graph| graph.compartments().len()),
            undeclared: undeclared.to_vec(),
            findings: findings.iter().map(|finding| Finding::new(project.files(), finding)).collect(),
        }
    }

    /// The files are wrong, so that there is no graph.
    pub(crate) fn invalid(files: &Files, diagnostics: &[Diagnostic]) -> Self {
        let findings = diagnostics.iter().map(|diagnostic| Finding::new(files, diagnostic)).collect();
        Self {
            document: "check",
            version: VERSION,
            outcome: "invalid",
            crates: 0,
            edges: 0,
            compartments: 0,
            undeclared: Vec::new(),
            findings,
        }
    }

    /// There is nothing to judge, because it cannot be read.
    pub(crate) fn unreadable(message: &str) -> Self {
        let diagnostic = Diagnostic::new(cofferdam::manifest::Code::Unreadable, message.to_owned());
        Self::invalid(&Files::default(), &[diagnostic])
    }

    pub(crate) fn print(&self) -> Result<(), Stop> {
        print_json(self)
    }
}

/// The output of `plan --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam plan")]
pub(crate) struct PlanDocument {
    /// Always `plan`.
    document: &'static str,
    /// Version of this format.
    version: u32,
    /// What would run.
    #[serde(flatten)]
    plan: cofferdam::Plan,
}

impl PlanDocument {
    pub(crate) fn new(plan: cofferdam::Plan) -> Self {
        Self { document: "plan", version: VERSION, plan }
    }

    pub(crate) fn print(&self) -> Result<(), Stop> {
        print_json(self)
    }
}

/// The output of `explain CRATE CAPABILITY --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam explain")]
pub(crate) struct ExplainDocument {
    /// Always `explain`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// The crate.
    pub(crate) krate: String,
    /// Only what comes from this consumer.
    pub(crate) consumer: Option<String>,
    /// The capability.
    pub(crate) capability: String,
    /// Whether it arrives over every route.
    pub(crate) granted: bool,
    /// One for each consumer and context.
    pub(crate) routes: Vec<RouteDocument>,
}

/// One way from a root to the crate.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RouteDocument {
    /// Whether the capability arrives.
    pub(crate) arrives: bool,
    /// The hops, the root's first; when it does not arrive, the last is the one where it stops.
    pub(crate) steps: Vec<StepDocument>,
    /// The crates behind the hop where it stops.
    pub(crate) beyond: Vec<String>,
}

/// One hop.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StepDocument {
    /// Who gives; nothing for the workspace.
    pub(crate) from: Option<String>,
    /// Who is given.
    pub(crate) to: String,
    /// What is given, empty when the capability has no parameters; nothing when it stops here.
    pub(crate) scope: Option<String>,
    /// The giver gives more than it holds.
    pub(crate) exceeds: bool,
    /// The line, as `file:line:column`.
    pub(crate) at: Option<String>,
    /// The reason that the table gives.
    pub(crate) reason: Option<String>,
}

/// The output of `inspect --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam inspect")]
pub(crate) struct InspectDocument {
    /// Always `inspect`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// SHA-256 of the component, lowercase hexadecimal.
    pub(crate) sha256: String,
    /// Its size.
    pub(crate) bytes: usize,
    /// What it wants.
    pub(crate) imports: Vec<ImportDocument>,
    /// The functions that it offers.
    pub(crate) exports: Vec<String>,
    /// What the manifest inside it says; null when it carries none.
    pub(crate) claims: Option<ClaimsDocument>,
}

/// What a component says of itself. It gives it nothing.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ClaimsDocument {
    /// What it asks for.
    pub(crate) consumes: Vec<ConsumeDocument>,
    /// Why the manifest cannot be used; empty when it can.
    pub(crate) problems: Vec<String>,
}

/// One capability that is asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConsumeDocument {
    /// Its name.
    pub(crate) capability: String,
    /// Why, in the words of who wrote the component.
    pub(crate) reason: String,
    /// It works without.
    pub(crate) optional: bool,
}

/// One import.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImportDocument {
    /// The interface, with its version.
    pub(crate) interface: String,
    /// Any one of these gives it power; empty when it reaches nothing by itself.
    pub(crate) capabilities: Vec<&'static str>,
    /// Whether anything here provides it.
    pub(crate) known: bool,
}

/// The output of `graph --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam graph")]
pub(crate) struct GraphDocument {
    /// Always `graph`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// The crates that are shown.
    pub(crate) crates: Vec<CrateDocument>,
    /// The edges between them.
    pub(crate) edges: Vec<EdgeDocument>,
    /// Crates of the graph that are not shown.
    pub(crate) hidden: usize,
}

/// A crate.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CrateDocument {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Where it runs.
    pub(crate) backend: &'static str,
    /// It begins with the workspace's authority.
    pub(crate) root: bool,
    /// It says something about its capabilities.
    pub(crate) declared: bool,
    /// What it holds, by context.
    pub(crate) holds: Vec<String>,
}

/// An edge.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EdgeDocument {
    /// Its ends.
    #[serde(flatten)]
    pub(crate) ends: EdgeName,
    /// It exists only while the consumer is compiled.
    pub(crate) build: bool,
    /// What is granted over it.
    pub(crate) grants: Vec<String>,
    /// What is denied on it.
    pub(crate) denied: Vec<String>,
}

/// The output of `build --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam build")]
pub(crate) struct BuildDocument {
    /// Always `build`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// `built`, or `denied` when a component imports what its crate does not consume.
    pub(crate) outcome: &'static str,
    /// What compiled them; nothing when there was nothing to compile.
    pub(crate) toolchain: Option<ToolchainDocument>,
    /// One for each wasm crate.
    pub(crate) components: Vec<BuiltDocument>,
    /// The denials.
    pub(crate) findings: Vec<Finding>,
}

/// What compiled guests.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ToolchainDocument {
    /// Another one has another name.
    pub(crate) id: String,
    /// The target of Rust.
    pub(crate) target: &'static str,
    /// The compiler.
    pub(crate) rustc: String,
    /// `installed`, or the folder of Debian's packages.
    pub(crate) origin: String,
    /// What compiles C, where there is something.
    pub(crate) clang: Option<String>,
}

/// A component.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BuiltDocument {
    /// The crate.
    pub(crate) krate: String,
    /// Its version.
    pub(crate) version: String,
    /// The component's file.
    pub(crate) path: String,
    /// SHA-256 of it, lowercase hexadecimal.
    pub(crate) sha256: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Whether it had to be built.
    pub(crate) rebuilt: bool,
    /// What it imports.
    pub(crate) imports: Vec<JudgedDocument>,
}

/// One import, compared with what the crate consumes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JudgedDocument {
    /// The interface, with its version.
    pub(crate) interface: String,
    /// Any one of these gives it power; empty when it reaches nothing by itself.
    pub(crate) capabilities: Vec<&'static str>,
    /// `powerless`, `consumed`, `over-an-edge` (another wasm crate of the graph provides it), `declared` (the crate's world imports it:
    /// whoever uses the crate provides it), `start-up` (the standard library imports it in every guest), `not-consumed` or `unknown`; the
    /// last two are denials.
    pub(crate) verdict: &'static str,
}

/// The output of `audit --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam audit")]
pub(crate) struct AuditDocument {
    /// Always `audit`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// Source files read.
    pub(crate) files: usize,
    /// Lines in them.
    pub(crate) lines: u64,
    /// Files that the parser refused, and that were read token by token.
    pub(crate) by_token: u32,
    /// The crates that are linked.
    pub(crate) crates: Vec<AuditCrateDocument>,
    /// The edges between them.
    pub(crate) edges: Vec<AuditEdgeDocument>,
    /// What could not be analysed.
    pub(crate) unknown: Vec<UnknownDocument>,
    /// What was compiled and looked at; nothing without `--compiled`.
    pub(crate) compiled: Option<CompiledDocument>,
}

/// Compiled code that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CompiledDocument {
    /// Libraries, and archives of C code.
    pub(crate) libraries: usize,
    /// Programs, build scripts and procedural macros.
    pub(crate) programs: usize,
    /// Functions and pieces of data in them.
    pub(crate) pieces: usize,
    /// Symbols of which nothing is known; whoever refers to them has `ffi`.
    pub(crate) unknown_symbols: Vec<UnknownSymbolDocument>,
}

/// A symbol of which nothing is known.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UnknownSymbolDocument {
    /// A crate that refers to it, with its version.
    pub(crate) krate: String,
    /// The symbol.
    pub(crate) symbol: String,
}

/// What a crate's own used code does.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AuditCrateDocument {
    /// Name and version.
    pub(crate) krate: String,
    /// What it uses by itself.
    pub(crate) uses: Vec<ReachDocument>,
    /// Unsafe blocks and functions that only handle memory.
    pub(crate) unsafe_memory: usize,
    /// Those that reach authority.
    pub(crate) unsafe_authority: usize,
}

/// What an edge brings.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AuditEdgeDocument {
    /// Its ends, with versions.
    #[serde(flatten)]
    pub(crate) ends: EdgeName,
    /// What is reached over it.
    pub(crate) brings: Vec<ReachDocument>,
}

/// One capability, and how it is reached.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReachDocument {
    /// Its name.
    pub(crate) capability: String,
    /// `used` here, `compiled` but not used, or only under `other-cfg`.
    pub(crate) state: &'static str,
    /// The layers that see it: `source`; with `--compiled` also `objects`, `opcodes`, `linked`.
    pub(crate) layers: Vec<&'static str>,
    /// What is used at the end.
    pub(crate) what: Option<String>,
    /// The places on the shortest way; empty for edges that were not asked about.
    pub(crate) way: Vec<WayStepDocument>,
}

/// The output of `why --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam why")]
pub(crate) struct WhyDocument {
    /// Always `why`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// The crate that was asked about, with its version.
    pub(crate) krate: Option<String>,
    /// Or the edge.
    pub(crate) edge: Option<EdgeName>,
    /// The capability or class that was asked about.
    pub(crate) capability: String,
    /// Empty when it is not reached in any state.
    pub(crate) reaches: Vec<WhyReachDocument>,
}

/// A capability that is reached, and whether it is granted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WhyReachDocument {
    /// The capability, and the way.
    #[serde(flatten)]
    pub(crate) reach: ReachDocument,
    /// Whether the edge grants it; nothing for a crate, for what is not used, and while nothing is declared.
    pub(crate) granted: Option<bool>,
}

/// The output of `report --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam report")]
pub(crate) struct ReportDocument {
    /// Always `report`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// The name of the workspace's folder.
    pub(crate) workspace: String,
    /// Whether anything is declared, so that things can be denied.
    pub(crate) declared: bool,
    /// Source files read.
    pub(crate) files: usize,
    /// Lines in them.
    pub(crate) lines: u64,
    /// Files that the parser refused, and that were read token by token.
    pub(crate) by_token: u32,
    /// Every capability that is named below.
    pub(crate) capabilities: Vec<ReportCapabilityDocument>,
    /// The crates that are linked.
    pub(crate) crates: Vec<ReportCrateDocument>,
    /// The edges between them.
    pub(crate) edges: Vec<ReportEdgeDocument>,
    /// What `check` finds.
    pub(crate) findings: Vec<Finding>,
}

/// What a capability means.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReportCapabilityDocument {
    /// Its name.
    pub(crate) name: String,
    /// In one sentence.
    pub(crate) meaning: String,
    /// What a hostile holder could do.
    pub(crate) risk: String,
    /// `low`, `moderate`, `high` or `total`.
    pub(crate) severity: &'static str,
}

/// A crate of a report.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct ReportCrateDocument {
    /// Name and version.
    pub(crate) krate: String,
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) crate_version: String,
    /// It is a member of the workspace.
    pub(crate) member: bool,
    /// It begins with the workspace's authority.
    pub(crate) root: bool,
    /// It has a build script.
    pub(crate) build_script: bool,
    /// It is a procedural macro.
    pub(crate) proc_macro: bool,
    /// Unsafe blocks and functions that only handle memory.
    pub(crate) unsafe_memory: usize,
    /// Those that reach authority.
    pub(crate) unsafe_authority: usize,
    /// Files that could not be analysed.
    pub(crate) not_analysed: usize,
    /// What its own code reaches.
    pub(crate) uses: Vec<ReachDocument>,
}

/// An edge of a report.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReportEdgeDocument {
    /// Its ends, with versions.
    #[serde(flatten)]
    pub(crate) ends: EdgeName,
    /// It exists only while the consumer is compiled.
    pub(crate) build: bool,
    /// What is reached over it; ways are given for what is used.
    pub(crate) brings: Vec<WhyReachDocument>,
}

/// The output of `diff --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam diff")]
pub(crate) struct DiffDocument {
    /// Always `diff`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// What was compared: the first word of the command line.
    pub(crate) old: String,
    /// The second.
    pub(crate) new: String,
    /// The crates that changed.
    pub(crate) crates: Vec<DiffCrateDocument>,
    /// The edges that changed.
    pub(crate) edges: Vec<DiffEdgeDocument>,
}

/// A crate that changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiffCrateDocument {
    /// Its name; with the version where there are several.
    pub(crate) name: String,
    /// Its version before, where it was there.
    pub(crate) old: Option<String>,
    /// Its version after, where it is there.
    pub(crate) new: Option<String>,
    /// What its own code reaches now and did not before, with the lines of the way.
    pub(crate) gained: std::collections::BTreeMap<String, Vec<String>>,
    /// What it reached before.
    pub(crate) lost: Vec<String>,
    /// `added`, `removed` or `changed`.
    pub(crate) build_script: Option<&'static str>,
    /// What it depends on now and did not before.
    pub(crate) new_dependencies: Vec<String>,
    /// What it depended on before.
    pub(crate) lost_dependencies: Vec<String>,
    /// Why its code was not read.
    pub(crate) unread: Option<String>,
}

/// An edge that changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiffEdgeDocument {
    /// Its ends.
    #[serde(flatten)]
    pub(crate) ends: EdgeName,
    /// `added`, `removed` or `kept`.
    pub(crate) edge: &'static str,
    /// What it brings now and did not before, with the lines of the way.
    pub(crate) gained: std::collections::BTreeMap<String, Vec<String>>,
    /// What it brought before.
    pub(crate) lost: Vec<String>,
}

/// A place on a way.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WayStepDocument {
    /// Name and version of the crate.
    pub(crate) krate: String,
    /// The item.
    pub(crate) item: String,
    /// The file, relative to the crate; empty where a name is only passed on.
    pub(crate) file: String,
    /// The line, from 1; 0 when the whole item is meant.
    pub(crate) line: u32,
}

/// A file that could not be analysed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UnknownDocument {
    /// Name and version of the crate.
    pub(crate) krate: String,
    /// The file.
    pub(crate) file: String,
    /// The line that asks for it.
    pub(crate) line: u32,
    /// Why.
    pub(crate) why: String,
    /// A build script writes it.
    pub(crate) generated: bool,
}

/// Prints one document.
pub(crate) fn print_json(document: &impl Serialize) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, document).map_err(|error| match error.io_error_kind() {
        Some(kind) => Stop::Output(kind.into()),
        None => Stop::Json(error),
    })?;
    writeln!(out)?;
    Ok(())
}

/// What `cache` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CacheDocument {
    /// `cache`.
    pub document: &'static str,
    /// The version of this form.
    pub version: u32,
    /// The folder.
    pub folder: String,
    /// Whether what is counted here was removed.
    pub cleared: bool,
    /// Compiled components.
    pub components: usize,
    /// Their size on disk, bytes.
    pub bytes: u64,
    /// The most that is kept, bytes.
    pub bytes_max: u64,
}

/// The output of `inspect --format json` for a native program.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam inspect of a native program")]
#[expect(clippy::struct_excessive_bools, reason = "each is something that a program has or has not")]
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    expect(dead_code, reason = "native programs are looked at on Linux on x86-64")
)]
pub(crate) struct ProgramDocument {
    /// Always `inspect`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// Its size.
    pub(crate) bytes: usize,
    /// It needs no loader.
    pub(crate) is_static: bool,
    /// It can be placed anywhere in memory.
    pub(crate) position_independent: bool,
    /// Its stack may hold code.
    pub(crate) executable_stack: bool,
    /// Some of its memory is both writable and executable.
    pub(crate) writable_code: bool,
    /// What is written only while it is placed becomes read-only then.
    pub(crate) read_only_relocations: bool,
    /// All of that is done before it begins.
    pub(crate) bound_at_start: bool,
    /// Whether its C code looks for overwritten frames; null when nothing tells.
    pub(crate) stack_protector: Option<bool>,
    /// It has the tables that name functions in reports.
    pub(crate) unwind_tables: bool,
    /// What it lacks, each with what gives it.
    pub(crate) lacks: Vec<&'static str>,
}

/// The output of `selftest --format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "cofferdam selftest")]
pub(crate) struct SelftestDocument {
    /// Always `selftest`.
    pub(crate) document: &'static str,
    /// Version of this format.
    pub(crate) version: u32,
    /// Whether everything was stopped as it must be, and every layer is there.
    pub(crate) passed: bool,
    /// Whether it ran as root.
    pub(crate) root: bool,
    /// What this machine can enforce for process compartments, as `doctor` says it.
    pub(crate) tier: String,
    /// How long it took.
    pub(crate) seconds: u64,
    /// Processes of their own that were tried.
    pub(crate) trials: usize,
    /// Each attempt, in the order of docs/escape-suite.md.
    pub(crate) attempts: Vec<AttemptDocument>,
}

/// One attempt of the suite.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AttemptDocument {
    /// Its number in docs/escape-suite.md.
    pub(crate) id: String,
    /// What the guest tries.
    pub(crate) tries: String,
    /// The layers that stop it.
    pub(crate) layers: Vec<String>,
    /// What must stop it.
    pub(crate) expected: String,
    /// What happened.
    pub(crate) seen: String,
    /// Whether it was also tried where nothing stops it.
    pub(crate) control: bool,
    /// Whether all of it was as it must be.
    pub(crate) passed: bool,
    /// What was not.
    pub(crate) failed: Vec<String>,
}

/// Prints the schema of a document.
pub(crate) fn print_schema(of: Document) -> Result<Exit, Stop> {
    let schema = match of {
        Document::Build => schema_for!(BuildDocument),
        Document::Cache => schema_for!(CacheDocument),
        Document::Audit => schema_for!(AuditDocument),
        Document::Check => schema_for!(CheckDocument),
        Document::Explain => schema_for!(ExplainDocument),
        Document::Graph => schema_for!(GraphDocument),
        Document::Inspect => schema_for!(InspectDocument),
        Document::Plan => schema_for!(PlanDocument),
        Document::Diff => schema_for!(DiffDocument),
        Document::Report => schema_for!(ReportDocument),
        Document::Why => schema_for!(WhyDocument),
        Document::Selftest => schema_for!(SelftestDocument),
    };
    print_json(&schema)?;
    Ok(Exit::Ok)
}
