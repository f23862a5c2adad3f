//! Looks at what a build made, with all layers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use capability_manifest::HostCapability;
use rayon::prelude::*;

use super::build::{Artifact, Artifacts, BuildError, Made};
use super::code_graph::{CodeGraph, Pieces};
use super::facts::{CompiledPlace, Facts, Found, Layer, Uses, join_uses};
use super::identify;
use super::lines::Lines;
use super::linked::read_program;
use super::literal::Literals;
use super::names::{Crates, Meanings, Spoofed};
use super::relocatable::read_archive;
use super::sysroot::Sysroot;
use super::walk::{Sight, Walk};
use crate::limits::COMPILED_BYTES_MAX;
use crate::link::stage::split;
use crate::package::{Graph, PackageIndex, TargetKind};
use crate::table::Table;

/// A symbol of which nothing is known. Whoever refers to it has `ffi`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnknownSymbol {
    /// A package that refers to it.
    pub package: PackageIndex,
    /// The symbol.
    pub name: String,
}

/// A file that was built and could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnreadObject {
    /// The package that it was built of.
    pub package: PackageIndex,
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// How much was looked at, and how long it took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measure {
    /// Compiled libraries, and archives of C code.
    pub libraries: usize,
    /// Linked programs, build scripts and procedural macros.
    pub programs: usize,
    /// Functions and pieces of data.
    pub pieces: usize,
    /// The time for all of it, the build not included.
    pub took: Duration,
}

/// What compiled code was found to do.
#[derive(Debug, Default)]
pub struct Compiled {
    pub(crate) run: Facts,
    pub(crate) build: Facts,
    pub(crate) scripts: BTreeMap<PackageIndex, Uses>,
    pub(crate) macros: BTreeMap<PackageIndex, Uses>,
    pub(crate) lines: Lines,
    /// Symbols of which nothing is known.
    pub unknown: Vec<UnknownSymbol>,
    /// Files that could not be read.
    pub unread: Vec<UnreadObject>,
    /// How much was looked at.
    pub measure: Measure,
}

/// Looks at everything that a build made.
///
/// # Errors
/// When a file is gone, or the compiler's own libraries are not found. A file of a form that cannot be read is part of the result.
///
/// # Authority
/// Reads the files of the build and the compiler's libraries, and asks the compiler where these are.
pub fn examine_ambient(
    graph: &Graph,
    artifacts: &Artifacts,
    table: &Table,
    _: AmbientAuthority,
) -> Result<Compiled, BuildError> {
    let began = Instant::now();
    let (sysroot, bytes) = rayon::join(|| Sysroot::find(&graph.workspace), || read_all(&artifacts.files));
    let (sysroot, bytes) = (sysroot?, bytes?);
    let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let mut compiled = examine(graph, artifacts, &bytes, sysroot, table);
    compiled.measure.took = began.elapsed();
    Ok(compiled)
}

/// Looks at files that are read already.
pub(super) fn examine(
    graph: &Graph,
    artifacts: &Artifacts,
    bytes: &[&[u8]],
    sysroot: Sysroot,
    table: &Table,
) -> Compiled {
    let files: Vec<(usize, &Artifact, &[u8])> =
        artifacts.files.iter().zip(bytes).enumerate().map(|(at, (file, bytes))| (at, file, *bytes)).collect();
    let (libraries, programs): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(_, file, _)| matches!(file.made, Made::Library | Made::Archive));
    let mut compiled = Compiled {
        lines: Lines::new(artifacts.files.iter().map(|file| file.path.clone()).collect()),
        ..Compiled::default()
    };

    let mut crates = Crates::new(sysroot.crates, sysroot.symbols);
    let sight = Sight::new(graph);
    let objects = compiled.read_libraries(&libraries, &mut crates);
    let none = Spoofed::default();
    let meanings = Meanings::new(table, &crates, None, &sight, &none);
    let objects = CodeGraph::new(objects, &meanings);
    let spoofed = meanings.spoofed(&objects);
    compiled.judge_objects(graph, &sight, &objects);
    compiled.measure.libraries = libraries.len();
    compiled.measure.pieces = objects.nodes.len();

    let judged: Vec<Result<Judged, UnreadObject>> = programs
        .par_iter()
        .with_max_len(1)
        .map(|(number, file, bytes)| {
            let own = Some((file.name.clone(), file.package));
            let meanings = Meanings::new(table, &crates, own, &sight, &spoofed);
            judge_program(graph, &sight, &meanings, (*number, file, bytes))
        })
        .collect();
    for judged in judged {
        match judged {
            Ok(judged) => compiled.add(judged),
            Err(unread) => compiled.unread.push(unread),
        }
    }
    compiled.unknown.sort();
    compiled.unknown.dedup();
    compiled.unread.sort();
    compiled
}

fn read_all(files: &[Artifact]) -> Result<Vec<Vec<u8>>, BuildError> {
    let read = |file: &Artifact| {
        let length = std::fs::metadata(&file.path)?.len();
        if length > COMPILED_BYTES_MAX {
            return Err(std::io::Error::other("it is larger than what is read"));
        }
        std::fs::read(&file.path)
    };
    files
        .par_iter()
        .with_max_len(1)
        .map(|file| read(file).map_err(|error| BuildError::Read { path: file.path.clone(), error }))
        .collect()
}

/// A library with its objects, and the number of its crate; nothing where they cannot be read.
type Read<'a, 'd> = (&'a Artifact, Option<Vec<Pieces<'d>>>, Option<u64>);

/// What one program was found to do.
struct Judged {
    package: PackageIndex,
    made: Made,
    facts: Facts,
    whole: Uses,
    unknown: Vec<(PackageIndex, String)>,
    pieces: usize,
}

fn judge_program(
    graph: &Graph,
    sight: &Sight,
    meanings: &Meanings<'_>,
    (number, file, bytes): (usize, &Artifact, &[u8]),
) -> Result<Judged, UnreadObject> {
    let unread = |why: String| UnreadObject { package: file.package, path: file.path.clone(), why };
    let pieces = read_program(bytes).map_err(|error| unread(error.to_string()))?;
    let code = CodeGraph::new(vec![pieces], meanings);
    let in_build = matches!(file.made, Made::BuildScript | Made::ProcMacro);
    let walk = Walk {
        code: &code,
        graph,
        sight,
        program: Some(number),
        script_of: (file.made == Made::BuildScript).then_some(file.package),
        in_build: if in_build { Literals::new(bytes) } else { None },
        layer: Layer::Linked,
    };
    let roots = roots(&code, file);
    if roots.is_empty() {
        return Err(unread("where it begins is not to be found".to_owned()));
    }
    let reached = walk.reached(&roots);
    Ok(Judged {
        package: file.package,
        made: file.made,
        facts: walk.facts(&reached),
        whole: if in_build { walk.whole(&roots) } else { Uses::new() },
        unknown: code.unknown.clone(),
        pieces: code.nodes.len(),
    })
}

/// Where a program begins: its `main`, what runs before it, and of a library for others everything that is its own.
pub(crate) fn roots(code: &CodeGraph<'_>, file: &Artifact) -> Vec<u32> {
    let is_start = |name: &str| match file.made {
        Made::Program | Made::BuildScript => name == "main",
        Made::ProcMacro => name.starts_with("__rustc_proc_macro_decls_"),
        _ => false,
    };
    // What an allocator of the program's own is called by.
    let is_shim = |name: &str| {
        name.contains("7___rustc")
            && ["alloc", "alloc_zeroed", "dealloc", "realloc"].iter().any(|end| {
                name.strip_suffix(end)
                    .is_some_and(|name| name.ends_with("___rust_") || name.ends_with("___rg_"))
            })
    };
    let mut found = Vec::new();
    let mut starts = false;
    for node in code.indices() {
        let of = &code.nodes[node as usize];
        let name = of.name.unwrap_or_default();
        let is_first = is_start(name) || (file.made == Made::Shared && of.package() == Some(file.package));
        starts |= is_first;
        if is_first || is_shim(name) || of.runs_unasked {
            found.push(node);
        }
    }
    if starts { found } else { Vec::new() }
}

impl Compiled {
    fn read_libraries<'d>(
        &mut self,
        libraries: &[(usize, &Artifact, &'d [u8])],
        crates: &mut Crates,
    ) -> Vec<Pieces<'d>> {
        let read: Vec<Read<'_, 'd>> = libraries
            .par_iter()
            .with_max_len(1)
            .map(|(_, file, bytes)| {
                let pieces = read_archive(bytes, file.package);
                let number = match (&pieces, file.made) {
                    (Some(pieces), Made::Library) => identify::number(pieces, &file.name),
                    _ => None,
                };
                (*file, pieces, number)
            })
            .collect();
        let mut all = Vec::new();
        for (file, pieces, number) in read {
            match number {
                Some(number) => crates.add(&file.name, number, file.package),
                None if file.made == Made::Library => crates.add_nameless(&file.name, file.package),
                None => {}
            }
            let parts = pieces.as_ref().map_or(1, |pieces| pieces.iter().map(|one| one.unread).sum());
            if parts > 0 {
                let why = "holds compiled code of a form that cannot be read".to_owned();
                self.unread.push(UnreadObject { package: file.package, path: file.path.clone(), why });
            }
            all.extend(pieces.into_iter().flatten());
        }
        all
    }

    /// What the objects of all libraries say. Of a root's library everything is used; of the others it is only there.
    fn judge_objects(&mut self, graph: &Graph, sight: &Sight, code: &CodeGraph<'_>) {
        let walk = Walk {
            code,
            graph,
            sight,
            program: None,
            script_of: None,
            in_build: None,
            layer: Layer::Objects,
        };
        let is_root = |package: PackageIndex| {
            let of = &graph.packages[package];
            of.root && of.targets.iter().all(|target| target.kind != TargetKind::ProcMacro)
        };
        let roots: Vec<u32> =
            code.indices().filter(|node| code.nodes[*node as usize].package().is_some_and(is_root)).collect();
        let facts = walk.facts(&walk.reached(&roots));
        let (run, build) = split(graph);
        for (package, uses) in facts.own {
            if build.contains(&package) {
                join_uses(self.build.own.entry(package).or_default(), unused_in_build(&uses));
            }
            if run.contains(&package) {
                join_uses(self.run.own.entry(package).or_default(), uses);
            }
        }
        for ((from, to), uses) in facts.edges {
            if build.contains(&from) {
                join_uses(self.build.edges.entry((from, to)).or_default(), unused_in_build(&uses));
            }
            if run.contains(&from) {
                join_uses(self.run.edges.entry((from, to)).or_default(), uses);
            }
        }
        self.add_unknown(&code.unknown);
    }

    fn add_unknown(&mut self, unknown: &[(PackageIndex, String)]) {
        let named =
            unknown.iter().map(|(package, name)| UnknownSymbol { package: *package, name: name.clone() });
        self.unknown.extend(named);
    }

    fn add(&mut self, judged: Judged) {
        self.add_unknown(&judged.unknown);
        self.measure.programs += 1;
        self.measure.pieces += judged.pieces;
        match judged.made {
            Made::BuildScript | Made::ProcMacro => {
                self.build.join(judged.facts);
                let list =
                    if judged.made == Made::BuildScript { &mut self.scripts } else { &mut self.macros };
                join_uses(list.entry(judged.package).or_default(), judged.whole);
            }
            _ => self.run.join(judged.facts),
        }
    }

    /// Names, files and lines of places.
    pub(crate) fn resolve(&self, graph: &Graph, way: &[CompiledPlace]) -> Vec<crate::link::stage::CodePlace> {
        let mut by_program: HashMap<usize, Vec<u64>> = HashMap::new();
        for (program, address) in way.iter().filter_map(|place| place.at) {
            by_program.entry(program).or_default().push(address);
        }
        let mut lines: HashMap<(usize, u64), (PathBuf, u32)> = HashMap::new();
        for (program, addresses) in by_program {
            let found = self.lines.find(program, &addresses);
            for (address, found) in addresses.into_iter().zip(found) {
                lines.extend(found.map(|found| ((program, address), found)));
            }
        }
        way.iter()
            .map(|place| {
                let of = &graph.packages[place.package];
                let line = place.at.and_then(|at| lines.get(&at));
                let (file, line) = line.map_or(("compiled code".to_owned(), 0), |(file, line)| {
                    let file = file
                        .strip_prefix(&of.folder)
                        .or_else(|_| file.strip_prefix(&graph.workspace))
                        .unwrap_or(file);
                    (file.display().to_string(), *line)
                });
                crate::link::stage::CodePlace {
                    package: place.package,
                    item: super::names::shown(&place.name),
                    file,
                    line,
                }
            })
            .collect()
    }
}

/// What objects hold of a package that is used in the build: whether it is used there, the programs show. Printing is how build
/// scripts talk to Cargo.
fn unused_in_build(uses: &Uses) -> Uses {
    let uses = uses.iter().filter(|(capability, _)| **capability != HostCapability::Stdio);
    uses.map(|(capability, found)| (*capability, Found { is_used: false, ..found.clone() })).collect()
}

/// Packages whose files could not be read whole.
impl Compiled {
    pub(crate) fn incomplete(&self) -> HashSet<PackageIndex> {
        self.unread.iter().map(|unread| unread.package).collect()
    }
}
