//! A text editor, as far as its plugins are concerned: three of them, by three vendors, of whom one means no good.
//!
//! `plugin-host [MANIFEST]` runs them all under the manifest, by default the one beside this example.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the plugins do is what this program shows"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::client::{CallError, Edge, StartError};
use cofferdam::wasm::{CodeCache, Output};
use cofferdam::{AuditLog, Runtime, edge};

cofferdam::client!({ path: "wit", world: "text-filter" });

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("capabilities.toml");
    let manifest = std::env::args_os().nth(1).map_or(beside, PathBuf::from);
    let service = start_service()?;
    let compiled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugins/target/compiled");
    let log = std::env::temp_dir().join(format!("plugin-host-{}.jsonl", std::process::id()));

    // The one place where this program's own authority is handed on: to the runtime, for what the manifest says.
    let ambient = ambient_authority();
    let runtime = Runtime::from_file_ambient(&manifest, ambient)?
        .audit(AuditLog::to_writer(std::fs::File::create(&log)?))
        .output(Output::Prefixed)
        .cache(CodeCache::open_ambient(&compiled, ambient)?)
        .start_ambient(ambient)?;

    let edges =
        [runtime.edge(edge!("dictionary"))?, runtime.edge(edge!("fetch"))?, runtime.edge(edge!("hostile"))?];
    let [dictionary, fetch, hostile] = &edges;
    attempt(dictionary, "the quick brown fox jumps over the lazy dog")?;
    attempt(dictionary, "stamp a letter")?;

    attempt(fetch, &format!("{service}/fox"))?;
    attempt(fetch, "127.0.0.1:22/fox")?;

    println!();
    for trick in [
        "read a key",
        "read the environment",
        "leave a file",
        "look at the clock",
        "end the program",
        "run for ever",
        "eat all memory",
        "recurse",
        "forge a line",
        "flood the terminal",
    ] {
        attempt(hostile, trick)?;
    }

    println!("\nand the others still work:");
    attempt(dictionary, "quick fox")?;
    println!("\n{:<28} {:>6} {:>7}", "edge", "calls", "failed");
    for status in runtime.list() {
        println!("{:<28} {:>6} {:>7}", status.edge, status.calls.0, status.calls.1);
    }
    println!("\nwhat was granted, refused and stopped is in {}", log.display());
    Ok(())
}

/// Has a plugin transform a text, and says what came of it.
fn attempt(edge: &Edge, text: &str) -> Result<(), StartError> {
    // A client is a typed view of an edge; it costs a comparison of types, and runs nothing.
    let plugin = TextFilter::open(edge.clone())?;
    let name = match plugin.filter().about() {
        Ok(about) => format!("{} by {}", about.name, about.vendor),
        Err(error) => format!("{}, which does not say who it is ({error})", edge.name()),
    };
    println!("{name}: {text}");
    match plugin.filter().transform(text) {
        Ok(Ok(changed)) => println!("    {changed}"),
        Ok(Err(filter::Problem::NotForMe)) => println!("    not for this plugin"),
        Ok(Err(filter::Problem::Failed(why))) => println!("    it says: {why}"),
        Err(error @ CallError::Violation { .. }) => println!("    stopped: {error}"),
        Err(error) => println!("    ended: {error}"),
    }
    for refusal in edge.take_refusals() {
        println!("    refused: {refusal}");
    }
    Ok(())
}

/// A service on this machine, at the first free port of those that the manifest names, that knows a note for each word.
fn start_service() -> Result<String, Box<dyn std::error::Error>> {
    let listener = (18570..18580)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .ok_or("the ports 18570 to 18579 of this machine are all taken")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = [0; 2048];
            let read = connection.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]);
            let word = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
            let note = format!("a word of {} letters", word.len());
            let length = note.len();
            let _ = write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{note}"
            );
        }
    });
    Ok(address)
}
