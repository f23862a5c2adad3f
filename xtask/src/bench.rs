//! `cargo xtask bench`: runs the benches, and writes what they find into SPECIFICATION.md and docs/images.

use std::path::Path;
use std::process::Command;

use crate::report::Report;
use crate::{chart, table};

/// The benches, in the order of the specification.
pub(crate) const GROUPS: [&str; 6] = ["calls", "starts", "failures", "wasm", "crowds", "work"];

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this bench; can be given again
    #[arg(long, value_name = "NAME", value_parser = GROUPS)]
    group: Vec<String>,
    /// A short run, to see that all of it works; nothing is written
    #[arg(long)]
    quick: bool,
    /// Compares with extism too, whose engine takes minutes to compile
    #[arg(long)]
    extism: bool,
    /// Writes the documents anew from what was measured last, and measures nothing
    #[arg(long, conflicts_with_all = ["quick", "extism"])]
    render: bool,
}

pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<(), String> {
    let wanted = |group: &&str| arguments.group.is_empty() || arguments.group.iter().any(|one| one == group);
    let groups: Vec<&str> = GROUPS.into_iter().filter(wanted).collect();
    if !arguments.render {
        // Compiled before the first is measured, so that no compiler runs beside it.
        bench(root, arguments, &groups, true)?;
        for group in &groups {
            bench(root, arguments, &[group], false)?;
        }
    }
    if arguments.quick {
        println!("a quick run is no measurement: SPECIFICATION.md stays as it is");
        return Ok(());
    }
    let reports: Vec<Report> = groups.iter().map(|group| read(root, group)).collect::<Result<_, _>>()?;
    write(root, &reports)
}

fn bench(root: &Path, arguments: &Arguments, groups: &[&str], only_compile: bool) -> Result<(), String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["bench", "--locked", "--manifest-path", "benches/Cargo.toml", "--target-dir", "target"]);
    for group in groups {
        command.args(["--bench", group]);
    }
    if arguments.extism {
        command.args(["--features", "extism"]);
    }
    if only_compile {
        command.arg("--no-run");
    }
    if arguments.quick {
        command.env("COFFERDAM_BENCH_QUICK", "1");
    }
    let status =
        command.current_dir(root).status().map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("the bench of {} failed", groups.join(", "))) }
}

fn read(root: &Path, group: &str) -> Result<Report, String> {
    let path = root.join("target/bench").join(format!("{group}.json"));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!("{}: {error}; `cargo xtask bench --group {group}` measures it", path.display())
    })?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(root: &Path, reports: &[Report]) -> Result<(), String> {
    let save = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let path = root.join("SPECIFICATION.md");
    let document = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    save(&path, &table::put(&document, reports)?)?;
    for report in reports {
        save(&root.join("docs/images").join(format!("bench-{}.svg", report.group)), &chart::svg(report))?;
    }
    println!("SPECIFICATION.md and docs/images have what was measured");
    Ok(())
}
