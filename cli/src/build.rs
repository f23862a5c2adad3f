//! `build`: compiles the wasm and process crates of the graph, and compares what they import with what they consume.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{Backend, CrateIndex, Diagnostic, Project, print, resolve};
use cofferdam::wasm::{ImportVerdict, JudgedImport, import_denial, judge_imports};
use cofferdam_toolchain::{
    CargoOutput, GuestArtifact, GuestCrate, GuestWorld, Settings, Toolchain, ToolchainError,
    build_guest_ambient, target_folder_ambient,
};

use crate::arguments::{Build, Format};
use crate::document::{
    BuildDocument, BuiltDocument, CheckDocument, Finding, JudgedDocument, ToolchainDocument, VERSION,
    print_json,
};
use crate::exit::Exit;
use crate::progress::Drawn;
use crate::{Stop, render, setup};

/// A component, with what is to be said about its imports.
struct Built {
    artifact: GuestArtifact,
    imports: Vec<JudgedImport>,
}

pub(crate) fn run(arguments: &Build, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let loaded = arguments.source.load(arguments.format, ambient)?;
    let project = &loaded.project;
    let resolution = resolve(project);
    if resolution.granted(project).is_none() {
        let denials: Vec<_> =
            resolution.denials().iter().map(|denial| Diagnostic::of_denial(project, denial)).collect();
        if arguments.format == Format::Json {
            CheckDocument::new(project, &resolution, &denials, &[]).print()?;
            return Ok(Exit::Denied);
        }
        let text = render::all(project.files(), &denials) + &render::totals(denials.len(), 0);
        anstream::stderr().write_all(text.as_bytes())?;
        return Ok(Exit::Denied);
    }
    let chosen = chosen(project, &arguments.package)?;
    if chosen.is_empty() {
        if arguments.format == Format::Json {
            print_json(&document(None, project, &[], &[]))?;
        } else {
            writeln!(
                anstream::stdout(),
                "no crate of the graph has `backend = \"wasm\"` or `\"process\"`: there is nothing to build"
            )?;
        }
        return Ok(Exit::Ok);
    }
    let manifest = match (&arguments.source.manifest, &arguments.guests) {
        (None, _) => loaded.folder.join("Cargo.toml"),
        (Some(_), Some(guests)) => guests.clone(),
        (Some(_), None) => {
            let message = "say which Cargo workspace has the wasm crates of that file: `--guests Cargo.toml`";
            return Err(Stop::Usage(message.to_owned()));
        }
    };
    let settings = Settings::from_environment_ambient(ambient)?;
    let native = |index: &CrateIndex| project.backend(*index) == Backend::Process;
    let mut wasm_toolchain = None;
    let mut native_toolchain = None;
    if chosen.iter().any(|index| !native(index)) {
        wasm_toolchain = Some(Toolchain::find_ambient(&settings, ambient)?);
    }
    if chosen.iter().any(native) {
        native_toolchain = Some(Toolchain::native_ambient(&settings, ambient)?);
    }
    let folder = target_folder_ambient(&settings, &manifest, ambient)?.join("cofferdam");
    let mut built = Vec::with_capacity(chosen.len());
    let mut denials = Vec::new();
    for index in chosen {
        let guest = guest(project, index, manifest.clone(), arguments);
        let toolchain = if native(&index) { &native_toolchain } else { &wasm_toolchain };
        let toolchain = toolchain.as_ref().expect("found above for every crate that needs it");
        // Cargo draws its own progress.
        let mut drawn = Drawn::lines();
        let artifact = build_guest_ambient(
            toolchain,
            &guest,
            &folder,
            CargoOutput::Inherit,
            &mut |news| drawn.tell(news),
            ambient,
        )?;
        let imports = judge_imports(project, index, &artifact.imports, &artifact.declared)?;
        denials.extend(imports.iter().filter_map(|import| import_denial(project, index, import)));
        built.push(Built { artifact, imports });
    }
    match arguments.format {
        Format::Json => print_json(&document(
            wasm_toolchain.as_ref().or(native_toolchain.as_ref()),
            project,
            &built,
            &denials,
        ))?,
        Format::Human => say(project, &built, &denials)?,
    }
    Ok(if denials.is_empty() { Exit::Ok } else { Exit::Denied })
}

/// The wasm crates that are asked for.
fn chosen(project: &Project, names: &[String]) -> Result<Vec<CrateIndex>, Stop> {
    let built = |index: &CrateIndex| project.backend(*index) != Backend::Inline;
    if names.is_empty() {
        return Ok(project.crates().filter(built).collect());
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let index = project.find(name).map_err(Stop::Usage)?;
        if !built(&index) {
            let backend = project.backend(index).name();
            return Err(Stop::Usage(format!(
                "`{name}` is {backend}: only crates with `backend = \"wasm\"` or `\"process\"` are built"
            )));
        }
        if !found.contains(&index) {
            found.push(index);
        }
    }
    Ok(found)
}

/// A crate with a world is a library that exports it; one without is a program.
fn guest(project: &Project, index: CrateIndex, manifest: PathBuf, arguments: &Build) -> GuestCrate {
    let package = project.package(index);
    // A standalone file need not give versions, and its crates are those of the other workspace by name.
    let name = if project.is_standalone() {
        package.name.clone()
    } else {
        format!("{}@{}", package.name, package.version)
    };
    let guest = match project.world(index) {
        Some(_) => GuestCrate::library(manifest, name),
        None => GuestCrate::command(manifest, name),
    };
    let world = project.world(index);
    let world =
        world.map(|world| GuestWorld { path: world.path.to_string().into(), name: world.world.clone() });
    let sections = vec![(cofferdam::MANIFEST_SECTION.to_owned(), claims(project, index))];
    let mut cargo_arguments = arguments.source.lock_arguments();
    // As for Cargo: features are those of the packages that are named, and `CRATE/FEATURE` says of which.
    let named = arguments.package.iter().any(|name| project.find(name) == Ok(index));
    if named && arguments.source.all_features {
        cargo_arguments.push("--all-features".to_owned());
    }
    let features = chosen_features(&arguments.source.features, &package.name, named);
    let no_default_features = named && arguments.source.no_default_features;
    GuestCrate { cargo_arguments, world, sections, features, no_default_features, ..guest }
}

/// The features of one crate, out of all that are asked for.
fn chosen_features(asked: &[String], krate: &str, named: bool) -> Vec<String> {
    let each =
        asked.iter().flat_map(|features| features.split([',', ' '])).filter(|feature| !feature.is_empty());
    each.filter_map(|feature| match feature.split_once('/') {
        Some((of, feature)) => (of == krate).then(|| feature.to_owned()),
        None => named.then(|| feature.to_owned()),
    })
    .collect()
}

/// What a crate says of itself, as the manifest that its component carries to hosts that load it as a plugin.
fn claims(project: &Project, index: CrateIndex) -> String {
    let name = print::string(&project.package(index).name);
    let mut text = format!("[crates.{name}.compartment]\nbackend = \"wasm\"\n");
    let limits = print::limits(&project.limits(index));
    if !limits.is_empty() {
        let _ = writeln!(text, "[crates.{name}.compartment.limits]");
        for (limit, value) in limits {
            let value =
                if value.bytes().all(|byte| byte.is_ascii_digit()) { value } else { print::string(&value) };
            let _ = writeln!(text, "{limit} = {value}");
        }
    }
    let consumes = project.tables(index).map(|tables| tables.consumes.as_slice()).unwrap_or_default();
    if !consumes.is_empty() {
        let _ = writeln!(text, "[crates.{name}.consumes]");
        for consume in consumes {
            let capability = print::string(&consume.capability.value.to_string());
            let (reason, optional) = (print::string(&consume.reason), consume.optional);
            let _ = writeln!(text, "{capability} = {{ reason = {reason}, optional = {optional} }}");
        }
    }
    text
}

fn document(
    toolchain: Option<&Toolchain>,
    project: &Project,
    built: &[Built],
    denials: &[Diagnostic],
) -> BuildDocument {
    BuildDocument {
        document: "build",
        version: VERSION,
        outcome: if denials.is_empty() { "built" } else { "denied" },
        toolchain: toolchain.map(|toolchain| ToolchainDocument {
            id: toolchain.id().to_owned(),
            target: toolchain.target().triple(),
            rustc: toolchain.rustc_version().to_owned(),
            origin: setup::origin(toolchain),
            clang: toolchain.c_compiler().map(|c| c.clang().display().to_string()),
        }),
        components: built.iter().map(component).collect(),
        findings: denials.iter().map(|denial| Finding::new(project.files(), denial)).collect(),
    }
}

fn component(built: &Built) -> BuiltDocument {
    let GuestArtifact { package, version, component, sha256, bytes, rebuilt, .. } = &built.artifact;
    BuiltDocument {
        krate: package.clone(),
        version: version.clone(),
        path: component.display().to_string(),
        sha256: sha256.clone(),
        bytes: *bytes,
        rebuilt: *rebuilt,
        imports: built
            .imports
            .iter()
            .map(|import| JudgedDocument {
                interface: import.interface.clone(),
                capabilities: import.capabilities.iter().map(|one| one.name()).collect(),
                verdict: import.verdict.name(),
            })
            .collect(),
    }
}

fn say(project: &Project, built: &[Built], denials: &[Diagnostic]) -> Result<(), Stop> {
    let text = render::all(project.files(), denials) + &render::totals(denials.len(), 0);
    anstream::stderr().write_all(text.as_bytes())?;
    let mut out = anstream::stdout();
    for Built { artifact, imports } in built {
        let GuestArtifact { package, version, component, bytes, rebuilt, .. } = artifact;
        let what = if *rebuilt { "built" } else { "unchanged" };
        writeln!(out, "{} {version}: {what}, {bytes} bytes", render::printable(package))?;
        writeln!(out, "  {}", render::printable(&component.display().to_string()))?;
        let of = |verdict| {
            let found = imports.iter().filter(move |import| import.verdict == verdict);
            found.map(|import| import.interface.as_str()).collect::<Vec<_>>()
        };
        for (verdict, words) in [
            (ImportVerdict::Consumed, "uses"),
            (ImportVerdict::OverAnEdge, "calls over its edges"),
            (ImportVerdict::Declared, "calls back whoever uses it:"),
            (
                ImportVerdict::StartUp,
                "imports unasked, as every guest with a standard library, without power:",
            ),
        ] {
            let found = of(verdict);
            if !found.is_empty() {
                writeln!(out, "  {words} {}", found.join(", "))?;
            }
        }
    }
    Ok(())
}

/// What the crate is to blame for, or what this machine lacks.
pub(crate) fn exit_of(error: &ToolchainError) -> Exit {
    match error {
        ToolchainError::Workspace { .. }
        | ToolchainError::NoCrate { .. }
        | ToolchainError::Build { .. }
        | ToolchainError::NoModule { .. }
        | ToolchainError::World { .. }
        | ToolchainError::Encode { .. } => Exit::Invalid,
        _ => Exit::CannotEnforce,
    }
}

#[cfg(test)]
mod tests {
    use super::chosen_features;

    #[test]
    fn features_are_of_the_crate_that_is_named() {
        let asked = ["fast,other/slow".to_owned(), "guest/small exact".to_owned()];
        assert_eq!(chosen_features(&asked, "guest", true), ["fast", "small", "exact"]);
        assert_eq!(chosen_features(&asked, "guest", false), ["small"]);
        assert_eq!(chosen_features(&asked, "other", false), ["slow"]);
        assert!(chosen_features(&[], "guest", true).is_empty());
    }
}
