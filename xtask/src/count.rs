//! `cargo xtask count`: the instructions of the hot paths, counted by callgrind, beside those that were counted before. Counts do not
//! depend on what else a machine does, so that a change of them is a change of the code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// How much more or less of a count is the same, where compiler and processor are the same.
const TOLERANCE: f64 = 0.03;
/// And where they are not: libraries choose other ways to copy for other processors.
const TOLERANCE_ELSEWHERE: f64 = 0.10;

/// Options of `count`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Writes the counts as what holds from now on
    #[arg(long)]
    write: bool,
    /// Only this path; can be given again
    #[arg(long, value_name = "NAME")]
    path: Vec<String>,
}

/// What was counted before.
#[derive(Debug, Deserialize)]
struct Counts {
    /// Of which compiler they are.
    rustc: String,
    /// And of which processor.
    processor: String,
    /// Instructions of one round of each path.
    instructions: BTreeMap<String, u64>,
}

pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<(), String> {
    let file = root.join("tests/hot-paths/counts.toml");
    let before: Counts = std::fs::read_to_string(&file)
        .map_err(|error| error.to_string())
        .and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let rustc = output(Command::new("rustc").arg("--version"))?.trim().to_owned();
    let processor = processor();
    let program = build(root)?;
    let all = output(Command::new(&program).arg("list"))?;
    let wanted = |name: &&str| arguments.path.is_empty() || arguments.path.iter().any(|one| one == name);
    let mut counted = BTreeMap::new();
    for name in all.lines().filter(wanted) {
        let count = count(root, &program, name)?;
        println!("{}", line(name, count, before.instructions.get(name).copied()));
        counted.insert(name.to_owned(), count);
    }
    if counted.is_empty() {
        return Err(format!(
            "there is no such path; there are {}",
            all.lines().collect::<Vec<_>>().join(", ")
        ));
    }
    if arguments.write {
        let mut kept = before.instructions;
        kept.extend(counted);
        kept.retain(|name, _| all.lines().any(|one| one == name));
        return std::fs::write(&file, text(&rustc, &processor, &kept)).map_err(|error| error.to_string());
    }
    let same = rustc == before.rustc && processor == before.processor;
    if !same {
        println!(
            "the counts before are of `{}` on `{}`, and this is `{rustc}` on `{processor}`: they may differ by {:.0} %",
            before.rustc,
            before.processor,
            TOLERANCE_ELSEWHERE * 100.0
        );
    }
    let tolerance = if same { TOLERANCE } else { TOLERANCE_ELSEWHERE };
    judge(&counted, &before.instructions, tolerance, arguments.path.is_empty())
}

/// Compares counts with what they were. `all` is whether every path was counted.
fn judge(
    counted: &BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
    tolerance: f64,
    all: bool,
) -> Result<(), String> {
    if let Some(lost) = before.keys().find(|name| all && !counted.contains_key(*name)) {
        return Err(format!(
            "the path `{lost}` is not there any more; `cargo xtask count --write` takes its count out"
        ));
    }
    let moved: Vec<&str> = counted
        .iter()
        .filter(|(name, count)| {
            change(**count, before.get(*name).copied()).is_none_or(|change| change.abs() > tolerance)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} changed by more than {:.0} %. If that is meant, `cargo xtask count --write` makes it what holds, and the commit says why",
        moved.join(", "),
        tolerance * 100.0
    ))
}

/// How much more it is, as a fraction; `None` where there was nothing.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn change(count: u64, before: Option<u64>) -> Option<f64> {
    before.filter(|before| *before > 0).map(|before| count as f64 / before as f64 - 1.0)
}

fn line(name: &str, count: u64, before: Option<u64>) -> String {
    match change(count, before) {
        Some(change) => format!("{name:<28} {count:>12} instructions, {:+.1} %", change * 100.0),
        None => format!("{name:<28} {count:>12} instructions, new"),
    }
}

fn text(rustc: &str, processor: &str, counts: &BTreeMap<String, u64>) -> String {
    let mut out = format!(
        "# Instructions of one round of each hot path, in the build that tests use. Written by `cargo xtask count --write`.\n\
         rustc = \"{rustc}\"\nprocessor = \"{processor}\"\n\n[instructions]\n"
    );
    for (name, count) in counts {
        let _ = writeln!(out, "{name} = {count}");
    }
    out
}

/// As the system names it.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.replace('"', ""))
}

fn build(root: &Path) -> Result<std::path::PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // With the whole workspace, so that what the tests were built with is used again.
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bin", "hot-paths"]).current_dir(root);
    let status = command.status().map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err("the hot paths do not compile".to_owned());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), std::path::PathBuf::from);
    Ok(target.join("debug/hot-paths"))
}

/// Instructions of one round.
fn count(root: &Path, program: &Path, name: &str) -> Result<u64, String> {
    let folder = root.join("target/hot-paths");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let out = folder.join(format!("{name}.callgrind"));
    let mut command = Command::new("valgrind");
    // Only what is inside of this function is counted: the preparation has hash maps with random seeds.
    command.args(["--tool=callgrind", "--quiet", "--toggle-collect=*hot_rounds*", "--collect-atstart=no"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(program).arg(name);
    let said = output(&mut command)?;
    let rounds: u64 =
        said.trim().parse().map_err(|_| format!("{name} says `{said}` and not how many rounds"))?;
    let profile = std::fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    total(&profile)
        .filter(|all| *all > 0)
        .map(|all| all / rounds.max(1))
        .ok_or_else(|| format!("{}: it has no instructions of `hot_rounds`", out.display()))
}

/// The sum that a profile of callgrind ends with.
fn total(profile: &str) -> Option<u64> {
    let line =
        profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")))?;
    line.split_whitespace().next()?.parse().ok()
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name} does not start: {error}; it has to be installed"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_path_that_costs_more_is_named_and_one_that_costs_the_same_is_not() {
        let before = counts(&[("call", 1_000), ("encode", 200)]);
        assert_eq!(judge(&counts(&[("call", 1_020), ("encode", 199)]), &before, TOLERANCE, false), Ok(()));
        let error = judge(&counts(&[("call", 1_040), ("encode", 200)]), &before, TOLERANCE, false)
            .expect_err("4 % more");
        assert!(error.starts_with("call changed"), "{error}");
        // What became cheaper must be written down too, or it could be lost again unseen.
        assert!(judge(&counts(&[("call", 900)]), &before, TOLERANCE, false).is_err());
        assert!(judge(&counts(&[("new", 1)]), &before, TOLERANCE, false).is_err());
        let error = judge(&counts(&[("call", 1_000)]), &before, TOLERANCE, true).expect_err("one is lost");
        assert!(error.contains("`encode` is not there"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = counts(&[("call", 1_000), ("encode", 200)]);
        let read: Counts = toml::from_str(&text("rustc 1.95.0", "a processor", &all)).expect("its own text");
        assert_eq!((read.rustc.as_str(), read.instructions), ("rustc 1.95.0", all));
    }

    #[test]
    fn the_sum_of_a_profile_is_its_last_word() {
        assert_eq!(total("events: Ir\nfn=(1)\n1 5\n\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("events: Ir\n"), None);
    }
}
