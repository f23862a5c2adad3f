//! Loads the graph that the command line names, and says what is wrong with it.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::{LoadError, LoadOptions, Loaded, load_file_ambient, load_workspace_ambient};

use crate::arguments::{Format, Source};
use crate::document::CheckDocument;
use crate::exit::Exit;
use crate::{Stop, render};

impl Source {
    /// The project, or every error said in the asked format.
    pub(crate) fn load(&self, format: Format, ambient: AmbientAuthority) -> Result<Loaded, Stop> {
        self.load_quietly(ambient).map_err(|error| say(&error, format))
    }

    /// The project, or what is wrong.
    pub(crate) fn load_quietly(&self, ambient: AmbientAuthority) -> Result<Loaded, LoadError> {
        match &self.manifest {
            Some(path) => load_file_ambient(path, ambient),
            None => load_workspace_ambient(&self.options(), ambient),
        }
    }

    /// What Cargo is told about the network and the lockfile, whatever it is asked.
    pub(crate) fn lock_arguments(&self) -> Vec<String> {
        let flags = [(self.locked, "--locked"), (self.offline, "--offline"), (self.frozen, "--frozen")];
        flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()).collect()
    }

    /// What `cargo build` is told, so that it builds the graph that was loaded.
    pub(crate) fn build_arguments(&self) -> Vec<String> {
        let mut arguments = self.lock_arguments();
        if let Some(path) = &self.manifest_path {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            arguments.extend(["--manifest-path".to_owned(), path.display().to_string()]);
        }
        arguments.extend(self.feature_arguments());
        arguments
    }

    fn feature_arguments(&self) -> Vec<String> {
        let flags =
            [(self.all_features, "--all-features"), (self.no_default_features, "--no-default-features")];
        let mut arguments: Vec<String> =
            flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()).collect();
        if !self.features.is_empty() {
            arguments.extend(["--features".to_owned(), self.features.join(",")]);
        }
        arguments
    }

    fn options(&self) -> LoadOptions {
        let mut cargo_arguments = self.lock_arguments();
        cargo_arguments.extend(self.feature_arguments());
        if let Some(target) = &self.target {
            cargo_arguments.extend(["--filter-platform".to_owned(), target.clone()]);
        }
        LoadOptions { manifest_path: self.manifest_path.clone(), cargo_arguments }
    }
}

/// Says what is wrong; what is left is to stop.
pub(crate) fn say(error: &LoadError, format: Format) -> Stop {
    say_all(error, format).err().unwrap_or(Stop::Said(Exit::Invalid))
}

fn say_all(error: &LoadError, format: Format) -> Result<(), Stop> {
    let text = match (error, format) {
        (LoadError::Invalid { files, diagnostics }, Format::Human) => {
            render::all(files, diagnostics) + &render::totals(diagnostics.len(), 0)
        }
        (LoadError::Invalid { files, diagnostics }, Format::Json) => {
            return CheckDocument::invalid(files, diagnostics).print();
        }
        (error, Format::Json) => return CheckDocument::unreadable(&error.to_string()).print(),
        // Cargo has said what is wrong on standard error itself, unless it could not even be started.
        (LoadError::Cargo(failure), Format::Human) => {
            let message = format!("cargo metadata failed: {failure}");
            let message = message.trim_end().trim_end_matches(':');
            let hint = "without a Cargo workspace, name a file: `--manifest capabilities.toml`";
            render::plain_error(&format!("{message}; {hint}"))
                + "
"
        }
        (error, Format::Human) => render::plain_error(&error.to_string()) + "\n",
    };
    anstream::stderr().write_all(text.as_bytes())?;
    Ok(())
}
