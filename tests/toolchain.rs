//! Compiling guests: finding a compiler, fetching one, and building only what has changed.
//!
//! These tests need a compiler for guests, and fetch one when the machine has none: some minutes and 165 MB, once, into the
//! user's cache folder.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ambient_authority::ambient_authority;
use cofferdam_toolchain::{
    CargoOutput, GuestArtifact, GuestCrate, Progress, Settings, SetupRequest, Toolchain, ToolchainError,
    build_guest_ambient, setup_ambient,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the repository").to_owned()
}

fn settings() -> Settings {
    Settings::from_environment_ambient(ambient_authority()).expect("this machine has a cache folder")
}

/// Whoever waits for the tests sees why.
fn tell(news: Progress<'_>) {
    if let Progress::Step(text) | Progress::Note(text) = news {
        eprintln!("{text}");
    }
}

/// Debian's packages, whatever else is installed: with C, and the same everywhere.
fn debian() -> &'static Toolchain {
    static FOUND: OnceLock<Toolchain> = OnceLock::new();
    FOUND.get_or_init(|| {
        let settings = Settings { installed_rust: false, ..settings() };
        let report = setup_ambient(&settings, SetupRequest { c: true }, &mut tell, ambient_authority());
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    })
}

/// The toolchain that a user of this machine would have.
fn usual() -> &'static Toolchain {
    static FOUND: OnceLock<Toolchain> = OnceLock::new();
    FOUND.get_or_init(|| {
        debian();
        let report = setup_ambient(&settings(), SetupRequest { c: true }, &mut tell, ambient_authority());
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    })
}

/// A copy of the guests that a test may change; what Cargo makes of their dependencies is kept between runs.
struct Guests {
    workspace: PathBuf,
    output: PathBuf,
}

impl Guests {
    fn new(name: &str) -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let workspace = scratch.join("guests").join(name);
        if workspace.exists() {
            std::fs::remove_dir_all(&workspace).expect("removable");
        }
        copy(&root().join("tests/guests"), &workspace);
        Self { workspace, output: scratch.join("guests-output").join(name) }
    }

    fn crate_of(&self, package: &str) -> GuestCrate {
        GuestCrate::library(self.workspace.join("Cargo.toml"), package)
    }

    fn try_build(&self, toolchain: &Toolchain, package: &str) -> Result<GuestArtifact, ToolchainError> {
        build_guest_ambient(
            toolchain,
            &self.crate_of(package),
            &self.output,
            CargoOutput::Keep,
            &mut tell,
            ambient_authority(),
        )
    }

    fn build(&self, toolchain: &Toolchain, package: &str) -> GuestArtifact {
        self.try_build(toolchain, package).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name();
        if name == "target" {
            continue;
        }
        let (from, to) = (entry.path(), to.join(name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("copied");
        }
    }
}

/// The names that a component imports and exports.
fn interface(artifact: &GuestArtifact) -> (Vec<String>, Vec<String>) {
    let bytes = std::fs::read(&artifact.component).expect("the component is there");
    assert_eq!(bytes.len() as u64, artifact.bytes);
    let decoded = wit_component::decode(&bytes).expect("a component");
    let resolve = decoded.resolve();
    let wit_component::DecodedWasm::Component(_, world) = &decoded else { panic!("not a component") };
    let world = &resolve.worlds[*world];
    let names = |keys: Vec<_>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (names(world.imports.keys().collect()), names(world.exports.keys().collect()))
}

#[test]
fn debian_packages_build_guests() {
    let guests = Guests::new("debian");
    for package in ["echo", "cgreet"] {
        let artifact = guests.build(debian(), package);
        let (imports, exports) = interface(&artifact);
        eprintln!("{} {artifact:?} {imports:#?} {exports:#?}", debian().rustc_version());
        assert!(exports.contains(&"greet".to_owned()), "{exports:?}");
    }
}

#[test]
fn the_usual_toolchain_builds_guests() {
    let guests = Guests::new("usual");
    for package in ["echo", "cgreet"] {
        let artifact = guests.build(usual(), package);
        let (imports, exports) = interface(&artifact);
        eprintln!("{} {artifact:?} {imports:#?} {exports:#?}", usual().rustc_version());
        assert!(exports.contains(&"greet".to_owned()), "{exports:?}");
    }
}
