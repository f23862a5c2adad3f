//! The guests of `tests/guests` as components, built once for all tests of a program.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ambient_authority::ambient_authority;
use cofferdam_toolchain::{
    CargoOutput, GuestCrate, Progress, Settings, SetupRequest, Toolchain, build_guest_ambient, setup_ambient,
};

/// The component of a guest. The first one on a new machine fetches what compiles it: some minutes.
pub(crate) fn component(package: &str) -> Vec<u8> {
    static BUILT: Mutex<Option<HashMap<String, Vec<u8>>>> = Mutex::new(None);
    static TOOLCHAIN: OnceLock<Toolchain> = OnceLock::new();
    let mut tell = |news: Progress<'_>| {
        if let Progress::Step(text) | Progress::Note(text) = news {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    };
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(bytes) = built.get(package) {
        return bytes.clone();
    }
    let toolchain = TOOLCHAIN.get_or_init(|| {
        let settings = Settings::from_environment_ambient(ambient_authority()).expect("a cache folder");
        let report = setup_ambient(&settings, SetupRequest { c: true }, &mut tell, ambient_authority());
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    });
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/Cargo.toml");
    let guest = GuestCrate::library(manifest, package);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests-for-the-host");
    let artifact =
        build_guest_ambient(toolchain, &guest, &folder, CargoOutput::Keep, &mut tell, ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(artifact.component).expect("readable");
    built.insert(package.to_owned(), bytes.clone());
    bytes
}
