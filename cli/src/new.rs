//! `new`: a compartment crate and its consumer's edge, which build, run and pass `check` as they are. In a workspace of its own, or
//! beside a consumer that is there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use ambient_authority::AmbientAuthority;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::Stop;
use crate::arguments::{New, NewBackend};
use crate::exit::Exit;
use crate::render::printable;

/// Most characters of a crate's name.
const NAME_CHARS_MAX: usize = 64;

pub(crate) fn run(arguments: &New, _: AmbientAuthority) -> Result<Exit, Stop> {
    let scaffold = Scaffold::new(arguments)?;
    let files = match &arguments.consumer {
        None => scaffold.workspace()?,
        Some(consumer) => scaffold.beside(consumer)?,
    };
    for (path, text) in &files {
        let written =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
        written.map_err(|error| Stop::Write(path.display().to_string(), error))?;
    }
    scaffold.say(arguments.consumer.as_deref(), &files)?;
    Ok(Exit::Ok)
}

/// What the templates are filled in with.
struct Scaffold {
    /// The folder that is made.
    folder: PathBuf,
    name: String,
    backend: &'static str,
    c: bool,
    /// The clone that this program was built from, or another; `None` for released versions.
    clone: Option<PathBuf>,
}

impl Scaffold {
    fn new(arguments: &New) -> Result<Self, Stop> {
        let folder = arguments.path.clone();
        let name = match folder.components().next_back() {
            Some(Component::Normal(name)) => name.to_string_lossy().into_owned(),
            _ => return Err(Stop::Usage(format!("`{}` ends in no name", folder.display()))),
        };
        let chars = name.chars().count();
        if chars > NAME_CHARS_MAX {
            return Err(Stop::Usage(format!(
                "a name of {chars} characters is too long for a crate; it may have {NAME_CHARS_MAX}"
            )));
        }
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let parts_begin_well = name.split('-').all(|part| part.starts_with(|c: char| c.is_ascii_lowercase()));
        if !name.chars().all(|c| is_letter(c) || c == '-') || !parts_begin_well {
            let message = format!(
                "`{}` cannot be the name of a crate and of a WIT world: use lowercase letters, digits and single hyphens",
                printable(&name)
            );
            return Err(Stop::Usage(message));
        }
        // Names that the generated code, or a crate beside it, has already.
        if [
            "app",
            "ambient-authority",
            "cofferdam",
            "cofferdam-guest",
            "implementation",
            "core",
            "std",
            "alloc",
            "test",
        ]
        .contains(&name.as_str())
            || WIT_KEYWORDS.contains(&name.as_str())
            || syn_keyword(&name)
        {
            return Err(Stop::Usage(format!("`{name}` is taken; choose another name")));
        }
        if folder.exists() {
            return Err(Stop::Usage(format!("`{}` is there already", folder.display())));
        }
        let clone = match &arguments.cofferdam {
            Some(folder) if is_clone(folder) => Some(std::path::absolute(folder)?),
            Some(folder) => {
                let message =
                    format!("`{}` is no clone of Cofferdam: it has no runtime/host", folder.display());
                return Err(Stop::Usage(message));
            }
            None => Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .filter(|folder| is_clone(folder))
                .map(Path::to_owned),
        };
        let backend = match (arguments.backend, arguments.c) {
            (Some(NewBackend::Wasm), _) | (None, false) => "wasm",
            (Some(NewBackend::Process), _) | (None, true) => "process",
        };
        Ok(Self { folder, name, backend, c: arguments.c, clone })
    }

    fn fill(&self, template: &str) -> String {
        let dependency = |folder: &str| match &self.clone {
            Some(clone) => format!("{{ path = {} }}", value(clone.join(folder).display().to_string())),
            None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
        };
        let ident = self.name.replace('-', "_");
        let camel: String =
            self.name.split('-').map(|part| part[..1].to_ascii_uppercase() + &part[1..]).collect();
        let call = if self.c {
            include_str!("../templates/c_call.rs")
        } else {
            include_str!("../templates/rust_call.rs")
        };
        let about = if self.c { "A C library in a compartment." } else { "Greets, in a compartment." };
        let build = if self.c { "build = \"build.rs\"\n\n[build-dependencies]\ncc = \"1\"\n" } else { "" };
        template
            .replace("@CALL@", call.trim_end())
            .replace("@CRATE@", include_str!("../templates/crate_table.toml").trim_end())
            .replace("@ABOUT@", about)
            .replace("@BUILD@", build)
            .replace("@BACKEND@", self.backend)
            .replace("@COFFERDAM@", dependency("runtime/host").trim())
            .replace("@GUEST@", dependency("runtime/guest").trim())
            .replace("@NAME@", &self.name)
            .replace("@IDENT@", &ident)
            .replace("@TYPE@", &camel)
    }

    /// The compartment crate's files, below its folder.
    fn member(&self, folder: &Path) -> Vec<(PathBuf, String)> {
        let name = &self.name;
        let mut files = vec![
            (folder.join("Cargo.toml"), include_str!("../templates/crate.toml")),
            (folder.join("src/lib.rs"), include_str!("../templates/lib.rs")),
        ];
        let wit = folder.join(format!("wit/{name}.wit"));
        let implementation = folder.join("src/implementation.rs");
        if self.c {
            files.extend([
                (wit, include_str!("../templates/c.wit")),
                (implementation, include_str!("../templates/c_implementation.rs")),
                (folder.join("build.rs"), include_str!("../templates/c_build.rs")),
                (folder.join(format!("c/{name}.c")), include_str!("../templates/c_source.c")),
                (folder.join(format!("c/{name}.h")), include_str!("../templates/c_header.h")),
            ]);
        } else {
            files.extend([
                (wit, include_str!("../templates/rust.wit")),
                (implementation, include_str!("../templates/rust_implementation.rs")),
            ]);
        }
        files.into_iter().map(|(path, template)| (path, self.fill(template))).collect()
    }

    /// A workspace with a consumer.
    fn workspace(&self) -> Result<Vec<(PathBuf, String)>, Stop> {
        let root = &self.folder;
        if let Some(outer) = workspace_around(root)? {
            let message = format!(
                "`{}` is a workspace, and a workspace cannot be inside another; add a crate to it with `--consumer CRATE`",
                outer.display()
            );
            return Err(Stop::Usage(message));
        }
        let mut files: Vec<(PathBuf, String)> = [
            ("Cargo.toml", include_str!("../templates/workspace.toml")),
            ("capabilities.toml", include_str!("../templates/capabilities.toml")),
            ("app/Cargo.toml", include_str!("../templates/app.toml")),
            ("app/src/main.rs", include_str!("../templates/main.rs")),
            (".gitignore", include_str!("../templates/gitignore")),
        ]
        .into_iter()
        .map(|(path, template)| (root.join(path), self.fill(template)))
        .collect();
        files.extend(self.member(&root.join(&self.name)));
        Ok(files)
    }

    /// The crate alone, with the lines in other files that make it a dependency of `consumer`.
    fn beside(&self, consumer: &str) -> Result<Vec<(PathBuf, String)>, Stop> {
        let folder = std::path::absolute(&self.folder)?;
        let Some(root) = workspace_around(&self.folder)? else {
            let message = format!(
                "`--consumer {}`: there is no workspace around `{}`",
                printable(consumer),
                folder.display()
            );
            return Err(Stop::Usage(message));
        };
        let mut files = self.member(&self.folder);
        let path = root.join("Cargo.toml");
        let mut workspace = document(&path)?;
        let within = folder
            .strip_prefix(&root)
            .map_err(|_| Stop::Usage("the crate is not in the workspace".to_owned()))?;
        let within = within.display().to_string();
        let members = workspace["workspace"]["members"].as_array_mut();
        let (member, crate_folder) = find_member(&root, consumer)?;
        if let Some(members) = members
            && !members.iter().filter_map(|one| one.as_str()).any(|one| covers(one, &within))
        {
            members.push(within.as_str());
        }
        files.push((path, workspace.to_string()));
        let mut manifest = document(&member)?;
        let to = relative(&crate_folder, &folder);
        let mut line = toml_edit::InlineTable::new();
        line.insert("path", to.into());
        manifest["dependencies"].or_insert(Item::Table(Table::new()))[&self.name] = value(line);
        // A workspace whose root is the consumer has both in one file.
        match files.iter_mut().find(|(path, _)| *path == member) {
            None => files.push((member, manifest.to_string())),
            Some(_) => {
                let message =
                    "a consumer that is the workspace's root itself: add the dependency by hand".to_owned();
                return Err(Stop::Usage(message));
            }
        }
        let capabilities = root.join("capabilities.toml");
        if capabilities.is_file() {
            let mut document = document(&capabilities)?;
            let own = &mut document["crates"][consumer];
            if let Some(dependencies) =
                own["dependencies"].or_insert(value(toml_edit::Array::new())).as_array_mut()
            {
                dependencies.push(self.name.as_str());
            }
            let mut text = document.to_string();
            let table = self.fill(include_str!("../templates/crate_table.toml"));
            let _ = write!(
                text,
                "\n{}",
                table.replace(&format!("{}/wit/", self.name), &format!("{within}/wit/"))
            );
            files.push((capabilities, text));
        }
        Ok(files)
    }

    fn say(&self, consumer: Option<&str>, files: &[(PathBuf, String)]) -> Result<(), Stop> {
        let mut out = anstream::stdout();
        for (path, _) in files {
            writeln!(out, "wrote {}", printable(&path.display().to_string()))?;
        }
        writeln!(out, "\nnext:")?;
        if consumer.is_none() {
            writeln!(out, "  cd {}", printable(&self.folder.display().to_string()))?;
            writeln!(out, "  cofferdam check --manifest capabilities.toml")?;
            writeln!(out, "  cofferdam build --manifest capabilities.toml --guests Cargo.toml")?;
            writeln!(out, "  cargo run")?;
        } else {
            writeln!(out, "  cofferdam build -p {}", self.name)?;
            let (ident, call) = (self.name.replace('-', "_"), self.fill("@TYPE@"));
            if self.backend == "process" {
                writeln!(
                    out,
                    "first in the consumer's `main`, so that it is its own launcher of processes:"
                )?;
                writeln!(
                    out,
                    "  if let Some(code) = cofferdam::process::run_as_launcher() {{ return code; }}"
                )?;
            }
            writeln!(out, "and in the consumer, with a runtime:")?;
            writeln!(
                out,
                "  let {ident} = {ident}::{call}::open(runtime.edge(cofferdam::edge!(\"{}\"))?)?;",
                self.name
            )?;
        }
        Ok(())
    }
}

/// Whether a folder has the crates that a scaffold depends on.
fn is_clone(folder: &Path) -> bool {
    ["runtime/host/Cargo.toml", "runtime/guest/Cargo.toml"].iter().all(|file| folder.join(file).is_file())
}

/// The nearest folder above that has a `[workspace]`.
fn workspace_around(path: &Path) -> Result<Option<PathBuf>, Stop> {
    for folder in std::path::absolute(path)?.ancestors().skip(1) {
        let manifest = folder.join("Cargo.toml");
        if manifest.is_file() && document(&manifest)?.contains_key("workspace") {
            return Ok(Some(folder.to_owned()));
        }
    }
    Ok(None)
}

fn document(path: &Path) -> Result<DocumentMut, Stop> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Stop::Read(path.display().to_string(), error))?;
    text.parse().map_err(|error: toml_edit::TomlError| {
        Stop::Usage(format!("{}: {}", path.display(), error.message()))
    })
}

/// The manifest of a member, and its folder.
fn find_member(root: &Path, name: &str) -> Result<(PathBuf, PathBuf), Stop> {
    let mut command = cargo_metadata::MetadataCommand::new();
    command.manifest_path(root.join("Cargo.toml")).no_deps();
    let metadata = command.exec().map_err(|error| Stop::Usage(format!("cargo metadata failed: {error}")))?;
    let found = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let Some(package) = found else {
        let names: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
        let message =
            format!("there is no crate `{}` in the workspace; it has {}", printable(name), names.join(", "));
        return Err(Stop::Usage(message));
    };
    let manifest = package.manifest_path.as_std_path().to_owned();
    let folder = manifest.parent().unwrap_or(root).to_owned();
    Ok((manifest, folder))
}

/// Whether a pattern of members covers a folder: the folder itself, or `some/*`.
fn covers(pattern: &str, folder: &str) -> bool {
    pattern == folder
        || pattern
            .strip_suffix("/*")
            .is_some_and(|above| Path::new(folder).parent() == Some(Path::new(above)))
}

/// The way from one folder to another.
fn relative(from: &Path, to: &Path) -> String {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// Keywords of WIT: none can be the name of a world as it is.
const WIT_KEYWORDS: [&str; 37] = [
    "func",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "f32",
    "f64",
    "char",
    "resource",
    "own",
    "borrow",
    "record",
    "flags",
    "variant",
    "bool",
    "string",
    "option",
    "result",
    "future",
    "stream",
    "error-context",
    "list",
    "map",
    "from",
    "tuple",
    "constructor",
    "include",
    "with",
    "interface",
    "world",
    "package",
    "export",
    "import",
];

/// Whether Rust has the word for itself.
fn syn_keyword(word: &str) -> bool {
    const WORDS: [&str; 49] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
        "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
        "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self",
        "static", "struct", "super", "trait", "true", "try", "type", "unsafe", "use", "virtual", "where",
        "while", "yield",
    ];
    WORDS.contains(&word)
}
