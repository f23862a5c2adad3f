//! Why there is no runtime.

use std::fmt;

use capability_manifest::{Diagnostic, Files, PageError, print};

use crate::load::LoadError;
use crate::wasm::{CacheError, StartError};

/// Why there is no runtime. None of any guest's code has run.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The manifests cannot be read, or are wrong.
    #[error("{}", LoadText(.0))]
    Load(#[from] LoadError),
    /// The resolver said no.
    #[error("the manifest denies this:\n{}", Findings(.files, .diagnostics))]
    Denied {
        /// The manifests.
        files: Files,
        /// Every denial, with the line that would mend it.
        diagnostics: Vec<Diagnostic>,
    },
    /// The host said something about edges that the plan has not, and that no plugin can make.
    #[error("there is no edge `{}`; {}", .named.join("`, `"), known_edges(.known))]
    UnknownEdges {
        /// What it named.
        named: Vec<String>,
        /// Those there are, as `consumer -> crate`.
        known: Vec<String>,
    },
    /// A page of this build is wrong.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A compartment does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The cache of compiled code cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Plugins are resolved against what the host holds, and a plan alone does not say that.
    #[error(
        "this runtime was made from a plan, which does not say what the host holds; make it from a file, a workspace or a \
         project to add plugins"
    )]
    NoHostManifest,
}

/// As it is shown: it is what a person sees of a `main` that returns it, and the manifests that it holds are long.
impl fmt::Debug for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn known_edges(known: &[String]) -> String {
    if known.is_empty() {
        "the plan has none".to_owned()
    } else {
        format!("there are `{}`", known.join("`, `"))
    }
}

struct LoadText<'a>(&'a LoadError);

impl fmt::Display for LoadText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LoadError::Invalid { files, diagnostics } => {
                write!(f, "the manifest is not well-formed:\n{}", Findings(files, diagnostics))
            }
            other => other.fmt(f),
        }
    }
}

/// Findings as plain text: `error[code]: message`, then where, then the line that would mend it.
struct Findings<'a>(&'a Files, &'a [Diagnostic]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.1.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "error[{}]: {}", finding.code, finding.message)?;
            if let Some((at, label)) = &finding.primary {
                write!(f, "\n --> {} {label}", self.0.describe(*at))?;
            }
            for help in &finding.help {
                write!(f, "\n help: {help}")?;
            }
            for fix in &finding.fixes {
                let (table, line) = (fix.table.join("."), print::clause(&fix.capability, &fix.scope));
                write!(
                    f,
                    "\n this line would allow it, in [{table}] of {}: {line}",
                    self.0.get(fix.file).name()
                )?;
            }
        }
        Ok(())
    }
}
