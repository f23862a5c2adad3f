//! How long do the layers of compiled code take, after the build? And beside source, what do they find that it does not?
//!
//! The workspace is this one, or the one whose Cargo.toml the first argument names; it is built first, in `target/cofferdam/audit`.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::{Duration, Instant};

use cargo_metadata::MetadataCommand;
use cofferdam_audit::{
    BuildOptions, CfgSet, Graph, Layer, Reading, States, Table, build_ambient, examine_ambient,
    read_sources_ambient,
};

const ROUNDS: usize = 7;

fn main() {
    let named = std::env::args().nth(1).filter(|word| !word.starts_with("--"));
    let mut command = MetadataCommand::new();
    command.other_options(["--offline".to_owned()]);
    if let Some(path) = &named {
        command.manifest_path(path);
    }
    let metadata = command.exec().expect("cargo metadata runs");
    let rustc = std::process::Command::new("rustc").args(["--print=cfg"]).output().expect("rustc runs");
    let cfg = CfgSet::from_lines(&String::from_utf8_lossy(&rustc.stdout));
    let graph = Graph::of_workspace(&metadata, cfg, None, |package| {
        (metadata.workspace_members.contains(&package.id), None)
    });
    let ambient = ambient_authority::ambient_authority();
    let options = BuildOptions {
        folder: metadata.workspace_root.as_std_path().to_owned(),
        target_folder: metadata.target_directory.as_std_path().join("cofferdam/audit"),
        arguments: vec!["--offline".to_owned()],
        ..BuildOptions::default()
    };
    let began = Instant::now();
    let artifacts = build_ambient(&graph, &options, ambient).unwrap_or_else(|error| panic!("{error}"));
    println!("cargo build took {:.1} s, {} files", began.elapsed().as_secs_f64(), artifacts.count());
    let table = Table::load().expect("valid tables");
    let mut times: Vec<Duration> = Vec::new();
    let mut compiled = examine_ambient(&graph, &artifacts, &table, ambient).expect("readable");
    for _ in 0..ROUNDS {
        compiled = examine_ambient(&graph, &artifacts, &table, ambient).expect("readable");
        times.push(compiled.measure.took);
    }
    times.sort();
    let at = |index: usize| times[index].as_secs_f64() * 1e3;
    println!(
        "layers R, A and L: median {:.1} ms, {:.1} to {:.1}; {} libraries, {} programs, {} pieces",
        at(ROUNDS / 2),
        at(0),
        at(ROUNDS - 1),
        compiled.measure.libraries,
        compiled.measure.programs,
        compiled.measure.pieces
    );
    for unread in &compiled.unread {
        println!("unread: {} {}", unread.path.display(), unread.why);
    }
    for unknown in &compiled.unknown {
        println!("unknown symbol: {} refers to {}", graph.packages[unknown.package].name, unknown.name);
    }
    let sources =
        read_sources_ambient(&graph, Reading::Everything, None, &|_, _| {}, ambient).expect("threads start");
    let states = States::new(&graph, &sources, &table, Some(&compiled));
    let place = |way: Option<cofferdam_audit::Way>| {
        way.map_or(String::new(), |way| {
            let steps = way.places.iter().map(|place| {
                format!(
                    "{}: {} ({}:{})",
                    graph.packages[place.package].name, place.item, place.file, place.line
                )
            });
            format!("{} => {}", steps.collect::<Vec<_>>().join(" -> "), way.what)
        })
    };
    for (package, of) in graph.packages.iter().enumerate() {
        for (capability, state) in states.own(package) {
            if capability.granted_by_default() {
                continue;
            }
            let layers = states.layers_within(package, &capability, state);
            let only = !layers.has(Layer::Source);
            let way =
                if only { place(states.way_within(package, &capability, state)) } else { String::new() };
            println!("{}: {capability} ({}) {:?} {way}", of.name, state.name(), layers.names());
        }
    }
    for (from, to) in states.used.needs().keys() {
        for (capability, state) in states.over(*from, *to) {
            let layers = states.layers_over(*from, *to, &capability, state);
            if layers.has(Layer::Source) || capability.granted_by_default() {
                continue;
            }
            println!(
                "{} -> {}: {capability} ({}) {:?} {}",
                graph.packages[*from].name,
                graph.packages[*to].name,
                state.name(),
                layers.names(),
                place(states.way_over(*from, *to, &capability, state))
            );
        }
    }
}
