//! `check --fix`: writes the suggested lines into the manifests, keeping their format, after showing the diff.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::Loaded;
use cofferdam::manifest::{FileId, Files, Fix, Form, ManifestText, Resolution, parse, print, resolve};
use similar::{ChangeTag, TextDiff};
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::arguments::{Check, Format};
use crate::{Stop, render};

/// Mending one denial can show the next; this many rounds mend any chain that the suggestions cover.
const ROUNDS_MAX: usize = 8;

/// Applies suggestions until none is left, then loads everything anew.
pub(crate) fn apply(
    arguments: &Check,
    loaded: Loaded,
    resolution: Resolution,
    ambient: AmbientAuthority,
) -> Result<(Loaded, Resolution), Stop> {
    let (mut loaded, mut resolution) = (loaded, resolution);
    let mut misfits = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let edited = edit(&loaded, &resolution, &mut misfits)?;
        if edited.is_empty() {
            break;
        }
        all_writable(&loaded, &edited)?;
        for (file, text) in &edited {
            show(loaded.project.files().get(*file).name(), loaded.project.files().get(*file).as_str(), text)?;
        }
        for (file, text) in edited {
            let path = &loaded.paths[&file];
            std::fs::write(path, text).map_err(|error| Stop::Write(path.display().to_string(), error))?;
        }
        loaded = arguments.source.load(Format::Human, ambient)?;
        resolution = resolve(&loaded.project);
    }
    for misfit in misfits {
        writeln!(anstream::stderr(), "{}\n", render::plain_error(&misfit))?;
    }
    Ok((loaded, resolution))
}

/// The new text of every file that some complete suggestion changes. The lines of one denial are written all or none: half a
/// chain would only be another denial.
fn edit(
    loaded: &Loaded,
    resolution: &Resolution,
    misfits: &mut BTreeSet<String>,
) -> Result<BTreeMap<FileId, String>, Stop> {
    let files = loaded.project.files();
    let mut edited: BTreeMap<FileId, String> = BTreeMap::new();
    for denial in resolution.denials().iter().filter(|denial| denial.fixes.iter().all(|fix| fix.complete)) {
        let mut tried: BTreeMap<FileId, String> = BTreeMap::new();
        for fix in &denial.fixes {
            let old = files.get(fix.file).as_str();
            let text = tried.get(&fix.file).or(edited.get(&fix.file)).map_or(old, String::as_str);
            let mut document: DocumentMut =
                text.parse().map_err(|error| Stop::Usage(format!("cannot edit this TOML: {error}")))?;
            add(&mut document, fix);
            tried.insert(fix.file, as_it_was(old, &document.to_string()));
        }
        match tried.iter().find(|(file, text)| !is_valid(loaded, **file, text)) {
            Some((file, _)) => {
                let name = files.get(*file).name();
                misfits.insert(format!(
                    "the suggested lines do not fit into `{name}` as it is; write them by hand"
                ));
            }
            None => edited.extend(tried),
        }
    }
    edited.retain(|file, text| files.get(*file).as_str() != text);
    Ok(edited)
}

/// Opens every file for writing before the first is written.
fn all_writable(loaded: &Loaded, edited: &BTreeMap<FileId, String>) -> Result<(), Stop> {
    for file in edited.keys() {
        let path = &loaded.paths[file];
        let opened = std::fs::OpenOptions::new().write(true).open(path);
        opened.map_err(|error| Stop::Write(path.display().to_string(), error))?;
    }
    Ok(())
}

/// The byte order mark and the line ends of the old text, which the editor does not keep.
pub(crate) fn as_it_was(old: &str, new: &str) -> String {
    let mut new = new.to_owned();
    if old.contains("\r\n") {
        new = new.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    match (old.strip_prefix('\u{feff}'), new.starts_with('\u{feff}')) {
        (Some(_), false) => format!("\u{feff}{new}"),
        _ => new,
    }
}

/// Whether the new text is a manifest: an edit must not leave a file worse than it was.
pub(crate) fn is_valid(loaded: &Loaded, file: FileId, new: &str) -> bool {
    let project = &loaded.project;
    let form = if project.is_standalone() {
        Form::Standalone
    } else if project.workspace_is_apart() && project.workspace_file() == Some(file) {
        Form::WorkspaceToml
    } else {
        Form::CargoToml
    };
    let mut files = Files::default();
    let Ok(text) = ManifestText::from_bytes(loaded.project.files().get(file).name(), new.as_bytes().to_vec())
    else {
        return false;
    };
    let file = files.add(text);
    parse(file, files.get(file), form).is_ok()
}

/// Adds one clause to its table. What is there already stays.
pub(crate) fn add(document: &mut DocumentMut, fix: &Fix) {
    let Some(table) = table_at(document.as_table_mut(), &fix.table) else { return };
    let (keys, value) = print::clause_parts(&fix.capability, &fix.scope);
    let Ok(value) = value.parse::<Value>() else { return };
    let (last, classes) = keys.split_last().expect("a capability has a name");
    // An entry under the full name is the one to extend.
    let full = keys.join(".");
    if table.contains_key(&full) {
        return extend(table, &full, value);
    }
    let mut at: &mut dyn TableLike = table;
    for class in classes {
        if !at.contains_key(class) {
            insert(at, class, InlineTable::new().into());
        }
        match at.get_mut(class).and_then(Item::as_table_like_mut) {
            Some(inner) => at = inner,
            None => return,
        }
    }
    extend(at, last, value);
    if let Some(quota) = print::quota(&fix.scope)
        && !at.contains_key("quota")
    {
        let quota = cofferdam::manifest::scope::ByteCount(quota).to_string();
        insert(at, "quota", quota.into());
    }
}

/// Sets a key, or appends to the list that is there.
fn extend(table: &mut dyn TableLike, key: &str, value: Value) {
    if !table.contains_key(key) {
        insert(table, key, value);
    } else if let (Some(list), Value::Array(more)) = (table.get_mut(key).and_then(Item::as_array_mut), value)
    {
        for entry in &more {
            if list.iter().all(|old| old.to_string().trim() != entry.to_string().trim()) {
                list.push(entry.clone());
            }
        }
    }
}

/// Sets a key that is not there. The space between the last value and the brace that ends an inline table goes after the new last one.
fn insert(table: &mut dyn TableLike, key: &str, mut value: Value) {
    let last = table.iter_mut().last().and_then(|(_, last)| last.as_value_mut());
    if let Some(decor) = last.map(Value::decor_mut)
        && decor.suffix().and_then(|suffix| suffix.as_str()) == Some(" ")
    {
        decor.set_suffix("");
        value.decor_mut().set_suffix(" ");
    }
    table.insert(key, Item::Value(value));
}

/// The table at a path of keys; missing ones are made, the last with a header of its own.
pub(crate) fn table_at<'d>(root: &'d mut dyn TableLike, path: &[String]) -> Option<&'d mut dyn TableLike> {
    let mut at = root;
    for (index, key) in path.iter().enumerate() {
        let last = index + 1 == path.len();
        if !at.contains_key(key) {
            let mut table = Table::new();
            table.set_implicit(!last);
            // Inside an inline table this becomes an inline table by itself.
            at.insert(key, Item::Table(table));
        }
        at = at.get_mut(key)?.as_table_like_mut()?;
    }
    Some(at)
}

/// The diff, in the unified format, on standard error so that machine output stays clean.
pub(crate) fn show(name: &str, old: &str, new: &str) -> Result<(), Stop> {
    let mut out = anstream::stderr();
    let (red, green, reset) =
        (anstyle::AnsiColor::Red.on_default(), anstyle::AnsiColor::Green.on_default(), anstyle::Reset);
    writeln!(out, "--- {name}\n+++ {name}")?;
    for hunk in TextDiff::from_lines(old, new).unified_diff().context_radius(2).iter_hunks() {
        writeln!(out, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            let line = change.to_string_lossy();
            let line = render::printable(line.trim_end_matches(['\n', '\r']));
            match change.tag() {
                ChangeTag::Delete => writeln!(out, "{red}-{line}{reset}")?,
                ChangeTag::Insert => writeln!(out, "{green}+{line}{reset}")?,
                ChangeTag::Equal => writeln!(out, " {line}")?,
            }
        }
    }
    writeln!(out)?;
    Ok(())
}
