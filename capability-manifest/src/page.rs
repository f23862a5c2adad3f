//! The pages under `policies/capabilities/`: what each host capability means to a person and to each backend.
//!
//! The pages are part of this crate's text, so nothing is read at run time. Later stages lower grants to WASI imports,
//! system calls and Landlock rights from them; their fields are described in `policies/capabilities/README.md`.

use serde::{Deserialize, Serialize};

use crate::capability::HostCapability;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CapabilityPage {
    /// Version of the page's format.
    pub format: u32,
    /// The capability.
    pub name: String,
    /// When it is used.
    pub stage: PageStage,
    /// What a grant says beside the name.
    pub parameter: String,
    /// How much it gives away.
    pub severity: PageSeverity,
    /// What it means, in a sentence.
    pub meaning: String,
    /// What can go wrong.
    pub risk: String,
    /// A line of a grants table.
    pub example: String,
    /// Capabilities that holding this one also gives.
    pub implies: Vec<String>,
    /// Everyone holds it.
    pub granted_by_default: bool,
    /// What in code acquires it.
    pub acquired_by: AcquiredBy,
    /// What a wasm compartment gets.
    pub wasm: Option<WasmRules>,
    /// What a process compartment gets.
    pub process: Option<ProcessRules>,
    /// What it means while a crate is compiled.
    pub build: Option<BuildRules>,
}

/// When a capability is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageStage {
    /// While the program runs.
    Run,
    /// While a crate is compiled.
    Build,
}

/// How much a capability gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageSeverity {
    /// Little beyond what is granted by name.
    Low,
    /// Something that others would notice.
    Moderate,
    /// Data or actions outside the program.
    High,
    /// Everything that the process can reach.
    Total,
}

/// Items that acquire a capability.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AcquiredBy {
    /// Paths in the standard library.
    pub std: Vec<String>,
    /// C symbols.
    pub libc: Vec<String>,
    /// Well-known crates.
    pub crates: Vec<String>,
    /// Attributes, macros and keywords.
    #[serde(default)]
    pub attributes: Vec<String>,
}

/// What a wasm compartment gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WasmRules {
    /// Whether the backend can give it.
    pub provided: bool,
    /// What the compartment gets, or why it cannot.
    pub note: String,
    /// WASI interfaces that a grant links.
    pub imports: Vec<WasmImport>,
}

/// A WASI interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WasmImport {
    /// Its name, without version.
    pub interface: String,
    /// Why it is needed.
    pub reason: String,
}

/// What a process compartment gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRules {
    /// Whether the backend can give it.
    pub provided: bool,
    /// What the compartment gets, or why it cannot.
    pub note: String,
    /// System calls beyond the baseline.
    pub syscalls: Vec<SyscallRule>,
    /// Landlock rights on the granted paths and ports.
    pub landlock: Vec<LandlockRule>,
}

/// A rule of the seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SyscallRule {
    /// The call's x86-64 name.
    pub name: String,
    /// What the filter answers.
    pub action: SyscallAction,
    /// The error's name, for `errno`.
    pub errno: Option<String>,
    /// Conditions on the arguments; all must hold.
    pub when: Vec<ArgumentCondition>,
    /// Why.
    pub reason: String,
}

/// What a filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyscallAction {
    /// The kernel does it.
    Allow,
    /// The host decides, and does it on the guest's behalf.
    Notify,
    /// The call fails with an error that libraries expect.
    Errno,
    /// The same, after the host has recorded that it was tried.
    Report,
}

/// `(argument & mask) == equals`, on the low 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArgumentCondition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// The bits that count.
    pub mask: u32,
    /// Their value.
    pub equals: u32,
}

/// A Landlock right.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LandlockRule {
    /// Its name.
    pub right: String,
    /// Why.
    pub reason: String,
}

/// What a build-stage capability means.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRules {
    /// In a sentence or two.
    pub note: String,
}

/// Why a page cannot be used. A page is our own text, so this is a fault of the build, found by a test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the page of `{name}` is wrong: {message}")]
pub struct PageError {
    /// The capability.
    pub name: String,
    /// What is wrong.
    pub message: String,
}

/// Version of the format that this crate reads.
const FORMAT: u32 = 1;

/// Landlock's rights, by the names of `linux/landlock.h` in lowercase with dots and dashes.
const LANDLOCK_RIGHTS: [&str; 18] = [
    "fs.execute",
    "fs.write-file",
    "fs.read-file",
    "fs.read-dir",
    "fs.remove-dir",
    "fs.remove-file",
    "fs.make-char",
    "fs.make-dir",
    "fs.make-reg",
    "fs.make-sock",
    "fs.make-fifo",
    "fs.make-block",
    "fs.make-sym",
    "fs.refer",
    "fs.truncate",
    "fs.ioctl-dev",
    "net.bind-tcp",
    "net.connect-tcp",
];

macro_rules! texts {
    ($($variant:ident $name:literal)*) => {
        fn text(capability: HostCapability) -> &'static str {
            match capability { $(HostCapability::$variant => include_str!(concat!("../pages/", $name, ".toml")),)* }
        }
    };
}

texts! {
    FilesystemRead "filesystem.read"
    FilesystemWrite "filesystem.write"
    FilesystemWatch "filesystem.watch"
    FilesystemScratch "filesystem.scratch"
    NetworkConnect "network.connect"
    NetworkListen "network.listen"
    NetworkDns "network.dns"
    NetworkUnix "network.unix"
    MmapFile "mmap.file"
    MmapAnonymous "mmap.anonymous"
    MmapExecutable "mmap.executable"
    ProcessSpawn "process.spawn"
    ProcessSignal "process.signal"
    ProcessExit "process.exit"
    EnvironmentRead "environment.read"
    EnvironmentWrite "environment.write"
    Stdio "stdio"
    Clock "clock"
    Entropy "entropy"
    SystemInfo "system-info"
    Thread "thread"
    Signal "signal"
    Ipc "ipc"
    Device "device"
    Privilege "privilege"
    Dlopen "dlopen"
    RawSyscall "raw-syscall"
    Ffi "ffi"
    Asm "asm"
    HandleForge "handle-forge"
    Init "init"
    RuntimeHook "runtime-hook"
    UnsafeMemory "unsafe-memory"
    BuildScript "build.script"
    BuildProcMacro "build.proc-macro"
    BuildLink "build.link"
    BuildEmbed "build.embed"
}

impl CapabilityPage {
    /// The page of a capability. A build-stage twin has the page of its run-stage capability.
    ///
    /// # Errors
    /// When the page was edited and does not parse or does not agree with the table; the tests find it first.
    pub fn load(capability: HostCapability) -> Result<Self, PageError> {
        Self::parse(text(capability), capability)
    }

    /// Whether a word stands in the text of a page. A page whose text does not name a call has no rule about it, and need not be parsed
    /// to know that.
    pub fn mentions(capability: HostCapability, word: &str) -> bool {
        text(capability).contains(word)
    }

    /// Parses a page and holds it against the table.
    fn parse(text: &str, capability: HostCapability) -> Result<Self, PageError> {
        let wrong = |message: String| PageError { name: capability.name().to_owned(), message };
        let page: Self = toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
        page.disagreement(capability).map_or(Ok(page), |message| Err(wrong(message)))
    }

    /// What the page says differently from the table, or cannot be lowered.
    fn disagreement(&self, capability: HostCapability) -> Option<String> {
        use crate::capability::{Backend, ParameterKind as P};
        let parameter = match capability.parameter() {
            P::Flag => "flag",
            P::Paths | P::PathsWithQuota => "paths",
            P::Hosts => "hosts",
            P::HostNames => "host-names",
            P::Names => "names",
            P::Streams => "streams",
            P::Count => "count",
            P::Resolution => "resolution",
            P::Bytes => "bytes",
        };
        let implies: Vec<&str> = HostCapability::all()
            .filter(|other| other.implied_by() == Some(capability))
            .map(HostCapability::name)
            .collect();
        let stage = if capability.is_build_only() { PageStage::Build } else { PageStage::Run };
        let has_backends = self.wasm.is_some() && self.process.is_some();
        let provided = |rules: Option<bool>, backend| {
            rules.is_none_or(|provided| provided == capability.provided_by(backend))
        };
        let checks = [
            (self.format == FORMAT, "`format`"),
            (self.name == capability.name(), "`name`"),
            (self.parameter == parameter, "`parameter`"),
            (self.stage == stage, "`stage`"),
            (self.implies == implies, "`implies`"),
            (self.granted_by_default == capability.granted_by_default(), "`granted-by-default`"),
            (has_backends == (stage == PageStage::Run), "`wasm` and `process`, for the run stage only"),
            (self.build.is_some() == (stage == PageStage::Build), "`build`, for the build stage only"),
            (provided(self.wasm.as_ref().map(|rules| rules.provided), Backend::Wasm), "`wasm.provided`"),
            (
                provided(self.process.as_ref().map(|rules| rules.provided), Backend::Process),
                "`process.provided`",
            ),
            (
                self.process.as_ref().is_none_or(ProcessRules::is_lowerable),
                "`process`: a rule that cannot be lowered",
            ),
        ];
        checks
            .into_iter()
            .find(|(holds, _)| !holds)
            .map(|(_, what)| format!("{what} does not agree with the table"))
    }
}

impl ProcessRules {
    /// Whether every rule is one that a filter or a Landlock rule set can express.
    fn is_lowerable(&self) -> bool {
        let syscalls = self.syscalls.iter().all(|rule| {
            matches!(rule.action, SyscallAction::Errno | SyscallAction::Report) == rule.errno.is_some()
                && rule.when.iter().all(|when| when.argument < 6 && when.equals & !when.mask == 0)
        });
        syscalls && self.landlock.iter().all(|rule| LANDLOCK_RIGHTS.contains(&rule.right.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_parses_and_agrees_with_the_table() {
        for capability in HostCapability::all() {
            let page = CapabilityPage::load(capability).unwrap_or_else(|error| panic!("{error}"));
            let sentence = page.meaning.trim();
            assert!(sentence.ends_with('.') && sentence.len() > 20, "{}: {sentence}", page.name);
            let acquired = &page.acquired_by;
            let ways = [&acquired.std, &acquired.libc, &acquired.crates, &acquired.attributes];
            // A folder that the host makes is acquired by no item: code writes there as anywhere.
            let made_by_host = capability == HostCapability::FilesystemScratch;
            let acquired = ways.iter().any(|list| !list.is_empty());
            assert_ne!(acquired, made_by_host, "{} is acquired by {acquired}", page.name);
        }
    }

    #[test]
    fn every_system_call_exists() {
        for capability in HostCapability::all() {
            let page = CapabilityPage::load(capability).expect("checked above");
            for rule in page.process.iter().flat_map(|process| &process.syscalls) {
                let found: Result<syscalls::Sysno, _> = rule.name.parse();
                assert!(found.is_ok(), "{}: there is no system call `{}`", page.name, rule.name);
                assert!(!rule.reason.is_empty());
            }
        }
    }

    #[test]
    fn every_example_is_a_grant_of_its_own_capability() {
        for capability in HostCapability::all() {
            let page = CapabilityPage::load(capability).expect("checked above");
            let text = format!(
                "[crates.a]\ndependencies = [\"b\"]\n[crates.a.grants.b]\n{}\n[crates.b]\n",
                page.example
            );
            let mut files = crate::Files::default();
            let text = crate::ManifestText::from_bytes("example", text.into()).expect("small");
            let file = files.add(text);
            let manifest = crate::parse(file, files.get(file), crate::Form::Standalone)
                .unwrap_or_else(|errors| panic!("{}: {}", page.name, errors[0].kind));
            let granted: Vec<String> = manifest.crates[0].grants[0]
                .clauses
                .iter()
                .map(|clause| clause.capability.value.to_string())
                .collect();
            assert_eq!(granted, [page.name]);
        }
    }

    #[test]
    fn a_page_that_disagrees_is_refused() {
        let good = text(HostCapability::Clock);
        for (from, to) in [
            ("format = 1", "format = 2"),
            ("name = \"clock\"", "name = \"clocks\""),
            ("parameter = \"resolution\"", "parameter = \"flag\""),
            ("format = 1", "format = 1\nunknown = 1"),
            ("provided = true", "provided = false"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "the page has no `{from}`");
            assert!(CapabilityPage::parse(&bad, HostCapability::Clock).is_err(), "{to} was accepted");
        }
    }
}
