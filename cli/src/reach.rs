//! What code reaches, compared with what is declared and granted.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam::Loaded;
use cofferdam::manifest::{
    Backend, Capability, Code as MessageCode, CrateIndex, Diagnostic, EdgeIndex, Fix, Flow, Project,
    Resolution, Severity, Stage, UnitIndex, example_scope, limits, print,
};
use cofferdam_audit::{Atom, Audit, Layer, Layers, PackageIndex, Way};

use crate::code::Code;

/// Everything that the code says against the manifests.
pub(crate) fn findings(
    loaded: &Loaded,
    resolution: &Resolution,
    code: &Code,
    verdict: &Audit<'_>,
    accepted: &[String],
) -> Vec<Diagnostic> {
    let judge = Judge { project: &loaded.project, resolution, code, verdict };
    let mut all = judge.edges();
    all.extend(judge.roots());
    all.extend(judge.claims());
    all.extend(judge.unused_grants());
    all.extend(judge.curated());
    all.extend(judge.unknowns(accepted));
    all.extend(judge.unsafe_code());
    let unlisted = all.len().saturating_sub(limits::FINDINGS_MAX);
    if unlisted > 0 {
        all.sort_by_key(|finding| finding.severity);
        all.truncate(limits::FINDINGS_MAX);
        let severity = all[0].severity;
        let mut more =
            Diagnostic::new(MessageCode::TooLarge, format!("{unlisted} more findings are not listed"));
        more.severity = severity;
        all.push(more);
    }
    all
}

struct Judge<'a, 's> {
    project: &'a Project,
    resolution: &'a Resolution,
    code: &'a Code,
    verdict: &'a Audit<'s>,
}

/// The capabilities of some atoms that someone has to grant.
pub(crate) fn to_grant(atoms: &BTreeSet<Atom>) -> BTreeSet<Capability> {
    atoms.iter().map(|atom| atom.capability.clone()).filter(|name| !name.granted_by_default()).collect()
}

/// What code reaches over an edge that does not grant it.
struct Denied {
    edge: EdgeIndex,
    from: PackageIndex,
    to: PackageIndex,
    capability: Capability,
}

fn denied(project: &Project, resolution: &Resolution, code: &Code, verdict: &Audit<'_>) -> Vec<Denied> {
    let trace = resolution.trace();
    let mut seen: BTreeSet<(EdgeIndex, Capability)> = BTreeSet::new();
    let mut all = Vec::new();
    for flow in trace.flows() {
        let edge = project.edge(flow.edge);
        let unit = trace.holder(flow.from).unit;
        let build_edge = project.is_build_edge(flow.edge);
        let confined = is_confined(project, resolution, flow);
        let (Some(&from), Some(&to)) = (code.packages.get(&edge.from), code.packages.get(&edge.to)) else {
            continue;
        };
        let Some(need) = verdict.needs().get(&(from, to)).filter(|_| !confined) else { continue };
        let need = if unit == UnitIndex::BUILD { &need.build } else { &need.run };
        for capability in to_grant(need) {
            let is_run = matches!(capability, Capability::Host(Stage::Run, _));
            if (build_edge && is_run) || flow.authority.scope(&capability).is_some() {
                continue;
            }
            if seen.insert((flow.edge, capability.clone())) {
                all.push(Denied { edge: flow.edge, from, to, capability });
            }
        }
    }
    all
}

/// Whether an edge leads into a compartment, or is inside of one: that is held to its grants while it runs, and what is in it needs
/// no promise.
pub(crate) fn is_confined(project: &Project, resolution: &Resolution, flow: &Flow) -> bool {
    let trace = resolution.trace();
    let unit = trace.holder(flow.from).unit;
    let leads_in = project.backend(project.edge(flow.edge).to) != Backend::Inline;
    trace.unit(unit).owner.is_some()
        || (!project.is_build_edge(flow.edge) && unit != UnitIndex::BUILD && leads_in)
}

/// The layers that see something, as the end of a line; nothing where only source was looked at.
pub(crate) fn seen_by(code: &Code, layers: Layers) -> String {
    if code.compiled.is_none() { String::new() } else { format!("; seen in {}", layers.names().join(", ")) }
}

/// Whether what code reaches over edges is granted there.
pub(crate) struct Granted {
    declared: bool,
    denied: BTreeSet<(PackageIndex, PackageIndex, Capability)>,
}

impl Granted {
    pub(crate) fn new(project: &Project, resolution: &Resolution, code: &Code, verdict: &Audit<'_>) -> Self {
        let denied = denied(project, resolution, code, verdict);
        Self {
            declared: project.has_declarations(),
            denied: denied.into_iter().map(|one| (one.from, one.to, one.capability)).collect(),
        }
    }

    /// `None` while nothing is declared, so that nothing could be granted.
    pub(crate) fn says(&self, from: PackageIndex, to: PackageIndex, capability: &Capability) -> Option<bool> {
        self.declared.then(|| !self.denied.contains(&(from, to, capability.clone())))
    }
}

impl Judge<'_, '_> {
    fn package(&self, index: CrateIndex) -> Option<PackageIndex> {
        self.code.packages.get(&index).copied()
    }

    /// Rule 3 by what the code does: over each edge, what is reached must be granted.
    fn edges(&self) -> Vec<Diagnostic> {
        let denied = denied(self.project, self.resolution, self.code, self.verdict);
        denied.into_iter().map(|one| self.not_granted(one.edge, one.from, one.to, &one.capability)).collect()
    }

    fn not_granted(
        &self,
        index: EdgeIndex,
        from: PackageIndex,
        to: PackageIndex,
        capability: &Capability,
    ) -> Diagnostic {
        let edge = self.project.edge(index);
        let (consumer, provider) = (self.project.name(edge.from), self.project.name(edge.to));
        let message =
            format!("`{consumer}` does not grant `{capability}` to `{provider}`, whose code reaches it");
        let mut finding = Diagnostic::new(MessageCode::ReachNotGranted, message);
        let at = edge.line.or_else(|| self.project.name_line(edge.from));
        finding.primary = at.map(|at| (at, format!("`{consumer}` grants it nothing of that")));
        finding.edge = Some((consumer.clone(), provider.clone()));
        finding.capability = Some(capability.to_string());
        if let Some(way) = self.verdict.way_over(from, to, capability) {
            finding.notes.push(way_text(self.code, &way));
        }
        let layers = self.verdict.layers_over(from, to, capability);
        if self.code.compiled.is_some() && !layers.has(Layer::Source) {
            finding.notes.push(format!("only compiled code shows it: {}", layers.names().join(", ")));
        }
        if let Some(claim) = self.code.claim(to) {
            let known = if claim.uses.contains(capability) || claim.elsewhere.contains(capability) {
                "is known to use it by itself"
            } else {
                "is not known to use it by itself"
            };
            finding.notes.push(format!("`{provider}` {known}: {}", claim.reason));
        }
        if let Some(fix) = self.fix(index, capability) {
            let line = print::clause(&fix.capability, &fix.scope);
            finding.help.push(format!(
                "if it should: in {}, or with `cofferdam init`\n[{}]\n{line}",
                self.project.files().get(fix.file).name(),
                print::key_path(&fix.table)
            ));
            finding.fixes.push(fix);
        }
        finding
    }

    fn fix(&self, index: EdgeIndex, capability: &Capability) -> Option<Fix> {
        let (file, table) = table_of(self.project, index)?;
        Some(Fix {
            file,
            table,
            capability: capability.clone(),
            scope: example_scope(capability),
            complete: false,
        })
    }

    /// Grants that nothing behind their edge uses.
    fn unused_grants(&self) -> Vec<Diagnostic> {
        let incomplete: BTreeSet<PackageIndex> =
            self.verdict.unknowns().into_iter().map(|unknown| unknown.package).collect();
        let mut all = Vec::new();
        for index in self.project.edges() {
            let edge = self.project.edge(index);
            let (Some(from), Some(to)) = (self.package(edge.from), self.package(edge.to)) else { continue };
            // A compartment consumes what it says, and what was not read could use anything.
            let confined =
                [edge.from, edge.to].iter().any(|end| self.project.backend(*end) != Backend::Inline);
            let Some(need) = self.verdict.needs().get(&(from, to)).filter(|_| !confined) else { continue };
            if incomplete.contains(&to) {
                continue;
            }
            let mut used: BTreeSet<Capability> = BTreeSet::new();
            for atom in need.run.union(&need.build) {
                used.insert(atom.capability.at_build());
                used.insert(atom.capability.clone());
            }
            used.extend(used.clone().iter().filter_map(Capability::implied_by));
            for clause in self.project.grants(index).flat_map(|table| &table.clauses) {
                let capability = &clause.capability.value;
                let is_host = matches!(capability, Capability::Host(..)) && !capability.granted_by_default();
                if !is_host || used.contains(capability) || self.passes_on(edge.to, capability) {
                    continue;
                }
                let (consumer, provider) = (self.project.name(edge.from), self.project.name(edge.to));
                let message = format!(
                    "`{consumer}` grants `{capability}` to `{provider}`, and no code behind that edge uses it"
                );
                let mut finding = Diagnostic::new(MessageCode::GrantNotReached, message);
                finding.primary = Some((clause.capability.at, String::new()));
                finding.edge = Some((consumer, provider));
                finding.capability = Some(capability.to_string());
                finding.help.push("remove it".to_owned());
                all.push(finding);
            }
        }
        all
    }

    /// Whether a crate declares a capability or grants it on: then it needs it, whatever its code does.
    fn passes_on(&self, index: CrateIndex, capability: &Capability) -> bool {
        let same = |other: &Capability| other == capability || other.at_build() == *capability;
        let declares = self.project.tables(index).is_some_and(|tables| {
            tables.consumes.iter().any(|one| same(&one.capability.value))
                || tables.exports.iter().any(|one| same(&one.capability.value))
        });
        declares
            || self.project.edges_from(index).any(|edge| {
                let mut clauses = self.project.grants(edge).flat_map(|table| &table.clauses);
                clauses.any(|clause| same(&clause.capability.value))
            })
    }

    /// Crates whose code reaches more than their claim says.
    fn curated(&self) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        for package in 0..self.code.graph.packages.len() {
            let Some(claim) = self.code.claim(package).filter(|_| self.verdict.is_linked(package)) else {
                continue;
            };
            let own = to_grant(&self.verdict.own(package));
            for capability in
                own.iter().filter(|one| !claim.uses.contains(one) && !claim.elsewhere.contains(one))
            {
                let name = self.code.name(package);
                let read: Vec<String> = claim.read.iter().map(ToString::to_string).collect();
                let message = format!(
                    "`{name}` {} uses `{capability}`, which was not in {} when it was read",
                    self.code.graph.packages[package].version,
                    read.join(", ")
                );
                let mut finding = Diagnostic::new(MessageCode::ClaimDisagrees, message);
                finding.capability = Some(capability.to_string());
                finding.chain = vec![name];
                finding.notes.push(claim.reason.clone());
                if let Some(way) = self.verdict.way_within(package, capability) {
                    finding.notes.push(way_text(self.code, &way));
                }
                all.push(finding);
            }
        }
        all
    }

    /// What the roots reach must be held.
    fn roots(&self) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        for (_, holder) in self.resolution.trace().holders().filter(|(_, holder)| holder.is_root) {
            let Some(package) = self.package(holder.krate) else { continue };
            for capability in to_grant(&self.verdict.root_need(package)) {
                if holder.root_authority().scope(&capability).is_some() {
                    continue;
                }
                let name = self.project.name(holder.krate);
                let message = format!("`{name}` reaches `{capability}`, and the workspace does not hold it");
                let mut finding = Diagnostic::new(MessageCode::ReachNotHeld, message);
                finding.capability = Some(capability.to_string());
                finding.chain = vec![name];
                let holds = self.project.workspace().holds.as_ref();
                finding.primary = holds.map(|holds| (holds.at, "what the workspace holds".to_owned()));
                let way = self.verdict.way_within(package, &capability).or_else(|| {
                    let edges = self.project.edges_from(holder.krate);
                    edges.into_iter().find_map(|edge| {
                        let to = self.package(self.project.edge(edge).to)?;
                        let need = self.verdict.needs().get(&(package, to))?;
                        let brings = need.run.iter().any(|atom| atom.capability == capability);
                        brings.then(|| self.verdict.way_over(package, to, &capability))?
                    })
                });
                if let Some(way) = way {
                    finding.notes.push(way_text(self.code, &way));
                }
                let line = print::clause(&capability, &example_scope(&capability));
                finding.help.push(format!(
                    "if it should: `cofferdam init`, or\n[workspace.metadata.capabilities.holds]\n{line}"
                ));
                all.push(finding);
            }
        }
        all
    }

    /// What crates say of themselves against what their own code does.
    fn claims(&self) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        let incomplete: BTreeSet<PackageIndex> =
            self.verdict.unknowns().into_iter().map(|unknown| unknown.package).collect();
        for index in self.project.crates() {
            let (Some(tables), Some(package)) = (self.project.tables(index), self.package(index)) else {
                continue;
            };
            if !self.verdict.is_linked(package) || self.project.backend(index) != Backend::Inline {
                continue;
            }
            let own = to_grant(&self.verdict.own(package));
            let consumed: Vec<&Capability> =
                tables.consumes.iter().map(|one| &one.capability.value).collect();
            let exported = tables.exports.iter().map(|one| &one.capability.value);
            let named: Vec<&Capability> = consumed.iter().copied().chain(exported).collect();
            let name = self.project.name(index);
            let says_something = !named.is_empty();
            for capability in own.iter().filter(|_| says_something) {
                let said = |one: &&Capability| **one == *capability || one.at_build() == *capability;
                if named.iter().any(said) {
                    continue;
                }
                let message = format!("`{name}` uses `{capability}` and does not declare it");
                let mut finding = Diagnostic::new(MessageCode::ReachNotDeclared, message);
                if !self.project.package(index).member {
                    finding.severity = Severity::Warning;
                }
                finding.primary = self.project.name_line(index).map(|at| (at, String::new()));
                finding.capability = Some(capability.to_string());
                if let Some(way) = self.verdict.way_within(package, capability) {
                    finding.notes.push(way_text(self.code, &way));
                }
                finding.help.push(format!(
                    "add to its `consumes`: `{} = \"why\"`",
                    print::string(&capability.to_string())
                ));
                all.push(finding);
            }
            let mut used = own;
            for ((from, _), need) in self.verdict.needs() {
                if *from == package {
                    used.extend(to_grant(&need.run));
                    used.extend(to_grant(&need.build));
                }
            }
            for consume in &tables.consumes {
                let capability = &consume.capability.value;
                let is_host = matches!(capability, Capability::Host(..));
                let is_used = used.contains(capability) || used.contains(&capability.at_build());
                let implied = used.iter().filter_map(Capability::implied_by).any(|one| one == *capability);
                if is_host
                    && !is_used
                    && !implied
                    && !capability.granted_by_default()
                    && !incomplete.contains(&package)
                {
                    let message = format!("`{name}` declares `{capability}`, and none of its code uses it");
                    let mut finding = Diagnostic::new(MessageCode::UnusedClaim, message);
                    finding.primary = Some((consume.capability.at, String::new()));
                    finding.capability = Some(capability.to_string());
                    finding.help.push("remove it from `consumes`".to_owned());
                    all.push(finding);
                }
            }
        }
        all
    }

    fn unknowns(&self, accepted: &[String]) -> Vec<Diagnostic> {
        let mut by_package: BTreeMap<(PackageIndex, bool), Vec<String>> = BTreeMap::new();
        for unknown in self.verdict.unknowns() {
            // The line is of the source that includes what is not written yet, and of no file that anybody could open.
            let text = match (unknown.line, unknown.generated) {
                (0, _) => format!("{} {}", unknown.file, unknown.why),
                (line, false) => format!("{}:{line} {}", unknown.file, unknown.why),
                (line, true) => {
                    format!("{} {}, and included by line {line} of a source", unknown.file, unknown.why)
                }
            };
            by_package.entry((unknown.package, unknown.generated)).or_default().push(text);
        }
        let mut all = Vec::new();
        for ((package, generated), files) in by_package {
            let of = &self.code.graph.packages[package];
            if accepted.contains(&of.name) {
                continue;
            }
            let many = if files.len() == 1 { "one file" } else { "some files" };
            let message = if generated {
                let are = if files.len() == 1 { "is" } else { "are" };
                format!(
                    "{many} of `{} {}` {are} written by its build script and not read",
                    of.name, of.version
                )
            } else {
                format!("{many} of `{} {}` could not be analysed", of.name, of.version)
            };
            let mut finding = Diagnostic::new(MessageCode::NotAnalysed, message);
            if generated {
                finding.severity = Severity::Warning;
            }
            finding.notes = files.into_iter().take(5).collect();
            finding.help.push(format!("when you have read them: `--accept-unknown {}`", of.name));
            all.push(finding);
        }
        all
    }

    /// A file of a member, as it is called from the workspace's root.
    fn in_workspace(&self, package: PackageIndex, file: &str) -> String {
        let graph = &self.code.graph;
        let path = graph.packages[package].folder.join(file);
        match path.strip_prefix(&graph.workspace) {
            Ok(inside) if path.is_file() => inside.display().to_string(),
            // What a member includes from elsewhere in the workspace has its name from there already.
            _ => file.to_owned(),
        }
    }

    fn unsafe_code(&self) -> Vec<Diagnostic> {
        let mut all = Vec::new();
        for (package, of) in self.code.graph.packages.iter().enumerate().filter(|(_, of)| of.member) {
            let (reaching, _) = self.verdict.unsafe_code(package);
            // A name of its own that the crate exports stands for what its unsafe code does.
            let exported: BTreeSet<String> = self
                .project
                .crates()
                .filter(|index| self.package(*index) == Some(package))
                .filter_map(|index| self.project.tables(index))
                .flat_map(|tables| &tables.exports)
                .map(|one| &one.capability.value)
                .filter(|name| !matches!(name, Capability::Host(..)))
                .map(ToString::to_string)
                .collect();
            for site in reaching.into_iter().filter(|site| site.tags.is_disjoint(&exported)) {
                let untagged: Vec<String> = to_names(&site.reaches)
                    .into_iter()
                    .filter(|name| {
                        !site.tags.contains(name.strip_prefix("build.").unwrap_or(name))
                            && !site.tags.contains(name)
                    })
                    .collect();
                if untagged.is_empty() {
                    continue;
                }
                let message = format!(
                    "unsafe code in `{}` of `{}` reaches {} and does not say so",
                    site.at.item,
                    of.name,
                    untagged.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                );
                let mut finding = Diagnostic::new(MessageCode::UntaggedUnsafe, message);
                finding.notes.push(format!("{}:{}", site.at.file, site.at.line));
                finding.chain = vec![of.name.clone(), site.at.item.clone()];
                finding.source = Some((self.in_workspace(package, &site.at.file), site.at.line));
                finding.help.push(format!("above the block: `// capability: {}`", untagged.join(", ")));
                all.push(finding);
            }
        }
        all
    }
}

fn to_names(capabilities: &BTreeSet<Capability>) -> BTreeSet<String> {
    capabilities.iter().filter(|one| !one.granted_by_default()).map(Capability::to_string).collect()
}

/// The file and table for a grant over an edge: the one there is, else the consumer's own, else the workspace's.
pub(crate) fn table_of(
    project: &Project,
    index: EdgeIndex,
) -> Option<(cofferdam::manifest::FileId, Vec<String>)> {
    let edge = project.edge(index);
    let key = |index: CrateIndex| project.name(index).split(' ').next().unwrap_or_default().to_owned();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // A table of the workspace's about the edge narrows the consumer's own, so it is the one to extend.
    // Where those have a file of their own, new ones are made there.
    let has_own = project.grants(index).any(|table| table.from.is_none());
    let in_workspace =
        project.grants(index).any(|table| table.from.is_some()) || project.workspace_is_apart() && !has_own;
    match project.editable_file(edge.from).filter(|_| !in_workspace) {
        Some(file) => {
            let mut table = words(&["package", "metadata", "capabilities", "grants"]);
            table.push(key(edge.to));
            Some((file, table))
        }
        None => {
            let mut table = words(&["workspace", "metadata", "capabilities", "grants"]);
            table.push(format!("{} -> {}", key(edge.from), key(edge.to)));
            Some((project.workspace_file()?, table))
        }
    }
}

/// `codec: load (src/lib.rs:3) -> util: read (src/fs.rs:9) -> std::fs::read`.
pub(crate) fn way_text(code: &Code, way: &Way) -> String {
    format!("reached by\n{}", way_lines(code, way).join("\n"))
}

/// The same, a line for each place; a long way is shortened in the middle.
pub(crate) fn way_lines(code: &Code, way: &Way) -> Vec<String> {
    const SHOWN: usize = 12;
    let mut steps: Vec<String> = way
        .places
        .iter()
        .map(|place| {
            let package = &code.graph.packages[place.package].name;
            let at = match (place.file.as_str(), place.line) {
                ("", _) => "passed on".to_owned(),
                (file, 0) => file.to_owned(),
                (file, line) => format!("{file}:{line}"),
            };
            format!("{package}: {} ({at})", place.item)
        })
        .collect();
    if steps.len() > SHOWN {
        let left_out = steps.len() - SHOWN;
        steps.splice(SHOWN / 2..SHOWN / 2 + left_out, [format!("... {left_out} more ...")]);
    }
    steps.push(way.what.clone());
    for step in steps.iter_mut().skip(1) {
        step.insert_str(0, "-> ");
    }
    steps
}
