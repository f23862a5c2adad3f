//! The laws that the resolver stands on, tested on arbitrary input.
//!
//! "Narrower" is a partial order with meets; along every path, authority never grows; taking a grant away never permits
//! more; nothing depends on the order of the input; a manifest that is printed parses to itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use capability_manifest::scope::{
    Bounded, ByteCount, Extent, HostPattern, HostPort, NamePattern, NormalPath, PathPattern, Pattern,
    PatternSet, Scope, Stream,
};
use capability_manifest::{
    Authority, Capability, DenialKind, Files, Form, HostCapability, ManifestErrorKind, ManifestText, Project,
    ProjectBuilder, Resolution, UnitIndex, explain, parse, print, resolve,
};
use proptest::prelude::*;
use proptest::sample::select;

// Small alphabets, so that patterns meet often.

fn path() -> impl Strategy<Value = PathPattern> {
    let text = select(vec![".", "a", "a/b", "a/b/c", "ab", "b", "/", "/a", "/a/b", "/ab"]);
    (text, any::<bool>()).prop_map(|(text, file)| PathPattern {
        path: NormalPath::parse(text).expect("a path"),
        extent: if file { Extent::File } else { Extent::Tree },
    })
}

fn host() -> impl Strategy<Value = HostPattern> {
    let text = select(vec![
        "x.org",
        "a.x.org",
        "b.a.x.org",
        "*.x.org",
        "*.a.x.org",
        "*.org",
        "yx.org",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "0.0.0.0/0",
        "[fd00::/8]",
        "[::1]",
        "[::/0]",
    ]);
    text.prop_map(|text| HostPattern::parse(text).expect("a host"))
}

fn host_port() -> impl Strategy<Value = HostPort> {
    let port = || select(vec![1_u16, 2, 79, 80, 81, 82, 443, 65_535]);
    (host(), port(), port()).prop_map(|(host, a, b)| HostPort { host, first: a.min(b), last: a.max(b) })
}

fn name() -> impl Strategy<Value = NamePattern> {
    let text = select(vec!["A", "AB", "ABC", "A*", "AB*", "B", "B*"]);
    text.prop_map(|text| NamePattern::parse(text).expect("a name"))
}

fn set<P: Pattern + std::fmt::Debug>(one: impl Strategy<Value = P>) -> impl Strategy<Value = PatternSet<P>> {
    prop::collection::vec(one, 0..4).prop_map(PatternSet::new)
}

fn bound() -> impl Strategy<Value = Option<u64>> {
    select(vec![None, Some(1), Some(2), Some(1 << 20)])
}

fn scope_of(capability: HostCapability) -> BoxedStrategy<Scope> {
    use capability_manifest::ParameterKind as P;
    match capability.parameter() {
        P::Paths => set(path()).prop_map(|set| Scope::Paths(PatternSet::bounded(&set, None))).boxed(),
        P::PathsWithQuota => set((path(), bound()).prop_map(|(pattern, bytes)| Bounded { pattern, bytes }))
            .prop_map(Scope::Paths)
            .boxed(),
        P::Hosts => set(host_port()).prop_map(Scope::Hosts).boxed(),
        P::HostNames => set(host()).prop_map(Scope::HostNames).boxed(),
        P::Names => set(name()).prop_map(Scope::Names).boxed(),
        P::Streams => {
            let stream = (select(Stream::ALL.to_vec()), bound());
            set(stream.prop_map(|(pattern, bytes)| Bounded { pattern, bytes }))
                .prop_map(Scope::Streams)
                .boxed()
        }
        P::Count => bound().prop_map(Scope::Count).boxed(),
        P::Bytes => select(vec![1_u64, 4096, 1 << 20]).prop_map(Scope::Bytes).boxed(),
        P::Resolution => select(vec![0_u64, 1, 1000, 1_000_000]).prop_map(Scope::Resolution).boxed(),
        _ => Just(Scope::Flag).boxed(),
    }
}

const USED: [HostCapability; 7] = [
    HostCapability::FilesystemRead,
    HostCapability::FilesystemWrite,
    HostCapability::NetworkConnect,
    HostCapability::EnvironmentRead,
    HostCapability::Stdio,
    HostCapability::Clock,
    HostCapability::Entropy,
];

fn authority() -> impl Strategy<Value = Authority> {
    let entry = select(USED.to_vec()).prop_flat_map(|host| (Just(Capability::host(host)), scope_of(host)));
    prop::collection::vec(entry, 0..5).prop_map(Authority::new)
}

/// Laws of one pattern type: a partial order in which any two have their greatest lower bound, or nothing in common.
fn pattern_laws<P: Pattern + std::fmt::Debug>(a: &P, b: &P, c: &P) -> Result<(), TestCaseError> {
    prop_assert!(a.covers(a));
    if a.covers(b) && b.covers(c) {
        prop_assert!(a.covers(c), "not transitive: {a:?} {b:?} {c:?}");
    }
    if a.covers(b) && b.covers(a) {
        prop_assert_eq!(a, b);
    }
    prop_assert_eq!(a.meet(b), b.meet(a));
    match a.meet(b) {
        Some(met) => {
            prop_assert!(a.covers(&met) && b.covers(&met));
            if a.covers(c) && b.covers(c) {
                prop_assert!(met.covers(c), "{met:?} is no greatest lower bound of {a:?} and {b:?}: {c:?}");
            }
        }
        None => {
            prop_assert!(!(a.covers(c) && b.covers(c)), "{a:?} and {b:?} both cover {c:?}, and have no meet");
        }
    }
    if let Some(joined) = a.join(b) {
        prop_assert!(joined.covers(a) && joined.covers(b));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn paths_are_ordered(a in path(), b in path(), c in path()) {
        pattern_laws(&a, &b, &c)?;
    }

    #[test]
    fn hosts_are_ordered(a in host_port(), b in host_port(), c in host_port()) {
        pattern_laws(&a, &b, &c)?;
    }

    #[test]
    fn names_are_ordered(a in name(), b in name(), c in name()) {
        pattern_laws(&a, &b, &c)?;
    }

    #[test]
    fn authority_is_ordered(a in authority(), b in authority(), c in authority()) {
        prop_assert!(a.covers(&a) && a.covers(&Authority::NOTHING));
        if a.covers(&b) && b.covers(&c) {
            prop_assert!(a.covers(&c), "not transitive: {a} | {b} | {c}");
        }
        if a.covers(&b) && b.covers(&a) {
            prop_assert_eq!(&a, &b, "two spellings of one authority");
        }
    }

    #[test]
    fn authority_has_greatest_lower_bounds(a in authority(), b in authority(), c in authority()) {
        let met = a.meet(&b);
        prop_assert_eq!(&met, &b.meet(&a));
        prop_assert_eq!(&a.meet(&a), &a);
        prop_assert!(a.covers(&met) && b.covers(&met), "{a} meet {b} = {met}");
        let below = a.meet(&b).meet(&c);
        prop_assert!(met.covers(&below));
        if a.covers(&c) && b.covers(&c) {
            prop_assert!(met.covers(&c), "{met} is no greatest lower bound of {a} and {b}: {c}");
        }
    }

    #[test]
    fn the_union_covers_both_and_adds_nothing_that_neither_had(
        a in authority(), b in authority(), one in path(), quota in bound(),
    ) {
        let union = a.join(&b);
        prop_assert!(union.covers(&a) && union.covers(&b), "{a} join {b} = {union}");
        let read = Capability::host(HostCapability::FilesystemRead);
        let asked = Scope::Paths(PatternSet::new([Bounded::free(one.clone())]));
        if union.covers_scope(&read, &asked) {
            prop_assert!(a.covers_scope(&read, &asked) || b.covers_scope(&read, &asked));
        }
        let write = Capability::host(HostCapability::FilesystemWrite);
        let asked = Scope::Paths(PatternSet::new([Bounded { pattern: one, bytes: quota }]));
        if union.covers_scope(&write, &asked) {
            prop_assert!(a.covers_scope(&write, &asked) || b.covers_scope(&write, &asked), "{union} gives {asked}");
        }
    }

    #[test]
    fn sizes_print_as_they_parse(bytes in 1_u64..) {
        prop_assert_eq!(ByteCount::parse(&ByteCount(bytes).to_string()), Ok(ByteCount(bytes)));
    }
}

/// An arbitrary project as text: a graph without cycles, backends, claims, and grants of which some exceed.
#[derive(Debug, Clone)]
struct World {
    crates: usize,
    edges: Vec<(usize, usize, bool)>,
    backends: Vec<u8>,
    consumes: Vec<(usize, usize, bool)>,
    own: BTreeMap<usize, Vec<(usize, usize)>>,
    workspace: BTreeMap<usize, Vec<(usize, usize)>>,
    holds: Vec<(usize, usize)>,
    reversed: bool,
}

/// Clauses to choose from, by capability: each line narrower than the one before it, or beside it.
const CLAUSES: [(&str, &[&str]); 5] = [
    ("filesystem.read", &["[\"a\"]", "[\"a/b\"]", "[\"a/b/c\"]", "[\"ab\"]", "[\"a\", \"ab\"]"]),
    ("network.connect", &["[\"*.x.org:1-99\"]", "[\"a.x.org:80\"]", "[\"y.org:80\"]"]),
    ("clock", &["true", "{ resolution = \"1ms\" }", "{ resolution = \"1s\" }"]),
    ("entropy", &["true"]),
    ("stdio", &["true", "[\"stderr\"]", "{ streams = [\"stderr\"], bytes = \"1kB\" }"]),
];

fn clause() -> impl Strategy<Value = (usize, usize)> {
    (0..CLAUSES.len()).prop_flat_map(|at| (Just(at), 0..CLAUSES[at].1.len()))
}

fn world() -> impl Strategy<Value = World> {
    (2_usize..8).prop_flat_map(|crates| {
        let edge = (0..crates, 0..crates, prop::bool::weighted(0.15))
            .prop_filter_map("upwards", |(a, b, build)| (a != b).then_some((a.min(b), a.max(b), build)));
        let clauses = |few, most| {
            prop::collection::btree_map(0_usize..12, prop::collection::vec(clause(), 3..9), few..most)
        };
        (
            prop::collection::vec(edge, 1..12),
            prop::collection::vec(0_u8..4, crates),
            prop::collection::vec((0..crates, 0..CLAUSES.len(), any::<bool>()), 0..6),
            clauses(8, 13),
            clauses(0, 4),
            prop::collection::vec((0..CLAUSES.len(), Just(0)), 6..12),
        )
            .prop_map(move |(edges, backends, consumes, own, workspace, holds)| World {
                crates,
                edges,
                backends,
                consumes,
                own,
                workspace,
                holds,
                reversed: false,
            })
    })
}

impl World {
    /// The `capabilities.toml`; in two orders, which must not matter.
    fn text(&self) -> String {
        let mut edges = self.edges.clone();
        edges.sort_unstable();
        edges.dedup_by_key(|(from, to, _)| (*from, *to));
        let mut out = String::from("[holds]\n");
        out.push_str(&lines(&self.holds));
        let _ = writeln!(out, "\"build.entropy\" = true\n\"build.clock\" = true");
        let mut sections: Vec<String> = Vec::new();
        for index in 0..self.crates {
            let mut section = format!("[crates.c{index}]\n");
            for (key, build) in [("dependencies", false), ("build-dependencies", true)] {
                let to = edges.iter().filter(|edge| edge.0 == index && edge.2 == build);
                let mut to: Vec<String> = to.map(|edge| format!("\"c{}\"", edge.1)).collect();
                if self.reversed {
                    to.reverse();
                }
                let _ = writeln!(section, "{key} = [{}]", to.join(", "));
            }
            if self.backends[index] < 3 {
                let backend = ["inline", "wasm", "process"][usize::from(self.backends[index])];
                let _ = writeln!(section, "compartment = {{ backend = \"{backend}\" }}");
            }
            let mut consumed: BTreeMap<&str, bool> = BTreeMap::new();
            for (_, at, optional) in self.consumes.iter().filter(|(krate, ..)| *krate == index) {
                consumed.insert(CLAUSES[*at].0, *optional);
            }
            let _ = writeln!(section, "[crates.c{index}.consumes]");
            for (name, optional) in consumed {
                let _ = writeln!(section, "\"{name}\" = {{ reason = \"r\", optional = {optional} }}");
            }
            sections.push(section);
        }
        for (number, (from, to, _)) in edges.iter().enumerate() {
            if let Some(clauses) = self.own.get(&number) {
                sections.push(format!("[crates.c{from}.grants.c{to}]\n{}", lines(clauses)));
            }
            if let Some(clauses) = self.workspace.get(&number) {
                sections.push(format!("[grants.\"c{from} -> c{to}\"]\n{}", lines(clauses)));
            }
        }
        if self.reversed {
            sections.reverse();
        }
        out + &sections.concat()
    }

    fn project(&self) -> Project {
        project(&self.text())
    }
}

impl World {
    /// The same world without what is denied in it: each excessive clause dropped, each ungranted wish made optional.
    fn repaired(&self) -> Self {
        let mut world = self.clone();
        // Each round drops something, so the number of clauses and wishes bounds the rounds.
        loop {
            let project = world.project();
            let resolution = resolve(&project);
            if resolution.denials().is_empty() {
                return world;
            }
            let mut edges = world.edges.clone();
            edges.sort_unstable();
            edges.dedup_by_key(|(from, to, _)| (*from, *to));
            for denial in resolution.denials() {
                let Some(capability) = denial.kind.capability() else { continue };
                let name = capability.to_string();
                let name = name.strip_prefix("build.").unwrap_or(&name);
                let at = CLAUSES.iter().position(|(other, _)| *other == name).expect("one of ours");
                let number = |krate: capability_manifest::CrateIndex| -> usize {
                    project.name(krate)[1..].parse().expect("named by a number")
                };
                let last = denial.chain.last().map(|krate| number(*krate));
                for consume in
                    world.consumes.iter_mut().filter(|consume| Some(consume.0) == last && consume.1 == at)
                {
                    consume.2 = true;
                }
                if let (Some(edge), false) =
                    (denial.edge, matches!(denial.kind, DenialKind::NotGranted { .. }))
                {
                    let edge = project.edge(edge);
                    let ends = (number(edge.from), number(edge.to));
                    let place =
                        edges.iter().position(|edge| (edge.0, edge.1) == ends).expect("an edge of ours");
                    for tables in [&mut world.own, &mut world.workspace] {
                        if let Some(clauses) = tables.get_mut(&place) {
                            clauses.retain(|(clause, _)| *clause != at);
                            if clauses.is_empty() {
                                tables.remove(&place);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn lines(clauses: &[(usize, usize)]) -> String {
    let chosen: BTreeMap<usize, usize> = clauses.iter().copied().collect();
    let lines =
        chosen.iter().map(|(at, line)| format!("\"{}\" = {}\n", CLAUSES[*at].0, CLAUSES[*at].1[*line]));
    lines.collect::<Vec<_>>().concat()
}

fn project(text: &str) -> Project {
    let mut files = Files::default();
    let file = files.add(ManifestText::from_bytes("capabilities.toml", text.into()).expect("small"));
    let manifest = parse(file, files.get(file), Form::Standalone)
        .unwrap_or_else(|errors| panic!("{}\n{text}", errors[0].kind));
    ProjectBuilder::standalone(files, manifest)
        .unwrap_or_else(|(_, errors)| panic!("{}\n{text}", errors[0].kind))
}

/// Everything decided, in words.
fn summary(project: &Project, resolution: &Resolution) -> Vec<String> {
    let mut lines: Vec<String> = resolution.denials().iter().map(|denial| denial.kind.to_string()).collect();
    lines.extend(resolution.warnings().iter().map(|warning| warning.kind.to_string()));
    if let Some(graph) = resolution.granted(project) {
        lines.extend(graph.grants().iter().map(|grant| {
            format!(
                "{} -> {}: {} {}",
                project.name(grant.from()),
                project.name(grant.to()),
                grant.capability(),
                grant.scope()
            )
        }));
        lines.extend(
            graph
                .compartments()
                .iter()
                .map(|one| format!("{} runs {}", project.name(one.consumer()), project.name(one.krate()))),
        );
    }
    lines.sort();
    lines
}

// What `words` chooses from.
const WORDS_CLAUSES: [&str; 14] = [
    "clock = true",
    "clock = { resolution = \"3ms\" }",
    "entropy = true",
    "environment = { read = [\"LANG\", \"RAYON_*\"] }",
    "\"filesystem.scratch\" = \"1000B\"",
    "filesystem = { write = [\"out\", \"in\"], quota = \"5KiB\" }",
    "\"build.filesystem\" = { write = [\"out\"], quota = \"1MiB\" }",
    "network = { connect = [\"*.x.org:1-90\", \"a.x.org:80-99\", \"[::1]:7\"], dns = [\"X.org\"] }",
    "stdio = true",
    "stdio = { bytes = \"2kB\" }",
    "stdio = [\"stdin\"]",
    "thread = { max = 0x10 }",
    "\"gpu.submit\" = true",
    "gpu = { queue = { submit = true } }",
];
const WORDS_EXTRAS: [&str; 6] = [
    "reason = \"\"\"two\nlines, \\\"quoted\\\"\"\"\"",
    "version = \"1, <3.*\"",
    "checksum = \"SHA256\"",
    "link = \"fused\"",
    "link = \"isolated\"",
    "version = \">=0.1.0-rc.1\"",
];
const WORDS_COMPARTMENTS: [&str; 9] = [
    "backend = \"inline\"",
    "backend = \"process\"",
    "component = \"guests/./a.wasm\"",
    "component = \"/a.wasm\"",
    "world = \"wit//x.wit#w\"",
    "limits = { memory = \"64MiB\", handles = 3 }",
    "limits = { call-deadline = \"90s\", cpu-time = \"60min\", output = \"1B\", calls-in-flight = 1 }",
    "limits = {}",
    "weakenings = { speculation = \"measured\" }",
];
const WORDS_CONSUMES: [&str; 5] = [
    "clock = \"c\"",
    "filesystem = \"f\"",
    "\"gpu.submit\" = { reason = \"g\", optional = true }",
    "gpu = { queue = { reason = \"g\", optional = false } }",
    "build = { entropy = \"e\" }",
];

/// A manifest out of all that the grammar has, which need not be granted: only what it says counts.
fn words() -> impl Strategy<Value = String> {
    let paths = || {
        let one_path = (path(), select(vec!["", "/x", "/x/y", "/z"])).prop_map(|(pattern, at)| {
            let word = if pattern.extent == Extent::File { "file" } else { "path" };
            let at = if at.is_empty() { String::new() } else { format!(", at = \"{at}\"") };
            format!("{{ {word} = \"{}\"{at} }}", pattern.path)
        });
        prop::collection::vec(one_path, 1..4)
            .prop_map(|paths| format!("filesystem = {{ read = [{}] }}", paths.join(", ")))
    };
    let some = |all: &'static [&'static str]| prop::sample::subsequence(all.to_vec(), 0..=all.len());
    let table = move |head: &'static str| {
        (some(&WORDS_CLAUSES), some(&WORDS_EXTRAS), paths()).prop_map(move |(clauses, extras, paths)| {
            let own = if head == "[holds]" { None } else { Some(paths) };
            let mut lines: Vec<String> = own.into_iter().collect();
            lines.extend(clauses.into_iter().map(str::to_owned));
            if head != "[holds]" {
                lines.extend(extras.into_iter().map(|line| line.replace("SHA256", &"aB".repeat(32))));
            }
            // One line for each key, as TOML wants it.
            let key = |line: &str| line.split(" =").next().unwrap_or_default().to_owned();
            let mut seen = Vec::new();
            lines.retain(|line| {
                let is_new = !seen.contains(&key(line));
                seen.push(key(line));
                is_new
            });
            format!("{head}\n{}\n", lines.join("\n"))
        })
    };
    let compartment = move |head: &'static str| {
        some(&WORDS_COMPARTMENTS).prop_map(move |lines| {
            let is_override = head.starts_with("[compartments");
            let mut seen = Vec::new();
            let lines = lines.into_iter().filter(|line| {
                let key = line.split(" =").next().unwrap_or_default();
                let is_new = !seen.contains(&key);
                seen.push(key);
                is_new && (is_override || key != "weakenings")
            });
            format!("{head}\n{}\n", lines.collect::<Vec<_>>().join("\n"))
        })
    };
    let consumes = some(&WORDS_CONSUMES).prop_map(|lines| {
        let doubled = lines.iter().any(|line| line.starts_with("gpu"))
            && lines.iter().any(|line| line.starts_with("\"gpu"));
        let lines = if doubled { Vec::new() } else { lines };
        format!("[crates.a.consumes]\n{}\n", lines.join("\n"))
    });
    let sections = (
        select(vec!["", "roots = [\"a\", \"b@1.2.3\"]\n"]).prop_map(str::to_owned),
        table("[holds]"),
        table("[grants.\"b->a\"]"),
        table("[grants.\"a -> b@1\"]"),
        compartment("[compartments.\"b@1\"]"),
        compartment("[crates.a.compartment]"),
        consumes,
        table("[crates.a.grants.b]"),
    );
    let exports = "[crates.\"b@1.2.3\"]\nbuild-dependencies = [\"a\"]\ndependencies = [\"a\", \"c\"]\n\
        exports = { \"gpu.submit\" = { items = [\"Queue::submit\"], reason = \"r\" } }\n[crates.c]\n";
    sections.prop_map(move |(roots, holds, one, two, over, own, consumes, grants)| {
        [roots, holds, one, two, over, own, consumes, grants, exports.to_owned()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn authority_never_grows_along_any_path(world in world()) {
        let project = world.repaired().project();
        let resolution = resolve(&project);
        let trace = resolution.trace();
        prop_assert!(resolution.granted(&project).is_some());
        for flow in trace.flows() {
            let giver = trace.holder(flow.from);
            prop_assert!(giver.authority.covers(&flow.authority), "{} gives more than it holds", project.name(giver.krate));
            let Some(to) = flow.to else { continue };
            let receiver = trace.holder(to);
            prop_assert!(receiver.authority.covers(&flow.authority));
            // Into a compartment goes exactly what the edge grants.
            if receiver.unit != giver.unit && receiver.unit != UnitIndex::BUILD {
                prop_assert_eq!(&*receiver.authority, &*flow.authority);
            }
        }
        for (_, holder) in trace.holders() {
            // What a crate holds came over its edges, or it is a root.
            let mut given = holder.root_authority().clone();
            for arrival in &holder.arrivals {
                given = given.join(&trace.flow(*arrival).authority);
            }
            prop_assert_eq!(&given, &*holder.authority);
        }
        let roots = project.roots();
        let root = trace.holders().find(|(_, holder)| roots.contains(&holder.krate) && holder.is_root);
        let held = root.map(|(_, holder)| holder.root_authority().clone()).unwrap_or_default();
        for (_, holder) in trace.holders() {
            prop_assert!(held.covers(&holder.authority), "{} holds what the workspace does not", project.name(holder.krate));
        }
    }

    #[test]
    fn what_is_consumed_is_granted_over_every_edge_or_denied(world in world()) {
        let project = world.repaired().project();
        let resolution = resolve(&project);
        let trace = resolution.trace();
        prop_assert!(resolution.granted(&project).is_some());
        for flow in trace.flows() {
            let Some(to) = flow.to else { continue };
            let receiver = trace.holder(to);
            let tables = project.tables(receiver.krate);
            for consume in tables.iter().flat_map(|tables| &tables.consumes).filter(|consume| !consume.optional) {
                let wanted = trace.in_unit(receiver.unit, &consume.capability.value);
                prop_assert!(flow.authority.scope(&wanted).is_some(), "{wanted} was not granted, and nobody said so");
            }
        }
    }

    #[test]
    fn nothing_depends_on_the_order_of_the_input(world in world()) {
        let reversed = World { reversed: true, ..world.clone() };
        let (a, b) = (world.project(), reversed.project());
        prop_assert_eq!(summary(&a, &resolve(&a)), summary(&b, &resolve(&b)));
    }

    #[test]
    fn taking_a_grant_away_never_permits_more(
        world in world(), repaired in any::<bool>(), which in any::<prop::sample::Index>(),
    ) {
        let world = if repaired { world.repaired() } else { world };
        let keys: Vec<usize> = world.own.keys().copied().filter(|key| !world.workspace.contains_key(key)).collect();
        prop_assume!(!keys.is_empty());
        let mut less = world.clone();
        let key = *which.get(&keys);
        let clauses = less.own.get_mut(&key).expect("there");
        let dropped = clauses[which.index(clauses.len())].0;
        clauses.retain(|(clause, _)| *clause != dropped);
        if clauses.is_empty() {
            less.own.remove(&key);
        }
        let (before, after) = (world.project(), less.project());
        let (resolved, less) = (resolve(&before), resolve(&after));
        // Whatever was granted after the clause is gone was granted before: over every edge, capability by capability.
        let flows = |project: &Project, resolution: &Resolution| {
            let mut given: BTreeMap<(String, String), Authority> = BTreeMap::new();
            for flow in resolution.trace().flows() {
                let edge = project.edge(flow.edge);
                let entry = given.entry((project.name(edge.from), project.name(edge.to))).or_default();
                *entry = entry.join(&flow.authority);
            }
            given
        };
        let given = flows(&before, &resolved);
        for (edge, authority) in flows(&after, &less) {
            prop_assert!(given[&edge].covers(&authority), "{edge:?} gained {authority}");
        }
        // And an edge that lacked something still lacks it, or now fails to pass it on.
        for denial in resolved.denials().iter().filter(|denial| matches!(denial.kind, DenialKind::NotGranted { .. })) {
            let same = |other: &&capability_manifest::Denial| {
                other.edge == denial.edge && other.kind.capability() == denial.kind.capability()
            };
            prop_assert!(less.denials().iter().any(|other| same(&other)), "{} went away", denial.kind);
        }
    }

    #[test]
    fn explain_agrees_with_resolve(world in world(), repaired in any::<bool>()) {
        let project = if repaired { world.repaired() } else { world }.project();
        let resolution = resolve(&project);
        let trace = resolution.trace();
        for krate in project.crates() {
            for (name, _) in CLAUSES {
                let capability = Capability::from_name(name);
                let told = explain(&project, &resolution, krate, None, &capability);
                let arrives = told.routes.iter().filter(|route| route.arrives).count();
                let holds = trace.holders().filter(|(_, holder)| holder.krate == krate).any(|(_, holder)| {
                    holder.authority.scope(&trace.in_unit(holder.unit, &capability)).is_some()
                });
                if resolution.granted(&project).is_some() {
                    prop_assert_eq!(arrives > 0, holds, "{} {}", project.name(krate), name);
                }
                for route in told.routes.iter().filter(|route| !route.arrives) {
                    let last = route.steps.last().expect("a route has a hop");
                    prop_assert!(last.scope.is_none() || last.exceeds);
                }
            }
        }
    }

    #[test]
    fn a_printed_manifest_parses_to_itself(world in world()) {
        let manifest = parse_text(&world.text());
        let printed = print::manifest(&manifest);
        prop_assert_eq!(&parse_text(&printed), &manifest, "printed as:\n{}", printed);
    }

    #[test]
    fn a_printed_manifest_says_all_that_the_grammar_has(text in words()) {
        let mut files = Files::default();
        let file = files.add(ManifestText::from_bytes("x", text.clone().into()).expect("small"));
        match parse(file, files.get(file), Form::Standalone) {
            Ok(manifest) => {
                let printed = print::manifest(&manifest);
                prop_assert_eq!(&parse_text(&printed), &manifest, "{}printed as:\n{}", text, printed);
            }
            // Two paths at one place, or a table that gives nothing: all else here is well-formed.
            Err(errors) => {
                for error in &errors {
                    let kind = &error.kind;
                    let expected = matches!(kind, ManifestErrorKind::AtTwice { .. } | ManifestErrorKind::EmptyList { .. });
                    prop_assert!(expected, "{}\n{}", kind, text);
                }
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(\\[?(holds|grants|crates)?[ .=\\[\\]{}\"a-z0-9\\n-]{0,40}\\n){0,12}") {
        let mut files = Files::default();
        let file = files.add(ManifestText::from_bytes("x", text.into()).expect("small"));
        for form in [Form::Standalone, Form::CargoToml] {
            if let Err(errors) = parse(file, files.get(file), form) {
                prop_assert!(!errors.is_empty());
            }
        }
    }
}

fn parse_text(text: &str) -> capability_manifest::Manifest {
    let mut files = Files::default();
    let file = files.add(ManifestText::from_bytes("capabilities.toml", text.into()).expect("small"));
    parse(file, files.get(file), Form::Standalone)
        .unwrap_or_else(|errors| panic!("{}\n{text}", errors[0].kind))
}

#[test]
fn the_printed_examples_parse_to_themselves() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/valid"))
        .expect("the folder is there")
    {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let manifest = parse_text(&std::fs::read_to_string(&path).expect("readable"));
        assert_eq!(parse_text(&print::manifest(&manifest)), manifest, "{}", path.display());
    }
}

/// Found by the fuzz target `parse_resolve`: the order of the tables followed the spelling of their keys.
#[test]
fn the_spelling_of_an_edge_is_no_part_of_what_a_manifest_says() {
    let manifest = parse_text("[grants.\"a->b\"]\nclock = true\n[grants.\"a -> c\"]\nentropy = true\n");
    assert_eq!(parse_text(&print::manifest(&manifest)), manifest);
    let spaced = parse_text("[grants.\"a  ->  b\"]\nclock = true\n[grants.\"a->c\"]\nentropy = true\n");
    assert_eq!(spaced, manifest);
}

/// A file and a folder of one name at one place are two names for it, in whichever order they stand.
#[test]
fn the_order_of_two_names_for_one_place_says_nothing() {
    let grants =
        |entries: &str| parse_text(&format!("[grants.\"a -> b\"]\nfilesystem = {{ read = [{entries}] }}\n"));
    let (file, folder) = ("{ file = \"a\", at = \"/x\" }", "{ path = \"a\", at = \"/x\" }");
    let manifest = grants(&format!("{file}, {folder}"));
    assert_eq!(grants(&format!("{folder}, {file}, {folder}")), manifest);
    assert_eq!(parse_text(&print::manifest(&manifest)), manifest);
}
