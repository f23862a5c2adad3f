//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Decide, per dependency edge, what each crate may do.
#[derive(Debug, Parser)]
#[command(
    name = "cofferdam",
    bin_name = "cofferdam",
    version,
    propagate_version = true,
    max_term_width = 110
)]
pub(crate) struct Arguments {
    /// When to use colours; `NO_COLOR` is respected
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Resolve the whole graph and report everything that is denied
    #[command(after_help = EXIT_CODES)]
    Check(Check),
    /// Say what a capability or a code means, or why a crate has a capability or has it not
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Say what the code of each crate reaches, found in its source
    Audit(Audit),
    /// Say how a crate, or the code behind an edge, gets to a capability
    #[command(after_help = WHY_EXAMPLES)]
    Why(Why),
    /// Say what authority changed between two versions of a crate, two lock files, or two revisions
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(Diff),
    /// Write the whole verdict as one file: a page to explore, a document, SARIF, or a summary in Markdown
    Report(Report),
    /// Write the manifest that grants what the code reaches now, and nothing more
    Init(Init),
    /// Make a compartment crate and its consumer's edge
    #[command(after_help = NEW_EXAMPLES)]
    New(New),
    /// Draw the graph of crates and grants
    Graph(Graph),
    /// Print what would run: each compartment with its grants, mounts and system calls
    Plan(Plan),
    /// Compile every guest of the graph: components, whose imports are compared with what their crates may consume, and programs
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Build),
    /// Get what compiles guests: a target of Rust, through rustup or Debian's packages
    #[command(after_help = SETUP_HELP)]
    Setup(Setup),
    /// Call one function of a component, granting it only what the command line says
    #[command(after_help = CALL_EXAMPLES)]
    Call(Call),
    /// Run a root that is itself a program for wasm, with its dependencies, under what the workspace holds
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Say what this machine can enforce, by trying each layer
    Doctor,
    /// Try on this machine what hostile guests try, and say what stopped each attempt
    #[command(after_help = SELFTEST_HELP)]
    Selftest(Selftest),
    /// Show or clear the compiled code that is kept
    Cache(Cache),
    /// Say what a component would need and what it offers, or what a native guest lacks; nothing of it runs
    Inspect(Inspect),
    /// Print the JSON schema of a machine-readable output
    Schema {
        /// Of which command
        #[arg(value_enum)]
        of: Document,
    },
    /// Print completions for a shell
    Completions {
        /// For which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder; it must exist
        folder: PathBuf,
    },
}

const EXIT_CODES: &str = "\
Exit codes: 0 nothing is denied, 1 a fault of this program, 2 wrong usage, 3 an invalid manifest or workspace,
4 denied, 5 this machine cannot enforce the plan, 6 a guest failed.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  cofferdam explain network.connect               what the capability means
  cofferdam explain capabilities                  the list of them
  cofferdam explain not-granted                   what a code means
  cofferdam explain memmap2                       everything a crate has
  cofferdam explain memmap2 mmap.file             why it has it, or where it stops
  cofferdam explain 'grep -> memmap2' mmap.file   the same over one edge";

const WHY_EXAMPLES: &str = "\
Examples:
  cofferdam why 'ureq -> rustls' network.connect  the way over one edge
  cofferdam why ring ffi                          the way inside one crate, or over its own edges
  cofferdam why 'app -> ureq' network             every capability of a class";

const DIFF_EXAMPLES: &str = "\
Nothing is fetched, and neither the working tree nor the index of git is touched.

Examples:
  cofferdam diff ureq@2.9.7 ureq@2.12.1           two versions that are in Cargo's cache
  cofferdam diff old/Cargo.lock Cargo.lock        two lock files
  cofferdam diff main HEAD --deny-new             two revisions; fails when anything new is reached";

const CALL_EXAMPLES: &str = "\
Arguments are written in WAVE: 42, \"text\", [1, 2], {name: \"x\"}, some(1).

Examples:
  cofferdam call plugin.wasm greet '\"Ada\"'
  cofferdam call plugin.wasm 'vendor:text/api#count' '\"a b\"' --grant 'filesystem = { read = [\"words\"] }'
  cofferdam call plugin.wasm now --grant 'clock = true' --limit 'call-deadline = \"100ms\"'";

const BUILD_EXAMPLES: &str = "\
Components are written to cofferdam/components in Cargo's target folder. What has not changed is not built again.

Examples:
  cofferdam build                                        every guest of the workspace's graph
  cofferdam build -p png-decode                          only that one
  cofferdam build -p png-decode --features simd          with a feature of it, as Cargo has it; `png-decode/simd` without `-p`
  cofferdam build --manifest capabilities.toml --guests guests/Cargo.toml
                                                         the wasm crates of that file, from that workspace";

const NEW_EXAMPLES: &str = "\
Examples:
  cofferdam new greeter                       a workspace with a crate in a wasm compartment, and a program that calls it
  cofferdam new checksum --c                  the same around C, in a process compartment
  cofferdam new codecs/gif --consumer viewer  a crate in the workspace that is here, as a dependency of `viewer`";

const SETUP_HELP: &str = "\
It is kept in the user's cache folder, or in COFFERDAM_CACHE. Two at once are safe, and what was interrupted goes on where it
stopped. Nothing is installed in the system, and no root is needed.";

const RUN_EXAMPLES: &str = "\
The program gets what the workspace holds, and its dependencies what it grants them. `cofferdam build` makes the components.

Examples:
  cofferdam run -- --fast input.txt                      the only wasm program of the workspace
  cofferdam run -p report --audit run.jsonl";

const SELFTEST_HELP: &str = "\
Runs as any user, in a minute or two; every attempt has a process of its own, and nothing beyond this machine is ever tried. The
list, with what each layer stops, is docs/escape-suite.md. In a checkout the programs that it needs are compiled first; elsewhere
they are looked for beside this program and among what Cargo installed. Exit codes: 0 all is stopped, 5 something is not.";

/// `selftest`.
#[derive(Debug, Args)]
pub(crate) struct Selftest {
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// One part of one attempt, for the processes that the suite starts
    #[arg(long, hide = true)]
    pub trial: Option<String>,
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// Which root, where there are several
    #[arg(long, short, value_name = "CRATE")]
    pub package: Option<String>,
    /// The Cargo workspace that has the wasm crates, where the graph comes from a `capabilities.toml`
    #[arg(long, value_name = "FILE", requires = "manifest")]
    pub guests: Option<PathBuf>,
    /// Append the audit log to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Say when it has ended where the time went: each edge, by the edges that led to it
    #[arg(long)]
    pub profile: bool,
    /// The program's arguments
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// `cache`.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    /// Remove everything
    #[arg(long)]
    pub clear: bool,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// Only this crate; can be given again
    #[arg(long, short, value_name = "CRATE")]
    pub package: Vec<String>,
    /// The Cargo workspace that has the wasm crates, where the graph comes from a `capabilities.toml`
    #[arg(long, value_name = "FILE", requires = "manifest")]
    pub guests: Option<PathBuf>,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `setup`.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Also what compiles C in guests
    #[arg(long)]
    pub c: bool,
    /// Use Debian's packages, even where rustup would do
    #[arg(long)]
    pub debian: bool,
    /// Only say what is there
    #[arg(long)]
    pub check: bool,
}

/// `call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The component
    pub component: PathBuf,
    /// The function, with its interface in front where it has one: `ns:pkg/api#greet`
    pub function: String,
    /// Its arguments, in WAVE
    pub arguments: Vec<String>,
    /// A line of a grants table; can be given again. Paths begin in the current folder
    #[arg(long, value_name = "LINE")]
    pub grant: Vec<String>,
    /// A line of a limits table; can be given again
    #[arg(long, value_name = "LINE")]
    pub limit: Vec<String>,
    /// Append the audit log to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
}

/// `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The component, or the native guest
    pub component: PathBuf,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Which graph.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Source {
    /// Read this `capabilities.toml` instead of a Cargo workspace. Runs no Cargo
    #[arg(long, value_name = "FILE", conflicts_with_all = ["manifest_path", "target", "features", "all_features", "no_default_features", "locked", "offline", "frozen"])]
    pub manifest: Option<PathBuf>,
    /// The workspace's Cargo.toml
    #[arg(long, value_name = "FILE")]
    pub manifest_path: Option<PathBuf>,
    /// Only dependencies for this platform; all platforms without it
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// Features to activate
    #[arg(long, short = 'F', value_name = "FEATURES")]
    pub features: Vec<String>,
    /// Activate all features
    #[arg(long)]
    pub all_features: bool,
    /// Do not activate the default features
    #[arg(long)]
    pub no_default_features: bool,
    /// Require that Cargo.lock is up to date
    #[arg(long)]
    pub locked: bool,
    /// Run without the network
    #[arg(long)]
    pub offline: bool,
    /// Same as --locked and --offline
    #[arg(long)]
    pub frozen: bool,
}

/// `check`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Check {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// Write the suggested lines, after showing the diff
    #[arg(long)]
    pub fix: bool,
    /// Fail on warnings too
    #[arg(long)]
    pub deny_warnings: bool,
    /// List every undeclared crate
    #[arg(long, short)]
    pub verbose: bool,
    /// Judge declarations only, without reading any code
    #[arg(long)]
    pub no_code: bool,
    /// Also build, in a target folder of its own, and look at what is compiled: macros, generated and generic code, C. What runs
    /// in the build is judged before it runs
    #[arg(long, conflicts_with = "no_code")]
    pub compiled: bool,
    /// Let pass what could not be analysed of this crate; can be given again
    #[arg(long, value_name = "CRATE")]
    pub accept_unknown: Vec<String>,
    /// The output
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
}

/// `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// Only show what would be written
    #[arg(long)]
    pub dry_run: bool,
    /// Also build, in a target folder of its own, and look at what is compiled. Build scripts and macros run
    #[arg(long)]
    pub compiled: bool,
}

/// The outputs of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    Human,
    Json,
    Sarif,
}

/// `new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The folder to make; its last part is the crate's name
    pub path: PathBuf,
    /// Around a C library, with a little one to begin with
    #[arg(long)]
    pub c: bool,
    /// Where it runs; wasm by default, and a process around C
    #[arg(long, value_enum)]
    pub backend: Option<NewBackend>,
    /// Adds it to the workspace that is here, as a dependency of this crate
    #[arg(long, value_name = "CRATE")]
    pub consumer: Option<String>,
    /// The clone of Cofferdam to depend on; by default the one that this program was built from, or released versions
    #[arg(long, value_name = "FOLDER")]
    pub cofferdam: Option<PathBuf>,
}

/// Where a new crate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewBackend {
    Wasm,
    Process,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A capability, a code, `capabilities`, `codes`, a crate, or an edge `'a -> b'`
    pub subject: String,
    /// The capability to explain for that crate or edge
    pub capability: Option<String>,
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only this crate, or this edge `'a -> b'`, with the ways by which it gets there
    pub subject: Option<String>,
    /// Also what is compiled but not used, and what is there only under another cfg
    #[arg(long)]
    pub states: bool,
    /// Also build, in a target folder of its own, and look at what is compiled: macros, generated and generic code, C. What runs
    /// in the build is judged before it runs
    #[arg(long)]
    pub compiled: bool,
    /// Print what was found of crates that are no members as entries for `policies/crates/`, for a person to go through
    #[arg(long, conflicts_with = "format")]
    pub claims: bool,
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// `name@1.2.3`, a lock file, or a revision
    pub old: String,
    /// The same, newer
    pub new: String,
    /// Which graph, where revisions are compared
    #[command(flatten)]
    pub source: Source,
    /// Fail when anything is reached that was not before
    #[arg(long)]
    pub deny_new: bool,
    /// Also build each revision, in a folder of its own, and look at what is compiled. What runs in a build is judged before it
    /// runs, by what its own revision grants; where that declares nothing, all of it runs
    #[arg(long)]
    pub compiled: bool,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// Also build, in a target folder of its own, and look at what is compiled: macros, generated and generic code, C. What runs
    /// in the build is judged before it runs
    #[arg(long)]
    pub compiled: bool,
    /// The output
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The outputs of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Html,
    Json,
    Sarif,
    Markdown,
}

/// `why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// A crate, or an edge `'a -> b'`
    pub subject: String,
    /// A capability, or a class of them
    pub capability: String,
    /// Also build, in a target folder of its own, and look at what is compiled: macros, generated and generic code, C. What runs
    /// in the build is judged before it runs
    #[arg(long)]
    pub compiled: bool,
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `graph`.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// The output
    #[arg(long, value_enum, default_value_t = GraphFormat::Svg)]
    pub format: GraphFormat,
    /// Only this crate and what is near it
    #[arg(long, value_name = "CRATE")]
    pub focus: Option<String>,
    /// How near: edges away from the focus, in either direction
    #[arg(long, value_name = "EDGES", default_value_t = 2, requires = "focus")]
    pub depth: usize,
    /// Also crates that have no part in any capability
    #[arg(long)]
    pub all: bool,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Which graph
    #[command(flatten)]
    pub source: Source,
    /// Also every system call and interface
    #[arg(long, short)]
    pub verbose: bool,
    /// The output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    Svg,
    Html,
    Dot,
    Mermaid,
    Json,
}

/// A machine-readable output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    Build,
    Cache,
    Check,
    Audit,
    Diff,
    Explain,
    Graph,
    Inspect,
    Plan,
    Report,
    Selftest,
    Why,
}
