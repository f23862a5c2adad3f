//! What was compiled that runs in builds, and by what it was judged: Cargo starts it again without compiling it again.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ambient_authority::AmbientAuthority;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::build::{Artifacts, Made};
use super::judge::{Compilation, Policy, read_policy};
use crate::package::Graph;

/// The name of the record, in the folder that is built in, beside the policy.
pub const RECORD: &str = "cofferdam-judged.json";

/// What runs in builds and is compiled already.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compiled {
    /// What judged it, and by what.
    judged_by: Option<(Policy, Judge)>,
    files: Vec<Entry>,
    /// A build began that judges nothing, and has not ended: what it compiled is in no list.
    unfinished: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    package: String,
    krate: String,
    is_script: bool,
    path: PathBuf,
    /// By what the list says; else by something else, or by nothing.
    judged: bool,
}

/// Which program judges: its length in bytes, and when it was made. Another may know better.
type Judge = (u64, Option<SystemTime>);

fn this_judge() -> std::io::Result<Judge> {
    let found = std::env::current_exe()?.metadata()?;
    Ok((found.len(), found.modified().ok()))
}

impl Compiled {
    /// What a record says, and what compilers have let pass since it was written. `None` when it cannot be relied on.
    fn read(record: &Path) -> Option<Self> {
        let mut known: Self = serde_json::from_str(&std::fs::read_to_string(record).ok()?).ok()?;
        if known.unfinished {
            return None;
        }
        for entry in passed(record) {
            known.files.retain(|one| one.path != entry.path);
            known.files.push(entry);
        }
        Some(known)
    }

    fn write(&self, record: &Path) -> std::io::Result<()> {
        std::fs::write(record, serde_json::to_string(self).map_err(std::io::Error::other)?)
    }
}

/// Where each compiler notes what it let pass: a build that fails names nothing of what it made.
fn passed_folder(record: &Path) -> PathBuf {
    record.with_extension("passed")
}

fn passed(record: &Path) -> Vec<Entry> {
    let Ok(folder) = std::fs::read_dir(passed_folder(record)) else { return Vec::new() };
    let paths = folder.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter_map(|path| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()).collect()
}

/// Notes that a build begins, before it compiles anything. One that judges nothing leaves no other trace if it fails.
///
/// # Errors
/// When the file cannot be written.
///
/// # Authority
/// Reads and writes `record`, and makes its folder. Removes everything there but the policy, where it is not known what there is.
pub fn begin_ambient(record: &Path, policy: &Path, judges: bool, _: AmbientAuthority) -> std::io::Result<()> {
    if let Some(folder) = record.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let known = match Compiled::read(record) {
        Some(known) => known,
        None => clear(record, policy).map(|()| Compiled::default())?,
    };
    Compiled { unfinished: !judges, ..known }.write(record)
}

/// Notes what a build made that runs in builds. `policy` is what it was judged by.
///
/// # Errors
/// When the file cannot be written.
///
/// # Authority
/// Reads and writes `record`, and removes what compilers noted beside it.
pub fn remember_ambient(
    record: &Path,
    graph: &Graph,
    artifacts: &Artifacts,
    policy: Option<Policy>,
    _: AmbientAuthority,
) -> std::io::Result<()> {
    let judged = policy.is_some();
    let mut files: Vec<Entry> = artifacts
        .files
        .iter()
        .filter(|file| matches!(file.made, Made::BuildScript | Made::ProcMacro))
        .map(|file| {
            let of = &graph.packages[file.package];
            let package = format!("{}@{}", of.name, of.version);
            let is_script = file.made == Made::BuildScript;
            Entry { package, krate: file.name.clone(), is_script, path: file.path.clone(), judged }
        })
        .collect();
    // What other builds have made (with other features, say) is still there, and may be wanted again.
    let text = std::fs::read_to_string(record).unwrap_or_default();
    let before = serde_json::from_str::<Compiled>(&text).map(|known| known.files).unwrap_or_default();
    for entry in before.into_iter().chain(passed(record)) {
        if entry.path.is_file() && files.iter().all(|one| one.path != entry.path) {
            files.push(Entry { judged: false, ..entry });
        }
    }
    let judged_by = policy.map(|policy| this_judge().map(|judge| (policy, judge))).transpose()?;
    Compiled { judged_by, files, unfinished: false }.write(record)?;
    match std::fs::remove_dir_all(passed_folder(record)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Judges what earlier builds compiled, where they judged by another policy, with another program, or not at all: Cargo would start it
/// without compiling it again. What is refused is removed, so that it is compiled, and judged, anew; and everything is, where it is
/// not known what there is.
///
/// # Errors
/// When a file cannot be removed.
///
/// # Authority
/// Reads `record` and the files that it names, and removes those, or all of its folder but the policy.
pub fn recheck_ambient(record: &Path, policy: &Path, ambient: AmbientAuthority) -> std::io::Result<()> {
    let Some(known) = Compiled::read(record) else { return clear(record, policy) };
    let now = read_policy(policy).ok().zip(this_judge().ok());
    let same = now.is_some() && known.judged_by == now;
    known.files.into_par_iter().with_max_len(1).try_for_each(|entry| {
        let made = if entry.is_script { Made::BuildScript } else { Made::ProcMacro };
        let Entry { package, krate, path, judged, .. } = entry;
        let compilation = Compilation { made, krate, path, package };
        let is_fine = same && judged || !compilation.path.is_file();
        if is_fine || compilation.judge(policy, ambient).is_empty() { Ok(()) } else { compilation.remove() }
    })
}

/// Removes everything that was compiled: some of it is in no list.
fn clear(record: &Path, policy: &Path) -> std::io::Result<()> {
    let Some(folder) = record.parent() else { return Ok(()) };
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path == policy {
            continue;
        }
        if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(())
}

/// Notes that a compiler let something pass, for the record beside its policy.
pub(super) fn note(made: &Compilation, policy: &Path) -> std::io::Result<()> {
    let folder = passed_folder(&policy.with_file_name(RECORD));
    std::fs::create_dir_all(&folder)?;
    let entry = Entry {
        package: made.package.clone(),
        krate: made.krate.clone(),
        is_script: made.made == Made::BuildScript,
        path: made.path.clone(),
        judged: false,
    };
    let text = serde_json::to_string(&entry).map_err(std::io::Error::other)?;
    std::fs::write(folder.join(format!("{}.json", std::process::id())), text)
}

#[cfg(test)]
mod tests {
    use ambient_authority::ambient_authority;

    use super::*;

    fn entry(path: &Path) -> Entry {
        let (package, krate) = ("codec@1.0.0".to_owned(), "build_script_build".to_owned());
        Entry { package, krate, is_script: true, path: path.to_owned(), judged: true }
    }

    #[test]
    fn what_is_in_no_list_is_removed_and_what_is_in_one_is_judged_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let (record, policy, script) = (at(RECORD), at("policy.json"), at("build_script_build"));
        std::fs::write(&policy, "{\"allowed\":{}}").expect("writable");
        let ambient = ambient_authority();
        let compiled = || std::fs::write(&script, "no program").expect("writable");
        let recheck = || recheck_ambient(&record, &policy, ambient).expect("the folder is ours");

        // No record: whatever is there goes.
        compiled();
        recheck();
        assert!(!script.exists() && policy.exists());
        // One that says what it knows, judged by this program and policy: it stays.
        compiled();
        let judged_by = Some((read_policy(&policy).expect("a policy"), this_judge().expect("a file")));
        let known = Compiled { judged_by: judged_by.clone(), files: vec![entry(&script)], unfinished: false };
        known.write(&record).expect("writable");
        recheck();
        assert!(script.exists());
        // By another program: it is judged again, and is no program that can be judged.
        let (policy_then, _) = judged_by.clone().expect("just made");
        let other = Compiled { judged_by: Some((policy_then, (1, None))), ..known };
        other.write(&record).expect("writable");
        recheck();
        assert!(!script.exists());
        // A build that judged nothing and failed: nobody knows what it made.
        compiled();
        Compiled { judged_by, files: vec![entry(&script)], unfinished: false }
            .write(&record)
            .expect("writable");
        begin_ambient(&record, &policy, false, ambient).expect("writable");
        recheck();
        assert!(!script.exists() && !record.exists());
    }

    #[test]
    fn what_a_compiler_let_pass_is_known_though_the_build_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (record, policy) = (folder.path().join(RECORD), folder.path().join("policy.json"));
        begin_ambient(&record, &policy, true, ambient_authority()).expect("writable");
        let path = folder.path().join("build_script_build");
        let (package, krate) = ("codec@1.0.0".to_owned(), "build_script_build".to_owned());
        note(&Compilation { made: Made::BuildScript, krate, path: path.clone(), package }, &policy)
            .expect("writable");
        let known = Compiled::read(&record).expect("a record");
        assert_eq!(known.files, [Entry { judged: false, ..entry(&path) }]);
    }
}
