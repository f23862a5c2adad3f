//! Every message's stable code. A code is API: it is never renamed, and never used for something else.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing may run.
    Error,
    /// Worth a look.
    Warning,
}

macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $summary:literal => $explanation:literal)*) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $summary] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as messages print it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Error or warning.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What it means, in a line.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// What it means, what causes it, and how to mend it.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation,)* }
            }
        }
    };
}

codes! {
    NotGranted "not-granted" Error "A crate needs a capability that its consumer does not grant." =>
"The dependency says `consumes`, and no grants table about this edge gives it. Silence denies.

    # in codec's Cargo.toml
    [package.metadata.capabilities]
    consumes = { \"filesystem.read\" = \"reads colour profiles\" }

    # mended in its consumer's Cargo.toml
    [package.metadata.capabilities.grants.codec]
    filesystem = { read = [\"assets/icc\"] }

Grant as little as it needs. When you cannot edit the consumer, write the grant into the workspace's root as
`[workspace.metadata.capabilities.grants.\"consumer -> codec\"]`. `cofferdam check --fix` writes the line for you."

    NotHeld "not-held" Error "A root crate needs a capability that the workspace does not hold." =>
"Everything begins with what the people who ship the program decide, in the root's `holds`:

    [workspace.metadata.capabilities.holds]
    filesystem = { read = [\"photos\"] }

A root crate (a member that no other member depends on) begins with exactly that."

    GrantExceedsHoldings "grant-exceeds-holdings" Error "A grant gives more than the granter holds." =>
"Authority only shrinks along the way: a crate can give on what it was given, or less, never more. Either narrow the grant
to what the granter holds, or widen what the granter itself is given, at the hop that the message names."

    BackendCannotProvide "backend-cannot-provide" Error "A capability that the compartment's backend cannot give." =>
"Some powers do not exist in some backends: wasm has no executable memory, and no compartment is given privileges. Choose
another `backend`, or let the crate do without. `cofferdam explain NAME` says what each backend gives for a capability."

    CannotFuse "cannot-fuse" Error "`link = \"fused\"` between ends that are not both wasm compartments." =>
"A fused edge puts both ends into one unit: one component, composed of both, in one store. That needs a wasm compartment at
either end. The host program is none, nor is a process compartment, nor code that is inline in either; nothing is fused while
a program is compiled. Remove the line, or write `link = \"isolated\"`; the call is the same, and costs more."

    PlacementNeedsCompartment "placement-needs-compartment" Error "`at` for a crate that is not in a compartment." =>
"`at` says under which name a compartment sees a path. An inline crate runs in its consumer's process and sees the same
paths as the consumer, so there is no place to put it. Remove `at`, or give the crate `backend = \"wasm\"` or `\"process\"`."

    NotExported "not-exported" Error "A grant of a name that nothing below the receiver exports or consumes." =>
"A name beside the host's exists because some crate exports it. Granting it to a crate that neither exports nor consumes it,
and that has no dependency which does, gives nothing to anybody."

    PinMismatch "pin-mismatch" Error "A grant is pinned to another version or checksum." =>
"`version` and `checksum` in a grants table say which release was reviewed. When the graph has another one, the grant is no
good until somebody has looked at the new release and moves the pin."

    StageMismatch "stage-mismatch" Error "A run-time capability over an edge that exists only while compiling." =>
"A build dependency or procedural macro runs while its consumer is compiled, and uses the consumer's build-stage powers,
whose names begin with `build.`:

    [package.metadata.capabilities.grants.cc]
    build = { process = { spawn = [\"/usr/bin/cc\"] } }"

    Undeclared "undeclared" Warning "A crate says nothing about its capabilities." =>
"Nothing is known of what the crate needs. It is granted nothing, and an inline crate is not held to that: only a
compartment is. Declare it in its own manifest; what its code reaches is judged over its edges in any case (`reach-not-granted`)."

    UnusedGrant "unused-grant" Warning "A grant that the receiver does not ask for." =>
"The receiver neither consumes nor exports the capability, and gives it to nobody. Remove the grant."

    NeverGranted "never-granted" Warning "An optional capability that nobody grants." =>
"The crate works without it. Nothing needs to be done."

    UnusedHolding "unused-holding" Warning "The workspace holds a capability that no root uses or passes on." =>
"Remove it from `holds`: what is not held cannot be granted by mistake."

    RootIsHost "root-is-host" Warning "A root crate has a backend." =>
"A root is the program that starts compartments, so it is in none: it runs as the host program with all that the workspace
holds. A crate that should be confined is a dependency of a root, and named in no `roots`."

    InlineUnion "inline-union" Warning "An inline crate has more over an edge than that edge grants." =>
"Inline code is linked once, so it can use over every edge what any of its consumers gives it. To keep the edges apart, give
the crate a backend; then each edge gets its own compartment with its own grants."

    PathMissing "path-missing" Error "A path that is granted does not exist." =>
"A grant of nothing is a mistake, not a grant: a compartment would refuse to start. `check` warns, because the machine that
checks may not be the one that runs; `plan` refuses."

    Syntax "syntax" Error "The file is not valid TOML." =>
"Nothing below a syntax error can be trusted, so no other message is given for the file."

    UnknownKey "unknown-key" Error "A key that has no meaning where it stands." =>
"A misspelt key would silently declare nothing, so every key that is not known is refused."

    WrongType "wrong-type" Error "A value of the wrong type." =>
"For example a string where a list belongs: `read = \"a\"` must be `read = [\"a\"]`."

    UnknownCapability "unknown-capability" Error "A name that is neither the host's nor exported by any crate." =>
"`cofferdam explain capabilities` lists the host's. Any other name must stand in the `exports` of a crate in the graph."

    BadCapabilityName "bad-capability-name" Error "A text that cannot be a capability's name." =>
"Names are lowercase words of letters, digits and `-`, joined by dots: `filesystem.read`, `gpu.submit`."

    ExportForbidden "export-forbidden" Error "An export under a name that is reserved." =>
"A crate exports either one of the host's run-time capabilities (`memmap2` exports `mmap.file`), or a name of its own."

    ParameterMissing "parameter-missing" Error "A capability that needs parameters was granted with `true`." =>
"`true` would mean all files or all hosts. There are no wildcard grants: say which."

    FalseGrant "false-grant" Error "`false` in a grants table." =>
"What is not granted is denied, so there is nothing to switch off. Remove the entry."

    WrittenTwice "written-twice" Error "The same thing twice, under different spellings." =>
"`filesystem = { read = [...] }` and `\"filesystem.read\" = [...]` are one entry, and `\"a->b\"` and `\"a -> b\"` one edge."

    EmptyList "empty-list" Error "A list or table that grants nothing." =>
"An empty list could be read as nothing or as everything. Remove it: what is not granted is denied."

    ReasonMissing "reason-missing" Error "A claim without a reason." =>
"Whoever grants a capability must be told why it is needed. Every `consumes` and `exports` has a reason."

    KeyMissing "key-missing" Error "A required key is missing." =>
"The message names it."

    BadPath "bad-path" Error "A path that cannot be compared by its text." =>
"Paths are compared by their text, so `..`, `~`, `*` and `\\` are refused: what they mean depends on something else."

    BadPlacement "bad-placement" Error "`at` is relative, or does not name one place for one path." =>
"`at` is an absolute path inside the compartment. With several paths, give each its own:
`read = [{ path = \"a\", at = \"/a\" }, { path = \"b\", at = \"/b\" }]`."

    QuotaWithoutWrite "quota-without-write" Error "A quota where nothing may be written." =>
"`quota` bounds the bytes that `filesystem.write` may write. Remove it, or grant `write`."

    BadHost "bad-host" Error "A text that is no host and port." =>
"Write `name:port`, `*.suffix:port`, `1.2.3.4:port`, `10.0.0.0/8:port` or `[::1]:port`; a port may be a range, `8000-8099`.
Other notations of an address are refused, since programs disagree about what they mean."

    BadVariable "bad-variable" Error "A text that is no variable's name." =>
"Names are printable ASCII without `=`; a trailing `*` grants every name that begins so."

    BadStream "bad-stream" Error "A text that is no standard stream." =>
"The streams are `stdin`, `stdout` and `stderr`."

    BadQuantity "bad-quantity" Error "A text that is no size, time or count." =>
"Sizes: `64MiB`, `1GB`, `512B`. Times: `2s`, `500ms`, `10min`. Zero is refused: to give nothing, leave it out."

    BadCrate "bad-crate" Error "A text that is no crate." =>
"Write the package's name, with the beginning of its version where several are in the graph: `zlib`, `zlib@1.2`."

    BadEdge "bad-edge" Error "A text that is no edge." =>
"The workspace's grants are keyed by edge: `\"consumer -> dependency\"`."

    BadVersion "bad-version" Error "A text that is no version or requirement." =>
"Write it as in `[dependencies]`: `\"0.9\"`, `\"=1.2.3\"`, `\">=1, <3\"`."

    BadChecksum "bad-checksum" Error "A text that is no SHA-256." =>
"Copy the `checksum` of the package from Cargo.lock: 64 hexadecimal digits."

    UnknownBackend "unknown-backend" Error "A backend that does not exist." =>
"The backends are `inline` (no isolation), `wasm` and `process`."

    UnknownLink "unknown-link" Error "A link that does not exist." =>
"The two ends of an edge between compartments are `isolated` (the default: a store for each) or `fused` (one unit)."

    BadWorld "bad-world" Error "A text that is no world." =>
"Write the WIT file, relative to the crate, and the world in it: `wit/codec.wit#codec`."

    DeceptiveName "deceptive-name" Error "A text with characters that deceive a reader." =>
"Control and text-direction characters can make a message show something else than what is granted."

    TooLarge "too-large" Error "More than a limit allows." =>
"Everything that a manifest controls is bounded, so that a hostile one cannot exhaust the machine that checks it.
SPECIFICATION.md lists the limits."

    UnknownCrate "unknown-crate" Error "A name that no crate of the graph has." =>
"Grants, overrides and roots name packages as Cargo does."

    NoSuchEdge "no-such-edge" Error "A grant over an edge that does not exist." =>
"Authority flows along dependencies. The consumer must depend on the crate directly."

    AmbiguousCrate "ambiguous-crate" Error "A name that several crates of the graph have." =>
"Add the beginning of the version: `zlib@1.2`."

    DependencyCycle "dependency-cycle" Error "Crates that depend on each other in a circle." =>
"Authority flows from consumer to dependency and only shrinks; in a circle it would have no beginning."

    NoRoots "no-roots" Error "No crate begins with the workspace's authority." =>
"By default the roots are the members that no other member depends on. Name others with `roots = [\"app\"]`."

    ImportNotConsumed "import-not-consumed" Error "A component imports a power that its crate does not ask for." =>
"A component can do what it imports and nothing else, so its imports say what its code needs. Each must be among what the
crate `consumes`, or what the inline crates that are compiled into it do:

    [package.metadata.capabilities]
    consumes = { \"clock\" = \"measures how long decoding takes\" }

Interfaces that the standard library imports in every guest, used or not, are no denial: they answer emptily, or stop the
guest when it calls them, unless their capability is granted. docs/guest-toolchain.md lists them."

    ImportUnknown "import-unknown" Error "A component imports an interface that nothing provides." =>
"It is no interface of WASI 0.2 that a compartment can be given. The component would not start."
    ReachNotGranted "reach-not-granted" Error "Code reaches over an edge what the edge does not grant." =>
"The source of the dependency, or of what it depends on, uses the capability, and the consumer's used code leads there. The
message shows the way. Either the grant is missing, or the dependency does something that it should not:

    [workspace.metadata.capabilities.grants.\"consumer -> dependency\"]
    filesystem = { read = [\"data\"] }

`cofferdam init` writes what the code reaches now; read the difference before you commit it."

    ReachNotHeld "reach-not-held" Error "Code of a root, or below it, reaches what the workspace does not hold." =>
"Everything begins with the workspace's `holds`. The message shows where the code uses it. Add it to `holds`, or remove the use."

    ReachNotDeclared "reach-not-declared" Error "A crate's own code uses what the crate does not declare." =>
"The crate has a table of capabilities, and its `consumes` leaves out something that its source uses. Declare it, with the
reason. For a dependency that cannot be edited this is a warning: what it reaches is judged over its edges in any case."

    UnusedClaim "unused-claim" Warning "A crate declares what none of its code uses." =>
"Neither the crate's own source nor anything that it calls was seen to use the capability. Remove it from `consumes`, so that
nobody grants it for nothing."

    UntaggedUnsafe "untagged-unsafe" Warning "Unsafe code of the workspace reaches authority and does not say which." =>
"Most unsafe code only handles memory. What calls foreign functions or forges handles can reach the world; name it in a
comment beside or above the block, so that a reader and a search can find it:

    // capability: mmap.file
    // SAFETY: ...
    unsafe { libc::mmap(...) }"

    GrantNotReached "grant-not-reached" Warning "A grant that no code behind its edge uses." =>
"Neither the dependency nor anything below it was seen to use the capability over this edge. Remove the grant: what is not
granted cannot be used by mistake, and the day the code reaches for it, `check` says so."

    BuildScriptChanged "build-script-changed" Error "A build script is another than the one that was accepted." =>
"`Cofferdam.lock` holds the SHA-256 of the source of each dependency's build script. A build script runs with all that the
person has who builds, so a new one is read before it runs. `cofferdam init` records it."

    NewEdge "new-edge" Warning "A dependency that was not there when `Cofferdam.lock` was written." =>
"A crate gained a dependency: with an update, or because somebody added a line. The note says what it brings; what is not
granted is an error of its own. `cofferdam init` records the edges that there are now."

    ClaimDisagrees "claim-disagrees" Warning "A crate's code reaches more than `policies/crates/` knows of its version." =>
"Somebody read the code of this crate, in a range of versions, and wrote down what it reaches by itself. This version reaches
more: the page is out of date, or the release is not what it says. What is not granted is an error of its own."

    NotAnalysed "not-analysed" Error "Source of a crate that could not be analysed." =>
"What cannot be read could do anything, so nothing is said about it. The message says which file and why. When you have read
it yourself, let it pass with `--accept-unknown CRATE`. Code that a build script writes is not read either; that is a
warning, because the build script itself is judged and needs `build.script`."

    Unreadable "unreadable" Error "A file that cannot be read." =>
"It does not exist, is no text, or is larger than what is read."
}

impl Code {
    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(*code));
            assert!(crate::capability::is_capability_name(code.name()), "{code}");
            assert!(code.summary().ends_with('.') && !code.explanation().is_empty(), "{code}");
        }
    }
}
