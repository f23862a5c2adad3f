//! The compiler's flags for a build that is to be looked at, beside those that the user has.

use std::ffi::OsString;
use std::path::Path;

/// What compiled code must be like to be read: names that say which crate they are of, relocations left in, nothing inlined,
/// merged or stripped, and lines for the ways.
const OURS: &[&str] = &[
    "-Csymbol-mangling-version=v0",
    "-Clink-arg=-Wl,--emit-relocs",
    "-Copt-level=0",
    "-Clto=off",
    "-Cstrip=none",
    "-Cdebuginfo=line-tables-only",
];

/// How Cargo is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// By a variable of the environment.
    Variable(&'static str, OsString),
    /// By an argument.
    Argument(String),
}

/// The flags, said so that the user's own are kept: Cargo takes them from one place only, and lists of one key are joined.
///
/// `variable` looks up the environment. `folder` is where Cargo begins to look for its configuration.
pub(crate) fn told(
    variable: &dyn Fn(&str) -> Option<OsString>,
    folder: &Path,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Told {
    if let Some(flags) = variable("CARGO_ENCODED_RUSTFLAGS") {
        return Told::Variable("CARGO_ENCODED_RUSTFLAGS", joined(flags, "\u{1f}"));
    }
    if let Some(flags) = variable("RUSTFLAGS").filter(|flags| !flags.is_empty()) {
        return Told::Variable("RUSTFLAGS", joined(flags, " "));
    }
    let list: Vec<String> = OURS.iter().map(|flag| format!("'{flag}'")).collect();
    let list = list.join(", ");
    // Flags for targets win over those for every build, so ours go where the user's are.
    if targets_have_flags(folder, variable, read) {
        Told::Argument(format!("target.'cfg(all())'.rustflags=[{list}]"))
    } else {
        Told::Argument(format!("build.rustflags=[{list}]"))
    }
}

fn joined(mut flags: OsString, separator: &str) -> OsString {
    if !flags.is_empty() {
        flags.push(separator);
    }
    flags.push(OURS.join(separator));
    flags
}

/// Whether any configuration that Cargo would read has flags for a target.
fn targets_have_flags(
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<OsString>,
    read: &dyn Fn(&Path) -> Option<String>,
) -> bool {
    let home = variable("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".cargo")));
    let folders = folder.ancestors().map(|folder| folder.join(".cargo")).chain(home);
    for folder in folders {
        for name in ["config.toml", "config"] {
            let Some(text) = read(&folder.join(name)) else { continue };
            let Ok(table) = toml::from_str::<toml::Table>(&text) else { continue };
            let targets = table.get("target").and_then(toml::Value::as_table);
            if targets.into_iter().flatten().any(|(_, target)| target.get("rustflags").is_some()) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], config: Option<&str>) -> Told {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let read = |path: &Path| {
            (path == Path::new("/w/.cargo/config.toml")).then(|| config.map(str::to_owned)).flatten()
        };
        told(&find, Path::new("/w/app"), &read)
    }

    #[test]
    fn the_users_flags_are_kept_wherever_they_are() {
        let Told::Variable("RUSTFLAGS", flags) = with(&[("RUSTFLAGS", "--cfg mine")], None) else {
            panic!("the variable wins in Cargo");
        };
        let flags = flags.to_string_lossy().into_owned();
        assert!(flags.starts_with("--cfg mine -C") && flags.ends_with("line-tables-only"), "{flags}");
        let Told::Variable("CARGO_ENCODED_RUSTFLAGS", flags) =
            with(&[("RUSTFLAGS", "-Ca"), ("CARGO_ENCODED_RUSTFLAGS", "-Cb")], None)
        else {
            panic!("this one wins over the other");
        };
        assert!(flags.to_string_lossy().starts_with("-Cb\u{1f}-Csymbol"));
        let argument = |told| match told {
            Told::Argument(text) => text,
            Told::Variable(name, _) => panic!("{name}"),
        };
        let build = "[build]\nrustflags = ['-Cb']";
        assert!(argument(with(&[], Some(build))).starts_with("build.rustflags=['-Csymbol"));
        let target = "[target.x86_64-unknown-linux-gnu]\nrustflags = ['-Cb']";
        assert!(argument(with(&[], Some(target))).starts_with("target.'cfg(all())'.rustflags=["));
    }
}
