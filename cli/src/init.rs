//! `init`: writes the least that makes `check` pass: what the workspace holds, what each edge grants, what each member
//! consumes. What is there already stays as it is; only what is missing is added.

mod within;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::Loaded;
use cofferdam::manifest::scope::{
    Bounded, Extent, HostPort, NamePattern, NormalPath, PathPattern, PatternSet, Scope,
};
use cofferdam::manifest::{
    Backend, Capability, CrateIndex, EdgeIndex, FileId, Fix, HostCapability, Resolution, UnitIndex,
    example_scope, resolve,
};
use cofferdam_audit::{Atom, Audit, PackageIndex, Reading, Way};
use toml_edit::{DocumentMut, InlineTable, Item, Value};

use crate::arguments::{Format, Init};
use crate::check::counted;
use crate::code::Code;
use crate::compiled::{Judged, look_or_stop};
use crate::exit::Exit;
use crate::reach::table_of;
use crate::record::Record;
use crate::{Stop, fix, record, render};
use within::Narrowed;

/// Capabilities with the parameters that the code was seen to use.
type Grants = BTreeMap<Capability, Scope>;

pub(crate) fn run(arguments: &Init, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let loaded = arguments.source.load(Format::Human, ambient)?;
    let Some(mut code) = Code::read(&loaded, arguments.source.target.as_deref(), Reading::Platform, ambient)?
    else {
        return Err(Stop::Usage("`init` looks at code, and a `capabilities.toml` has none".to_owned()));
    };
    if arguments.compiled {
        look_or_stop(&mut code, &loaded, &arguments.source, Judged::Nothing, ambient)?;
    }
    let verdict = code.verdict();
    let resolution = resolve(&loaded.project);
    let draft = Draft::new(&loaded, &resolution, &code, &verdict);
    let edited = draft.edit()?;
    for (file, text) in &edited {
        let old = loaded.project.files().get(*file);
        if old.as_str() != text {
            fix::show(old.name(), old.as_str(), text)?;
        }
    }
    let changed: Vec<(FileId, String)> = edited
        .into_iter()
        .filter(|(file, text)| loaded.project.files().get(*file).as_str() != text)
        .collect();
    draft.say_narrowed()?;
    let left_out = draft.narrowed.iter().any(|one| one.granted.is_none());
    let done = if left_out { Exit::Denied } else { Exit::Ok };
    let mut out = anstream::stdout();
    let record = Record::of(&loaded, &code, ambient);
    let recorded = Record::read(&loaded.folder).is_ok_and(|old| old.as_ref() == Some(&record));
    if !recorded && !arguments.dry_run {
        let path = loaded.folder.join(record::NAME);
        std::fs::write(&path, record.text())
            .map_err(|error| Stop::Write(path.display().to_string(), error))?;
    }
    if changed.is_empty() && left_out {
        writeln!(out, "no manifest is changed")?;
        return Ok(done);
    }
    if changed.is_empty() && recorded {
        writeln!(out, "nothing is missing: what the code reaches is granted")?;
        return Ok(done);
    }
    if changed.is_empty() && !arguments.dry_run {
        writeln!(out, "what the code reaches is granted; `{}` is written anew", record::NAME)?;
        return Ok(done);
    }
    let summary = format!(
        "{} held, {} with grants, {} changed",
        counted(draft.holds.len(), "capability"),
        counted(draft.edges.values().filter(|grants| !grants.is_empty()).count(), "edge"),
        counted(changed.len(), "file")
    );
    if arguments.dry_run {
        writeln!(out, "{summary} (nothing is written)")?;
        return Ok(done);
    }
    for (file, text) in changed {
        if !fix::is_valid(&loaded, file, &text) {
            let name = loaded.project.files().get(file).name();
            return Err(Stop::Usage(format!(
                "the lines do not fit into `{name}` as it is; write them by hand"
            )));
        }
        let path = &loaded.paths[&file];
        std::fs::write(path, text).map_err(|error| Stop::Write(path.display().to_string(), error))?;
    }
    // The record of what was read, which the next `check` compares.
    let record = if recorded { String::new() } else { format!("; `{}` is written", record::NAME) };
    writeln!(out, "{summary}{record}")?;
    writeln!(
        out,
        "paths, hosts and programs that the source does not name are examples: put what is meant in their place"
    )?;
    Ok(done)
}

struct Draft<'a> {
    loaded: &'a Loaded,
    resolution: &'a Resolution,
    code: &'a Code,
    verdict: &'a Audit<'a>,
    holds: Grants,
    edges: BTreeMap<EdgeIndex, Grants>,
    /// For each member, what it consumes, and whether every consumer grants it.
    consumes: BTreeMap<CrateIndex, BTreeMap<Capability, bool>>,
    /// What lines that were there before do not allow.
    narrowed: Vec<Narrowed>,
}

/// A crate is linked into programs, into the build, or both.
#[derive(Debug, Clone, Copy, Default)]
struct Units {
    run: bool,
    build: bool,
}

impl<'a> Draft<'a> {
    fn new(loaded: &'a Loaded, resolution: &'a Resolution, code: &'a Code, verdict: &'a Audit<'a>) -> Self {
        let mut draft = Self {
            loaded,
            resolution,
            code,
            verdict,
            holds: Grants::new(),
            edges: BTreeMap::new(),
            consumes: BTreeMap::new(),
            narrowed: Vec::new(),
        };
        draft.gather();
        draft.carry_up();
        draft.keep_within();
        draft.claim();
        draft
    }

    fn package(&self, index: CrateIndex) -> Option<PackageIndex> {
        self.code.packages.get(&index).copied()
    }

    /// What each edge brings, and what the roots use.
    fn gather(&mut self) {
        let project = &self.loaded.project;
        let trace = self.resolution.trace();
        for flow in trace.flows() {
            let edge = project.edge(flow.edge);
            let unit = trace.holder(flow.from).unit;
            let build_edge = project.is_build_edge(flow.edge);
            let confined = trace.unit(unit).owner.is_some()
                || (!build_edge && unit != UnitIndex::BUILD && project.backend(edge.to) != Backend::Inline);
            let (Some(from), Some(to)) = (self.package(edge.from), self.package(edge.to)) else { continue };
            let Some(need) = self.verdict.needs().get(&(from, to)).filter(|_| !confined) else { continue };
            let need = if unit == UnitIndex::BUILD { &need.build } else { &need.run };
            let wanted = need.iter().filter(|atom| !build_edge || is_build(&atom.capability));
            let grants = grants(wanted);
            merge(self.edges.entry(flow.edge).or_default(), &grants);
        }
        for (_, holder) in trace.holders().filter(|(_, holder)| holder.is_root) {
            if let Some(package) = self.package(holder.krate) {
                let need = self.verdict.root_need(package);
                merge(&mut self.holds, &grants(need.iter()));
            }
        }
    }

    fn units(&self) -> HashMap<CrateIndex, Units> {
        let mut units: HashMap<CrateIndex, Units> = HashMap::new();
        for (_, holder) in self.resolution.trace().holders() {
            let units = units.entry(holder.krate).or_default();
            units.build |= holder.unit == UnitIndex::BUILD;
            units.run |= holder.unit == UnitIndex::HOST;
        }
        units
    }

    /// Nobody grants what he was not granted: what an edge has, the edges above it have, up to what the workspace holds.
    fn carry_up(&mut self) {
        let project = &self.loaded.project;
        let units = self.units();
        for index in project.in_order().iter().rev() {
            let here = units.get(index).copied().unwrap_or_default();
            let mut given = Grants::new();
            for edge in project.edges_from(*index) {
                if let Some(grants) = self.edges.get(&edge) {
                    merge(&mut given, grants);
                }
            }
            let at_build: Grants =
                given.iter().map(|(name, scope)| (name.at_build(), scope.clone())).collect();
            if project.roots().contains(index) {
                let holds = if here.run || !here.build { &given } else { &at_build };
                merge(&mut self.holds, holds);
            }
            let arriving: Vec<EdgeIndex> =
                project.edges().filter(|edge| project.edge(*edge).to == *index).collect();
            let consumer =
                |edge: &EdgeIndex| units.get(&project.edge(*edge).from).copied().unwrap_or_default();
            let is_build_edge = |edge: &EdgeIndex| project.is_build_edge(*edge);
            if here.build {
                let edges = arriving.iter().filter(|edge| is_build_edge(edge) || consumer(edge).build);
                self.cover(&edges.copied().collect::<Vec<_>>(), &at_build);
            }
            if here.run {
                let edges = arriving.iter().filter(|edge| !is_build_edge(edge) && consumer(edge).run);
                self.cover(&edges.copied().collect::<Vec<_>>(), &given);
            }
        }
    }

    /// Adds to edges into a crate what the crate gives on and none of them brings in such a scope: inline code has the union of
    /// what its consumers give it.
    fn cover(&mut self, arriving: &[EdgeIndex], given: &Grants) {
        let Some(first) = arriving.first() else { return };
        let missing: Grants = given
            .iter()
            .filter(|(name, scope)| {
                let mut brought = arriving.iter().filter_map(|edge| self.edges.get(edge)?.get(*name));
                !brought.any(|held| held.covers(scope))
            })
            .map(|(name, scope)| (name.clone(), scope.clone()))
            .collect();
        // The edge that brings most of it already.
        let closest = arriving.iter().max_by_key(|edge| {
            let grants = self.edges.get(*edge);
            missing.keys().filter(|name| grants.is_some_and(|grants| grants.contains_key(*name))).count()
        });
        merge(self.edges.entry(*closest.unwrap_or(first)).or_default(), &missing);
    }

    /// What each member's own code uses. Over an edge that does not need it, the member works without.
    fn claim(&mut self) {
        let project = &self.loaded.project;
        for index in project.crates().filter(|index| project.package(*index).member) {
            let Some(package) = self.package(index).filter(|package| self.verdict.is_linked(*package)) else {
                continue;
            };
            if project.backend(index) != Backend::Inline {
                continue;
            }
            let mut claims = BTreeMap::new();
            for capability in grants(self.verdict.own(package).iter()).into_keys() {
                let arriving = self.edges.iter().filter(|(edge, _)| project.edge(**edge).to == index);
                let arriving: Vec<&Grants> = arriving.map(|(_, grants)| grants).collect();
                let has =
                    |name: &Capability| arriving.iter().filter(|grants| grants.contains_key(name)).count();
                // What one edge gives at run time and another only to the build is not asked of either.
                let (run, build) = (has(&capability), has(&capability.at_build()));
                let everywhere = run == arriving.len() || (run == 0 && build == arriving.len());
                claims.insert(capability, everywhere);
            }
            self.consumes.insert(index, claims);
        }
    }

    /// The new text of each file.
    fn edit(&self) -> Result<BTreeMap<FileId, String>, Stop> {
        let mut edits = Edits { loaded: self.loaded, documents: BTreeMap::new() };
        self.edit_holds(&mut edits)?;
        self.edit_grants(&mut edits)?;
        // Where the workspace's tables have a file of their own, that is the only one that is drafted.
        if !self.loaded.project.workspace_is_apart() {
            self.edit_consumes(&mut edits)?;
        }
        Ok(edits.finish())
    }

    fn edit_holds(&self, edits: &mut Edits<'_>) -> Result<(), Stop> {
        let project = &self.loaded.project;
        let Some(file) = project.workspace_file() else { return Ok(()) };
        let written = project.workspace().holds.iter().flat_map(|holds| &holds.value);
        let written: BTreeSet<&Capability> = written.map(|clause| &clause.capability.value).collect();
        let table = ["workspace", "metadata", "capabilities", "holds"].map(str::to_owned).to_vec();
        for (capability, scope) in self.holds.iter().filter(|(name, _)| !written.contains(name)) {
            edits.add(file, &table, capability, scope, &[])?;
        }
        Ok(())
    }

    fn edit_grants(&self, edits: &mut Edits<'_>) -> Result<(), Stop> {
        let project = &self.loaded.project;
        for (edge, grants) in &self.edges {
            let written: BTreeSet<Capability> = project
                .grants(*edge)
                .flat_map(|table| &table.clauses)
                .map(|clause| clause.capability.value.clone())
                .collect();
            let Some((file, table)) = table_of(project, *edge) else { continue };
            let missing: Vec<(&Capability, &Scope)> =
                grants.iter().filter(|(name, _)| !written.contains(name)).collect();
            let evidence: Vec<String> =
                missing.iter().filter_map(|(name, _)| self.evidence(*edge, name)).collect();
            for (capability, scope) in missing {
                edits.add(file, &table, capability, scope, &evidence)?;
            }
        }
        Ok(())
    }

    /// `filesystem.read: codec::load (src/lib.rs:3) uses std::fs::read`.
    fn evidence(&self, edge: EdgeIndex, capability: &Capability) -> Option<String> {
        let ends = self.loaded.project.edge(edge);
        let (from, to) = (self.package(ends.from)?, self.package(ends.to)?);
        let way = self.verdict.way_over(from, to, capability)?;
        Some(format!("{capability}: {}", self.last(&way)))
    }

    fn last(&self, way: &Way) -> String {
        let Some(place) = way.places.last() else { return way.what.clone() };
        let package = &self.code.graph.packages[place.package];
        let text = format!("{} {}:{} {}", package.name, place.file, place.line, way.what);
        render::printable(&text).replace('\n', " ")
    }

    fn edit_consumes(&self, edits: &mut Edits<'_>) -> Result<(), Stop> {
        let project = &self.loaded.project;
        for (index, claims) in &self.consumes {
            let Some(file) = project.editable_file(*index) else { continue };
            let tables = project.tables(*index);
            let named = |capability: &Capability| {
                tables.is_some_and(|tables| {
                    let consumed = tables.consumes.iter().map(|one| &one.capability.value);
                    let exported = tables.exports.iter().map(|one| &one.capability.value);
                    consumed.chain(exported).any(|one| one == capability || one.at_build() == *capability)
                })
            };
            let table = ["package", "metadata", "capabilities", "consumes"].map(str::to_owned);
            for (capability, everywhere) in claims.iter().filter(|(name, _)| !named(name)) {
                let Some(package) = self.package(*index) else { continue };
                let reason = self
                    .verdict
                    .way_within(package, capability)
                    .map_or_else(|| "found in its targets".to_owned(), |way| self.last(&way));
                let value: Value = if *everywhere {
                    reason.into()
                } else {
                    let mut details = InlineTable::new();
                    details.insert("reason", reason.into());
                    details.insert("optional", true.into());
                    details.into()
                };
                let document = edits.document(file)?;
                if let Some(table) = fix::table_at(document.as_table_mut(), &table) {
                    table.insert(&capability.to_string(), Item::Value(value));
                }
            }
        }
        Ok(())
    }
}

/// Files as they are edited.
struct Edits<'a> {
    loaded: &'a Loaded,
    documents: BTreeMap<FileId, DocumentMut>,
}

impl Edits<'_> {
    fn document(&mut self, file: FileId) -> Result<&mut DocumentMut, Stop> {
        if !self.documents.contains_key(&file) {
            let text = self.loaded.project.files().get(file).as_str();
            let parsed = text.parse();
            let document = parsed.map_err(|error| Stop::Usage(format!("cannot edit this TOML: {error}")))?;
            self.documents.insert(file, document);
        }
        Ok(self.documents.get_mut(&file).expect("it was put there"))
    }

    /// Adds one clause; a table that is new gets the evidence as a comment.
    fn add(
        &mut self,
        file: FileId,
        table: &[String],
        capability: &Capability,
        scope: &Scope,
        evidence: &[String],
    ) -> Result<(), Stop> {
        let document = self.document(file)?;
        let is_new = {
            let mut at: Option<&Item> = Some(document.as_item());
            for key in table {
                at = at.and_then(|item| item.get(key));
            }
            at.is_none()
        };
        // Edges between crates of others are many: a line each, without the evidence, which `why` shows.
        let in_a_line = is_new && table.first().is_some_and(|first| first == "workspace") && table.len() == 5;
        if in_a_line && let Some(grants) = fix::table_at(document.as_table_mut(), &table[..4]) {
            grants.insert(&table[4], Item::Value(InlineTable::new().into()));
        }
        let line = Fix {
            file,
            table: table.to_vec(),
            capability: capability.clone(),
            scope: scope.clone(),
            complete: true,
        };
        fix::add(document, &line);
        if is_new && !in_a_line && !evidence.is_empty() {
            let mut at: Option<&mut Item> = Some(document.as_item_mut());
            for key in table {
                at = at.and_then(|item| item.get_mut(key));
            }
            if let Some(table) = at.and_then(Item::as_table_mut) {
                table.decor_mut().set_prefix(format!("\n# {}\n", evidence.join("\n# ")));
            }
        }
        Ok(())
    }

    fn finish(self) -> BTreeMap<FileId, String> {
        self.documents
            .into_iter()
            .map(|(file, document)| {
                let old = self.loaded.project.files().get(file).as_str();
                (file, fix::as_it_was(old, &document.to_string()))
            })
            .collect()
    }
}

fn is_build(capability: &Capability) -> bool {
    *capability == capability.at_build()
}

fn merge(into: &mut Grants, from: &Grants) {
    for (name, scope) in from {
        let joined = into.get(name).map_or_else(|| scope.clone(), |before| before.join(scope));
        into.insert(name.clone(), joined);
    }
}

/// Atoms as what a table says: arguments where the source names them, an example where it does not.
fn grants<'a>(atoms: impl Iterator<Item = &'a Atom>) -> Grants {
    let mut all = Grants::new();
    for atom in atoms.filter(|atom| !atom.capability.granted_by_default()) {
        let scope = atom
            .argument
            .as_deref()
            .and_then(|argument| scope_of(&atom.capability, argument))
            .unwrap_or_else(|| example_scope(&atom.capability));
        merge(&mut all, &Grants::from([(atom.capability.clone(), scope)]));
    }
    // Who may write a folder may read it back, so that need not be said twice.
    all
}

fn scope_of(capability: &Capability, argument: &str) -> Option<Scope> {
    match capability.host_capability()? {
        HostCapability::EnvironmentRead | HostCapability::EnvironmentWrite => {
            Some(Scope::Names(PatternSet::new([NamePattern::parse(argument).ok()?])))
        }
        HostCapability::FilesystemRead | HostCapability::FilesystemWrite | HostCapability::ProcessSpawn
            if argument.starts_with('/') =>
        {
            let pattern = PathPattern { path: NormalPath::parse(argument).ok()?, extent: Extent::Tree };
            Some(Scope::Paths(PatternSet::new([Bounded::free(pattern)])))
        }
        HostCapability::NetworkConnect | HostCapability::NetworkListen => {
            Some(Scope::Hosts(PatternSet::new([HostPort::parse(argument).ok()?])))
        }
        _ => None,
    }
}
