//! The named powers: which exist, what their parameters are, and which backend can provide them.
//!
//! This table is the closed set of *host* capabilities. What each means to a person, and what it means to each
//! backend, is in its page under `policies/capabilities/`; a test holds the two together.

use std::fmt;
use std::sync::Arc;

/// A host capability: a power that the host itself spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is documented by its page in policies/capabilities/")]
pub enum HostCapability {
    FilesystemRead,
    FilesystemWrite,
    FilesystemWatch,
    FilesystemScratch,
    NetworkConnect,
    NetworkListen,
    NetworkDns,
    NetworkUnix,
    MmapFile,
    MmapAnonymous,
    MmapExecutable,
    ProcessSpawn,
    ProcessSignal,
    ProcessExit,
    EnvironmentRead,
    EnvironmentWrite,
    Stdio,
    Clock,
    Entropy,
    SystemInfo,
    Thread,
    Signal,
    Ipc,
    Device,
    Privilege,
    Dlopen,
    RawSyscall,
    Ffi,
    Asm,
    HandleForge,
    Init,
    RuntimeHook,
    UnsafeMemory,
    BuildScript,
    BuildProcMacro,
    BuildLink,
    BuildEmbed,
}

/// What a grant of a capability says beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterKind {
    /// Nothing: granted or not.
    Flag,
    /// Files and folders.
    Paths,
    /// Files and folders, with an optional quota of bytes written.
    PathsWithQuota,
    /// `host:port` patterns.
    Hosts,
    /// Host names without ports.
    HostNames,
    /// Names of variables, with a trailing `*` as prefix pattern.
    Names,
    /// Standard streams, with an optional cap of bytes.
    Streams,
    /// How many at most.
    Count,
    /// A clock's resolution; coarser is narrower.
    Resolution,
    /// How many bytes at most.
    Bytes,
}

/// When the power is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// While the program runs.
    Run,
    /// While the crate is compiled: in its build script, or in a procedural macro.
    Build,
}

/// Where a crate's code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Backend {
    /// Linked into its consumer. No isolation; its claims are checked statically.
    #[default]
    Inline,
    /// A WASI component in wasmtime.
    Wasm,
    /// A native subprocess under namespaces, Landlock and seccomp.
    Process,
}

impl Backend {
    /// Every backend, weakest isolation first.
    pub const ALL: [Self; 3] = [Self::Inline, Self::Wasm, Self::Process];

    /// The word that a manifest uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Wasm => "wasm",
            Self::Process => "process",
        }
    }

    /// The backend with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row of the table.
struct Row {
    capability: HostCapability,
    name: &'static str,
    parameter: ParameterKind,
    wasm: bool,
    process: bool,
}

const fn row(
    capability: HostCapability,
    name: &'static str,
    parameter: ParameterKind,
    wasm: bool,
    process: bool,
) -> Row {
    Row { capability, name, parameter, wasm, process }
}

const NO: bool = false;
const YES: bool = true;

use HostCapability as C;
use ParameterKind as P;

/// In the order of the enum, which `name` and `parameter` rely on; a test checks it.
#[rustfmt::skip]
const TABLE: [Row; 37] = [
    //                                                                    wasm process
    row(C::FilesystemRead,   "filesystem.read",    P::Paths,              YES, YES),
    row(C::FilesystemWrite,  "filesystem.write",   P::PathsWithQuota,     YES, YES),
    row(C::FilesystemWatch,  "filesystem.watch",   P::Paths,              NO,  YES),
    row(C::FilesystemScratch,"filesystem.scratch", P::Bytes,              NO,  YES),
    row(C::NetworkConnect,   "network.connect",    P::Hosts,              YES, YES),
    row(C::NetworkListen,    "network.listen",     P::Hosts,              YES, YES),
    row(C::NetworkDns,       "network.dns",        P::HostNames,          YES, YES),
    row(C::NetworkUnix,      "network.unix",       P::Paths,              NO,  YES),
    row(C::MmapFile,         "mmap.file",          P::Flag,               NO,  YES),
    row(C::MmapAnonymous,    "mmap.anonymous",     P::Flag,               YES, YES),
    row(C::MmapExecutable,   "mmap.executable",    P::Flag,               NO,  YES),
    row(C::ProcessSpawn,     "process.spawn",      P::Paths,              NO,  YES),
    row(C::ProcessSignal,    "process.signal",     P::Flag,               NO,  YES),
    row(C::ProcessExit,      "process.exit",       P::Flag,               YES, YES),
    row(C::EnvironmentRead,  "environment.read",   P::Names,              YES, YES),
    row(C::EnvironmentWrite, "environment.write",  P::Names,              YES, YES),
    row(C::Stdio,            "stdio",              P::Streams,            YES, YES),
    row(C::Clock,            "clock",              P::Resolution,         YES, YES),
    row(C::Entropy,          "entropy",            P::Flag,               YES, YES),
    row(C::SystemInfo,       "system-info",        P::Flag,               NO,  YES),
    row(C::Thread,           "thread",             P::Count,              NO,  YES),
    row(C::Signal,           "signal",             P::Flag,               NO,  YES),
    row(C::Ipc,              "ipc",                P::Flag,               NO,  NO),
    row(C::Device,           "device",             P::Paths,              NO,  NO),
    row(C::Privilege,        "privilege",          P::Flag,               NO,  NO),
    row(C::Dlopen,           "dlopen",             P::Flag,               NO,  NO),
    row(C::RawSyscall,       "raw-syscall",        P::Flag,               NO,  YES),
    row(C::Ffi,              "ffi",                P::Flag,               YES, YES),
    row(C::Asm,              "asm",                P::Flag,               NO,  YES),
    row(C::HandleForge,      "handle-forge",       P::Flag,               YES, YES),
    row(C::Init,             "init",               P::Flag,               YES, YES),
    row(C::RuntimeHook,      "runtime-hook",       P::Flag,               YES, YES),
    row(C::UnsafeMemory,     "unsafe-memory",      P::Flag,               YES, YES),
    row(C::BuildScript,      "build.script",       P::Flag,               YES, YES),
    row(C::BuildProcMacro,   "build.proc-macro",   P::Flag,               YES, YES),
    row(C::BuildLink,        "build.link",         P::Flag,               YES, YES),
    row(C::BuildEmbed,       "build.embed",        P::Flag,               YES, YES),
];

impl HostCapability {
    /// Every host capability, in table order.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.capability)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name in a manifest: `class.action`, or the class alone.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The part before the first dot.
    pub fn class(self) -> &'static str {
        self.name().split_once('.').map_or(self.name(), |(class, _)| class)
    }

    /// The kind of parameter that a grant of it carries.
    pub fn parameter(self) -> ParameterKind {
        self.row().parameter
    }

    /// The capability with that full name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.capability)
    }

    /// The actions of a class, empty when no host capability is in it.
    pub fn of_class(class: &str) -> impl Iterator<Item = Self> {
        Self::all().filter(move |capability| capability.class() == class)
    }

    /// Whether a compartment of that backend can be given it. An inline crate has whatever its process has.
    pub fn provided_by(self, backend: Backend) -> bool {
        match backend {
            Backend::Inline => true,
            Backend::Wasm => self.row().wasm,
            Backend::Process => self.row().process,
        }
    }

    /// Exists only while a crate is compiled.
    pub fn is_build_only(self) -> bool {
        matches!(self, Self::BuildScript | Self::BuildProcMacro | Self::BuildLink | Self::BuildEmbed)
    }

    /// Held by everyone: unsafe code that reaches no authority is reported, never refused (DESIGN, section 3).
    pub fn granted_by_default(self) -> bool {
        self == Self::UnsafeMemory
    }

    /// The capability that includes this one over the same parameters: who may write a folder may read it back.
    pub fn implied_by(self) -> Option<Self> {
        (self == Self::FilesystemRead).then_some(Self::FilesystemWrite)
    }
}

/// A capability in a grant, a claim or a decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// One that the host spends, at a stage. `build.filesystem.read` is the build-stage twin of `filesystem.read`.
    Host(Stage, HostCapability),
    /// A name under which some crate exports what its own unsafe code can do.
    Exported(Arc<str>),
}

impl Capability {
    /// A host capability used while the program runs (or, for `build.script` and its like, while a crate is compiled).
    pub fn host(capability: HostCapability) -> Self {
        let stage = if capability.is_build_only() { Stage::Build } else { Stage::Run };
        Self::Host(stage, capability)
    }

    /// Parses a full name; a name that no host capability has is an exported one.
    pub fn from_name(name: &str) -> Self {
        if let Some(host) = HostCapability::from_name(name) {
            return Self::host(host);
        }
        match name.strip_prefix("build.").and_then(HostCapability::from_name) {
            Some(host) if !host.is_build_only() => Self::Host(Stage::Build, host),
            _ => Self::Exported(name.into()),
        }
    }

    /// The same power used while compiling. What is already build-stage, or exported by a crate, stays as it is.
    #[must_use]
    pub fn at_build(&self) -> Self {
        match self {
            Self::Host(_, host) => Self::Host(Stage::Build, *host),
            Self::Exported(name) => Self::Exported(name.clone()),
        }
    }

    /// The host capability behind it, whatever the stage.
    pub fn host_capability(&self) -> Option<HostCapability> {
        match self {
            Self::Host(_, host) => Some(*host),
            Self::Exported(_) => None,
        }
    }

    /// The kind of parameter that a grant of it carries.
    pub fn parameter(&self) -> ParameterKind {
        self.host_capability().map_or(ParameterKind::Flag, HostCapability::parameter)
    }

    /// Whether a compartment of that backend can be given it. Build-stage powers are used by the build, not the compartment.
    pub fn provided_by(&self, backend: Backend) -> bool {
        match self {
            Self::Host(Stage::Run, host) => host.provided_by(backend),
            Self::Host(Stage::Build, _) | Self::Exported(_) => true,
        }
    }

    /// The capability that includes this one over the same parameters.
    pub fn implied_by(&self) -> Option<Self> {
        match self {
            Self::Host(stage, host) => Some(Self::Host(*stage, host.implied_by()?)),
            Self::Exported(_) => None,
        }
    }

    /// Held by everyone.
    pub fn granted_by_default(&self) -> bool {
        self.host_capability().is_some_and(HostCapability::granted_by_default)
    }

    /// The keys under which a grants table holds it: class, then action, with `build` in front of a twin.
    pub fn key_path(&self) -> Vec<String> {
        self.to_string().splitn(3, '.').map(str::to_owned).collect()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(Stage::Build, host) if !host.is_build_only() => write!(f, "build.{}", host.name()),
            Self::Host(_, host) => f.write_str(host.name()),
            Self::Exported(name) => f.write_str(name),
        }
    }
}

/// Whether `name` could be the name of a capability: lowercase words of `a-z0-9` and `-`, joined by dots.
pub fn is_capability_name(name: &str) -> bool {
    name.len() <= crate::limits::NAME_BYTES_MAX
        && name.split('.').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// Whether `class` is a class of host capabilities, `build` included. Crates may not export names inside one.
pub(crate) fn is_host_class(class: &str) -> bool {
    HostCapability::of_class(class).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.capability as usize, index, "{}", row.name);
            assert!(is_capability_name(row.name), "{}", row.name);
        }
    }

    #[test]
    fn every_name_parses_back_at_both_stages() {
        for host in HostCapability::all() {
            let run = Capability::host(host);
            assert_eq!(Capability::from_name(&run.to_string()), run);
            let build = run.at_build();
            assert_eq!(Capability::from_name(&build.to_string()), build);
        }
        assert_eq!(
            Capability::from_name("build.build.script"),
            Capability::Exported("build.build.script".into())
        );
    }
}
