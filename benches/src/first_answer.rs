//! A program that starts a runtime, asks one thing, and ends: `first-answer BACKEND FOLDER`. The folder holds `capabilities.toml`,
//! the compiled guests, and the cache.

use std::path::Path;
use std::process::ExitCode;

use ambient_authority::ambient_authority;
use cofferdam::wasm::CodeCache;
use cofferdam::{AuditLog, EdgeName, Runtime};

fn main() -> ExitCode {
    if let Some(code) = cofferdam::process::run_as_launcher() {
        return code;
    }
    let folder = std::env::args_os().nth(1).expect("a folder");
    let (folder, ambient) = (Path::new(&folder), ambient_authority());
    let runtime = Runtime::from_file_ambient(folder.join("capabilities.toml"), ambient)
        .unwrap_or_else(|error| panic!("{error}"))
        .components_in(folder.join("components"))
        .cache(CodeCache::open_ambient(&folder.join("cache"), ambient).expect("a cache"))
        .audit(AuditLog::discard())
        .start_ambient(ambient)
        .unwrap_or_else(|error| panic!("{error}"));
    let edge = runtime.edge(EdgeName { consumer: "bench", krate: "measured" });
    let guest = measured::Measured::open(edge.unwrap_or_else(|error| panic!("{error}")));
    let sum = guest.unwrap_or_else(|error| panic!("{error}")).api().add(1, 2);
    if sum.expect("answers") == 3 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
