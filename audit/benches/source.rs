//! How long does layer S take on a lock file of about 300 crates: cold, warm, and each part of it?
//!
//! The workspace is this one, or the one whose Cargo.toml the first argument names. Reading is timed with an empty cache and
//! with a full one, judging for each extent.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::{Duration, Instant};

use cargo_metadata::MetadataCommand;
use cofferdam_audit::{Cache, CfgSet, Extent, Graph, Reading, Table, audit_extent, read_sources_ambient};

const ROUNDS: usize = 7;

fn main() {
    let named = std::env::args().nth(1).filter(|word| !word.starts_with("--"));
    let mut command = MetadataCommand::new();
    command.other_options(["--offline".to_owned()]);
    if let Some(path) = &named {
        command.manifest_path(path);
    }
    let began = Instant::now();
    let metadata = command.exec().expect("cargo metadata runs");
    show("cargo metadata", &[began.elapsed()]);
    let rustc = std::process::Command::new("rustc").args(["--print=cfg"]).output().expect("rustc runs");
    let cfg = CfgSet::from_lines(&String::from_utf8_lossy(&rustc.stdout));
    // What has no path is from a registry; its version stands for its checksum here.
    let graph = Graph::of_workspace(&metadata, cfg, None, |package| {
        let member = metadata.workspace_members.contains(&package.id);
        (member, package.source.as_ref().map(|_| format!("{}-{}", package.name, package.version)))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::in_folder(folder.path());
    let ambient = ambient_authority::ambient_authority();
    let read = |cache, reading| {
        let began = Instant::now();
        let sources = read_sources_ambient(&graph, reading, Some(cache), &|_, _| {}, ambient);
        let sources = sources.expect("threads start");
        (began.elapsed(), sources)
    };
    for (cold, warm, reading) in [
        ("read, nothing cached", "read, all cached", Reading::Platform),
        ("every cfg, nothing cached", "every cfg, all cached", Reading::Everything),
    ] {
        show(cold, &[read(&cache, reading).0]);
        let times: Vec<Duration> = (0..ROUNDS).map(|_| read(&cache, reading).0).collect();
        show(warm, &times);
    }
    let began = Instant::now();
    let table = Table::load().expect("valid tables");
    show("load tables", &[began.elapsed()]);
    // Without a cache every verdict is found out anew.
    let anew =
        |reading| read_sources_ambient(&graph, reading, None, &|_, _| {}, ambient).expect("threads start");
    let (sources, everything) = (anew(Reading::Platform), anew(Reading::Everything));
    for (name, extent, sources) in [
        ("judge what is used", Extent::Used, &sources),
        ("judge what is compiled", Extent::Compiled, &sources),
        ("judge every cfg", Extent::AnyCfg, &everything),
    ] {
        let times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                let verdict = audit_extent(&graph, sources, &table, extent, None);
                let time = began.elapsed();
                assert!(!verdict.needs().is_empty());
                time
            })
            .collect();
        show(name, &times);
    }
    let times: Vec<Duration> = (0..=ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let sources = read(&cache, Reading::Platform).1;
            assert!(!audit_extent(&graph, &sources, &table, Extent::Used, None).needs().is_empty());
            began.elapsed()
        })
        .collect();
    show("all of it, nothing changed", &times[1..]);
    let verdict = audit_extent(&graph, &sources, &table, Extent::Used, None);
    let (files, lines, _) = verdict.extent();
    println!("{} packages, {files} files, {lines} lines", graph.packages.len());
}

fn show(name: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort();
    let at = |index: usize| times[index].as_secs_f64() * 1e3;
    println!("{name:26} median {:8.1} ms, {:8.1} to {:8.1}", at(times.len() / 2), at(0), at(times.len() - 1));
}
