//! From a manifest to a runtime: load, resolve, plan, and the host's own choices.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ambient_authority::AmbientAuthority;
use capability_manifest::{Diagnostic, Project, Severity, resolve};

use super::linked::LinkedEntry;
use super::plugin::HostManifest;
use super::{Entry, Inner, Runtime, RuntimeError};
use crate::audit::AuditLog;
use crate::client::Provided;
use crate::links::Written;
use crate::load::{LoadOptions, Loaded, load_file_ambient, load_workspace_ambient};
use crate::plan::{Plan, plan, verify_paths_ambient};
use crate::process::{ProcessHost, StartOptions};
use crate::wasm::{CodeCache, CompartmentOptions, Input, Output, WasmHost};

/// Where a component comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, read when the compartment starts.
    File(PathBuf),
    /// Its bytes.
    Bytes(Arc<[u8]>),
}

/// A resolved plan, and what the host decides beside it.
#[derive(Debug)]
pub struct RuntimeBuilder {
    plan: Plan,
    folder: PathBuf,
    log: AuditLog,
    components: HashMap<String, Source>,
    how_to_build: String,
    components_folder: Option<PathBuf>,
    options: HashMap<String, CompartmentOptions>,
    process_options: HashMap<String, StartOptions>,
    processes: Option<Arc<ProcessHost>>,
    default_options: CompartmentOptions,
    cache: Option<CodeCache>,
    eager: bool,
    provided: HashMap<String, Vec<Provided>>,
    /// Where the sources of crates are, by name and version, for those that can change.
    sources: HashMap<(String, String), PathBuf>,
    pub(super) host_manifest: Option<HostManifest>,
}

impl Runtime {
    /// From a `capabilities.toml`. Relative paths in it begin in its folder.
    ///
    /// # Errors
    /// When the file, or a component or plugin manifest that it names, cannot be read or is wrong; when the resolver denies;
    /// when a granted path is not there. The message has every finding, with the line that would mend it.
    ///
    /// # Authority
    /// Reads these files, and looks at the metadata of granted paths.
    pub fn from_file_ambient(
        path: impl AsRef<Path>,
        ambient: AmbientAuthority,
    ) -> Result<RuntimeBuilder, RuntimeError> {
        let loaded = load_file_ambient(path.as_ref(), ambient)?;
        let mut builder = Self::from_loaded_ambient(&loaded, ambient)?;
        builder.host_manifest = Some(HostManifest::read(path.as_ref())?);
        builder.how_to_build =
            format!("`cofferdam build --manifest {} --guests Cargo.toml`", path.as_ref().display());
        Ok(builder)
    }

    /// From a Cargo workspace. Relative paths in its manifests begin in its root. Components come from
    /// [`RuntimeBuilder::components_in`], by default `cofferdam/components` in the target folder of that workspace, where `cofferdam build` puts them.
    ///
    /// # Errors
    /// As [`Runtime::from_file_ambient`].
    ///
    /// # Authority
    /// Runs `cargo metadata`, reads manifests, and looks at the metadata of granted paths.
    pub fn from_workspace_ambient(
        options: &LoadOptions,
        ambient: AmbientAuthority,
    ) -> Result<RuntimeBuilder, RuntimeError> {
        let loaded = load_workspace_ambient(options, ambient)?;
        let target =
            loaded.metadata.as_ref().map(|metadata| metadata.target_directory.as_std_path().to_owned());
        let folder = target.unwrap_or_else(|| loaded.folder.join("target")).join("cofferdam/components");
        let mut builder = Self::from_loaded_ambient(&loaded, ambient)?.components_in(folder);
        let own =
            loaded.metadata.iter().flat_map(|metadata| &metadata.packages).filter(|one| one.source.is_none());
        builder.sources = own
            .filter_map(|package| {
                let name = (package.name.to_string(), package.version.to_string());
                Some((name, package.manifest_path.parent()?.as_std_path().to_owned()))
            })
            .collect();
        Ok(builder)
    }

    fn from_loaded_ambient(
        loaded: &Loaded,
        ambient: AmbientAuthority,
    ) -> Result<RuntimeBuilder, RuntimeError> {
        let mut builder = Self::from_project(&loaded.project, &loaded.folder)?;
        let resolution = resolve(&loaded.project);
        let graph = resolution.granted(&loaded.project);
        let mut missing = verify_paths_ambient(&loaded.project, graph.as_ref(), &loaded.folder, ambient);
        missing.retain(|finding| finding.severity == Severity::Error);
        if !missing.is_empty() {
            let files = loaded.project.files().clone();
            return Err(RuntimeError::Denied { files, diagnostics: missing });
        }
        builder.plan.compartments.sort_by_key(|compartment| compartment.number);
        Ok(builder)
    }

    /// From a project that was built in code. Relative paths in its grants begin in `folder`.
    ///
    /// # Errors
    /// When the resolver denies.
    pub fn from_project(
        project: &Project,
        folder: impl Into<PathBuf>,
    ) -> Result<RuntimeBuilder, RuntimeError> {
        let resolution = resolve(project);
        let Some(graph) = resolution.granted(project) else {
            let diagnostics =
                resolution.denials().iter().map(|denial| Diagnostic::of_denial(project, denial)).collect();
            return Err(RuntimeError::Denied { files: project.files().clone(), diagnostics });
        };
        let mut builder = Self::from_plan(plan(project, &graph)?, folder);
        builder.host_manifest = Some(HostManifest::of_project(project));
        Ok(builder)
    }

    /// From a plan.
    pub fn from_plan(mut plan: Plan, folder: impl Into<PathBuf>) -> RuntimeBuilder {
        // It may have been put together from several, whose guests write each other's folders.
        Written::share(&mut plan.compartments);
        RuntimeBuilder {
            plan,
            folder: folder.into(),
            log: AuditLog::discard(),
            components: HashMap::new(),
            how_to_build: "`cofferdam build`".to_owned(),
            components_folder: None,
            options: HashMap::new(),
            process_options: HashMap::new(),
            processes: None,
            default_options: CompartmentOptions::default(),
            cache: None,
            eager: false,
            provided: HashMap::new(),
            sources: HashMap::new(),
            host_manifest: None,
        }
    }
}

impl RuntimeBuilder {
    /// Where events go. Kept nowhere by default.
    #[must_use]
    pub fn audit(mut self, log: AuditLog) -> Self {
        self.log = log;
        self
    }

    /// The component of a crate, wherever the manifest says it is.
    #[must_use]
    pub fn component(mut self, krate: &str, source: Source) -> Self {
        self.components.insert(krate.to_owned(), source);
        self
    }

    /// The folder with components that `cofferdam build` made, `NAME-VERSION.wasm` and `NAME-VERSION.elf`.
    #[must_use]
    pub fn components_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.components_folder = Some(folder.into());
        self
    }

    /// Keeps compiled code.
    #[must_use]
    pub fn cache(mut self, cache: CodeCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Where the granted output of all compartments goes. Captured by default.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.default_options.output = output;
        for options in self.options.values_mut() {
            options.output = output;
        }
        self
    }

    /// Instances of an edge's compartment, `consumer -> crate`, that calls may run in at a time. One by default: state that a
    /// guest keeps is then the same for all calls.
    #[must_use]
    pub fn instances(mut self, edge: &str, instances: usize) -> Self {
        self.of(edge).instances = instances.max(1);
        self
    }

    /// The arguments of an edge's compartment, the program's name first.
    #[must_use]
    pub fn arguments(mut self, edge: &str, arguments: Vec<String>) -> Self {
        self.of(edge).arguments = arguments;
        self
    }

    /// Where an edge's standard input comes from, if it is granted one.
    #[must_use]
    pub fn input(mut self, edge: &str, input: Input) -> Self {
        self.of(edge).input = input;
        self
    }

    /// What starts processes, in place of the launcher that is found beside this program.
    #[must_use]
    pub fn processes(mut self, host: Arc<ProcessHost>) -> Self {
        self.processes = Some(host);
        self
    }

    /// How an edge's process compartment, `consumer -> crate`, is started again, and how many calls one guest serves.
    #[must_use]
    pub fn process_options(mut self, edge: &str, options: StartOptions) -> Self {
        self.process_options.insert(edge.to_owned(), options);
        self
    }

    /// Gives an edge's compartment, `consumer -> crate`, an interface that this program implements and its world imports:
    /// `.provide("app -> codec", codec::progress::provide(Shown))`. Each edge has its own; what one is given, no other can call.
    #[must_use]
    pub fn provide(mut self, edge: &str, provided: Provided) -> Self {
        self.provided.entry(edge.to_owned()).or_default().push(provided);
        self
    }

    /// Starts every compartment at once, so that what is wrong with one is known now. By default each starts with its first use.
    #[must_use]
    pub fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// What will run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// That every edge which the host says something about is there, or can be once its crate is added as a plugin.
    fn verify_edges(&self) -> Result<(), RuntimeError> {
        let compartments = self.plan.compartments.iter().map(|one| (one.edge(), &one.consumer, &one.krate));
        let linked = self.plan.linked.iter().map(|one| (one.edge(), &one.consumer, &one.krate));
        let all: Vec<_> = compartments.chain(linked).collect();
        // A plugin is another crate, so what names one that the plan has is a slip.
        let can_come = |edge: &str| {
            edge.split_once(" -> ").is_some_and(|(consumer, krate)| {
                self.host_manifest.is_some()
                    && consumer != krate
                    && all.iter().all(|(_, _, known)| *known != krate)
            })
        };
        let said = self.options.keys().chain(self.process_options.keys()).chain(self.provided.keys());
        let unknown = said.filter(|edge| all.iter().all(|(known, ..)| known != *edge));
        let mut named = Vec::new();
        for edge in unknown {
            if can_come(edge) {
                tracing::warn!(edge, "the plan has no such edge; it holds if a plugin makes it");
            } else {
                named.push(edge.clone());
            }
        }
        named.sort_unstable();
        named.dedup();
        let known = || all.iter().map(|(edge, ..)| edge.clone()).collect();
        if named.is_empty() { Ok(()) } else { Err(RuntimeError::UnknownEdges { named, known: known() }) }
    }

    fn of(&mut self, edge: &str) -> &mut CompartmentOptions {
        let options = self.default_options.clone();
        self.options.entry(edge.to_owned()).or_insert(options)
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// When the engine cannot be made, when something was said about an edge that is not there, or, for an eager one, when a
    /// compartment does not start.
    ///
    /// # Authority
    /// The runtime reads components, opens granted paths and reads granted variables, now and whenever a compartment starts.
    pub fn start_ambient(self, ambient: AmbientAuthority) -> Result<Runtime, RuntimeError> {
        self.verify_edges()?;
        let host = match self.cache {
            Some(cache) => WasmHost::with_cache(cache)?,
            None => WasmHost::new()?,
        };
        let entries = self.plan.compartments.into_iter();
        let entries: Vec<Entry> = entries.map(Entry::new).collect();
        let linked = self.plan.linked.into_iter();
        let linked = linked.map(|plan| LinkedEntry { plan, running: None, revoked: false }).collect();
        let runtime = Runtime(Arc::new(Inner {
            host,
            folder: self.folder,
            log: self.log,
            components: self.components,
            how_to_build: self.how_to_build,
            components_folder: self.components_folder,
            options: self.options,
            process_options: self.process_options,
            processes: Mutex::new(self.processes),
            default_options: self.default_options,
            host_manifest: self.host_manifest,
            linked: Mutex::new(linked),
            provided: self.provided,
            sources: self.sources,
            entries: Mutex::new(entries),
            starting: Mutex::default(),
            ambient,
        }));
        if self.eager {
            let (starting, all) = (runtime.starting(), runtime.lock().len());
            for index in 0..all {
                runtime.started(&starting, index)?;
            }
            drop(starting);
        }
        Ok(runtime)
    }
}
