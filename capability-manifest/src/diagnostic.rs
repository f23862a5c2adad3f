//! One shape for every finding, ready to be drawn: what a terminal, a JSON document and an editor are made from.

use crate::capability::Capability;
use crate::code::{Code, Severity};
use crate::denial::{Denial, Fix, Warning};
use crate::parse::ManifestError;
use crate::print;
use crate::project::{CrateIndex, EdgeIndex, Project, ProjectError};
use crate::scope::Scope;
use crate::text::{Files, Location, TextError};

/// A finding.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Its stable code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What it says.
    pub message: String,
    /// Where it is, and what it says there.
    pub primary: Option<(Location, String)>,
    /// The other end.
    pub secondary: Vec<(Location, String)>,
    /// More about it.
    pub notes: Vec<String>,
    /// What to do next.
    pub help: Vec<String>,
    /// The lines that would mend it.
    pub fixes: Vec<Fix>,
    /// The edge it is about: consumer and dependency.
    pub edge: Option<(String, String)>,
    /// The capability it is about.
    pub capability: Option<String>,
    /// The crates from the root to the one it is about.
    pub chain: Vec<String>,
    /// A file that is no manifest, relative to the workspace, and a line of it, from 1.
    pub source: Option<(String, u32)>,
}

impl Diagnostic {
    /// A finding with nothing but a message.
    pub fn new(code: Code, message: String) -> Self {
        Self {
            code,
            severity: code.severity(),
            message,
            primary: None,
            secondary: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            fixes: Vec::new(),
            edge: None,
            capability: None,
            chain: Vec::new(),
            source: None,
        }
    }

    /// An error in one file.
    pub fn of_manifest_error(error: &ManifestError) -> Self {
        let mut diagnostic = Self::new(error.kind.code(), error.kind.to_string());
        diagnostic.primary = Some((error.at, String::new()));
        diagnostic.secondary.extend(error.kind.other_place().map(|at| (at, "first here".to_owned())));
        diagnostic.help.extend(error.kind.help());
        diagnostic
    }

    /// An error between files.
    pub fn of_project_error(error: &ProjectError) -> Self {
        let mut diagnostic = Self::new(error.kind.code(), error.kind.to_string());
        diagnostic.primary = error.at.map(|at| (at, String::new()));
        diagnostic.help.extend(error.kind.help());
        diagnostic
    }

    /// A file that is no text.
    pub fn of_text_error(error: &TextError) -> Self {
        let code = match error {
            TextError::TooLarge { .. } => Code::TooLarge,
            TextError::NotUtf8 { .. } => Code::Unreadable,
        };
        Self::new(code, error.to_string())
    }

    /// A refusal.
    pub fn of_denial(project: &Project, denial: &Denial) -> Self {
        let mut diagnostic = Self::new(denial.kind.code(), denial.kind.to_string());
        diagnostic.capability = denial.kind.capability().map(Capability::to_string);
        let label = match (denial.code_is_about_consuming(), &diagnostic.capability) {
            (true, Some(capability)) => format!("`{capability}` is asked for here"),
            _ => String::new(),
        };
        diagnostic.primary = denial.at.map(|at| (at, label));
        diagnostic.secondary.clone_from(&denial.other);
        diagnostic.edge = denial.edge.map(|edge| ends(project, edge));
        diagnostic.chain = chain(project, &denial.chain);
        if diagnostic.chain.len() > 2 {
            diagnostic.notes.push(format!("path from the root: {}", print::path(&diagnostic.chain)));
        }
        diagnostic.help.extend(denial.kind.help());
        diagnostic.help.extend(fix_text(project.files(), &denial.fixes));
        diagnostic.fixes.clone_from(&denial.fixes);
        diagnostic
    }

    /// A remark.
    pub fn of_warning(project: &Project, warning: &Warning) -> Self {
        let mut diagnostic = Self::new(warning.kind.code(), warning.kind.to_string());
        diagnostic.capability = warning.kind.capability().map(Capability::to_string);
        diagnostic.primary = warning.at.map(|at| (at, String::new()));
        diagnostic.edge = warning.edge.map(|edge| ends(project, edge));
        if let crate::denial::WarningKind::InlineUnion { edges, .. } = &warning.kind {
            diagnostic.notes.clone_from(edges);
        }
        diagnostic.help.push(warning.kind.help());
        diagnostic
    }
}

impl Denial {
    fn code_is_about_consuming(&self) -> bool {
        matches!(self.kind.code(), Code::NotGranted | Code::NotHeld)
    }
}

fn ends(project: &Project, edge: EdgeIndex) -> (String, String) {
    let edge = project.edge(edge);
    (project.name(edge.from), project.name(edge.to))
}

fn chain(project: &Project, chain: &[CrateIndex]) -> Vec<String> {
    chain.iter().map(|index| project.name(*index)).collect()
}

/// "add to FILE: / [table] / line", for each hop; and a word about placeholders.
fn fix_text(files: &Files, fixes: &[Fix]) -> Vec<String> {
    let mut help: Vec<String> = fixes
        .iter()
        .map(|fix| {
            let line = print::clause(&fix.capability, &fix.scope);
            format!("add to {}:\n[{}]\n{line}", files.get(fix.file).name(), print::key_path(&fix.table))
        })
        .collect();
    let is_example = |fix: &Fix| !fix.complete && fix.scope == crate::example_scope(&fix.capability);
    let has_parameters = |fix: &Fix| {
        matches!(fix.scope, Scope::Paths(_) | Scope::Hosts(_) | Scope::HostNames(_) | Scope::Names(_))
    };
    let names_whole_folder = |fix: &Fix| fix.scope.to_string() == ".";
    if fixes.iter().any(|fix| is_example(fix) && has_parameters(fix)) {
        help.push("put what it really needs in the place of the example".to_owned());
    } else if fixes.iter().any(|fix| !fix.complete) {
        help.push("`--fix` leaves it to you to decide that the workspace holds this".to_owned());
    } else if fixes.iter().any(names_whole_folder) {
        help.push("`.` is the whole workspace: narrow it to what is needed".to_owned());
    }
    help
}
